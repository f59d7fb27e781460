"""What feeds say: the newest of a list, with prompt, license, author and picture.

A list's entry is a pipeline, a result's entry is a published run. Only what everybody may see
is here: feed readers don't log in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import replace

from domain import db, lists, neighbors, paging
from domain.errors import NotFound
from domain.licenses import ALL_RIGHTS
from domain.lists import LISTED, PAGE, Filter, Place
from domain.things import VARIED

MAX_LINEAGE = 10_000
"""Offshoots of a pipeline inside a line that its lineage feed looks through."""


class Picture(Struct, frozen=True):
    """A stored file. Width and height in pixels, where they are known."""

    sha256: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None


class Entry(Struct, frozen=True):
    """One entry. `run_id` is None for a pipeline, and both ids are for what is neither, such as a collection; `text`
    is the result in words, where it is one.

    `parent_id` and `parent_title` name the pipeline it grew from, if everybody may see that. `version`
    is the number of a saved version, where the entry is about one; `note` what its list says of it.
    """

    id: UUID
    pipeline_id: UUID | None
    run_id: UUID | None
    number: int | None
    title: str
    prompt: str
    text: str
    model: str
    seed: int | None
    description: str
    license: str
    tags: list[str]
    handle: str
    name: str
    generation: int
    published: datetime
    updated: datetime
    parent_id: UUID | None
    parent_title: str | None
    picture: Picture | None
    path: str = ""
    """Where it leads, if not to the run or the pipeline."""
    version: int | None = None
    """The number of the version that the entry is about."""
    note: str = ""
    """What the list says of it."""


def other(
    id_: UUID,
    title: str,
    path: str,
    handle: str,
    name: str,
    published: datetime,
    *,
    updated: datetime | None = None,
    description: str = "",
    pipeline_id: UUID | None = None,
    picture: Picture | None = None,
) -> Entry:
    """An entry about something else than a pipeline or a result: words, who they are by, and where they lead."""
    return Entry(
        id=id_,
        pipeline_id=pipeline_id,
        run_id=None,
        number=None,
        title=title,
        prompt="",
        text="",
        model="",
        seed=None,
        description=description,
        license=ALL_RIGHTS,
        tags=[],
        handle=handle,
        name=name,
        generation=1,
        published=published,
        updated=updated or published,
        parent_id=None,
        parent_title=None,
        picture=picture,
        path=path,
    )


class Page(Struct, frozen=True):
    """One page of a feed, newest first: cursors of the pages around it.

    `previous` is "" when that is the first page, and None on the first page itself."""

    entries: list[Entry]
    next: str | None
    previous: str | None = None


class Subject(Struct, frozen=True):
    """The pipeline that a feed is about."""

    id: UUID
    title: str
    handle: str


_ENTRY = """p.id AS entry_id, p.id, NULL::uuid, NULL::int, p.title, p.prompt, p.cover_text, p.model, r.seed,
    p.description, p.license, p.tags, o.handle, o.name, p.generation, p.published_at,
    greatest(p.published_at, p.updated_at), parent.id, parent.title,
    a.sha256, a.media_type, a.bytes, a.width, a.height"""

_VISIBLE_PARENT = """LEFT JOIN pipelines parent ON parent.id = p.parent_id
    AND parent.visibility = 'public' AND parent.deleted_at IS NULL"""

_JOINS = f"""JOIN people o ON o.id = p.owner_id
LEFT JOIN artifacts a ON a.sha256 = p.cover_sha256
LEFT JOIN runs r ON r.id = p.cover_run_id
{_VISIBLE_PARENT}"""


async def of_list(of: Filter, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of listed pipelines: the gallery in an order, a medium, a tag or a person.

    Raises NotFound, with words, for an order, medium or cursor that does not exist.
    """

    async def read(place: Place | None, backward: bool) -> paging.Rows:
        columns, joins = ("p.id", "") if backward else (_ENTRY, _JOINS)
        sql, args = lists.select(columns, joins, of, place, limit + 1, backward=backward)
        return await db.fetch(sql, *args)

    rows, next_, previous = await paging.paged(read, after, limit, of.order)
    return Page([_entry(row) for row in rows], next_, previous)


_CHOSEN = f"""
SELECT p.published_at, {_ENTRY} FROM unnest($1::uuid[]) WITH ORDINALITY AS chosen (id, place)
JOIN pipelines p ON p.id = chosen.id {_JOINS}
WHERE {LISTED} ORDER BY chosen.place"""  # noqa: S608 - constants only


async def entries(ids: Sequence[UUID]) -> list[Entry]:
    """The listed ones of these pipelines, in the order given."""
    return [_entry(row) for row in await db.fetch(_CHOSEN, list(ids))]


_SUBJECT = """
SELECT p.id, p.title, o.handle FROM pipelines p JOIN people o ON o.id = p.owner_id
WHERE p.id = $1 AND p.visibility IN ('public', 'unlisted') AND p.deleted_at IS NULL
"""


