"""Grids: the form with its estimate, the page while it runs and after, its picture to take along."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from msgspec import Struct

from domain import (
    consents,
    contact_sheet,
    estimates,
    forecast,
    grid_axes,
    grid_pages,
    grids,
    models,
    run_pages,
    runs,
    services,
    steps,
    versions,
    vocabulary,
)
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.estimates import Estimate
from domain.grid_axes import Axis, Target
from domain.grid_pages import GridPage
from domain.grids import Plan
from domain.models import ModelChoice
from domain.run_pages import RunForm
from domain.storage import Storage
from web import grid_words, judging, private_feeds, run_words, unchanged, vae_help
from web.auth import Viewer, config_of
from web.forms import new_key, read_form, read_typed, sent_key
from web.pipelines import number_or_404
from web.render import page, see_other, wants_part
from web.runs import read_moment, read_seed

_Request = Request[Any, Any, Any]
FIELDS = ("key", "do", "seed", "seen", "x", "y", "x-for", "y-for", "x-values", "y-values")
SHEETS = 4
"""Contact sheets kept in memory, some megabytes each."""
_sheets: OrderedDict[str, bytes] = OrderedDict()
_drawing = asyncio.Semaphore(1)


def _knows(name: str) -> bool:
    tick = name[:2] in ("x-", "y-") and name[2:].isdecimal() and len(name) < 6
    return name in FIELDS or tick or name.startswith("input-")


class Composed(Struct, kw_only=True):
    """The form as it stands: what can be varied, what was typed, and what came of reading it."""

    form: RunForm
    models: dict[str, list[ModelChoice]]
    """By kind of step."""
    targets: dict[str, Target]
    values: dict[str, str]
    errors: dict[str, str]
    plan: Plan | None = None
    estimate: Estimate | None = None
    waiting: forecast.Waiting | None = None
    missing: services.Missing | None = None


@get("/pipelines/{pipeline_id:uuid}/versions/{number:int}/grids")
async def new(
    request: _Request, pipeline_id: UUID, number: int, me: Viewer, x: str = "", y: str = "", run: UUID | None = None
) -> Response[bytes]:
    """The form: what to vary (`?x=`, `?y=`), with the inputs and seed of the run in `?run=` if there is one."""
    composed = await _compose(pipeline_id, number, me, {"x": x, "y": y})
    form = composed.form
    given = {"seed": "" if form.known_seed is None else str(form.known_seed)}
    if run is not None:
        earlier = await runs.progress(run, me.id)
        given = {f"input-{name}": value for name, value in earlier.inputs.items()} | {"seed": str(earlier.seed)}
    composed.values = given | composed.values
    return _show_form(request, composed)


@post("/pipelines/{pipeline_id:uuid}/versions/{number:int}/grids")
async def create(request: _Request, pipeline_id: UUID, number: int, me: Viewer) -> Response[bytes]:
    """Any button of the form: other parameters, the estimate, or running what was estimated."""
    sent, errors = await read_typed(request, _knows)
    composed = await _compose(pipeline_id, number, me, sent)
    composed.errors |= errors
    do = sent.get("do", "estimate")
    if do == "choose":
        return _show_form(request, composed)
    status = await _estimate(composed, me)
    seen = composed.plan is not None and sent.get("seen") == composed.plan.digest
    if do == "run" and seen and composed.plan is not None and not composed.errors:
        key = sent_key(request, sent)
        try:
            accepted = await grids.create(composed.plan, me.id, key, config_of(request.scope).run_limit)
        except Conflict:
            composed.values["key"] = new_key()
            composed.errors["key"] = "This form already started another grid. Press Run once more to run this one."
            status = 409
        except TooMany as error:
            composed.errors["key"] = error.message
            status = error.status
        else:
            return see_other(f"/grids/{accepted.grid_id}")
    elif do == "run" and sent.get("seen") and not composed.errors:
        composed.values["changed"] = "1"
    return _show_form(request, composed, status)


async def _compose(pipeline_id: UUID, number: int, me: Viewer, sent: Mapping[str, str]) -> Composed:
    form = await run_pages.form(pipeline_id, number_or_404(number), me.id)
    kinds = {models.LORA, models.SAMPLE, models.VAE, *(steps.kind_of(step) for step in form.recipe.steps)}
    offered = {kind: found for kind, found in (await models.offered()).items() if kind in kinds}
    named = {kind: [one.name for one in found] for kind, found in offered.items()}
    classes = {
        one.name: vocabulary.classes(one.words) or vocabulary.voices(one.words)
        for found in offered.values()
        for one in found
    }
    families = {one.name: one.family for found in offered.values() for one in found}
    fitting = {kind: [one.name for one in vae_help.offered(kind, offered)] for kind in offered}
    targets = grid_axes.targets(form.recipe, named, classes, families, fitting)
    values = {name: value for name, value in sent.items() if name != "do"}
    if values.get("x") not in targets:
        values["x"] = grid_words.first_choice(targets)
    if values.get("y") not in targets:
        values["y"] = ""
    return Composed(form=form, models=offered, targets=targets, values=values, errors={})


async def _estimate(composed: Composed, me: Viewer) -> int:
    """Read the axes, check the grid and estimate it; the status to answer with. Words for the form are in `errors`."""
    values, form = composed.values, composed.form
    axes = [axis for name in ("x", "y") if (axis := _axis(composed, name)) is not None]
    try:
        varies = grid_axes.SEED in (values["x"], values["y"])  # then no cell has a seed that was drawn here
        seed = None if varies else read_seed(values.get("seed", ""))
        if seed is None and not varies:
            seed = secrets.randbelow(steps.MAX_SEED + 1)
            values["seed"] = str(seed)
        inputs = {
            entry.name: values[f"input-{entry.name}"] for entry in form.recipe.inputs if f"input-{entry.name}" in values
        }
        if composed.errors:
            runs.check_inputs(form.recipe, inputs, seed)
        else:
            check = partial(_faults, composed.models)
            composed.plan = grids.plan(form.version_id, form.recipe, axes, inputs, seed, check=check)
    except Invalid as error:
        composed.errors = {**error.fields, **composed.errors}
    if await consents.missing(me.id, form.recipe):
        composed.errors.setdefault("x", consents.ALONE)
    if composed.errors or composed.plan is None:
        return 422
    asks = composed.plan.asks(form.recipe)
    composed.estimate = await estimates.estimate(asks, me.id, beyond=True)
    composed.waiting = await forecast.waiting()
    composed.missing = await services.missing(*(ask.recipe for ask in asks))
    return 200


def _faults(offered: Mapping[str, list[ModelChoice]], recipe: steps.Recipe) -> dict[str, str]:
    """What is wrong with what a cell runs: also what its model does not have."""
    return versions.check(recipe) | judging.faults(recipe, offered)


def _axis(composed: Composed, name: str) -> Axis | None:
    """The first or second axis as typed, None where there is none or its words stand in `errors`."""
    values = composed.values
    target = composed.targets.get(values.get(name, ""))
    if target is None:
        return None
    targets = composed.targets
    typed = values.get(f"{name}-values", "") if grid_words.meant(targets, target, name, values) else ""
    try:
        return grid_axes.axis(target, typed, grid_words.ticked(targets, target, name, values))
    except ValueError as error:
        composed.errors.setdefault(f"{name}-values", str(error))
        return None


def _show_form(request: _Request, composed: Composed, status: int = 200) -> Response[bytes]:
    """The form with what was typed. Never stored, so that Back fetches it with a fresh key."""
    names = [f"input-{entry.name}" for entry in composed.form.recipe.inputs]
    return page(
        request,
        "grids/new.html",
        block="gridding",
        status=status,
        headers={"Cache-Control": "no-store"},
        c=composed,
        form=composed.form,
        values={"key": new_key(), **composed.values},
        errors=composed.errors,
        mend=[name for name in ("x-values", "y", "y-values", *names, "seed") if name in composed.errors],
        words=run_words,
        say=grid_words,
        most=grid_axes.MAX_CELLS,
    )


# -- a grid ------------------------------------------------------------------------------------


@get("/grids")
async def index(request: _Request, me: Viewer, after: str | None = None) -> Response[bytes]:
    """The person's own grids, newest first."""
    listed = await grid_pages.mine(me.id, after)
    feed = await private_feeds.of(request, me, "grids")
    return page(request, "grids/index.html", listed=listed, after=after, feed=feed)


