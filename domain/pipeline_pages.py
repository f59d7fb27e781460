"""Reading a pipeline as its page shows it: one struct, a handful of queries, none per output."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import (
    artifacts,
    clock,
    db,
    diff,
    grid_pages,
    licenses,
    likeness,
    lineage,
    neighbors,
    ranking,
    reviews,
    steps,
    times,
    upscalers,
)
from domain.errors import NotFound
from domain.gallery import Card

RUNS = 12
"""Published runs, and as many of the viewer's own, that a page shows; older ones have their own address."""
SHOTS = 30
GRIDS = 4
VERSIONS = 200
"""Versions in the page's list; `before` leads to older ones."""
GONE = "There is no such pipeline, or it is private."


class Owner(Struct, frozen=True):
    """The person a pipeline belongs to."""

    id: UUID
    handle: str
    name: str

    @property
    def shown(self) -> str:
        return self.name or self.handle


class VersionLine(Struct, frozen=True):
    """A version in the page's list."""

    id: UUID
    number: int
    note: str
    created_at: datetime


class Parent(Struct, frozen=True, kw_only=True):
    """The version that a pipeline grew from. Title and owner are empty when it is private or removed."""

    pipeline_id: UUID
    version_id: UUID
    version_number: int
    state: Literal["shown", "private", "removed"]
    title: str
    owner: Owner
    cover_sha256: str | None
    cover_width: int | None
    cover_height: int | None
    recipe: steps.Recipe | None
    """None when the viewer may not see what it was."""


class Picture(Struct, frozen=True):
    """A file that a step of the shown run made."""

    sha256: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    seed: int | None


class Shot(Struct, frozen=True, kw_only=True):
    """A thumbnail: one output of a run, or the run's state where it has none."""

    run_id: UUID
    run_number: int
    run_state: str
    published: bool
    by_owner: bool
    """Whether the pipeline's owner made it."""
    version_number: int
    output: int
    """1 for the first output of the run's last step."""
    sha256: str | None
    width: int | None
    height: int | None
    text: str
    cut: bool
    """Whether the text goes on on the run's page."""
    seed: int | None
    media_type: str | None


class StepShown(Struct, frozen=True, kw_only=True):
    """One step of the shown version, with what the shown run made of it (empty without one)."""

    ordinal: int
    kind: str
    label: str
    medium: str
    step: dict[str, Any]
    resolved: dict[str, Any]
    pictures: list[Picture]
    output_text: str
    receipt: dict[str, Any] | None
    seconds: float | None

    def value(self, field: str) -> Any:
        """A parameter as it was used: resolved if known, else as the version has it."""
        if upscalers.idle(field, self.step):
            return None
        found = self.resolved.get(field)
        return self.step.get(field) if found is None else found

    @property
    def receipt_text(self) -> str:
        """The receipt as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self.receipt, order="sorted"), indent=2).decode()

    @property
    def prompts(self) -> list[tuple[str, str, str]]:
        """(title, template, resolved text) of every prompt that is not empty; the text is empty
        when it equals its template or was never resolved."""
        found = []
        for field in steps.fields_of(self.kind):
            template = self.step.get(field.name) or ""
            if field.widget == "prompt" and template:
                resolved = str(self.resolved.get(field.name) or "")
                if self.kind == "prompt_template" and self.output_text:
                    resolved = self.output_text
                found.append((field.title, template, "" if resolved == template else resolved))
        return found

    @property
    def parameters(self) -> list[tuple[str, Any]]:
        """(title, value) of everything else that is set."""
        hidden = ("prompt", "title", "sound", *steps.FILES)
        found = []
        for field in steps.fields_of(self.kind):
            value = self.value(field.name)
            if field.widget not in hidden and value not in (None, ""):
                found.append((field.title, clock.shown(value) if field.widget == "clock" else value))
        return found


class RunShown(Struct, frozen=True, kw_only=True):
    """The run whose output stands large on the page."""

    id: UUID
    number: int
    state: str
    published: bool
    mine: bool
    owner: Owner
    inputs: dict[str, str]
    seed: int
    changed: bool
    """Whether it was run with other parameters than the version has."""
    seconds: float | None
    finished_at: datetime | None


class Editing(Struct, kw_only=True):
    """What the composer needs of a saved pipeline: its details, latest recipe, parent and picture."""

    id: UUID
    title: str
    description: str
    tags: list[str]
    license: str
    visibility: str
    generation: int
    offshoot_count: int
    number: int
    recipe: steps.Recipe
    saved_at: datetime
    parent: Parent | None
    cover_sha256: str | None
    cover_width: int | None
    cover_height: int | None


class PipelinePage(Struct, kw_only=True):
    """Everything the page of a pipeline, or of one of its versions, shows."""

    id: UUID
    title: str
    description: str
    tags: list[str]
    license: licenses.License
    visibility: str
    generation: int
    offshoot_count: int
    rating: float | None
    rating_count: int
    created_at: datetime
    published_at: datetime | None
    owner: Owner
    mine: bool
    may_fork: bool
    my_stars: int | None
    my_review: str
    tally: ranking.Tally
    """Everybody's votes by standing and stars."""
    reviews: list[reviews.Review]
    """The newest."""
    running: UUID | None
    """The viewer's own run of this pipeline that has not ended, if any."""
    version: VersionLine
    latest_version: int
    versions: list[VersionLine]
    """The newest, or those before the number asked for."""
    older: int | None
    """Versions below this number are not in the list; None when all of the older ones are."""
    recipe: steps.Recipe
    steps: list[StepShown]
    peaks: dict[str, str]
    """How loud the sounds are that it or its parent takes, as far as that is known, by SHA-256."""
    shots: list[Shot]
    shot: Shot | None
    """The output that stands large."""
    run: RunShown | None
    parent: Parent | None
    changes: diff.Changes | None
    """Against the parent; None for the first of a line, or where the parent is hidden."""
    lineage: lineage.Lineage
    grids: grid_pages.GridList
    """Published grids, and the viewer's own."""
    similar: list[Card] = []
    """Listed pipelines nearest in meaning."""
    lookalikes: list[likeness.Lookalike] = []
    """Published results that look almost like the one that stands large."""

    @property
    def label(self) -> list[tuple[str, Any]]:
        """The parameters of the shown output, as (label, value), for the framed box."""
        return _label(self)


