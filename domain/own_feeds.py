"""One's own runs and grids as feeds: how each stands, and what it made once that is published.

They are read without logging in, at an address that only their owner has, so what is private shows nothing but that
it is there and how it went.
"""

from uuid import UUID

from domain import db, feeds, paging
from domain.lists import PAGE

_OPEN = "p.deleted_at IS NULL AND p.visibility <> 'private'"

_RUNS = f"""
SELECT r.created_at, r.id,
    CASE WHEN r.finished_at IS NULL AND EXISTS (
        SELECT FROM step_runs s WHERE s.run_id = r.id AND s.state = 'choosing'
    ) THEN 'choosing' ELSE r.state END AS state,
    CASE WHEN {_OPEN} THEN p.title ELSE 'A private pipeline' END || ', run ' || r.number AS title,
    coalesce(r.finished_at, r.created_at) AS updated, {_OPEN} AND r.visibility = 'published' AS open,
    o.handle, o.name
FROM runs r JOIN pipelines p ON p.id = r.pipeline_id JOIN people o ON o.id = r.owner_id
WHERE r.owner_id = $1 AND NOT EXISTS (SELECT FROM grid_cells c WHERE c.run_id = r.id)"""  # noqa: S608 - constants only

_GRIDS = f"""
SELECT g.created_at, g.id, 'A grid of ' || CASE WHEN {_OPEN} THEN p.title ELSE 'a private pipeline' END AS title,
    counted.cells, counted.ended, coalesce(counted.updated, g.created_at) AS updated,
    {_OPEN} AND g.published_at IS NOT NULL AS open, o.handle, o.name
FROM grids g JOIN pipelines p ON p.id = g.pipeline_id JOIN people o ON o.id = g.owner_id
CROSS JOIN LATERAL (
    SELECT count(*) AS cells, count(r.finished_at) AS ended, max(r.finished_at) AS updated
    FROM grid_cells c JOIN runs r ON r.id = c.run_id WHERE c.grid_id = g.id
) counted
WHERE g.owner_id = $1"""  # noqa: S608 - constants only

STATES = {
    "queued": "It waits for its turn.",
    "running": "It runs.",
    "choosing": "It waits for your choice.",
    "succeeded": "It is done.",
    "failed": "It failed.",
    "cancelled": "It was stopped.",
}


async def of_runs(person_id: UUID, after: str | None = None, limit: int = PAGE) -> feeds.Page:
    """A page of a person's own runs, newest first, without those of their grids.

    Raises NotFound for a cursor that does not exist."""
    rows, next_, previous = await paging.paged(paging.keyset(_RUNS, ("r.id",), person_id, limit), after, limit)
    published = await feeds.by_ids([], [row["id"] for row in rows if row["open"]])
    page = [published.get(row["id"]) or _plain(row, f"/runs/{row['id']}", STATES[row["state"]]) for row in rows]
    return feeds.Page(page, next_, previous)


async def of_grids(person_id: UUID, after: str | None = None, limit: int = PAGE) -> feeds.Page:
    """A page of a person's own grids, newest first. Raises NotFound for a cursor that does not exist."""
    rows, next_, previous = await paging.paged(paging.keyset(_GRIDS, ("g.id",), person_id, limit), after, limit)
    published = await feeds.by_ids([], [], [row["id"] for row in rows if row["open"]])
    page = [published.get(row["id"]) or _plain(row, f"/grids/{row['id']}", _progress(row)) for row in rows]
    return feeds.Page(page, next_, previous)


def _progress(row: db.Record) -> str:
    return "All cells have ended." if row["ended"] == row["cells"] else f"{row['ended']} of {row['cells']} cells ended."


def _plain(row: db.Record, path: str, words: str) -> feeds.Entry:
    return feeds.other(
        row["id"], row["title"], path, row["handle"], row["name"], row["created_at"],
        updated=row["updated"], description=words,
    )  # fmt: skip
