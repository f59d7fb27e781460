"""A pipeline's page, its lineage, and the composer that makes and edits it."""

import asyncio
import contextlib
import os
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State, UploadFile

from domain import (
    artifacts,
    bookmarks,
    consents,
    drafts,
    lineage,
    models,
    pipelines,
    ratings,
    runs,
    services,
    steps,
    uploads,
)
from domain.errors import Invalid, NotFound, TooLarge, TooMany
from domain.pipeline_pages import made_lately
from domain.pipelines import Details, Editing, PipelinePage, PipelineRef
from web import comments, composer, follows, judging, upscaler_help, voice_help
from web.auth import Viewer, config_of, viewer_of
from web.composer import Form
from web.forms import new_key, read_files, read_form, read_typed
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]
Offered = Mapping[str, Collection[models.ModelChoice]]
MAX_BODY = 64_000_000
"""Bytes of a composer form. More than a picture may have: one that is too large is told so beside its field."""
MAX_NUMBER = 2**31 - 1


@get("/pipelines/{pipeline_id:uuid}")
async def show(
    request: _Request,
    pipeline_id: UUID,
    viewer: Viewer | None,
    run: UUID | None = None,
    output: int = 1,
    before: int | None = None,
) -> Response[bytes]:
    """The pipeline with its newest result, or with the one that `?run=` and `output=` choose.

    `?before=` lists the versions below a number."""
    viewer_id = viewer.id if viewer else None
    below = number_or_404(before) if before is not None else None
    found = await pipelines.read(pipeline_id, viewer_id, run_id=run, output=output, before=below)
    return await show_page(request, found, f"/pipelines/{pipeline_id}")


async def show_page(request: _Request, found: PipelinePage, base: str) -> Response[bytes]:
    """The page's template; `base` is the address that thumbnails add their choice to."""
    viewer = viewer_of(request)
    marks = await bookmarks.marks(found.id, viewer.id if viewer else None)
    return page(
        request,
        "pipelines/show.html",
        block="main",
        p=found,
        base=base,
        pipeline_id=found.id,
        own=found.mine,
        score=ratings.of_tally(found.tally, found.my_stars, found.my_review),
        marks=marks,
        follow=follows.of_pipeline(found.id, marks),
        **await comments.beneath(comments.under_pipeline(found), viewer),
    )


@get("/pipelines/{pipeline_id:uuid}/lineage")
async def family(
    request: _Request, pipeline_id: UUID, viewer: Viewer | None, after: str | None = None, beside: bool = False
) -> Response[bytes]:
    """The larger tree around a pipeline. `?after=` shows its offshoots behind a cursor, with `beside=1` those of its
    parent; htmx gets these alone, to put them in their place."""
    viewer_id = viewer.id if viewer else None
    if after is None:
        tree = await lineage.whole(pipeline_id, viewer_id)
        return page(request, "pipelines/lineage.html", block="main", tree=tree, pipeline_id=pipeline_id)
    part = await lineage.rest(pipeline_id, viewer_id, after, beside=beside)
    return page(request, "pipelines/offshoots.html", block="more", part=part, pipeline_id=pipeline_id, beside=beside)


@get("/pipelines/new")
async def new(request: _Request, me: Viewer, start: str = "", model: str = "") -> Response[bytes]:
    """The composer with the person's unsaved draft, or with one of the starting points, or with a step of a model."""
    draft = await drafts.read(me.id, None)
    offered = await models.offered()
    form = draft.form if draft else composer.begun(start, model, offered)
    return await show_composer(request, None, form, drafted=draft, offered=offered)