_PIPELINE = """
SELECT p.id, p.owner_id, p.title, p.description, p.tags, p.license, p.visibility, p.generation, p.offshoot_count,
    p.rating_sum, p.rating_count, p.rating_tally, p.created_at, p.published_at, p.latest_version, o.handle, o.name,
    grown.parent_id AS parent_version_id, pv.number AS parent_number, pv.recipe AS parent_recipe,
    up.id AS parent_id, up.title AS parent_title, up.deleted_at AS parent_deleted_at,
    up.visibility AS parent_visibility, up.owner_id AS parent_owner_id,
    up.cover_sha256 AS parent_sha256, up.cover_width AS parent_width, up.cover_height AS parent_height,
    po.handle AS parent_handle, po.name AS parent_name,
    mine.stars AS my_stars, coalesce(mine.review, '') AS my_review,
    (SELECT r.id FROM runs r WHERE r.pipeline_id = p.id AND r.owner_id = $2 AND r.finished_at IS NULL
        ORDER BY r.id DESC LIMIT 1) AS running
FROM pipelines p
JOIN people o ON o.id = p.owner_id
JOIN versions grown ON grown.pipeline_id = p.id AND grown.number = 1
LEFT JOIN versions pv ON pv.id = grown.parent_id
LEFT JOIN pipelines up ON up.id = pv.pipeline_id
LEFT JOIN people po ON po.id = up.owner_id
LEFT JOIN ratings mine ON mine.pipeline_id = p.id AND mine.person_id = $2
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
"""

_EDITING = """
SELECT p.id, p.owner_id, p.title, p.description, p.tags, p.license, p.visibility, p.generation, p.offshoot_count,
    p.cover_sha256, p.cover_width, p.cover_height, v.number, v.recipe, greatest(v.created_at, p.updated_at) AS saved_at
FROM pipelines p JOIN versions v ON v.pipeline_id = p.id AND v.number = p.latest_version
WHERE p.id = $1 AND p.owner_id = $2 AND p.deleted_at IS NULL
"""

_VERSIONS = f"""
SELECT id, number, note, created_at FROM versions WHERE pipeline_id = $1 AND ($2::int IS NULL OR number < $2)
ORDER BY number DESC LIMIT {VERSIONS}
"""  # noqa: S608 - only constants are put in

_VERSION = "SELECT id, number, note, created_at, recipe FROM versions WHERE pipeline_id = $1 AND number = $2"

