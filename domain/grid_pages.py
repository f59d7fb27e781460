"""Reading grids: a page's struct in two queries, and lists of grids."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, licenses
from domain.errors import NotFound
from domain.grid_axes import Axis, decode, titles
from domain.lists import decode as read_place
from domain.lists import next_of

GONE = "There is no such grid, or it is private."
OVER = ("succeeded", "failed", "cancelled")
PAGE = 24
TIMED = ("num_inference_steps", "width", "height")
"""Parameters whose times are drawn."""


class CellShown(Struct, frozen=True, kw_only=True):
    """A cell as the page shows it. `seconds` is how long the step that varies took, or its share of a call of the
    model that it was drawn in along with others."""

    cell: int
    run_id: UUID
    number: int
    state: str
    published: bool
    steps: int
    steps_done: int
    part: float
    """The share of the running step that is done, 0 to 1."""
    seed: int
    error: str
    sha256: str | None
    width: int | None
    height: int | None
    text: str
    seconds: float | None
    pixels: int | None
    """Width × height that the timed step was asked for."""

    @property
    def done(self) -> float:
        """The share of the cell that is done, 0 to 1."""
        if self.state in OVER:
            return 1.0
        return min((self.steps_done + self.part) / self.steps, 1.0)


class GridPage(Struct, kw_only=True):
    """A grid and its cells, row by row; None for a cell that the viewer may not see."""

    id: UUID
    pipeline_id: UUID
    pipeline_title: str
    """Empty when the viewer may not see the pipeline (any more)."""
    pipeline_visibility: str
    pipeline_mine: bool
    license: licenses.License
    """The pipeline's."""
    generation: int
    offshoot_count: int
    version_number: int
    owner_handle: str
    owner_name: str
    mine: bool
    axes: list[Axis]
    inputs: dict[str, str]
    seed: int
    created_at: datetime
    published_at: datetime | None
    ended_at: datetime | None
    """When the last of its cells ended that has."""
    cells: list[CellShown | None]
    left: float | None
    """About how many seconds remain, once some cells that ran have ended."""
    tag: str
    """Changes whenever anything a poll shows changes."""

    @property
    def may_fork(self) -> bool:
        """Whether offshoots of its results may be made."""
        return bool(self.pipeline_title) and (self.pipeline_mine or self.license.derivatives)

    @property
    def titles(self) -> list[str]:
        """What its axes are called."""
        return titles(self.axes)

    @property
    def shown(self) -> list[CellShown]:
        """The cells that the viewer may see."""
        return [cell for cell in self.cells if cell is not None]

    @property
    def over(self) -> bool:
        return all(cell.state in OVER for cell in self.shown)

    @property
    def percent(self) -> int:
        """How much of the whole is done, in whole percent."""
        return int(100 * sum(cell.done for cell in self.shown) / max(len(self.shown), 1))

    def count(self, *states: str) -> int:
        """How many of the cells that the viewer sees are in one of the states."""
        return sum(cell.state in states for cell in self.shown)

    @property
    def rows(self) -> list[list[CellShown | None]]:
        """The cells row by row."""
        across = len(self.axes[0].values)
        return [self.cells[at : at + across] for at in range(0, len(self.cells), across)]

    @property
    def timed(self) -> Axis | None:
        """The axis over which times are worth drawing."""
        return next((axis for name in TIMED for axis in self.axes if axis.field == name and axis.step), None)


_GRID = """
SELECT g.id, g.pipeline_id, g.axes, g.inputs, g.seed, g.created_at, g.published_at, v.number AS version_number,
    o.handle AS owner_handle, o.name AS owner_name, coalesce(g.owner_id = $2, false) AS mine,
    CASE WHEN p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2) THEN p.title ELSE '' END
        AS pipeline_title,
    p.visibility AS pipeline_visibility, coalesce(p.owner_id = $2, false) AS pipeline_mine, p.license, p.generation,
    p.offshoot_count, (SELECT max(r.finished_at) FROM grid_cells c JOIN runs r ON r.id = c.run_id
        WHERE c.grid_id = g.id) AS ended_at
FROM grids g JOIN pipelines p ON p.id = g.pipeline_id JOIN versions v ON v.id = g.version_id
JOIN people o ON o.id = g.owner_id
WHERE g.id = $1 AND (g.owner_id = $2 OR g.published_at IS NOT NULL AND p.deleted_at IS NULL
    AND (p.visibility <> 'private' OR p.owner_id = $2))
"""

