"""Windows of half the size, and stretches of eight of them.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEPT = "array(SELECT mark FROM unnest(marks) mark WHERE mark !~ '^(window|stretch|era):')"


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = '1h'")
    op.execute(
        f"UPDATE search_documents SET marks = {KEPT} || ARRAY['window:' || number / 1024,"  # noqa: S608
        " 'stretch:' || number / 8192, 'era:' || number / 65536]"
    )


def downgrade() -> None:
    op.execute("SET LOCAL statement_timeout = '1h'")
    op.execute(
        f"UPDATE search_documents SET marks = {KEPT}"  # noqa: S608
        " || ARRAY['window:' || number / 2048, 'era:' || number / 65536]"
    )
