"""Runs: the form that starts one, its page while it is alive and after, and a person's own list."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post

from domain import (
    choices,
    clock,
    consents,
    forecast,
    models,
    ratings,
    receipts,
    run_pages,
    runs,
    services,
    steps,
    transcripts,
)
from domain.changes import applied
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.run_pages import RunForm, RunPage, StepPage
from domain.services import Missing
from web import comments, private_feeds, run_words, unchanged, voice_help
from web.auth import Viewer, config_of, token_of
from web.forms import new_key, read_form, sent_key
from web.headers import FILE_POLICY
from web.render import page, see_other, wants_part
from web.unchanged import Unchanged

MAX_VERSION = 2**31 - 1
TEXTS = {
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt",
    "md": "text/markdown",
    "txt": "text/plain",
}
"""The media type of a text, by the ending of its file."""
_Request = Request[Any, Any, Any]
_TICK = re.compile(r"s[1-9]\d?-consent")


@get("/pipelines/{pipeline_id:uuid}/versions/{number:int}/runs")
async def new(
    request: _Request, pipeline_id: UUID, number: int, me: Viewer, run: UUID | None = None, seed: str = ""
) -> Response[bytes]:
    """The form with the version's inputs; `?run=` fills in what an earlier run used, `?seed=` the seed."""
    form = await _form(pipeline_id, number, me)
    values = {f"input-{entry.name}": entry.default for entry in form.recipe.inputs} | {"seed": seed[:20]}
    if run is not None:
        earlier = await runs.progress(run, me.id)
        values |= {f"input-{name}": value for name, value in earlier.inputs.items()} | {"seed": str(earlier.seed)}
        if earlier.changes and earlier.version_id == form.version_id:
            values["from"] = str(run)
    try:
        await runs.check_room(me.id, config_of(request.scope).run_limit)
    except TooMany as error:
        return await _show_form(request, me, form, values, {"key": error.message})
    return await _show_form(request, me, form, values)


@post("/pipelines/{pipeline_id:uuid}/versions/{number:int}/runs")
async def create(request: _Request, pipeline_id: UUID, number: int, me: Viewer) -> Response[bytes]:
    """Accept a run and go to its page. A form sent twice leads to the same run."""
    sent = await read_form(request, _knows)
    key = sent_key(request, sent)
    try:
        form = await _form(pipeline_id, number, me)
    except NotFound:
        if (before := await runs.by_key(me.id, key)) is None:
            raise
        return see_other(f"/runs/{before}")  # accepted before the pipeline was closed
    inputs = {name.removeprefix("input-"): value for name, value in sent.items() if name.startswith("input-")}
    agreed = voice_help.agreed(sent)
    try:
        seed = read_seed(sent.get("seed", ""))
        runs.check_inputs(form.recipe, inputs, seed)
        earlier = await run_with_changes(sent["from"], form.version_id, me.id) if sent.get("from") else None
        accepted = await runs.accept(
            form.version_id,
            me.id,
            inputs,
            seed,
            key,
            afresh=sent.get("afresh") == "1",
            changes=earlier.changes if earlier else None,
            limit=config_of(request.scope).run_limit,
            agreed=agreed,
        )
    except Invalid as error:
        unsaid = await consents.missing(me.id, form.recipe, agreed)
        return await _show_form(request, me, form, sent, {**error.fields, **unsaid}, status=422)
    except Conflict:
        words = {"key": "This form already started a run with other values. Press Run once more to run these."}
        return await _show_form(request, me, form, {**sent, "key": new_key()}, words, status=409)
    except TooMany as error:
        return await _show_form(request, me, form, sent, {"key": error.message}, status=error.status)
    return see_other(f"/runs/{accepted.run_id}")


def _knows(name: str) -> bool:
    """Whether the form that starts a run has a field of this name."""
    return name in ("key", "seed", "afresh", "from") or name.startswith("input-") or bool(_TICK.fullmatch(name))