TEXT = 8_000
"""Characters of a text that a pipeline's page shows."""
_SHOTS = f"""
WITH chosen AS (
    (SELECT r.id, r.number, r.state, r.visibility, r.version_id, r.owner_id, r.published_at
     FROM runs r WHERE r.pipeline_id = $1 AND r.visibility = 'published' AND NOT r.apart
       AND ($3::uuid IS NULL OR r.version_id = $3)
     ORDER BY r.published_at DESC, r.id DESC LIMIT {RUNS})
    UNION
    (SELECT r.id, r.number, r.state, r.visibility, r.version_id, r.owner_id, r.published_at
     FROM runs r WHERE r.pipeline_id = $1 AND r.visibility = 'published' AND NOT r.apart
       AND ($3::uuid IS NULL OR r.version_id = $3)
       AND r.owner_id = $5
     ORDER BY r.published_at DESC, r.id DESC LIMIT 1)
    UNION
    (SELECT r.id, r.number, r.state, r.visibility, r.version_id, r.owner_id, r.published_at
     FROM runs r WHERE r.pipeline_id = $1 AND r.owner_id = $2 AND ($3::uuid IS NULL OR r.version_id = $3)
       AND NOT EXISTS (SELECT FROM grid_cells c WHERE c.run_id = r.id)
     ORDER BY r.number DESC LIMIT {RUNS})
    UNION
    SELECT r.id, r.number, r.state, r.visibility, r.version_id, r.owner_id, r.published_at
    FROM runs r WHERE r.id = $4 AND r.pipeline_id = $1 AND (r.visibility = 'published' OR r.owner_id = $2)
      AND ($3::uuid IS NULL OR r.version_id = $3)
)
SELECT c.id AS run_id, c.number AS run_number, c.state AS run_state, c.visibility = 'published' AS published,
    c.owner_id = $5 AS by_owner,
    v.number AS version_number, coalesce(made.output, 1) AS output, made.sha256, made.width, made.height, made.seed,
    made.media_type, coalesce(left(last.output_text, {TEXT}), '') AS text,
    coalesce(length(last.output_text), 0) > {TEXT} AS cut
FROM chosen c
JOIN versions v ON v.id = c.version_id
CROSS JOIN LATERAL (
    SELECT s.id, s.output_text FROM step_runs s WHERE s.run_id = c.id ORDER BY s.ordinal DESC LIMIT 1
) last
LEFT JOIN LATERAL (
    SELECT row_number() OVER (ORDER BY f.position) AS output, a.sha256, a.media_type, a.width, a.height, f.seed
    FROM outputs f JOIN artifacts a ON a.sha256 = f.sha256 WHERE f.step_run_id = last.id
) made ON true
ORDER BY c.published_at DESC NULLS FIRST, c.id DESC, made.output
"""  # noqa: S608 - only constants are put in

_RUN = f"""
SELECT r.id AS run_id, r.number, r.version_id, r.state, r.visibility, r.owner_id, o.handle, o.name, r.inputs, r.seed,
    r.changes, r.finished_at AS run_finished, {times.run("r.id")} AS run_seconds,
    s.ordinal, s.kind, s.step, s.resolved, s.output_text, s.receipt,
    {times.step("s")} AS seconds,
    (SELECT jsonb_agg(jsonb_build_object('sha256', a.sha256, 'media_type', a.media_type, 'bytes', a.bytes,
            'width', a.width, 'height', a.height, 'seed', f.seed) ORDER BY f.position)
        FROM outputs f JOIN artifacts a ON a.sha256 = f.sha256 WHERE f.step_run_id = s.id) AS pictures
FROM runs r JOIN people o ON o.id = r.owner_id JOIN step_runs s ON s.run_id = r.id
WHERE r.id = $1 ORDER BY s.ordinal
"""  # noqa: S608 - only constants are put in


