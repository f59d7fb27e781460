"""The lines of a page of results: where the words of the search stand in them, and what else of them matched."""

import re
from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, search_marks, times
from domain.search import Found
from domain.search_conditions import Compiled
from domain.search_documents import OF_RECIPE, of_runs

FEW = 50
"""Published runs of a pipeline that are looked through for a reason."""
PART = 4_000
"""Characters of each part of a pipeline that are looked through for the reason why it was found."""
REASON = 160
"""Characters of a reason that are shown."""


class Reason(Struct, frozen=True):
    """What was found in a pipeline beside its title and prompt: where, in words, and the piece with matches marked."""

    place: str
    text: str


class Line(Struct, frozen=True):
    """A pipeline as a result shows it. `seconds` is how long the run on its cover took.

    `marked_title` and `marked_prompt` have matches between `search_marks.OPEN` and `CLOSE`; where neither has any,
    `reason` says what was found instead, if that is known.
    """

    id: UUID
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
    rating_count: int
    generation: int
    offshoot_count: int
    steps: int | None
    guidance: float | None
    seconds: float | None
    marked_title: str = ""
    marked_prompt: str = ""
    reason: Reason | None = None


LINES = f"""
SELECT p.id, p.title, p.prompt, o.handle, o.name, p.model, p.medium, p.cover_sha256, p.cover_width, p.cover_height,
    p.cover_text, p.rating_sum::float8 / nullif(p.rating_count, 0), p.rating_count, p.generation, p.offshoot_count,
    (drawn.step ->> 'num_inference_steps')::int, (drawn.step ->> 'guidance_scale')::float8,
    {times.run("p.cover_run_id")}
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
JOIN pipelines p ON p.id = wanted.id JOIN people o ON o.id = p.owner_id
LEFT JOIN LATERAL (
    SELECT s.step FROM step_runs s WHERE s.run_id = p.cover_run_id AND s.step ? 'num_inference_steps'
    ORDER BY s.ordinal LIMIT 1
) drawn ON true
ORDER BY wanted.place
"""  # noqa: S608 - only constants are put in
_MATCHING = "SELECT word FROM unnest($1::text[]) word WHERE search_vector(word) @@ $2::text::tsquery"
_BETWEEN = re.compile(r" (?:&|<->|<\d+>) ")

PLACES = (
    "the description", "the tags", "the prompt as it is written", "the prompt of a result", "a step",
    "its maker’s name", "the license", "what it keeps out", "a list to choose from",
)  # fmt: skip
PARTS = f"""
SELECT p.id, left(p.description, $2), array_to_string(p.tags, ', '), left(used.prompts, $2), left(told.prompts, $2),
    left(used.words, $2), concat_ws(' ', p.handle, p.name), p.license,
    left(concat_ws(E'\\n', used.negatives, told.negatives), $2), left(used.choices, $2)
FROM (
    SELECT p.*, o.handle, o.name, coalesce(v.recipe, '{{}}') AS recipe FROM pipelines p
    JOIN people o ON o.id = p.owner_id
    LEFT JOIN versions v ON v.pipeline_id = p.id AND v.number = p.latest_version WHERE p.id = ANY($1::uuid[])
) p {OF_RECIPE} {of_runs(FEW)}
"""  # noqa: S608 - constants only
"""What search reads of a pipeline beside its title and the prompt on its card, in the order of `PLACES`."""


async def lines(found: Found) -> list[Line]:
    """The results of a page, matches marked: a query, one for the words to mark, and two for lines without any."""
    if not found.ids:
        return []
    rows = [Line(*row) for row in await db.fetch(LINES, found.ids)]
    matching = await _matching([text for row in rows for text in (row.title, row.prompt)], found.compiled)

    def marked(row: Line) -> Line:
        title, prompt = (search_marks.mark(text, matching, found.compiled.typed) for text in (row.title, row.prompt))
        return msgspec.structs.replace(row, marked_title=title, marked_prompt=search_marks.excerpt(prompt))

    shown = [marked(row) for row in rows]
    reasons = await _reasons([row.id for row in shown if not _has_marks(row)], found.compiled)
    return [msgspec.structs.replace(row, reason=reasons.get(row.id)) for row in shown]


def _has_marks(row: Line) -> bool:
    return search_marks.OPEN in row.marked_title or search_marks.OPEN in row.marked_prompt


async def _matching(texts: Sequence[str], compiled: Compiled) -> set[str]:
    """The words of the texts that the search means. One query, or none where no word begins like a typed one."""
    words = search_marks.likely(texts, compiled.typed)
    if not words or not compiled.ranked:
        return set()
    stems = _BETWEEN.sub(" | ", compiled.ranked)
    return {row[0] for row in await db.fetch(_MATCHING, words, stems)}


async def _reasons(ids: Sequence[UUID], compiled: Compiled) -> dict[UUID, Reason]:
    """For each pipeline the part with the most of the words, if any has one."""
    if not ids or not compiled.ranked:
        return {}
    rows = await db.fetch(PARTS, ids, PART)
    parts = {row[0]: [" ".join((text or "").split()) for text in list(row)[1:]] for row in rows}
    matching = await _matching([text for texts in parts.values() for text in texts], compiled)
    found: dict[UUID, Reason] = {}
    for id_, texts in parts.items():
        marked = [search_marks.mark(text, matching, compiled.typed) for text in texts]
        place, text = max(zip(PLACES, marked, strict=True), key=lambda part: search_marks.matches(part[1]))
        if search_marks.OPEN in text:
            found[id_] = Reason(place, search_marks.excerpt(text, REASON))
    return found
