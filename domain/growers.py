"""Who grew offshoots from a pipeline, for the orders that count them: other people, each once, for what is listed.

A person stands in `growers` of the pipeline that theirs grew from, and with `line` of the first pipeline of the line.
Their standing is found as that of voters (`domain.standings`), and the database keeps the tallies of both.
"""

from datetime import timedelta
from uuid import UUID

from domain import db, scores, standings
from domain.lists import LISTED

_REACHED = """
SELECT c.owner_id AS person_id, up.id, up.owner_id, reached.line
FROM pipelines c CROSS JOIN LATERAL (VALUES (c.parent_id, false), (c.root_id, true)) reached (id, line)
JOIN pipelines up ON up.id = reached.id WHERE c.id = $1 AND up.owner_id <> c.owner_id ORDER BY reached.line
"""

_LOCK = "SELECT FROM pipelines WHERE id = $1 FOR NO KEY UPDATE"

_STANDS = f"""
SELECT EXISTS (SELECT FROM pipelines p WHERE p.{{column}} = $1 AND p.owner_id = $2 AND {LISTED}) AS listed,
    EXISTS (SELECT FROM growers WHERE pipeline_id = $1 AND person_id = $2 AND line = $3) AS known
"""  # noqa: S608 - constants only
_NEAR, _FAR = (_STANDS.format(column=column) for column in ("parent_id", "root_id"))

_COME = """
INSERT INTO growers (pipeline_id, person_id, line, owner_id, standing, weigh_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""
_GO = "DELETE FROM growers WHERE pipeline_id = $1 AND person_id = $2 AND line = $3"


async def settle(pipeline_id: UUID) -> None:
    """Count or no longer count a pipeline's owner where it grew from, as it is listed now.

    Call it inside the transaction that changed the pipeline. Locks go from offshoot to parent to the first of the
    line, always in that order. Nothing happens for one that grew from nothing.
    """
    for row in await db.fetch(_REACHED, pipeline_id):
        await db.execute(_LOCK, row["id"])
        await _settle(row["id"], row["owner_id"], row["person_id"], row["line"])


async def _settle(pipeline_id: UUID, owner_id: UUID, person_id: UUID, line: bool) -> None:
    """The same for one of those it grew from, whose row is locked: nobody else of its growers comes or goes."""
    (found,) = await db.fetch(_FAR if line else _NEAR, pipeline_id, person_id, line)
    if found["listed"] == found["known"]:
        return
    (one,) = await standings.find("growers", [person_id], owner_id, pipeline_id)
    if found["listed"]:
        # what is far tells nothing of the two people: only direct offshoots tie them, so only those name the owner
        tie = None if line else owner_id
        await db.execute(_COME, pipeline_id, person_id, line, tie, one.standing, one.due)
    else:
        await db.execute(_GO, pipeline_id, person_id, line)
    if not line:
        await standings.mark("growers", one, owner_id)
    await scores.recount(pipeline_id)


_MISSED = f"""
SELECT p.id FROM pipelines p JOIN pipelines parent ON parent.id = p.parent_id
WHERE p.published_at > now() - $1::interval AND p.parent_id IS NOT NULL AND parent.owner_id <> p.owner_id AND {LISTED}
  AND NOT EXISTS (SELECT FROM growers g WHERE g.pipeline_id = p.parent_id AND g.person_id = p.owner_id AND NOT g.line)
LIMIT $2
"""  # noqa: S608 - constants only
LATELY = timedelta(days=2)


async def catch_up(limit: int = 500) -> int:
    """Count those whose offshoots were listed lately by an older version of the site, while this one was put in its
    place; how many there were."""
    rows = await db.fetch(_MISSED, LATELY, limit)
    for row in rows:
        async with db.transaction():
            await db.execute(_LOCK, row["id"])
            await settle(row["id"])
    return len(rows)