async def read(
    pipeline_id: UUID,
    viewer_id: UUID | None,
    number: int | None = None,
    *,
    run_id: UUID | None = None,
    output: int = 1,
    before: int | None = None,
) -> PipelinePage:
    """The page of a pipeline: of its newest version with a result, or of version `number`.

    `run_id` and `output` choose what stands large, and with it the version shown; `before` begins
    the list of versions below that number. Numbers are those a database integer holds. Raises
    NotFound for what does not exist and for what the viewer may not see alike. Twelve queries at most.
    """
    row = await db.fetchrow(_PIPELINE, pipeline_id, viewer_id)
    if row is None:
        raise NotFound(GONE)
    versions = [VersionLine(**line) for line in await db.fetch(_VERSIONS, pipeline_id, before)]
    asked = await _version(pipeline_id, number) if number is not None else None
    shots = await _shots(row, viewer_id, asked and asked[0].id, run_id)
    shot = _chosen(shots, run_id, output)
    shown = shot.version_number if shot else row["latest_version"]
    version, recipe = asked or await _version(pipeline_id, shown)
    parts = await db.fetch(_RUN, shot.run_id) if shot else []
    parent = _parent(row, viewer_id)
    return PipelinePage(
        id=row["id"],
        title=row["title"],
        description=row["description"],
        tags=row["tags"],
        license=licenses.of(row["license"]),
        visibility=row["visibility"],
        generation=row["generation"],
        offshoot_count=row["offshoot_count"],
        rating=ranking.mean(row["rating_sum"], row["rating_count"]),
        rating_count=row["rating_count"],
        created_at=row["created_at"],
        published_at=row["published_at"],
        owner=Owner(row["owner_id"], row["handle"], row["name"]),
        mine=row["owner_id"] == viewer_id,
        may_fork=row["owner_id"] == viewer_id or licenses.of(row["license"]).derivatives,
        my_stars=row["my_stars"],
        my_review=row["my_review"],
        tally=row["rating_tally"],
        reviews=await reviews.newest(pipeline_id) if any(row["rating_tally"]) else [],
        running=row["running"],
        version=version,
        latest_version=row["latest_version"],
        versions=versions,
        older=versions[-1].number if versions and versions[-1].number > 1 else None,
        recipe=recipe,
        steps=_steps(recipe, parts),
        peaks=await artifacts.peaks(steps.sounds(recipe, *([parent.recipe] if parent and parent.recipe else []))),
        shots=shots[:SHOTS],
        shot=shot,
        run=_run(parts, viewer_id),
        parent=parent,
        changes=diff.changes(parent.recipe, recipe) if parent and parent.recipe else None,
        lineage=await lineage.around(pipeline_id, viewer_id),
        similar=await neighbors.around(pipeline_id) if row["visibility"] == "public" else [],
        lookalikes=await likeness.around(shot.sha256, pipeline_id) if shot and shot.sha256 and shot.published else [],
        grids=await grid_pages.of_pipeline(pipeline_id, viewer_id, limit=GRIDS),
    )


async def editing(pipeline_id: UUID, person_id: UUID) -> Editing:
    """The person's own pipeline for the composer. Two queries. Raises NotFound for everybody else's."""
    row = await db.fetchrow(_EDITING, pipeline_id, person_id)
    whole = await db.fetchrow(_PIPELINE, pipeline_id, person_id)
    if row is None or whole is None:
        raise NotFound(GONE)
    plain = {name: value for name, value in row.items() if name not in ("owner_id", "recipe")}
    return Editing(**plain, recipe=steps.convert(row["recipe"]), parent=_parent(whole, person_id))


async def _version(pipeline_id: UUID, number: int) -> tuple[VersionLine, steps.Recipe]:
    row = await db.fetchrow(_VERSION, pipeline_id, number)
    if row is None:
        raise NotFound("There is no such version.")
    *line, recipe = row
    return VersionLine(*line), steps.convert(recipe)


async def _shots(
    pipeline: Mapping[str, Any], viewer_id: UUID | None, version_id: UUID | None, run_id: UUID | None
) -> list[Shot]:
    """Thumbnails: private runs, then published ones, each the newest first.

    Raises NotFound for a chosen run that cannot be shown here."""
    rows = await db.fetch(_SHOTS, pipeline["id"], viewer_id, version_id, run_id, pipeline["owner_id"])
    shots = [Shot(**row) for row in rows]
    if run_id is not None and not any(shot.run_id == run_id for shot in shots):
        raise NotFound("There is no such result, or it is private.")
    return shots


def _chosen(shots: Sequence[Shot], run_id: UUID | None, output: int) -> Shot | None:
    """The output to show large: the one asked for, else the owner's before others', published before private."""
    done = [shot for shot in shots if shot.run_state == "succeeded"]
    if run_id is not None:
        own = [shot for shot in done if shot.run_id == run_id]
        return next((shot for shot in own if shot.output == output), own[0] if own else None)
    return max(done, key=lambda shot: (shot.by_owner, shot.published), default=None)


