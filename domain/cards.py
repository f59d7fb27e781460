"""The card columns of a pipeline: what lists show and order by, kept beside it.

Lists read one row per card, so whatever changes a card ends with `refresh()` in its own
transaction: publishing, unpublishing, saving, forking, deleting.
"""

from typing import Any
from uuid import UUID

from domain import db, growers, neighbors, notifications, search_documents
from domain.scores import recount
from domain.steps import medium_of

PROMPT_LENGTH = 1_000
"""Characters of the prompt that a card keeps."""
TEXT_LENGTH = 600
"""Characters of a text result that a card keeps."""

_LOCK = "SELECT parent_id, owner_id FROM pipelines WHERE id = $1 FOR NO KEY UPDATE"

_COVER_RUN = """
SELECT coalesce(
    (SELECT id FROM runs WHERE pipeline_id = $1 AND visibility = 'published' AND owner_id = $2 AND NOT apart
        ORDER BY published_at DESC, id DESC LIMIT 1),
    (SELECT id FROM runs WHERE pipeline_id = $1 AND visibility = 'published' AND owner_id = $2
        ORDER BY published_at DESC, id DESC LIMIT 1))
"""
"""A card speaks for the pipeline's owner, so only their runs can be on it; the cells of a published grid only while
there is nothing else."""

_RUN_STEPS = """
SELECT s.ordinal, s.kind, s.step, s.resolved, left(s.output_text, $2) AS output_text,
    o.sha256, a.width, a.height
FROM step_runs s
LEFT JOIN LATERAL (
    SELECT sha256 FROM outputs WHERE step_run_id = s.id ORDER BY position LIMIT 1
) o ON true
LEFT JOIN artifacts a ON a.sha256 = o.sha256
WHERE s.run_id = $1 ORDER BY s.ordinal
"""

_RECIPE_STEPS = """
SELECT recipe -> 'steps' FROM versions WHERE pipeline_id = $1 ORDER BY number DESC LIMIT 1
"""

_UPDATE = """
UPDATE pipelines SET
    prompt = $2, model = $3, medium = $4,
    cover_run_id = $5, cover_sha256 = $6, cover_width = $7, cover_height = $8, cover_text = $9,
    published_at = CASE WHEN $5::uuid IS NULL THEN NULL
        WHEN visibility = 'public' THEN coalesce(published_at, now()) ELSE published_at END,
    updated_at = CASE WHEN cover_run_id IS DISTINCT FROM $5 THEN now() ELSE updated_at END
WHERE id = $1
"""


async def refresh(pipeline_id: UUID) -> None:
    """Recompute the card columns of one pipeline, what it says for those it grew from, and what search reads of it.

    The parent's owner is told of a new offshoot.

    Call it inside the transaction that changed the pipeline, its runs or its versions. Rows are
    locked from child to parent, always in that order. Does nothing for an unknown id.
    """
    async with db.transaction():
        pipeline = await db.fetchrow(_LOCK, pipeline_id)
        if pipeline is None:
            return
        run_id = await db.fetchval(_COVER_RUN, pipeline_id, pipeline["owner_id"])
        steps = await _run_steps(run_id) if run_id else await _recipe_steps(pipeline_id)
        await db.execute(_UPDATE, pipeline_id, *_described(steps), run_id, *_cover(steps))
        await recount(pipeline_id)
        if pipeline["parent_id"] is not None:
            await growers.settle(pipeline_id)
            await notifications.tell_of_offshoot(pipeline_id)
        await search_documents.refresh([pipeline_id])
        await neighbors.note(pipeline_id)


async def _run_steps(run_id: UUID) -> list[dict[str, Any]]:
    return [dict(row) for row in await db.fetch(_RUN_STEPS, run_id, TEXT_LENGTH)]


async def _recipe_steps(pipeline_id: UUID) -> list[dict[str, Any]]:
    """The newest version's steps in the shape of a run's, without results."""
    steps: list[dict[str, Any]] = await db.fetchval(_RECIPE_STEPS, pipeline_id) or []
    empty = {"resolved": None, "output_text": None, "sha256": None, "width": None, "height": None}
    return [{"kind": step.get("kind", ""), "step": step, **empty} for step in steps]


def _described(steps: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Prompt, model and medium: those of the first step that draws, else of the first with words."""
    medium = medium_of(steps[-1]["step"]) if steps else "image"
    drawing = [step for step in steps if step["step"].get("prompt") is not None or _resolved(step, "prompt")]
    for step in [*drawing, *steps]:
        words = _resolved(step, "prompt") or step["step"].get("prompt") or step["step"].get("template") or ""
        if words.strip():
            return words.strip()[:PROMPT_LENGTH], str(step["step"].get("model") or _any_model(steps)), medium
    return "", _any_model(steps), medium


def _resolved(step: dict[str, Any], field: str) -> str:
    return str((step["resolved"] or {}).get(field) or "")


def _any_model(steps: list[dict[str, Any]]) -> str:
    return next((str(step["step"]["model"]) for step in steps if step["step"].get("model")), "")


def _cover(steps: list[dict[str, Any]]) -> tuple[str | None, int | None, int | None, str]:
    """Hash, width and height of the last picture step's first picture, and the words of a last text step."""
    words = (steps[-1]["output_text"] or "") if steps else ""
    for step in reversed(steps):
        if step["sha256"] is not None:
            return step["sha256"], step["width"], step["height"], words
    return None, None, None, words
