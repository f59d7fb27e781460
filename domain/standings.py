"""What people's votes and offshoots weigh: found when they are given, and again when that is due.

Both are kept alike, a row for a pipeline and a person (`ratings`, `growers`), with the pipeline's owner, the standing
(`domain.ranking`) and the day to look at it again: accounts grow up, and ties between two people come and go.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain import db, ranking, scores
from domain.lists import LISTED
from domain.ranking import BREADTH, OFTEN, Standing, Voter

Table = Literal["ratings", "growers"]
TABLES: tuple[Table, ...] = ("ratings", "growers")
NEIGHBORS = 100
"""Other rows that one more or less marks to be weighed again; what is more waits for its own day."""
WORKS = 100
"""Newest pipelines of a person that are looked through for work of their own."""

_VOTERS = f"""
SELECT v.id, v.created_at, clock_timestamp() AS now,
    EXISTS (SELECT FROM (
        SELECT p.parent_id FROM pipelines p WHERE p.owner_id = v.id AND {LISTED}
        ORDER BY p.published_at DESC, p.id DESC LIMIT {WORKS}) own
        LEFT JOIN pipelines parent ON parent.id = own.parent_id WHERE parent.owner_id IS DISTINCT FROM $2) AS published,
    (SELECT count(*) FROM (SELECT FROM {{table}} WHERE person_id = v.id AND owner_id = $2 AND pipeline_id <> $3
        LIMIT {OFTEN}) r) AS others,
    (SELECT count(*) FROM (SELECT FROM {{table}} WHERE person_id = $2 AND owner_id = v.id LIMIT {OFTEN}) r) AS returned,
    (WITH RECURSIVE known (owner_id, n) AS (
        (SELECT owner_id, 1 FROM {{table}} WHERE person_id = v.id ORDER BY owner_id LIMIT 1)
        UNION ALL
        SELECT (SELECT r.owner_id FROM {{table}} r WHERE r.person_id = v.id AND r.owner_id > known.owner_id
                ORDER BY r.owner_id LIMIT 1), n + 1
        FROM known WHERE owner_id IS NOT NULL AND n < {BREADTH + 2})
     SELECT count(*) FROM known WHERE owner_id <> $2) AS breadth
FROM people v WHERE v.id = ANY($1::uuid[])
"""  # noqa: S608 - only constants are put in
"""What is known of people who have a row for pipeline $3 of owner $2. `others` leaves that row out; owners are stepped
through by index, and no further than matters."""

_DUE = "SELECT pipeline_id, person_id FROM {table} WHERE weigh_at <= clock_timestamp() ORDER BY weigh_at LIMIT $1"

_WEIGH = """
UPDATE {table} r SET standing = w.standing, weigh_at = w.due, owner_id = {owner}
FROM unnest($3::uuid[], $4::int[], $5::timestamptz[]) AS w (person_id, standing, due)
WHERE r.pipeline_id = $1 AND r.person_id = w.person_id
"""
_OWNERS = {"ratings": "$2", "growers": "CASE WHEN NOT r.line THEN $2::uuid END"}


class Known(Struct, frozen=True):
    """A person's standing toward a pipeline, the day to look again, and the ties it was made of."""

    person_id: UUID
    standing: Standing
    due: datetime
    others: int
    """Rows for other pipelines of the same owner, up to `OFTEN`."""
    breadth: int
    """Other owners, up to a few more than `BREADTH`."""


async def find(table: Table, people: Sequence[UUID], owner_id: UUID, pipeline_id: UUID) -> list[Known]:
    """The standing of people who have, or are about to have, a row for a pipeline of this owner. One query."""
    rows = await db.fetch(_VOTERS.format(table=table), people, owner_id, pipeline_id)
    return [_known(row) for row in rows]


def _known(row: db.Record) -> Known:
    now, joined = row["now"], row["created_at"]
    voter = Voter(now - joined, row["published"], row["others"] + 1, row["returned"], row["breadth"])
    due = ranking.look_again(joined, now)
    return Known(row["id"], ranking.standing(voter), due, row["others"], row["breadth"])


async def reweigh(limit: int = 500) -> int:
    """Find the standing of up to `limit` votes and as many growers that are due, and bring their pipelines up to it.

    Returns how many were looked at: 0 when nothing is due. Any number may run at once.
    """
    looked = 0
    for table in TABLES:
        due: dict[UUID, set[UUID]] = {}
        rows = await db.fetch(_DUE.format(table=table), limit)
        for row in rows:
            due.setdefault(row["pipeline_id"], set()).add(row["person_id"])
        for pipeline_id, people in due.items():
            await _reweigh(table, pipeline_id, list(people))
        looked += len(rows)
    return looked + await scores.catch_up(limit)


async def _reweigh(table: Table, pipeline_id: UUID, people: Sequence[UUID]) -> None:
    async with db.transaction():
        owner_id = await db.fetchval("SELECT owner_id FROM pipelines WHERE id = $1 FOR NO KEY UPDATE", pipeline_id)
        if owner_id is None:
            return
        found = await find(table, people, owner_id, pipeline_id)
        ids, standings, days = (
            [one.person_id for one in found],
            [one.standing for one in found],
            [one.due for one in found],
        )
        await db.execute(_WEIGH.format(table=table, owner=_OWNERS[table]), pipeline_id, owner_id, ids, standings, days)
        await scores.recount(pipeline_id)


_MARKED = """
UPDATE {table} SET weigh_at = now() WHERE (pipeline_id, person_id) IN (
    SELECT pipeline_id, person_id FROM {table} WHERE {which} AND weigh_at > now() LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OF_PERSON = "person_id = $1"
_OF_PAIR = "person_id = $1 AND owner_id = $3"


async def mark(table: Table, known: Known, owner_id: UUID) -> None:
    """Have the rows weighed again whose standing may hang on one more or less of this person for this owner.

    `domain.ranking` asks for `OFTEN` of them and `BREADTH` owners: only those that cross these lines matter.
    """
    person_id, others = known.person_id, known.others
    pair = _MARKED.format(table=table, which=_OF_PAIR)
    if others in (0, OFTEN - 1):
        await db.execute(pair, owner_id, NEIGHBORS, person_id)
    if others == OFTEN - 1:
        await db.execute(pair, person_id, NEIGHBORS, owner_id)
    if others == 0 and known.breadth == BREADTH:
        await db.execute(_MARKED.format(table=table, which=_OF_PERSON), person_id, NEIGHBORS)
