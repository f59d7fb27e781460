"""Pipelines: create, save, delete. What their page shows is read in `pipeline_pages`."""

import hashlib
import re
import unicodedata
from collections.abc import Collection
from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain import artifacts, cards, clock, consents, db, licenses, steps, tags, versions
from domain.errors import Invalid, NotFound
from domain.pipeline_pages import Editing, PipelinePage, editing, read

__all__ = [
    "VISIBILITIES",
    "Details",
    "Editing",
    "PipelinePage",
    "PipelineRef",
    "clean",
    "create",
    "delete",
    "editing",
    "read",
    "save",
]

Visibility = Literal["public", "unlisted", "private"]
VISIBILITIES: dict[str, str] = {
    "public": "Everyone",
    "unlisted": "Everyone with the link",
    "private": "Only me, until I publish",
}
"""Who can see a pipeline, with the words for it."""
REMOVED = "Removed by its owner"
MAX_TITLE = 120
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the words behind them round: titles stand among other words."""
MAX_DESCRIPTION = 10_000
GONE = "There is no such pipeline, or it is private."


class Details(Struct, frozen=True):
    """What an owner says of a pipeline; everything else is in its versions."""

    title: str
    description: str = ""
    tags: list[str] = []
    license: str = licenses.DEFAULT
    visibility: str = "private"


class PipelineRef(Struct, frozen=True):
    """A pipeline and one of its versions."""

    id: UUID
    version_id: UUID
    number: int


def clean(details: Details) -> Details:
    """The details as they are kept. Raises Invalid with the words for every field at fault."""
    errors: dict[str, str] = {}
    kept_tags: list[str] = []
    title = " ".join(_UNSEEN.sub("", unicodedata.normalize("NFC", details.title)).split())
    if not any(unicodedata.category(char)[0] in "LNPS" for char in title):
        errors["title"] = "Give it a title"
    elif len(title) > MAX_TITLE:
        errors["title"] = f"At most {MAX_TITLE} characters; this has {len(title)}"
    if len(details.description) > MAX_DESCRIPTION:
        errors["description"] = f"At most {MAX_DESCRIPTION:,} characters; this has {len(details.description):,}"
    try:
        kept_tags = tags.normalize(details.tags)
    except Invalid as error:
        errors.update(error.fields)
    if details.license not in licenses.LICENSES:
        errors["license"] = "Choose one of the list"
    if details.visibility not in VISIBILITIES:
        errors["visibility"] = "Choose one of the list"
    if errors:
        raise Invalid(errors)
    return Details(title, details.description.strip(), kept_tags, details.license, details.visibility)


async def create(
    owner_id: UUID,
    details: Details,
    recipe: steps.Recipe,
    parent_version_id: UUID | None = None,
    note: str = "",
    once: str = "",
    agreed: Collection[str] = (),
) -> PipelineRef:
    """Make a pipeline with its first version.

    `parent_version_id` makes it an offshoot of that version's pipeline; whether the person may
    is `forks.fork`'s to ask. `agreed` are the samples of voices, by their SHA-256, that the person agrees to
    now; one that did not come with the parent needs it. `once` names the request: the same again leads to the
    pipeline it made. Raises Invalid, and NotFound for an unknown parent.
    """
    kept = clean(details)
    versions.require(recipe)
    async with db.transaction():
        if once and (before := await made(owner_id, once)) is not None:
            return before
        parent = None if parent_version_id is None else await _parent(parent_version_id)
        await _check_uploads(recipe, owner_id, parent and parent["recipe"], agreed)
        pipeline_id = await db.fetchval(
            """
            INSERT INTO pipelines (owner_id, title, description, tags, license, visibility,
                parent_id, root_id, generation, request_sha256)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id
            """,
            owner_id,
            kept.title,
            kept.description,
            kept.tags,
            kept.license,
            kept.visibility,
            parent and parent["pipeline_id"],
            parent and parent["root_id"],
            parent["generation"] + 1 if parent else 1,
            _digest(once) if once else None,
        )
        saved = await versions.add(pipeline_id, recipe, parent_version_id, note)
        await cards.refresh(pipeline_id)
    return PipelineRef(pipeline_id, saved.id, saved.number)


async def made(owner_id: UUID, once: str) -> PipelineRef | None:
    """The pipeline that this request made before. Inside a transaction it waits for one under way."""
    request = _digest(once)
    await db.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{owner_id} {request}")
    row = await db.fetchrow(
        """
        SELECT p.id, v.id AS version_id, v.number FROM pipelines p
        JOIN versions v ON v.pipeline_id = p.id AND v.number = 1
        WHERE p.owner_id = $1 AND p.request_sha256 = $2 AND p.deleted_at IS NULL
        ORDER BY p.id DESC LIMIT 1
        """,
        owner_id,
        request,
    )
    return None if row is None else PipelineRef(**row)


def _digest(once: str) -> str:
    return hashlib.sha256(once.encode()).hexdigest()


async def save(
    pipeline_id: UUID,
    person_id: UUID,
    details: Details,
    recipe: steps.Recipe,
    note: str = "",
    agreed: Collection[str] = (),
) -> PipelineRef:
    """Keep new details, and a changed recipe as a new version; an unchanged one makes none.

    `agreed` are samples of voices as in `create`. Raises NotFound for a pipeline that is not the person's, Invalid
    by form field.
    """
    kept = clean(details)
    versions.require(recipe)
    async with db.transaction():
        row = await _own(pipeline_id, person_id)
        _check_license(kept.license, row["parent_license"], row["parent_owner_id"] == person_id)
        await _check_uploads(recipe, person_id, row["recipe"], agreed)
        saved = await versions.add(pipeline_id, recipe, row["version_id"], note)
        await db.execute(
            """
            UPDATE pipelines SET title = $2, description = $3, tags = $4, license = $5, visibility = $6,
                updated_at = now()
            WHERE id = $1 AND (title, description, tags, license, visibility)
                IS DISTINCT FROM ($2::text, $3::text, $4::text[], $5::text, $6::text)
            """,
            pipeline_id,
            kept.title,
            kept.description,
            kept.tags,
            kept.license,
            kept.visibility,
        )
        await cards.refresh(pipeline_id)
    return PipelineRef(pipeline_id, saved.id, saved.number)


async def delete(pipeline_id: UUID, person_id: UUID) -> None:
    """Take a pipeline away: nobody can open it; its place in the lineage of others stays, and what they
    changed against it. Its runs stay with the people who made them.

    Raises NotFound for a pipeline that is not the person's, or is gone already.
    """
    async with db.transaction():
        row = await _own(pipeline_id, person_id)
        await db.execute(
            """
            UPDATE pipelines SET deleted_at = now(), updated_at = now(), title = $2, description = '', tags = '{}'
            WHERE id = $1
            """,
            row["id"],
            REMOVED,
        )
        await db.execute("DELETE FROM drafts WHERE pipeline_id = $1", pipeline_id)
        await cards.refresh(pipeline_id)


async def _own(pipeline_id: UUID, person_id: UUID) -> db.Record:
    """The person's pipeline, locked, with its latest recipe and its parent's license.

    Locked by a query of its own: whoever waited for the row then sees the version that the
    other one made.
    """
    await db.execute("SELECT FROM pipelines WHERE id = $1 FOR NO KEY UPDATE", pipeline_id)
    row = await db.fetchrow(
        """
        SELECT p.id, v.id AS version_id, v.recipe, up.license AS parent_license, up.owner_id AS parent_owner_id
        FROM pipelines p
        JOIN versions v ON v.pipeline_id = p.id AND v.number = p.latest_version
        LEFT JOIN pipelines up ON up.id = p.parent_id
        WHERE p.id = $1 AND p.owner_id = $2 AND p.deleted_at IS NULL
        """,
        pipeline_id,
        person_id,
    )
    if row is None:
        raise NotFound(GONE)
    return row


async def _parent(version_id: UUID) -> db.Record:
    row = await db.fetchrow(
        """
        SELECT v.pipeline_id, v.recipe, p.generation, coalesce(p.root_id, p.id) AS root_id
        FROM versions v JOIN pipelines p ON p.id = v.pipeline_id WHERE v.id = $1
        """,
        version_id,
    )
    if row is None:
        raise NotFound("There is no such version, or it is private.")
    return row


def _check_license(chosen: str, parent: str | None, own: bool) -> None:
    """A share-alike parent passes its license on, unless both are the same person's."""
    if parent is not None and not own and licenses.of(parent).share_alike and chosen != parent:
        name = licenses.of(parent).name
        raise Invalid({"license": f"The parent’s license, {name}, asks offshoots to keep it"})


