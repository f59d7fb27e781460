"""Workers say that they are there.

Revision ID: 0018
Revises: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE workers (
            owner text PRIMARY KEY,
            queues text[] NOT NULL,
            device text NOT NULL,
            seen_at timestamptz NOT NULL
        )
        """)


def downgrade() -> None:
    op.execute("DROP TABLE workers")