async def run_with_changes(run_id: str, version_id: UUID, viewer_id: UUID) -> RunPage:
    """The run of the version whose changes are to be taken over. Raises NotFound for any other."""
    try:
        run = await runs.progress(UUID(run_id), viewer_id)
    except ValueError:
        raise NotFound from None
    if run.version_id != version_id:
        raise NotFound
    return run


async def _form(pipeline_id: UUID, number: int, me: Viewer) -> RunForm:
    if number > MAX_VERSION:
        raise NotFound
    return await run_pages.form(pipeline_id, number, me.id)


def read_moment(text: str) -> datetime | None:
    """The moment that a form of ours names, if it does. Raises Invalid."""
    if not text:
        return None
    try:
        moment: datetime = msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise Invalid({"ended": "Open the page again, then press Run again"}) from None
    return moment


def read_seed(text: str) -> int | None:
    """What was typed as a seed: None for nothing, spaces between digits allowed."""
    digits = "".join(text.split())
    if not digits:
        return None
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 20:
        raise Invalid({"seed": runs.SEED_BOUNDS})
    return int(digits)


async def _show_form(
    request: _Request,
    me: Viewer,
    form: RunForm,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response[bytes]:
    """The form with what was typed. Never stored, so that Back fetches it with a fresh key."""
    fields = {"key", "seed", "afresh", "from", *(f"input-{entry.name}" for entry in form.recipe.inputs)}
    earlier = None
    if values.get("from"):
        earlier = await run_with_changes(values["from"], form.version_id, me.id)
        form = msgspec.structs.replace(form, recipe=applied(form.recipe, earlier.changes))
    unsaid = await consents.missing(me.id, form.recipe)
    fields |= unsaid.keys()
    astray = [f"{name.removeprefix('input-')}: {words}" for name, words in (errors or {}).items() if name not in fields]
    return page(
        request,
        "runs/new.html",
        status=status,
        headers={"Cache-Control": "no-store"},
        form=form,
        earlier=earlier,
        words=run_words,
        values={"key": new_key(), "seed": "", "afresh": "", **values},
        errors=errors or {},
        mend=[name for name in errors or {} if name in fields and name != "key"],
        ticks=voice_help.ticks(form.recipe, unsaid, values, errors or {}),
        astray=astray,
        waiting=await forecast.waiting(),
        expected=await forecast.expected_seconds(form.recipe),
        missing=await services.missing(form.recipe),
        hosts=await models.hosts(form.recipe),
    )


@get("/runs")
async def index(request: _Request, me: Viewer, after: UUID | None = None) -> Response[bytes]:
    """The person's own runs, newest first."""
    listed = await runs.mine(me.id, after)
    feed = await private_feeds.of(request, me, "runs")
    return page(request, "runs/index.html", listed=listed, after=after, words=run_words, feed=feed)


@get("/runs/{run_id:uuid}")
async def show(
    request: _Request, run_id: UUID, viewer: Viewer | None, output: int = 1, at: str = ""
) -> Response[bytes]:
    """One run: what it is doing, or what came of it, with picture `output` of its last step large. What was written
    down is heard from the moment `at` on."""
    return await _show(request, run_id, viewer, output, at=_moment(at))


def _moment(text: str) -> float:
    """The second that an address names, 0 for none."""
    try:
        return clock.read(text)
    except ValueError:
        return 0


async def _show(
    request: _Request,
    run_id: UUID,
    viewer: Viewer | None,
    output: int = 1,
    ticked: Collection[int] = (),
    error: str = "",
    at: float = 0,
) -> Response[bytes]:
    """The page of a run. `ticked` pictures, by place, were asked to go on, but for this `error`."""
    run = await runs.read(run_id, viewer.id if viewer else None)
    told = {
        **_words(run, output),
        "at": at,
        **await _rating(run, viewer),
        "missing": await _missing(run),
        **await comments.beneath_run(run, viewer),
        "ticked": ticked,
        "error": error,
        "late": "late" in request.query_params,
    }
    return page(request, "runs/show.html", status=422 if error else 200, **told)


async def _rating(run: RunPage, viewer: Viewer | None) -> dict[str, Any]:
    """What `ratings/form.html` needs beside a result; no score where there is nothing to rate, and for the owner."""
    about = {"pipeline_id": run.pipeline_id, "own": run.pipeline_mine, "beside_run": run.id}
    if run.state != "succeeded" or not run.pipeline_title or run.pipeline_mine:
        return {**about, "score": None}
    return {**about, "score": await ratings.read(run.pipeline_id, viewer.id if viewer else None)}


async def _missing(run: RunPage) -> Missing:
    """What no worker runs now of the steps that a run would go on with, if its owner may let it go on."""
    if not run.resumable:
        return Missing()
    left = [step.step for step in run.steps if step.ordinal >= run_words.resume_at(run)]
    return await services.missing(steps.convert({"steps": left}))


@get("/runs/{run_id:uuid}/progress")
async def progress(request: _Request, run_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """What changes while a run is alive, for polls: 304 when nothing did.

    Once the run is over the whole of its page's inside comes back, without a trigger, so that
    polling ends by itself. A page whose run it may no longer see is loaded again.
    """
    viewer_id = viewer.id if viewer else None
    memory: Unchanged = request.app.state.unchanged
    look = memory.look(str(run_id))
    try:
        run = await runs.progress(run_id, viewer_id)
    except NotFound:
        if not wants_part(request):
            raise
        return Response(content=b"", status_code=404, headers={"HX-Refresh": "true"}, media_type="text/html")
    headers = unchanged.headers(run.tag)
    if run.tag == unchanged.asked(request) and not run.over:
        queued = any(step.place for step in run.steps)
        memory.remember(look, str(run_id), token_of(request), run.tag, queued=queued)
        return Response(content=b"", status_code=304, headers=headers, media_type="text/html")
    if run.over:
        run = await runs.read(run_id, viewer_id)
        headers |= {"HX-Retarget": "#run", "HX-Reswap": "outerMorph"}
    told = {**_words(run), **await _rating(run, viewer), "missing": await _missing(run)}
    return page(request, "runs/progress.html", headers=headers, late=False, **told)


def _words(run: RunPage, output: int = 1) -> dict[str, Any]:
    """The run with its sentences, as both templates want it. `output` counts from 1; others mean the first."""
    shown: StepPage | None = run_words.shown_step(run)
    return {
        "output": output if shown and 1 <= output <= len(shown.pictures) else 1,
        "run": run,
        "headline": run_words.headline(run),
        "announcement": run_words.announcement(run),
        "asks": choices.asked(run.choosing.ordinal, run.choosing.step) if run.choosing else None,
        "shown": shown,
        "ticked": (),
        "error": "",
        "at": 0,
        "words": run_words,
    }


@get("/runs/{run_id:uuid}/previews/{step_run_id:uuid}")
async def preview(run_id: UUID, step_run_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """The rough picture of a step that is being drawn, as the worker left it last."""
    data, media_type = await run_pages.preview(run_id, step_run_id, viewer.id if viewer else None)
    headers = {"Cache-Control": "private, no-store", "Content-Security-Policy": FILE_POLICY}
    return Response(content=data, media_type=media_type, headers=headers)


@get("/runs/{run_id:uuid}/texts/{ordinal:int}")
async def text(run_id: UUID, ordinal: int, viewer: Viewer | None, layout: str = "") -> Response[bytes]:
    """What a step wrote, as a file to save, with its receipt inside where such a file has room for it. `?layout=srt`
    gives what was said in another layout."""
    step, name = await _written(run_id, ordinal, viewer)
    ending, content = run_words.ending(step), step.output_text
    if layout:
        ending = dict(run_words.other_layouts(step)).get(layout, "")
        if not ending:
            raise NotFound("This text has no such layout.")
        content = transcripts.LAYOUTS[layout](run_words.said(step))
    content = receipts.in_text(content, ending, step.receipt) if step.receipt else content
    return _saved(f"{content}\n", f"{name}.{ending}", TEXTS[ending])


@get("/runs/{run_id:uuid}/texts/{ordinal:int}/receipt")
async def text_receipt(run_id: UUID, ordinal: int, viewer: Viewer | None) -> Response[bytes]:
    """How a text came to be, as a file to keep beside it."""
    step, name = await _written(run_id, ordinal, viewer)
    if not step.receipt:
        raise NotFound("This text has no receipt.")
    return _saved(receipts.to_json(step.receipt) + "\n", f"{name}.receipt.json", "application/json")


async def _written(run_id: UUID, ordinal: int, viewer: Viewer | None) -> tuple[StepPage, str]:
    """The step with a text, and what its file is called without an ending. Raises NotFound."""
    run = await runs.progress(run_id, viewer.id if viewer else None)
    step = next((step for step in run.steps if step.ordinal == ordinal and step.output_text), None)
    if step is None:
        raise NotFound("There is no such text.")
    return step, run_words.file_name(run) + (f"-step-{ordinal}" if step is not run_words.shown_step(run) else "")


def _saved(content: str, name: str, media_type: str) -> Response[bytes]:
    headers = {
        "Cache-Control": "private, no-store",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": FILE_POLICY,
    }
    return Response(content=content.encode(), media_type=media_type, headers=headers)


@get("/runs/{run_id:uuid}/cancellation")
async def stop(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """The question whether to stop, for browsers without JavaScript."""
    run = await runs.progress(run_id, me.id)
    if run.over or not run.mine:
        return see_other(f"/runs/{run_id}")
    return page(request, "runs/stop.html", **_words(run))


@post("/runs/{run_id:uuid}/cancellation")
async def cancel(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """Stop the run. One that ended first simply shows its page."""
    await read_form(request, ())
    try:
        await runs.cancel(run_id, me.id)
    except Conflict:
        return see_other(f"/runs/{run_id}?late=1")
    return see_other(f"/runs/{run_id}")


@post("/runs/{run_id:uuid}/choices/{ordinal:int}")
async def choose(request: _Request, run_id: UUID, ordinal: int, me: Viewer) -> Response[bytes]:
    """Let pictures go on in a run that waits for it: `picture` is one of them by its place, `picture-2` the second."""
    if not 1 <= ordinal <= steps.MAX_STEPS:
        raise NotFound
    sent = await read_form(request, lambda name: name == "picture" or name.startswith("picture-"))
    places = [int(value) for value in sent.values() if value.isascii() and value.isdecimal() and len(value) < 3]
    try:
        await choices.choose(run_id, me.id, ordinal, places)
    except Invalid as error:
        return await _show(request, run_id, me, ticked=places, error=error.fields["picture"])
    return see_other(f"/runs/{run_id}")


@post("/runs/{run_id:uuid}/publication")
async def publish(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """Show the run to others (`published=1`) or keep it private again (`published=0`).

    With `everyone=1` the person's private pipeline becomes public along with its run.
    """
    sent = await read_form(request, ("published", "everyone"))
    if sent.get("published") not in ("0", "1"):
        raise Invalid({"published": "Choose public or private"})
    if sent["published"] == "1":
        await runs.publish(run_id, me.id, to_everyone=sent.get("everyone") == "1")
    else:
        await runs.unpublish(run_id, me.id)
    return see_other(f"/runs/{run_id}")


@post("/runs/{run_id:uuid}/retry")
async def retry(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """Run a failed or stopped run again from the step it ended at, once for each end: `ended` says which."""
    sent = await read_form(request, ("ended",))
    limit = config_of(request.scope).run_limit
    await runs.retry(run_id, me.id, ended=read_moment(sent.get("ended", "")), limit=limit)
    return see_other(f"/runs/{run_id}")
