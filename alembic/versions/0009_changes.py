"""Tell whoever watches of every change of a run, by trigger, so that no verb can forget to.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """CREATE FUNCTION tell_of_event() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('runs', NEW.run_id || ' moved'); RETURN NULL; END $$""",
    """CREATE FUNCTION tell_of_progress() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('runs', NEW.run_id::text); RETURN NULL; END $$""",
    """CREATE FUNCTION tell_of_preview() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        PERFORM pg_notify('runs', run_id::text) FROM step_runs WHERE id = NEW.step_run_id; RETURN NULL;
    END $$""",
    "CREATE TRIGGER events_tell AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell_of_event()",
    """CREATE TRIGGER step_runs_tell AFTER UPDATE OF progress, progress_total, phase ON step_runs FOR EACH ROW
    WHEN ((OLD.progress, OLD.progress_total, OLD.phase) IS DISTINCT FROM (NEW.progress, NEW.progress_total, NEW.phase))
    EXECUTE FUNCTION tell_of_progress()""",
    """CREATE TRIGGER previews_tell AFTER INSERT OR UPDATE ON previews
    FOR EACH ROW EXECUTE FUNCTION tell_of_preview()""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("events", "step_runs", "previews"):
        op.execute(f"DROP TRIGGER {table}_tell ON {table}")
    for what in ("event", "progress", "preview"):
        op.execute(f"DROP FUNCTION tell_of_{what}")
