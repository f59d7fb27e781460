"""Pipelines, runs and grids side by side, as collections, bookmarks and the following page show them.

Each of those lists finds its ids in one query, with who may see what; here they get their words and pictures.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from domain import db


class Thing(Struct, frozen=True):
    """A pipeline, one of its runs (`run_id` and `number` then), or a grid of it (`grid_id`, and what is `varied`).

    `rating` is None without votes; `open`: whether everybody sees it.
    """

    pipeline_id: UUID
    run_id: UUID | None
    number: int | None
    title: str
    prompt: str
    owner_handle: str
    owner_name: str
    model: str
    medium: str
    cover_sha256: str | None
    cover_width: int | None
    cover_height: int | None
    cover_text: str
    rating: float | None
    generation: int
    offshoot_count: int
    open: bool
    grid_id: UUID | None = None
    varied: str = ""

    @property
    def id(self) -> UUID:
        """The pipeline's id: where a card leads."""
        return self.pipeline_id

    @property
    def url(self) -> str:
        """The address of its own page."""
        if self.grid_id:
            return f"/grids/{self.grid_id}"
        return f"/runs/{self.run_id}" if self.run_id else f"/pipelines/{self.pipeline_id}"


VARIED = """(
    SELECT string_agg(axis ->> 'title' || CASE
            WHEN g.axes -> 0 ->> 'title' = g.axes -> 1 ->> 'title' AND axis ->> 'step' <> '0'
            THEN ', step ' || (axis ->> 'step') ELSE '' END, ' × ' ORDER BY place)
    FROM jsonb_array_elements(g.axes) WITH ORDINALITY AS varied (axis, place)
)"""
"""SQL: what varies in grid `g`, the steps named where both titles are the same."""

_PIPELINES = """
SELECT p.id, NULL::uuid, NULL::int, p.title, left(p.prompt, 400), o.handle, o.name, p.model, p.medium,
    p.cover_sha256, p.cover_width, p.cover_height, left(p.cover_text, 400),
    p.rating_sum::float8 / nullif(p.rating_count, 0), p.generation, p.offshoot_count, p.visibility = 'public'
FROM pipelines p JOIN people o ON o.id = p.owner_id WHERE p.id = ANY($1)
"""

_RUNS = """
SELECT p.id, r.id, r.number, p.title, coalesce(asked.prompt, left(p.prompt, 400)), o.handle, o.name,
    coalesce(asked.model, p.model), CASE WHEN made.sha256 IS NULL THEN 'text' ELSE p.medium END,
    made.sha256, made.width, made.height, coalesce(said.output_text, ''),
    NULL::float8, p.generation, p.offshoot_count, p.visibility = 'public' AND r.visibility = 'published'
FROM runs r
JOIN pipelines p ON p.id = r.pipeline_id
JOIN people o ON o.id = r.owner_id
LEFT JOIN LATERAL (
    SELECT u.sha256, a.width, a.height
    FROM step_runs s JOIN outputs u ON u.step_run_id = s.id JOIN artifacts a ON a.sha256 = u.sha256
    WHERE s.run_id = r.id ORDER BY s.ordinal DESC, u.position LIMIT 1
) made ON true
LEFT JOIN LATERAL (
    SELECT left(s.output_text, 400) AS output_text FROM step_runs s
    WHERE s.run_id = r.id AND s.output_text IS NOT NULL ORDER BY s.ordinal DESC LIMIT 1
) said ON true
LEFT JOIN LATERAL (
    SELECT left(s.resolved ->> 'prompt', 400) AS prompt, s.model FROM step_runs s
    WHERE s.run_id = r.id AND s.resolved ? 'prompt' ORDER BY s.ordinal LIMIT 1
) asked ON true
WHERE r.id = ANY($1)
"""


_GRIDS = f"""
SELECT p.id, NULL::uuid, NULL::int, p.title, left(p.prompt, 400), o.handle, o.name, p.model,
    CASE WHEN made.sha256 IS NULL THEN 'text' ELSE p.medium END, made.sha256, made.width, made.height,
    coalesce(made.output_text, ''), NULL::float8, p.generation, p.offshoot_count,
    p.visibility = 'public' AND g.published_at IS NOT NULL, g.id, {VARIED}
FROM grids g
JOIN pipelines p ON p.id = g.pipeline_id
JOIN people o ON o.id = g.owner_id
LEFT JOIN LATERAL (
    SELECT u.sha256, a.width, a.height, left(s.output_text, 400) AS output_text
    FROM grid_cells c JOIN runs r ON r.id = c.run_id JOIN step_runs s ON s.run_id = r.id
    LEFT JOIN outputs u ON u.step_run_id = s.id LEFT JOIN artifacts a ON a.sha256 = u.sha256
    WHERE c.grid_id = g.id AND r.visibility = 'published' ORDER BY c.cell, s.ordinal DESC, u.position LIMIT 1
) made ON true
WHERE g.id = ANY($1)
"""  # noqa: S608 - constants only


async def read(pipelines: Sequence[UUID], runs: Sequence[UUID] = (), grids: Sequence[UUID] = ()) -> dict[UUID, Thing]:
    """Pipelines, runs and grids by their ids, in three queries at most. Who may see them is the caller's to know."""
    found: dict[UUID, Thing] = {}
    if pipelines:
        found |= {row[0]: Thing(*row) for row in await db.fetch(_PIPELINES, list(pipelines))}
    if runs:
        found |= {row[1]: Thing(*row) for row in await db.fetch(_RUNS, list(runs))}
    if grids:
        found |= {row[17]: Thing(*row) for row in await db.fetch(_GRIDS, list(grids))}
    return found
