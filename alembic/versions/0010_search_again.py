"""Search reads every pipeline again: for months of publication, older results, negative prompts and lists.

The dispatcher does so in its own time, while the site runs; what was found before stays found.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LISTED = "visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL"


def upgrade() -> None:
    op.execute(f"INSERT INTO search_stale SELECT id FROM pipelines WHERE {LISTED} ON CONFLICT DO NOTHING")  # noqa: S608


def downgrade() -> None:
    """What a document has too much does no harm."""
