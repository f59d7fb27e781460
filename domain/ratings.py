"""One to five stars that one person gives a pipeline, with a review if they like; never one's own.

A vote touches a bounded number of rows, all by index. Its standing (`domain.ranking`) is found when
it is given, and again by `reweigh` when that is due: the giver's account grows up, or they vote
again for the same owner. The database keeps each pipeline's tally of votes itself.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from domain import db, ranking
from domain.errors import Invalid, NotFound, Refused
from domain.ranking import BREADTH, OFTEN, Standing, Voter

MAX_REVIEW = 2_000
"""Characters of a review."""
NEIGHBORS = 100
"""Other votes that one vote marks to be weighed again; what is more waits for its own day."""


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

_VOTERS = f"""
SELECT v.id, v.created_at, clock_timestamp() AS now,
    EXISTS (SELECT FROM pipelines p WHERE p.owner_id = v.id AND p.visibility = 'public' AND p.deleted_at IS NULL
        AND p.published_at IS NOT NULL) AS published,
    (SELECT count(*) FROM (SELECT FROM ratings WHERE person_id = v.id AND owner_id = $2 AND pipeline_id <> $3
        LIMIT {OFTEN}) r) AS others,
    (SELECT count(*) FROM (SELECT FROM ratings WHERE person_id = $2 AND owner_id = v.id LIMIT {OFTEN}) r) AS returned,
    (WITH RECURSIVE rated (owner_id, n) AS (
        (SELECT owner_id, 1 FROM ratings WHERE person_id = v.id ORDER BY owner_id LIMIT 1)
        UNION ALL
        SELECT (SELECT r.owner_id FROM ratings r WHERE r.person_id = v.id AND r.owner_id > rated.owner_id
                ORDER BY r.owner_id LIMIT 1), n + 1
        FROM rated WHERE owner_id IS NOT NULL AND n < {BREADTH + 2})
     SELECT count(*) FROM rated WHERE owner_id <> $2) AS breadth
FROM people v WHERE v.id = ANY($1::uuid[])
"""  # noqa: S608 - only constants are put in
"""What is known of people who vote for pipeline $3 of owner $2. `others` leaves that vote out; owners
are stepped through by index, and no further than matters."""

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

_TALLY = """
SELECT rating_tally, offshoot_count, coalesce(published_at, created_at) AS since FROM pipelines WHERE id = $1
"""

_SUMS = """
UPDATE pipelines SET rating_count = $2, rating_sum = $3, rating_score = $4, trend = $5 WHERE id = $1
    AND (rating_count, rating_sum, rating_score, trend) IS DISTINCT FROM ($2::int, $3::int, $4::float8, $5::float8)
"""

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
        (known,) = await db.fetch(_VOTERS, [person_id], owner_id, pipeline_id)
        (given,) = await db.fetch(_GIVE, pipeline_id, person_id, stars, owner_id, *_weighed(known), review)
        if given["new"]:
            await _mark(known, owner_id)
        return await _count(pipeline_id, stars, given["review"])


async def withdraw(pipeline_id: UUID, person_id: UUID) -> Score:
    """Take back one person's rating and review, if there are any, and return the new score.

    Raises NotFound for a pipeline the person may not see, Refused for their own.
    """
    async with db.transaction():
        owner_id = await _ratable(pipeline_id, person_id)
        if await db.execute(_TAKE, pipeline_id, person_id):
            (known,) = await db.fetch(_VOTERS, [person_id], owner_id, pipeline_id)
            await _mark(known, owner_id)
        return await _count(pipeline_id, None, "")


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


def _weighed(known: db.Record) -> tuple[Standing, datetime]:
    """The standing of a person's vote, and when to look at it again."""
    now, joined = known["now"], known["created_at"]
    voter = Voter(now - joined, known["published"], known["others"] + 1, known["returned"], known["breadth"])
    return ranking.standing(voter), ranking.look_again(joined, now)


async def _count(pipeline_id: UUID, yours: int | None, review: str) -> Score:
    """Bring the pipeline's sums and orders up to its tally."""
    row = await db.fetchrow(_TALLY, pipeline_id)
    assert row is not None  # its row is locked
    tally = row["rating_tally"]
    trend = ranking.trend(ranking.points(tally, row["offshoot_count"]), row["since"])
    await db.execute(_SUMS, pipeline_id, sum(tally), ranking.total(tally), ranking.score(tally), trend)
    return of_tally(tally, yours, review)


# votes whose standing is to be found again

_MARKED = """
UPDATE ratings SET weigh_at = now() WHERE (pipeline_id, person_id) IN (
    SELECT pipeline_id, person_id FROM ratings WHERE {} AND weigh_at > now() LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OF_PERSON = _MARKED.format("person_id = $1")
_OF_PAIR = _MARKED.format("person_id = $1 AND owner_id = $3")

_DUE = "SELECT pipeline_id, person_id FROM ratings WHERE weigh_at <= clock_timestamp() ORDER BY weigh_at LIMIT $1"

_WEIGH = """
UPDATE ratings r SET owner_id = $2, standing = w.standing, weigh_at = w.due
FROM unnest($3::uuid[], $4::int[], $5::timestamptz[]) AS w (person_id, standing, due)
WHERE r.pipeline_id = $1 AND r.person_id = w.person_id
"""


async def _mark(known: db.Record, owner_id: UUID) -> None:
    """Have the votes weighed again whose standing may hang on one vote more or less of this person for this owner.

    `domain.ranking` asks for `OFTEN` votes and `BREADTH` owners: only the votes that cross those lines matter.
    """
    person_id, others = known["id"], known["others"]
    if others in (0, OFTEN - 1):
        await db.execute(_OF_PAIR, owner_id, NEIGHBORS, person_id)
    if others == OFTEN - 1:
        await db.execute(_OF_PAIR, person_id, NEIGHBORS, owner_id)
    if others == 0 and known["breadth"] == BREADTH:
        await db.execute(_OF_PERSON, person_id, NEIGHBORS)


async def reweigh(limit: int = 500) -> int:
    """Find the standing of up to `limit` votes that are due, and bring their pipelines' orders up to it.

    Returns how many were looked at: 0 when none is due. Any number may run at once.
    """
    due: dict[UUID, list[UUID]] = {}
    rows = await db.fetch(_DUE, limit)
    for row in rows:
        due.setdefault(row["pipeline_id"], []).append(row["person_id"])
    for pipeline_id, people in due.items():
        await _reweigh(pipeline_id, people)
    return len(rows)


async def _reweigh(pipeline_id: UUID, people: Sequence[UUID]) -> None:
    async with db.transaction():
        owner_id = await db.fetchval("SELECT owner_id FROM pipelines WHERE id = $1 FOR NO KEY UPDATE", pipeline_id)
        if owner_id is None:
            return
        known = await db.fetch(_VOTERS, people, owner_id, pipeline_id)
        found = [_weighed(row) for row in known]
        ids, standings, days = [row["id"] for row in known], [one[0] for one in found], [one[1] for one in found]
        await db.execute(_WEIGH, pipeline_id, owner_id, ids, standings, days)
        await _count(pipeline_id, None, "")