_CELLS = """
SELECT c.cell, r.id AS run_id, r.number, r.state, r.visibility = 'published' AS published, r.seed,
    work.steps, work.done AS steps_done, work.part, work.fresh, work.error, made.sha256, made.width, made.height,
    coalesce(said.text, '') AS text,
    CASE WHEN r.finished_at IS NULL THEN NULL ELSE extract(epoch FROM r.finished_at)::float8 END AS ended,
    extract(epoch FROM r.started_at)::float8 AS began, extract(epoch FROM now())::float8 AS now,
    (coalesce(timed.timings, source.timings) ->> 'run')::float8
        / coalesce((timed.receipt -> 'batch' ->> 'size')::int, 1) AS seconds,
    (timed.step ->> 'width')::int * (timed.step ->> 'height')::int AS pixels
FROM grid_cells c JOIN runs r ON r.id = c.run_id
CROSS JOIN LATERAL (
    SELECT count(*) AS steps, count(*) FILTER (WHERE s.state IN ('succeeded', 'reused')) AS done,
        coalesce(max(s.progress::float8 / nullif(s.progress_total, 0)) FILTER (WHERE s.state = 'running'), 0) AS part,
        bool_or(s.state = 'succeeded') AS fresh,
        coalesce(left(max(s.error_message) FILTER (WHERE s.state = 'failed'), 200), '') AS error
    FROM step_runs s WHERE s.run_id = r.id
) work
LEFT JOIN LATERAL (
    SELECT a.sha256, a.width, a.height FROM step_runs s
    JOIN outputs f ON f.step_run_id = s.id JOIN artifacts a ON a.sha256 = f.sha256
    WHERE s.run_id = r.id AND r.state = 'succeeded' ORDER BY s.ordinal DESC, f.position LIMIT 1
) made ON true
LEFT JOIN LATERAL (
    SELECT left(s.output_text, 300) AS text FROM step_runs s
    WHERE s.run_id = r.id AND r.state = 'succeeded' AND s.output_text IS NOT NULL ORDER BY s.ordinal DESC LIMIT 1
) said ON made.sha256 IS NULL
LEFT JOIN step_runs timed ON timed.run_id = r.id AND timed.ordinal = $2
LEFT JOIN step_runs source ON source.id = timed.reused_from
WHERE c.grid_id = $1 AND ($3 OR r.visibility = 'published') ORDER BY c.cell
"""


async def read(grid_id: UUID, viewer_id: UUID | None) -> GridPage:
    """The page, in two queries however many cells there are. Raises NotFound, also for what the viewer may not see."""
    grid = await db.fetchrow(_GRID, grid_id, viewer_id)
    if grid is None:
        raise NotFound(GONE)
    axes = decode(grid["axes"])
    told = {**grid, "axes": axes, "license": licenses.of(grid["license"])}
    page = GridPage(**told, cells=[], left=None, tag="")
    timed = page.timed
    rows = await db.fetch(_CELLS, grid_id, timed.step if timed else 0, grid["mine"])
    cells: list[CellShown | None] = [None] * _size(axes)
    for row in rows:
        kept = {name: value for name, value in row.items() if name not in ("fresh", "ended", "began", "now")}
        cells[row["cell"]] = CellShown(**kept)
    page.cells = cells
    page.left = _left(rows)
    page.tag = _tag(page)
    return page


def _size(axes: Sequence[Axis]) -> int:
    return len(axes[0].values) * (len(axes[1].values) if len(axes) > 1 else 1)


def _left(rows: Sequence[db.Record]) -> float | None:
    """What remains at the pace of the cells that ran and have ended."""
    alive = [row for row in rows if row["state"] not in OVER]
    ended = [row for row in rows if row["state"] in OVER and row["fresh"] and row["began"] and row["ended"]]
    if not alive or not ended:
        return None
    begun = min(row["began"] for row in ended)
    return float(max(rows[0]["now"] - begun, 0.1) / len(ended) * len(alive))


def _tag(page: GridPage) -> str:
    truth: list[Any] = [page.id, page.mine, page.pipeline_title, page.pipeline_visibility, page.published_at]
    truth += [[cell.cell, cell.state, cell.published, cell.done, cell.sha256] for cell in page.shown]
    return hashlib.sha256(msgspec.json.encode(truth)).hexdigest()[:20]


class GridLine(Struct, frozen=True, kw_only=True):
    """A grid in a list, with the first picture or text that came of it."""

    id: UUID
    pipeline_id: UUID
    pipeline_title: str
    version_number: int
    owner_handle: str
    owner_name: str
    mine: bool
    axes: list[Axis]
    created_at: datetime
    published_at: datetime | None
    cells: int
    ended: int
    sha256: str | None
    width: int | None
    height: int | None
    text: str

    @property
    def title(self) -> str:
        """What varies: "Guidance × Sampling steps"."""
        return " × ".join(titles(self.axes))