def _parent(row: Mapping[str, Any], viewer_id: UUID | None) -> Parent | None:
    if row["parent_id"] is None:
        return None
    removed = row["parent_deleted_at"] is not None
    visible = row["parent_visibility"] != "private" or row["parent_owner_id"] == viewer_id
    shown = visible and not removed
    return Parent(
        pipeline_id=row["parent_id"],
        version_id=row["parent_version_id"],
        version_number=row["parent_number"],
        state="removed" if removed else "shown" if visible else "private",
        title=row["parent_title"] if shown else "",
        owner=Owner(row["parent_owner_id"], row["parent_handle"] if shown else "", row["parent_name"] if shown else ""),
        cover_sha256=row["parent_sha256"] if shown else None,
        cover_width=row["parent_width"] if shown else None,
        cover_height=row["parent_height"] if shown else None,
        recipe=steps.convert(row["parent_recipe"]) if visible else None,
    )


def _run(parts: Sequence[Mapping[str, Any]], viewer_id: UUID | None) -> RunShown | None:
    if not parts:
        return None
    run = parts[0]
    return RunShown(
        id=run["run_id"],
        number=run["number"],
        state=run["state"],
        published=run["visibility"] == "published",
        mine=run["owner_id"] == viewer_id,
        owner=Owner(run["owner_id"], run["handle"], run["name"]),
        inputs=run["inputs"],
        seed=run["seed"],
        changed=bool(run["changes"]),
        seconds=run["run_seconds"],
        finished_at=run["run_finished"],
    )


def _steps(recipe: steps.Recipe, parts: Sequence[Mapping[str, Any]]) -> list[StepShown]:
    """The version's steps, each with its part of the shown run, which is a run of this version and may change it."""
    made = {part["ordinal"]: part for part in parts}
    shown: list[StepShown] = []
    for ordinal, step in enumerate(recipe.steps, 1):
        part: Mapping[str, Any] = made.get(ordinal, {})
        shown.append(
            StepShown(
                ordinal=ordinal,
                kind=steps.kind_of(step),
                label=step.title or type(step).label,
                medium=step.made,
                step=msgspec.to_builtins(step) | (part.get("step") or {}),
                resolved=part.get("resolved") or {},
                pictures=msgspec.convert(part.get("pictures") or [], list[Picture]),
                output_text=part.get("output_text") or "",
                receipt=part.get("receipt"),
                seconds=part.get("seconds"),
            )
        )
    return shown


def _label(page: PipelinePage) -> list[tuple[str, Any]]:
    """Model, size, seed, sampling, guidance, time and license of the shown output, as words."""
    drawing = next((step for step in page.steps if step.value("num_inference_steps")), None)
    models = list(dict.fromkeys(step.step["model"] for step in page.steps if step.step.get("model")))
    found: list[tuple[str, Any]] = [("Model", ", ".join(models))] if models else []
    shot = page.shot
    if shot and shot.width:
        size = "Views" if (shot.media_type or "").startswith("model/") else "Size"
        found.append((size, f"{shot.width} × {shot.height}"))
    elif drawing and drawing.value("width"):
        found.append(("Size", f"{drawing.value('width')} × {drawing.value('height')}"))
    seed = _seed(page, drawing)
    if seed is not None:
        found.append(("Seed", f"{seed:,}".replace(",", "\u202f")))
    if drawing:
        scheduler = str(drawing.value("scheduler") or "").removesuffix("Scheduler")
        passes = f"{drawing.value('num_inference_steps')} steps"
        found.append(("Sampling", f"{passes}, {scheduler}" if scheduler else passes))
        found.append(("Guidance", f"{drawing.value('guidance_scale'):g}"))
    return found


def _seed(page: PipelinePage, drawing: StepShown | None) -> int | None:
    """The seed that made the shown output: its own, else its step's, else the run's."""
    if page.shot and page.shot.seed is not None:
        return page.shot.seed
    if drawing and drawing.value("seed") is not None:
        return int(drawing.value("seed"))
    return page.run.seed if page.run else None


async def made_lately(pipeline_id: UUID, person_id: UUID) -> dict[int, str]:
    """The SHA-256 of a picture from each step of the person's latest runs of a pipeline, by the step's number."""
    rows = await db.fetch(
        """SELECT DISTINCT ON (s.ordinal) s.ordinal, o.sha256
           FROM (SELECT id, number FROM runs WHERE pipeline_id = $1 AND owner_id = $2 ORDER BY number DESC LIMIT 5) r
           JOIN step_runs s ON s.run_id = r.id
           JOIN outputs o ON o.step_run_id = s.id AND o.position = 1
           JOIN artifacts a ON a.sha256 = o.sha256 AND a.media_type LIKE 'image/%'
           ORDER BY s.ordinal, r.number DESC""",
        pipeline_id,
        person_id,
    )
    return {row["ordinal"]: row["sha256"] for row in rows}
