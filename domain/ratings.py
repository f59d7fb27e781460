"""One to five stars that one person gives a pipeline, with a review if they like; never one's own.

A vote touches a bounded number of rows, all by index. Its standing is found when it is given, and again when that
is due (`domain.standings`): the giver's account grows up, or they vote again for the same owner. The database keeps
each pipeline's tally of votes itself.
"""

from uuid import UUID

import msgspec

from domain import db, ranking, scores, standings
from domain.errors import Invalid, NotFound, Refused

MAX_REVIEW = 2_000
"""Characters of a review."""


class Score(msgspec.Struct, frozen=True):
    """How a pipeline is rated: the mean of its stars (None without votes), how many people
    voted, and the reader's own stars (None if they gave none). `spread` counts those who gave one,
    two … five stars; `review` is the reader's own."""

    mean: float | None
    count: int
    yours: int | None
    spread: tuple[int, ...] = (0,) * ranking.STARS
    review: str = ""


_VISIBLE = """
SELECT p.owner_id FROM pipelines p
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility IN ('public', 'unlisted') OR p.owner_id = $2)
FOR NO KEY UPDATE
"""

_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('rater ' || $1::text, 0))"
"""One vote of a person at a time: each must see the others to know what they come to together."""

_GIVE = """
INSERT INTO ratings (pipeline_id, person_id, stars, owner_id, standing, weigh_at, review, reviewed_at)
VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, ''), CASE WHEN $7 <> '' THEN now() END)
ON CONFLICT (pipeline_id, person_id) DO UPDATE SET
    stars = excluded.stars, owner_id = excluded.owner_id, standing = excluded.standing, weigh_at = excluded.weigh_at,
    review = coalesce($7, ratings.review),
    reviewed_at = CASE WHEN coalesce($7, ratings.review) <> '' THEN coalesce(ratings.reviewed_at, now()) END,
    updated_at = now()
RETURNING review, xmax = 0 AS new
"""

_TAKE = "DELETE FROM ratings WHERE pipeline_id = $1 AND person_id = $2"

_READ = """
SELECT p.rating_tally, r.stars, r.review
FROM pipelines p LEFT JOIN ratings r ON r.pipeline_id = p.id AND r.person_id = $2
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility IN ('public', 'unlisted') OR p.owner_id = $2)
"""


async def rate(pipeline_id: UUID, person_id: UUID, stars: int, review: str | None = None) -> Score:
    """Give or change one person's rating (1 to 5 stars) and return the new score.

    `review` replaces theirs: "" takes it back, None leaves it. Raises NotFound for a pipeline the
    person may not see, Refused for their own, Invalid for other numbers of stars or a long review.
    """
    review = _clean(stars, review)
    async with db.transaction():
        owner_id = await _ratable(pipeline_id, person_id)
        (known,) = await standings.find("ratings", [person_id], owner_id, pipeline_id)
        (given,) = await db.fetch(_GIVE, pipeline_id, person_id, stars, owner_id, known.standing, known.due, review)
        if given["new"]:
            await standings.mark("ratings", known, owner_id)
        return of_tally(await scores.recount(pipeline_id), stars, given["review"])


async def withdraw(pipeline_id: UUID, person_id: UUID) -> Score:
    """Take back one person's rating and review, if there are any, and return the new score.

    Raises NotFound for a pipeline the person may not see, Refused for their own.
    """
    async with db.transaction():
        owner_id = await _ratable(pipeline_id, person_id)
        if await db.execute(_TAKE, pipeline_id, person_id):
            (known,) = await standings.find("ratings", [person_id], owner_id, pipeline_id)
            await standings.mark("ratings", known, owner_id)
        return of_tally(await scores.recount(pipeline_id), None, "")


async def read(pipeline_id: UUID, viewer_id: UUID | None) -> Score:
    """The score as this reader sees it. Raises NotFound for a pipeline they may not see."""
    row = await db.fetchrow(_READ, pipeline_id, viewer_id)
    if row is None:
        raise NotFound()
    return of_tally(row["rating_tally"], row["stars"], row["review"] or "")


def of_tally(tally: ranking.Tally, yours: int | None, review: str) -> Score:
    """The score that a pipeline's tally comes to, and the reader's own part in it."""
    count = sum(tally)
    return Score(ranking.mean(ranking.total(tally), count), count, yours, ranking.spread(tally), review)


def _clean(stars: int, review: str | None) -> str | None:
    """The review as it is kept. Raises Invalid."""
    errors: dict[str, str] = {}
    kept = review.strip() if review is not None else None
    if not 1 <= stars <= 5:
        errors["stars"] = "From 1 to 5 stars"
    if kept is not None and len(kept) > MAX_REVIEW:
        errors["review"] = f"At most {MAX_REVIEW:,} characters; this has {len(kept):,}"
    if errors:
        raise Invalid(errors)
    return kept


async def _ratable(pipeline_id: UUID, person_id: UUID) -> UUID:
    """The pipeline's owner; its row is locked, so that sums change one vote at a time."""
    await db.execute(_ALONE, str(person_id))
    owner_id: UUID | None = await db.fetchval(_VISIBLE, pipeline_id, person_id)
    if owner_id is None:
        raise NotFound()
    if owner_id == person_id:
        raise Refused("This is yours. Others rate it.")
    return owner_id
