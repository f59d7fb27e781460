"""Turns by queue: an index says whose turn it is now. A run's own turn is not read any more; what still writes it may.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = '1h'")
        op.execute("SET lock_timeout = '10min'")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS step_runs_served")
        op.execute("CREATE INDEX CONCURRENTLY step_runs_served ON step_runs (queue, turn) WHERE started_at IS NOT NULL")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS runs_turn")
        op.execute("SET lock_timeout = '4s'")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    op.execute("CREATE INDEX runs_turn ON runs (state, turn) WHERE finished_at IS NULL")
    op.execute("DROP INDEX step_runs_served")
