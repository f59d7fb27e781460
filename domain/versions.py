"""Versions: immutable, numbered, content-addressed states of a pipeline's recipe."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import db, steps, template
from domain.errors import Invalid, NotFound

MAX_NOTE = 200
NOTHING_NEW = "No step changed, so there is no new version to note this on. Change a step, or empty the note"
TEMPLATED = ("template", "prompt", "negative_prompt")
"""Fields of steps that are templates."""


class Saved(Struct, frozen=True):
    """A version as `add` left it. `created` is False when the recipe was the latest one already."""

    id: UUID
    number: int
    created: bool


class VersionLine(Struct, frozen=True):
    """A version as a list shows it."""

    id: UUID
    number: int
    note: str
    created_at: datetime


class VersionRecipe(Struct, frozen=True):
    """A version with its recipe, for downloading and editing."""

    id: UUID
    pipeline_id: UUID
    number: int
    title: str
    digest: str
    recipe: steps.Recipe
    created_at: datetime


def check(recipe: steps.Recipe) -> dict[str, str]:
    """Everything wrong with a recipe, templates tried with the inputs' defaults included.

    Keyed by form field (`s2-source`, `s1-prompt`, `i1-name`); empty when it may be saved.
    """
    errors = steps.check(recipe)
    values = {entry.name: entry.default for entry in recipe.inputs}
    for number, step in enumerate(recipe.steps, 1):
        for field, text in _templates(step):
            key = f"s{number}-{field}"
            words = _try(text, {**values, "text": "text"}, recipe.lists)
            if words and key not in errors:
                errors[key] = words
    return errors


def require(recipe: steps.Recipe) -> None:
    """Raise Invalid unless the recipe may be saved."""
    errors = check(recipe)
    if errors:
        raise Invalid(errors)


def _templates(step: steps.Step) -> Iterator[tuple[str, str]]:
    for field in TEMPLATED:
        text = getattr(step, field, "")
        if text:
            yield field, text


def _try(text: str, values: dict[str, str], lists: dict[str, list[str]]) -> str:
    """The words for a template that cannot be filled, or nothing."""
    try:
        template.expand(text, values, lists, seed=0)
    except template.TemplateError as error:
        return str(error)
    return ""


async def add(pipeline_id: UUID, recipe: steps.Recipe, parent_id: UUID | None = None, note: str = "") -> Saved:
    """Keep a recipe as the pipeline's next version, unless it is the latest one as it stands.

    Call it inside a transaction that has locked the pipeline's row. Raises Invalid, also for a
    note with nothing new to stand beside; the latest version's own note is the same form sent twice.
    """
    require(recipe)
    if len(note) > MAX_NOTE:
        raise Invalid({"note": f"At most {MAX_NOTE} characters"})
    digest = steps.digest(recipe)
    latest = await db.fetchrow(
        "SELECT id, number, digest, note FROM versions WHERE pipeline_id = $1 ORDER BY number DESC LIMIT 1", pipeline_id
    )
    if latest is not None and latest["digest"] == digest:
        if note.strip() not in ("", latest["note"]):
            raise Invalid({"note": NOTHING_NEW})
        return Saved(latest["id"], latest["number"], created=False)
    number = 1 if latest is None else latest["number"] + 1
    version_id = await db.fetchval(
        """INSERT INTO versions (pipeline_id, number, parent_id, digest, recipe, note)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING id""",
        pipeline_id,
        number,
        parent_id,
        digest,
        steps.encode(recipe).decode(),
        note.strip(),
    )
    await db.execute("UPDATE pipelines SET latest_version = $2, updated_at = now() WHERE id = $1", pipeline_id, number)
    return Saved(version_id, number, created=True)


async def read(pipeline_id: UUID, viewer_id: UUID | None, number: int | None = None) -> VersionRecipe:
    """One version (the latest without a number) of a pipeline the viewer may see. Raises NotFound."""
    row = await db.fetchrow(
        """
        SELECT v.id, v.pipeline_id, v.number, p.title, v.digest, v.recipe, v.created_at
        FROM versions v JOIN pipelines p ON p.id = v.pipeline_id
        WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
          AND v.number = coalesce($3, p.latest_version)
        """,
        pipeline_id,
        viewer_id,
        number,
    )
    if row is None:
        raise NotFound("There is no such version, or it is private.")
    return VersionRecipe(**{**dict(row), "recipe": steps.convert(row["recipe"])})