async def _check_uploads(
    recipe: steps.Recipe, person_id: UUID, before: dict[str, object] | None, agreed: Collection[str]
) -> None:
    """Files in a recipe are the person's own uploads, or were in the recipe it grew from, each where its kind fits. To
    samples of voices the person agreed, unless they were in that recipe: then they do so when they run it."""
    wanted = _files(recipe)
    if not wanted:
        return
    rows = await db.fetch(
        """SELECT split_part(a.media_type, '/', 1) AS medium, u.sha256 FROM uploads u JOIN artifacts a USING (sha256)
           WHERE u.person_id = $1 AND u.sha256 = ANY($2::text[]) FOR KEY SHARE""",
        person_id,
        [sha256 for _, sha256 in wanted.values()],
    )
    known = {(row["medium"], row["sha256"]) for row in rows}
    old = steps.Recipe() if before is None else steps.convert(before)
    known |= set(_files(old).values())
    errors = {
        key: f"Choose the {'sound' if medium == 'audio' else 'picture'} again"
        for key, (medium, sha256) in wanted.items()
        if (medium, sha256) not in known
    }
    if errors or (errors := await _late(recipe)):
        raise Invalid(errors)
    await consents.give(person_id, recipe, agreed)
    if unsaid := await consents.missing(person_id, recipe, consents.samples(old).values()):
        raise Invalid(unsaid)


async def _late(recipe: steps.Recipe) -> dict[str, str]:
    """The moments that lie behind the end of the upload that they cut, by form field."""
    cut = [
        (f"s{number}-{name}", step.upload, moment)
        for number, step in enumerate(recipe.steps, 1)
        if isinstance(step, steps.SpeechToText) and step.upload
        for name, moment in (("start", step.start), ("end", step.end))
        if moment
    ]
    ends = await artifacts.seconds([sha256 for _, sha256, _ in cut])
    return {
        key: f"The sound ends at {clock.shown(ends[sha256])}"
        for key, sha256, moment in cut
        if sha256 in ends and (moment > round(ends[sha256], 2) or (key.endswith("start") and moment >= ends[sha256]))
    }


def _files(recipe: steps.Recipe) -> dict[str, tuple[steps.Medium | None, str]]:
    """The files that a recipe names, by form field: what each has to be, and its SHA-256."""
    return {
        f"s{number}-{name}": (steps.taken_by(type(step), name), sha256)
        for number, step in enumerate(recipe.steps, 1)
        for name, sha256 in steps.files(step)
    }
