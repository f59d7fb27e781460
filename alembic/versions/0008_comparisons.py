"""Runs of a version with a seed are found at once.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # a table in use is not locked meanwhile; what an interrupted try left behind goes first
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS runs_version_seed")
        op.execute("CREATE INDEX CONCURRENTLY runs_version_seed ON runs (version_id, seed)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS runs_version")
        op.execute("SET lock_timeout = '4s'")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS runs_version ON runs (version_id)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS runs_version_seed")