class GridList(Struct, frozen=True):
    """Some grids, newest first; `next` is the place to read on from, None at the end."""

    grids: list[GridLine]
    next: str | None


_LINE = """
SELECT g.at, g.id, g.pipeline_id, v.number AS version_number, o.handle AS owner_handle, o.name AS owner_name,
    coalesce(g.owner_id = $2, false) AS mine, g.axes, g.created_at, g.published_at, counted.cells, counted.ended,
    made.sha256, made.width, made.height, coalesce(made.text, '') AS text,
    CASE WHEN p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2) THEN p.title ELSE '' END
        AS pipeline_title
FROM chosen g JOIN pipelines p ON p.id = g.pipeline_id JOIN versions v ON v.id = g.version_id
JOIN people o ON o.id = g.owner_id
CROSS JOIN LATERAL (
    SELECT count(*) AS cells, count(*) FILTER (WHERE r.finished_at IS NOT NULL) AS ended
    FROM grid_cells c JOIN runs r ON r.id = c.run_id WHERE c.grid_id = g.id
) counted
LEFT JOIN LATERAL (
    SELECT a.sha256, a.width, a.height, left(s.output_text, 300) AS text
    FROM grid_cells c JOIN runs r ON r.id = c.run_id JOIN step_runs s ON s.run_id = r.id
    LEFT JOIN outputs f ON f.step_run_id = s.id LEFT JOIN artifacts a ON a.sha256 = f.sha256
    WHERE c.grid_id = g.id AND r.state = 'succeeded' AND (g.owner_id = $2 OR r.visibility = 'published')
    ORDER BY c.cell, s.ordinal DESC, f.position LIMIT 1
) made ON true
ORDER BY g.at DESC, g.id DESC
"""

_OF_PIPELINE = f"""
WITH chosen AS (
    (SELECT published_at AS at, g.* FROM grids g WHERE pipeline_id = $1 AND published_at IS NOT NULL
        AND ($3::timestamptz IS NULL OR (published_at, id) < ($3, $4::uuid))
        ORDER BY published_at DESC, id DESC LIMIT $5)
    UNION ALL
    (SELECT created_at AS at, g.* FROM grids g WHERE owner_id = $2 AND pipeline_id = $1 AND published_at IS NULL
        AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
        ORDER BY created_at DESC, id DESC LIMIT $5)
    ORDER BY 1 DESC, id DESC LIMIT $5
) {_LINE}
"""  # noqa: S608 - only constants are put in

_MINE = f"""
WITH chosen AS (
    SELECT created_at AS at, g.* FROM grids g WHERE owner_id = $2
        AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
    ORDER BY created_at DESC, id DESC LIMIT $5
) {_LINE.replace("ORDER BY g.at DESC, g.id DESC", "WHERE $1::uuid IS NULL ORDER BY g.at DESC, g.id DESC")}
"""  # noqa: S608 - only constants are put in


async def of_pipeline(
    pipeline_id: UUID, viewer_id: UUID | None, after: str | None = None, limit: int = PAGE
) -> GridList:
    """A pipeline's published grids and the viewer's own of it, newest first; who may see the pipeline is the caller's
    to ask. One query. Raises NotFound for a place that does not exist."""
    return await _listed(_OF_PIPELINE, pipeline_id, viewer_id, after, limit)


class Subject(Struct, frozen=True):
    """The pipeline whose grids are listed."""

    id: UUID
    title: str
    visibility: str


async def subject(pipeline_id: UUID, viewer_id: UUID | None) -> Subject:
    """The pipeline whose grids are asked for. Raises NotFound for one that the viewer may not see."""
    row = await db.fetchrow(
        """SELECT id, title, visibility FROM pipelines
           WHERE id = $1 AND deleted_at IS NULL AND (visibility <> 'private' OR owner_id = $2)""",
        pipeline_id,
        viewer_id,
    )
    if row is None:
        raise NotFound("There is no such pipeline, or it is private.")
    return Subject(**row)


async def mine(person_id: UUID, after: str | None = None, limit: int = PAGE) -> GridList:
    """A person's own grids, newest first. One query. Raises NotFound for a place that does not exist."""
    return await _listed(_MINE, None, person_id, after, limit)


async def _listed(
    sql: str, pipeline_id: UUID | None, viewer_id: UUID | None, after: str | None, limit: int
) -> GridList:
    place = read_place(after, "newest") if after else None
    rows = await db.fetch(sql, pipeline_id, viewer_id, place and place.value, place and place.id, limit + 1)
    lines = [GridLine(**{**_without_at(row), "axes": decode(row["axes"])}) for row in rows[:limit]]
    return GridList(lines, next_of("newest", rows, limit, place))


def _without_at(row: db.Record) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "at"}
