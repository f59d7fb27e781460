"""What asked for a pipeline, so that the same form sent again leads to the one it made.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE pipelines ADD COLUMN request_sha256 text")
    op.execute(
        "CREATE INDEX pipelines_request ON pipelines (owner_id, request_sha256) WHERE request_sha256 IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE pipelines DROP COLUMN request_sha256")
