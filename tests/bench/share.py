"""What a run adds to the model's own work: the engine's time for a step over the time of the bare call.

The engine's time is what the step's page and receipt name: from the job's parameters to its pictures, with
progress and previews, without loading the model and without encoding and saving. What comes before and after
does not grow with the passes and is part of "wait a run adds".
"""

import statistics
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain import db

ENGINE = "model call in a run / bare call, 20 steps"


async def engine_seconds(run_id: UUID | str) -> float:
    """What the engine took for all steps of a run that has succeeded."""
    seconds: float = await db.fetchval(
        "SELECT sum((timings ->> 'run')::float8) FROM step_runs WHERE run_id = $1 AND state = 'succeeded'", run_id
    )
    return seconds


def rows(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The row for pairs, taken in turn, of the engine's seconds and the bare call's."""
    ratios = [engine / bare for engine, bare in pairs]
    return {ENGINE: {"ratio": statistics.median(ratios), "worst": max(ratios), "best": min(ratios)}}
