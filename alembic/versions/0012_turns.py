"""Turns by queue: a run's turn stands with its steps alone, and an index says whose turn it is now.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE INDEX step_runs_served ON step_runs (queue, turn) WHERE started_at IS NOT NULL",
    "DROP INDEX runs_turn",
    "ALTER TABLE runs DROP COLUMN turn",  # and with it its index
    "CREATE INDEX runs_alive ON runs (owner_id) WHERE finished_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX runs_alive")
    op.execute("ALTER TABLE runs ADD COLUMN turn bigint NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX runs_alive ON runs (owner_id, turn) WHERE finished_at IS NULL")
    op.execute("CREATE INDEX runs_turn ON runs (state, turn) WHERE finished_at IS NULL")
    op.execute("DROP INDEX step_runs_served")
