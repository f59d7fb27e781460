"""One to five stars that one person gives a pipeline; never one's own."""

from uuid import UUID

import msgspec

from domain import db, ranking
from domain.errors import Invalid, NotFound, Refused


class Score(msgspec.Struct, frozen=True):
    """How a pipeline is rated: the mean of its stars (None without votes), how many people
    voted, and the reader's own stars (None if they gave none)."""

    mean: float | None
    count: int
    yours: int | None


_VISIBLE = """
SELECT p.owner_id, p.rating_count, p.rating_sum, p.offshoot_count, coalesce(p.published_at, p.created_at) AS since
FROM pipelines p
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility IN ('public', 'unlisted') OR p.owner_id = $2)
FOR NO KEY UPDATE
"""

_GIVE = """
WITH before AS (SELECT stars FROM ratings WHERE pipeline_id = $1 AND person_id = $2)
INSERT INTO ratings (pipeline_id, person_id, stars) VALUES ($1, $2, $3)
ON CONFLICT (pipeline_id, person_id) DO UPDATE SET stars = excluded.stars, updated_at = now()
RETURNING (SELECT stars FROM before)
"""

_TAKE = "DELETE FROM ratings WHERE pipeline_id = $1 AND person_id = $2 RETURNING stars"

_SUMS = """
UPDATE pipelines SET rating_count = $2, rating_sum = $3, rating_score = $4, trend = $5 WHERE id = $1
"""

_READ = """
SELECT p.rating_count, p.rating_sum,
    (SELECT stars FROM ratings r WHERE r.pipeline_id = p.id AND r.person_id = $2) AS yours
FROM pipelines p
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility IN ('public', 'unlisted') OR p.owner_id = $2)
"""


async def rate(pipeline_id: UUID, person_id: UUID, stars: int) -> Score:
    """Give or change one person's rating (1 to 5 stars) and return the new score.

    Raises NotFound for a pipeline the person may not see, Refused for their own, Invalid for
    other numbers of stars.
    """
    if not 1 <= stars <= 5:
        raise Invalid({"stars": "From 1 to 5 stars"})
    async with db.transaction():
        pipeline = await _ratable(pipeline_id, person_id)
        before: int | None = await db.fetchval(_GIVE, pipeline_id, person_id, stars)
        return await _count(pipeline_id, pipeline, stars - (before or 0), 0 if before else 1, stars)


async def withdraw(pipeline_id: UUID, person_id: UUID) -> Score:
    """Take back one person's rating, if there is one, and return the new score.

    Raises NotFound for a pipeline the person may not see, Refused for their own.
    """
    async with db.transaction():
        pipeline = await _ratable(pipeline_id, person_id)
        before: int | None = await db.fetchval(_TAKE, pipeline_id, person_id)
        return await _count(pipeline_id, pipeline, -(before or 0), -1 if before else 0, None)


async def read(pipeline_id: UUID, viewer_id: UUID | None) -> Score:
    """The score as this reader sees it. Raises NotFound for a pipeline they may not see."""
    row = await db.fetchrow(_READ, pipeline_id, viewer_id)
    if row is None:
        raise NotFound()
    return Score(ranking.mean(row["rating_sum"], row["rating_count"]), row["rating_count"], row["yours"])


async def _ratable(pipeline_id: UUID, person_id: UUID) -> db.Record:
    """The pipeline's row, locked, so that sums change one vote at a time."""
    row = await db.fetchrow(_VISIBLE, pipeline_id, person_id)
    if row is None:
        raise NotFound()
    if row["owner_id"] == person_id:
        raise Refused("This is yours. Others rate it.")
    return row


async def _count(pipeline_id: UUID, row: db.Record, stars: int, votes: int, yours: int | None) -> Score:
    """Add `stars` and `votes` (each may be negative) to the sums and to what is made of them."""
    total, count = row["rating_sum"] + stars, row["rating_count"] + votes
    trend = ranking.trend(ranking.points(total, count, row["offshoot_count"]), row["since"])
    await db.execute(_SUMS, pipeline_id, count, total, ranking.score(total, count), trend)
    return Score(ranking.mean(total, count), count, yours)
