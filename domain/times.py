"""SQL: how long steps and runs took, as everybody may know it.

A reused step counts with what it took when it was made: that it took no time would tell that its result was there
before, which is nobody's business.
"""


def step(alias: str) -> str:
    """Seconds of a row of `step_runs`, NULL while it is unknown."""
    return f"""CASE WHEN {alias}.state = 'reused' THEN (
            SELECT sum(part.value::float8) FROM jsonb_each_text({alias}.timings) part
            WHERE part.key IN ('load', 'run', 'save'))
        ELSE extract(epoch FROM {alias}.finished_at - {alias}.started_at)::float8 END"""  # noqa: S608 - an alias


def chosen(run: str) -> str:
    """Seconds that a row of `runs` has waited, or waits, for its owner to choose since it was started last."""
    waited = "extract(epoch FROM coalesce(asked.finished_at, now()) - asked.queued_at)::float8"
    return f"""(SELECT coalesce(sum({waited}), 0) FROM step_runs asked
        WHERE asked.run_id = {run}.id AND asked.kind = 'pick' AND asked.queued_at >= {run}.started_at)"""  # noqa: S608 - an alias


def run(run_id: str) -> str:
    """Seconds that all steps of a run took together."""
    return f"(SELECT sum({step('took')}) FROM step_runs took WHERE took.run_id = {run_id})"  # noqa: S608 - a column
