"""What an uploaded sound looks like: its peaks, as results have them in their receipts.

Revision ID: 0025
Revises: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE artifacts ADD COLUMN peaks text")


def downgrade() -> None:
    op.execute("ALTER TABLE artifacts DROP COLUMN peaks")
