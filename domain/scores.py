"""What others' doing comes to, kept beside a pipeline: its votes, who grew offshoots from it, and its orders.

The database keeps the tallies itself, by triggers; whoever changes one brings the numbers up to it with `recount`, in
the same transaction. What was changed by the database alone (an account that is deleted takes its votes along) is
marked `recount_due` there and found by `catch_up`. All of it is made of one row, however many votes there are.
"""

from uuid import UUID

from domain import db, ranking

_TALLIES = """
SELECT rating_tally, offshoot_tally, grown_tally, coalesce(published_at, created_at) AS since
FROM pipelines WHERE id = $1 FOR NO KEY UPDATE
"""

_NUMBERS = (
    "rating_count",
    "rating_sum",
    "rating_score",
    "trend",
    "offshoot_count",
    "offshoot_weight",
    "grown_count",
    "grown_weight",
    "recount_due",
)
_TYPES = ("int", "int", "float8", "float8", "int", "int", "int", "int", "boolean")
_GIVEN = ", ".join(f"${place}::{kind}" for place, kind in enumerate(_TYPES, 2))
_UPDATE = f"""
UPDATE pipelines SET ({", ".join(_NUMBERS)}) = ROW({_GIVEN})
WHERE id = $1 AND ({", ".join(_NUMBERS)}) IS DISTINCT FROM ({_GIVEN})
"""  # noqa: S608 - constants only

_DUE = "SELECT id FROM pipelines WHERE recount_due LIMIT $1"


async def recount(pipeline_id: UUID) -> ranking.Tally:
    """Bring a pipeline's numbers and orders up to its tallies, and return that of its votes. Nothing for an unknown id.

    Call it inside the transaction that changed them.
    """
    row = await db.fetchrow(_TALLIES, pipeline_id)
    if row is None:
        return ranking.NO_VOTES
    tally: ranking.Tally = row["rating_tally"]
    offshoots, line = row["offshoot_tally"], row["grown_tally"]
    heavy = ranking.grown(offshoots)
    await db.execute(
        _UPDATE,
        pipeline_id,
        sum(tally),
        ranking.total(tally),
        ranking.score(tally),
        ranking.trend(ranking.points(tally, heavy), row["since"]),
        sum(offshoots),
        ranking.whole(heavy),
        sum(line),
        ranking.whole(ranking.grown(line)),
        False,
    )
    return tally


async def catch_up(limit: int = 500) -> int:
    """Recount up to `limit` pipelines whose tallies the database changed alone; how many there were."""
    rows = await db.fetch(_DUE, limit)
    for row in rows:
        async with db.transaction():
            await recount(row["id"])
    return len(rows)
