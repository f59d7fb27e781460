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
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE pipelines ADD COLUMN IF NOT EXISTS request_sha256 text")
        op.execute("SET statement_timeout = '1h'")
        op.execute("SET lock_timeout = '10min'")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS pipelines_request")
        op.execute(
            """CREATE INDEX CONCURRENTLY pipelines_request ON pipelines (owner_id, request_sha256)
               WHERE request_sha256 IS NOT NULL"""
        )
        op.execute("SET lock_timeout = '4s'")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    op.execute("ALTER TABLE pipelines DROP COLUMN request_sha256")
