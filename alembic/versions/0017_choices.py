"""Steps that wait for a person's choice.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BEFORE = ("waiting", "queued", "running", "succeeded", "failed", "cancelled", "reused")


def upgrade() -> None:
    _allow((*BEFORE, "choosing"))


def downgrade() -> None:
    # the worker of before says that it knows no such step
    op.execute("UPDATE step_runs SET state = 'queued' WHERE state = 'choosing'")
    _allow(BEFORE)


def _allow(states: tuple[str, ...]) -> None:
    """New rows are checked at once, the old ones afterward, without holding up who writes."""
    op.execute("ALTER TABLE step_runs DROP CONSTRAINT step_runs_state_check")
    op.execute(f"ALTER TABLE step_runs ADD CONSTRAINT step_runs_state_check CHECK (state IN {states!r}) NOT VALID")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = '1h'")
        op.execute("ALTER TABLE step_runs VALIDATE CONSTRAINT step_runs_state_check")
        op.execute("SET statement_timeout = '60s'")