@get("/pipelines/{pipeline_id:uuid}/grids")
async def of_pipeline(
    request: _Request, pipeline_id: UUID, viewer: Viewer | None, after: str | None = None
) -> Response[bytes]:
    """A pipeline's published grids, and the viewer's own, newest first."""
    viewer_id = viewer.id if viewer else None
    pipeline = await grid_pages.subject(pipeline_id, viewer_id)
    listed = await grid_pages.of_pipeline(pipeline_id, viewer_id, after)
    return page(request, "grids/of_pipeline.html", listed=listed, after=after, pipeline=pipeline)


@get("/grids/{grid_id:uuid}")
async def show(request: _Request, grid_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """A grid: what its cells are doing, or what came of them."""
    grid = await grid_pages.read(grid_id, viewer.id if viewer else None)
    return page(request, "grids/show.html", **_words(grid))


@get("/grids/{grid_id:uuid}/progress")
async def progress(request: _Request, grid_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """What changes while a grid runs, for polls: 304 when nothing did, and at the end the whole, without a trigger."""
    try:
        grid = await grid_pages.read(grid_id, viewer.id if viewer else None)
    except NotFound:
        if not wants_part(request):
            raise
        return Response(content=b"", status_code=404, headers={"HX-Refresh": "true"}, media_type="text/html")
    headers = unchanged.headers(grid.tag)
    if grid.tag == unchanged.asked(request) and not grid.over:
        return Response(content=b"", status_code=304, headers=headers, media_type="text/html")
    if grid.over:
        headers |= {"HX-Retarget": "#grid", "HX-Reswap": "outerMorph"}
    return page(request, "grids/progress.html", headers=headers, **_words(grid))


def _words(grid: GridPage) -> dict[str, Any]:
    return {"grid": grid, "headline": grid_words.headline(grid), "words": run_words, "say": grid_words}


@get("/grids/{grid_id:uuid}/cancellation")
async def confirm_stop(request: _Request, grid_id: UUID, me: Viewer) -> Response[bytes]:
    """The question whether to stop, for browsers without JavaScript."""
    grid = await grid_pages.read(grid_id, me.id)
    if grid.over or not grid.mine:
        return see_other(f"/grids/{grid_id}")
    return page(request, "grids/stop.html", **_words(grid))


@post("/grids/{grid_id:uuid}/cancellation")
async def stop(request: _Request, grid_id: UUID, me: Viewer) -> Response[bytes]:
    """Stop every cell that has not ended."""
    await read_form(request, ())
    await grids.stop(grid_id, me.id)
    return see_other(f"/grids/{grid_id}")


@post("/grids/{grid_id:uuid}/retry")
async def retry(request: _Request, grid_id: UUID, me: Viewer) -> Response[bytes]:
    """Run the cells again that failed or were stopped, once for each end: `ended` is that of the last seen."""
    sent = await read_form(request, ("ended",))
    limit = config_of(request.scope).run_limit
    await grids.retry(grid_id, me.id, ended=read_moment(sent.get("ended", "")), limit=limit)
    return see_other(f"/grids/{grid_id}")


@post("/grids/{grid_id:uuid}/publication")
async def publish(request: _Request, grid_id: UUID, me: Viewer) -> Response[bytes]:
    """Show the grid to others (`published=1`), with `everyone=1` its private pipeline too, or take it back (`0`)."""
    sent = await read_form(request, ("published", "everyone"))
    if sent.get("published") not in ("0", "1"):
        raise Invalid({"published": "Choose public or private"})
    if sent["published"] == "1":
        await grids.publish(grid_id, me.id, to_everyone=sent.get("everyone") == "1")
    else:
        await grids.unpublish(grid_id, me.id)
    return see_other(f"/grids/{grid_id}")


@get("/grids/{grid_id:uuid}/sheet.png")
async def sheet(request: _Request, grid_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """The whole grid as one labeled picture; made when asked for, one at a time, and kept for a while."""
    grid = await grid_pages.read(grid_id, viewer.id if viewer else None)
    headers = {
        "ETag": f'"{grid.tag}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{grid_words.file_name(grid)}.png"',
    }
    if unchanged.asked(request) == grid.tag:
        return Response(content=b"", status_code=304, headers=headers, media_type="image/png")
    if not any(cell.sha256 or cell.text for cell in grid.shown):
        raise NotFound("There is no result yet to put on a sheet.")
    async with _drawing:
        if grid.tag not in _sheets:
            storage: Storage = request.app.state.storage
            about = f"{config_of(request.scope).site_url}/grids/{grid_id}"
            _sheets[grid.tag] = await contact_sheet.make(storage, grid, grid_words.sheet_title(grid), about)
            while len(_sheets) > SHEETS:
                _sheets.popitem(last=False)
        data = _sheets[grid.tag]
    return Response(content=data, headers=headers, media_type="image/png")