async def subject(pipeline_id: UUID) -> Subject:
    """The pipeline a feed is about. Raises NotFound for one that not everybody may see."""
    row = await db.fetchrow(_SUBJECT, pipeline_id)
    if row is None:
        raise NotFound
    return Subject(*row)


async def grid_subject(grid_id: UUID) -> Subject:
    """The grid a feed is about: its pipeline's title, and who made the grid. Raises NotFound as `subject` does."""
    row = await db.fetchrow(
        """
        SELECT g.id, p.title, o.handle FROM grids g JOIN pipelines p ON p.id = g.pipeline_id
        JOIN people o ON o.id = g.owner_id
        WHERE g.id = $1 AND g.published_at IS NOT NULL AND p.visibility IN ('public', 'unlisted')
          AND p.deleted_at IS NULL
        """,
        grid_id,
    )
    if row is None:
        raise NotFound
    return Subject(*row)


_RUNS = f"""
SELECT r.published_at, r.id AS entry_id, p.id, r.id, r.number, p.title,
    coalesce(drawn.prompt, p.prompt), coalesce(last.output_text, ''), coalesce(drawn.model, p.model), r.seed,
    p.description, p.license, p.tags, o.handle, o.name, p.generation, r.published_at, r.published_at,
    parent.id, parent.title, a.sha256, a.media_type, a.bytes, a.width, a.height
FROM runs r JOIN pipelines p ON p.id = r.pipeline_id JOIN people o ON o.id = r.owner_id
{_VISIBLE_PARENT}
LEFT JOIN LATERAL (
    SELECT s.resolved ->> 'prompt' AS prompt, s.model FROM step_runs s
    WHERE s.run_id = r.id AND s.resolved ? 'prompt' ORDER BY s.ordinal LIMIT 1
) drawn ON true
LEFT JOIN LATERAL (
    SELECT s.output_text FROM step_runs s WHERE s.run_id = r.id ORDER BY s.ordinal DESC LIMIT 1
) last ON true
LEFT JOIN LATERAL (
    SELECT u.sha256 FROM step_runs s JOIN outputs u ON u.step_run_id = s.id
    WHERE s.run_id = r.id ORDER BY s.ordinal DESC, u.position LIMIT 1
) cover ON true
LEFT JOIN artifacts a ON a.sha256 = cover.sha256"""  # noqa: S608 - constants only

_RESULTS = f"{_RUNS} WHERE r.pipeline_id = $1 AND r.visibility = 'published' AND NOT r.apart"
_BY_PERSON = f"""{_RUNS} WHERE r.owner_id = $1 AND r.visibility = 'published' AND NOT r.apart
    AND p.visibility = 'public' AND p.deleted_at IS NULL"""
_CELLS = f"""{_RUNS} WHERE r.visibility = 'published'
    AND r.id IN (SELECT run_id FROM grid_cells WHERE grid_id = $1)"""  # noqa: S608 - constants only


