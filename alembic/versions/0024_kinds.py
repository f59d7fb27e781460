"""Workers say which kinds of steps they can run. One that says nothing counts as running every kind of its queues.

Revision ID: 0024
Revises: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE workers ADD COLUMN kinds text[]")


def downgrade() -> None:
    op.execute("ALTER TABLE workers DROP COLUMN kinds")
