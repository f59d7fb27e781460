"""Drafts: keep what is being typed, every second that something changes."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, post

from domain import drafts, pipelines
from web import composer
from web.auth import Viewer
from web.forms import Unstorable, keep
from web.pipelines import addresses, lay_out, read_composer, sums
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]


@post("/drafts", status_code=200)
async def save_new(request: _Request, me: Viewer) -> Response[bytes]:
    """The draft of a pipeline that isn't saved yet; `do=discard` drops it."""
    return await _save(request, me, None, "/pipelines/new")


@post("/pipelines/{pipeline_id:uuid}/draft", status_code=200)
async def save(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """The draft of one's own pipeline; `do=discard` drops it."""
    return await _save(request, me, pipeline_id, f"/pipelines/{pipeline_id}/edit")


async def _save(request: _Request, me: Viewer, pipeline_id: UUID | None, back: str) -> Response[bytes]:
    form, errors = await read_composer(request)
    if errors:
        raise Unstorable(errors, await keep(request))
    if form.get("do") == "discard":
        await drafts.discard(me.id, pipeline_id)
        return see_other(back)
    typed = composer.kept(form)
    saved_at = await drafts.save(me.id, pipeline_id, typed)
    if not wants_part(request):
        return see_other(back)
    editing = None if pipeline_id is None else await pipelines.editing(pipeline_id, me.id)
    laid = await lay_out(editing, typed)
    return page(
        request,
        "pipelines/draft.html",
        saved_at=saved_at,
        c=laid,
        action=addresses(pipeline_id)["action"],
        **await sums(laid.recipe),
    )