async def of_results(pipeline_id: UUID, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of a pipeline's published runs; those of grids have feeds of their own.

    Raises NotFound for a cursor that does not exist."""
    return await _page(_RESULTS, ("r.published_at", "r.id"), pipeline_id, after, limit)


async def of_runs(person_id: UUID, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of the runs that a person published, of anybody's public pipelines.

    Raises NotFound for a cursor that does not exist."""
    return await _page(_BY_PERSON, ("r.published_at", "r.id"), person_id, after, limit)


async def of_grid(grid_id: UUID, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of a grid's published cells. Raises NotFound for a cursor that does not exist."""
    return await _page(_CELLS, ("r.published_at", "r.id"), grid_id, after, limit)


_GRIDS = f"""
SELECT g.published_at, g.id AS entry_id, p.id, NULL::uuid, NULL::int,
    p.title || ': ' || {VARIED},
    p.prompt, '', p.model, g.seed, '', p.license, p.tags, o.handle, o.name, p.generation, g.published_at,
    g.published_at, parent.id, parent.title, a.sha256, a.media_type, a.bytes, a.width, a.height
FROM grids g JOIN pipelines p ON p.id = g.pipeline_id JOIN people o ON o.id = g.owner_id
{_VISIBLE_PARENT}
LEFT JOIN LATERAL (
    SELECT u.sha256 FROM grid_cells c JOIN runs r ON r.id = c.run_id JOIN step_runs s ON s.run_id = r.id
    JOIN outputs u ON u.step_run_id = s.id
    WHERE c.grid_id = g.id AND r.visibility = 'published' ORDER BY c.cell, s.ordinal DESC, u.position LIMIT 1
) cover ON true
LEFT JOIN artifacts a ON a.sha256 = cover.sha256
WHERE g.published_at IS NOT NULL"""  # noqa: S608 - constants only
_OF_PIPELINE = f"{_GRIDS} AND g.pipeline_id = $1"


async def of_grids(pipeline_id: UUID, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of a pipeline's published grids. Raises NotFound for a cursor that does not exist."""
    page = await _page(_OF_PIPELINE, ("g.published_at", "g.id"), pipeline_id, after, limit)
    return replace(page, entries=[_of_grid(entry) for entry in page.entries])


def _of_grid(entry: Entry) -> Entry:
    return replace(entry, path=f"/grids/{entry.id}")


_OF_LINE = f"""
SELECT p.published_at, {_ENTRY} FROM pipelines p {_JOINS}
WHERE p.root_id = $1 AND {LISTED}"""  # noqa: S608 - constants only
_LINEAGE = f"""
WITH RECURSIVE grown (id) AS (
    SELECT id FROM pipelines WHERE parent_id = $1
    UNION
    SELECT c.id FROM grown g JOIN pipelines c ON c.parent_id = g.id
), family AS (SELECT id FROM grown WHERE id <> $1 LIMIT {MAX_LINEAGE})
SELECT p.published_at, {_ENTRY} FROM family f JOIN pipelines p ON p.id = f.id {_JOINS}
WHERE {LISTED}"""  # noqa: S608 - constants only
"""`UNION` drops what was found before, so that a circle in the data ends."""
_BY_INDEX = "SET LOCAL enable_seqscan = off"
"""Where one line is most of the site, PostgreSQL takes every pipeline for an offshoot of the one asked for."""


async def of_lineage(pipeline_id: UUID, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of everything listed that grew from a pipeline, near or far.

    Below the first of a line that is the whole line, read by index; below others, the first
    `MAX_LINEAGE` that grew are looked through.
    """
    first = await db.fetchval("SELECT root_id IS NULL FROM pipelines WHERE id = $1", pipeline_id)
    async with db.transaction():
        await db.execute(_BY_INDEX)
        return await _page(_OF_LINE if first else _LINEAGE, ("p.published_at", "p.id"), pipeline_id, after, limit)


_REVIEWS = """
SELECT r.reviewed_at, r.person_id, p.id, NULL::uuid, NULL::int, p.title || ': ' || r.stars || ' of 5', '', '', '',
    NULL::bigint, r.review, 'LicenseRef-All-Rights-Reserved', '{}'::text[], o.handle, o.name, 1, r.reviewed_at,
    r.updated_at, NULL::uuid, NULL::text, NULL::text
FROM ratings r JOIN people o ON o.id = r.person_id JOIN pipelines p ON p.id = r.pipeline_id
WHERE r.pipeline_id = $1 AND r.review <> ''"""


async def of_reviews(pipeline_id: UUID, after: str | None = None, limit: int = PAGE) -> Page:
    """A page of what people wrote about a pipeline. Raises NotFound for a cursor that does not exist."""
    found = await _page(_REVIEWS, ("r.reviewed_at", "r.person_id"), pipeline_id, after, limit)
    at = f"/pipelines/{pipeline_id}/reviews#by-"
    entries = [replace(entry, id=uuid5(pipeline_id, str(entry.id)), path=at + entry.handle) for entry in found.entries]
    return replace(found, entries=entries)


_SIMILAR = neighbors.sql(f"n.distance, {_ENTRY}", _JOINS, neighbors.MANY)


async def of_similar(pipeline_id: UUID) -> Page:
    """The listed pipelines nearest in meaning, the nearest first: one page and no more."""
    return Page([_entry(row) for row in await db.fetch(_SIMILAR, pipeline_id)], None)


_PIPELINES = f"SELECT p.published_at, {_ENTRY} FROM pipelines p {_JOINS} WHERE p.id = ANY($1)"  # noqa: S608 - constants


async def by_ids(pipelines: Sequence[UUID], runs: Sequence[UUID] = (), grids: Sequence[UUID] = ()) -> dict[UUID, Entry]:
    """Entries of pipelines, runs and published grids by their ids, in three queries at most; who may see them is the
    caller's to know.

    A pipeline that no list holds has no time of publication: `told` gives it one.
    """
    found: dict[UUID, Entry] = {}
    if pipelines:
        found |= {row[1]: _entry(row) for row in await db.fetch(_PIPELINES, list(pipelines))}
    if runs:
        found |= {row[1]: _entry(row) for row in await db.fetch(f"{_RUNS} WHERE r.id = ANY($1)", list(runs))}
    if grids:
        rows = await db.fetch(f"{_GRIDS} AND g.id = ANY($1)", list(grids))
        found |= {row[1]: _of_grid(_entry(row)) for row in rows}
    return found


def told(entry: Entry, at: datetime, note: str = "") -> Entry:
    """The entry as it came into somebody's list: at that time, and with what the list says of it."""
    return replace(entry, published=at, updated=max(at, entry.updated or at), note=note)


async def _page(sql: str, by: tuple[str, str], of: UUID, after: str | None, limit: int) -> Page:
    rows, next_, previous = await paging.paged(paging.keyset(sql, by, of, limit), after, limit)
    return Page([_entry(row) for row in rows], next_, previous)


def _entry(row: Any) -> Entry:
    """An entry from a row: the order value, then the fields in order, then the picture's."""
    picture = Picture(*row[20:25]) if row[20] is not None else None
    return Entry(*(*row[1:20], picture))