@get("/pipelines/{pipeline_id:uuid}/edit")
async def edit(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """The composer with the latest version, or with a draft that is newer."""
    editing = await pipelines.editing(pipeline_id, me.id)
    draft = await drafts.read(me.id, pipeline_id)
    saved = _saved_form(editing)
    if draft is not None and (draft.saved_at < editing.saved_at or composer.tidy(draft.form) == composer.tidy(saved)):
        draft = None
    return await show_composer(request, editing, draft.form if draft else saved, drafted=draft)


@post("/pipelines", request_max_body_size=MAX_BODY)
async def create(request: _Request, me: Viewer, state: State) -> Response[bytes]:
    """Any button of a new pipeline's composer: save, run, keep the draft, move a step."""
    return await submit(request, me, state, None)


@get("/pipelines/{pipeline_id:uuid}/deletion")
async def confirm_deletion(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """The question whether to delete, for browsers without JavaScript."""
    editing = await pipelines.editing(pipeline_id, me.id)
    return page(request, "pipelines/deletion.html", pipeline_id=pipeline_id, title=editing.title)


@post("/pipelines/{pipeline_id:uuid}/deletion")
async def delete(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Take the person's own pipeline away."""
    await read_form(request, ())
    await pipelines.delete(pipeline_id, me.id)
    return see_other(f"/@{me.handle}")


# -- the composer, for new and saved pipelines alike -------------------------------------------


async def submit(request: _Request, me: Viewer, state: State, pipeline_id: UUID | None) -> Response[bytes]:
    """Do what the pressed button says. Whatever was typed is in a draft, a version or the answer."""
    editing = None if pipeline_id is None else await pipelines.editing(pipeline_id, me.id)
    sent, errors = await read_composer(request)
    do = sent.get("do", "draft")
    typed = composer.kept(sent)
    errors |= await _take_files(request, me, state, typed)
    if do in ("save", "run"):
        return await _save(request, me, editing, composer.tidy(typed), errors, do == "run", sent.get("key", ""))
    typed = typed if do == "draft" else await _rearranged({**typed, **_adding(sent)}, do)
    errors |= await _draft(me, pipeline_id, typed, errors)
    if errors or wants_part(request):
        return await show_composer(request, editing, typed, errors, focus=_focus(do), status=422 if errors else 200)
    return see_other(f"{_address(editing)}{_focus(do) and '#' + _focus(do)}")


async def _rearranged(form: Form, do: str) -> Form:
    """The form after a button was pressed: a step that was added begins as suits its model, one that is to gets so."""
    now = composer.rearranged(form, do)
    action, _, number = do.partition("-")
    added = composer.count(now) > composer.count(form)
    if not composer.is_number(number) or not (added or action == "suit"):
        return now
    return composer.suited(now, int(number) + added, await models.offered())


async def read_composer(request: _Request, files: Collection[str] = ()) -> tuple[Form, dict[str, str]]:
    """The composer's fields, with the words for those that hold what cannot be stored.

    `files` are further names that may hold a file. Raises Invalid for a field that the form or
    its step does not have.
    """
    pictures = composer.FILES.keys() | set(files)
    sent, errors = await read_typed(request, lambda name: composer.knows(name) or name in pictures, pictures)
    stray = composer.stray(sent, [*sent, *await read_files(request, pictures)])
    if stray:
        words = dict.fromkeys(stray, "This step has no such field")
        raise Invalid(words, "The form holds a field we do not know.")
    return sent, errors


async def _draft(me: Viewer, pipeline_id: UUID | None, form: Form, errors: Mapping[str, str]) -> dict[str, str]:
    """Keep the draft. Returns the words for one that is too large, beside its longest field."""
    try:
        await drafts.save(me.id, pipeline_id, form)
    except TooLarge as error:
        longest = max(form, key=lambda name: len(form[name]))
        return {} if longest in errors else {longest: error.message}
    return {}


def _adding(sent: Mapping[str, str]) -> Form:
    return {name: value for name, value in sent.items() if name.startswith("add-")}


async def _save(
    request: _Request, me: Viewer, editing: Editing | None, form: Form, errors: dict[str, str], run: bool, key: str
) -> Response[bytes]:
    offered = await models.offered()
    names = {kind: [one.name for one in found] for kind, found in offered.items()}
    composed = composer.read(upscaler_help.trimmed(form, offered), names)
    agreed = voice_help.agreed(form)
    unsaid = await consents.missing(me.id, composed.recipe, agreed) if run else {}
    errors = {**judging.faults(composed.recipe, offered), **composed.errors, **unsaid, **errors}
    if not errors:
        try:
            ref = await _keep(me, editing, composed.details, composed.recipe, form.get("note", ""), key, agreed)
        except Invalid as error:
            errors = error.fields
        else:
            await drafts.discard(me.id, editing.id if editing else None)
            return await _after(request, me, ref, run, key)
    errors |= await _draft(me, editing.id if editing else None, form, errors)
    return await show_composer(request, editing, form, errors, status=422, offered=offered)


async def _keep(
    me: Viewer,
    editing: Editing | None,
    details: Details,
    recipe: steps.Recipe,
    note: str,
    key: str,
    agreed: Collection[str],
) -> PipelineRef:
    if editing is not None:
        return await pipelines.save(editing.id, me.id, details, recipe, note, agreed)
    asked = f"{key[:100]} {steps.digest(recipe)} {msgspec.json.encode(details).decode()}" if key else ""
    return await pipelines.create(me.id, details, recipe, note=note, once=asked, agreed=agreed)


async def _after(request: _Request, me: Viewer, ref: PipelineRef, run: bool, key: str) -> Response[bytes]:
    """The saved version's page, or that of its run; a form sent twice leads to the same run."""
    if not run:
        return see_other(f"/pipelines/{ref.id}/versions/{ref.number}")
    safe = "".join(char for char in key if char.isascii() and char.isalnum())[:60] or new_key()
    try:
        limit = config_of(request.scope).run_limit
        accepted = await runs.accept(ref.version_id, me.id, {}, None, f"{safe}-{ref.version_id.hex}", limit=limit)
    except (Invalid, TooMany):  # saved; the form there says why it waits, or asks for a text that is worked on
        return see_other(f"/pipelines/{ref.id}/versions/{ref.number}/runs")
    return see_other(f"/runs/{accepted.run_id}")


async def _take_files(request: _Request, me: Viewer, state: State, typed: Form) -> dict[str, str]:
    """Store the files sent along and put their addresses into the form. Returns words by field."""
    errors: dict[str, str] = {}
    for name, file in (await read_files(request, composer.FILES)).items():
        key = composer.FILES[name]
        try:
            made = await take_file(me, state, file, composer.medium_of(typed, key), composer.takes_sample(typed, key))
            voice_help.chosen(typed, key, made.sha256)
        except (Invalid, TooLarge, TooMany) as error:
            errors[key] = words_of(error)
    return errors


async def take_file(
    me: Viewer, state: State, file: UploadFile, medium: steps.Medium | None = "image", sample: bool = False
) -> uploads.Uploaded:
    """Keep an uploaded picture or sound, or the sample of a voice, for the person. Raises Invalid, TooLarge or
    TooMany."""
    uploads.check_size(file.file.seek(0, os.SEEK_END))
    await file.seek(0)
    return await uploads.add(state.storage, me.id, await file.read(), file.filename, medium, sample=sample)


def words_of(error: Invalid | TooLarge | TooMany) -> str:
    """The words for beside the file field."""
    return next(iter(error.fields.values()), error.message) if isinstance(error, Invalid) else error.message


async def show_composer(
    request: _Request,
    editing: Editing | None,
    form: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    *,
    drafted: drafts.Draft | None = None,
    focus: str = "",
    status: int = 200,
    offered: Offered | None = None,
) -> Response[bytes]:
    """The composer's page with a form as typed; `offered` as `lay_out` takes it. Never stored, so that Back brings a
    fresh key."""
    viewer = viewer_of(request)
    laid = await lay_out(editing, form, errors, viewer.id if viewer else None, offered)
    return page(
        request,
        "pipelines/composer.html",
        block="composer",
        status=status,
        headers={"Cache-Control": "no-store"},
        c=laid,
        editing=editing,
        drafted=drafted,
        focus=focus,
        key=new_key(),
        words=composer,
        **await sums(laid.recipe),
        most_steps=steps.MAX_STEPS,
        **addresses(editing.id if editing else None),
    )


async def sums(recipe: steps.Recipe) -> dict[str, Any]:
    """What `pipelines/sums.html` needs beside the composer: how long it takes, who waits, and what nobody runs."""
    expected, waiting, missing, hosts = await asyncio.gather(
        runs.expected_seconds(recipe), runs.waiting(), services.missing(recipe), models.hosts(recipe)
    )
    return {"expected": expected, "waiting": waiting, "missing": missing, "hosts": hosts}


async def lay_out(
    editing: Editing | None,
    form: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    viewer_id: UUID | None = None,
    offered: Offered | None = None,
) -> composer.Composer:
    """The form with its choices, errors and differences from the parent. `offered` are the models, where they are known
    already.

    Pictures are shown to a viewer who may see them: the form can name any.
    """
    parent = editing.parent.recipe if editing and editing.parent else None
    seen = await _seen(composer.pictures(form), viewer_id) if viewer_id else {}
    paints = any(name.endswith("-mask") for name in form)
    made = await made_lately(editing.id, viewer_id) if paints and editing and viewer_id else {}
    agreed = await consents.given(viewer_id, composer.samples(form)) if viewer_id else {}
    offered = await models.offered() if offered is None else offered
    return composer.compose(form, offered, errors, parent, seen, made, agreed)


async def _seen(pictures: Collection[str], viewer_id: UUID) -> dict[str, str]:
    """The peaks of those files that the viewer may see, "" of pictures, by SHA-256."""
    found: dict[str, str] = {}
    for sha256 in pictures:
        with contextlib.suppress(NotFound):
            found[sha256] = (await artifacts.visible(sha256, viewer_id)).peaks
    return found


def addresses(pipeline_id: UUID | None) -> dict[str, str]:
    """Where the composer's form and its draft go."""
    if pipeline_id is None:
        return {"action": "/pipelines", "draft_url": "/drafts"}
    return {"action": f"/pipelines/{pipeline_id}/versions", "draft_url": f"/pipelines/{pipeline_id}/draft"}


def _address(editing: Editing | None) -> str:
    return f"/pipelines/{editing.id}/edit" if editing else "/pipelines/new"


def _saved_form(editing: Editing) -> Form:
    details = Details(editing.title, editing.description, editing.tags, editing.license, editing.visibility)
    return composer.form_of(details, editing.recipe)


def _focus(do: str) -> str:
    """The id of the step that a button moved, for the keyboard to stay there."""
    action, _, rest = do.partition("-")
    if not composer.is_number(rest):
        return {"add-input": "inputs", "add-list": "lists"}.get(do, "")
    number = int(rest) + {"up": -1, "down": 1, "add": 1}.get(action, 0)
    return f"step-{max(number, 1)}"


def number_or_404(number: int) -> int:
    """A version number that the database can hold. Raises NotFound."""
    if not 1 <= number <= MAX_NUMBER:
        raise NotFound("There is no such version.")
    return number
