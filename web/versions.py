"""Versions: saving a new one, showing an old one, taking a recipe away as a file."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State

from domain import pipelines, steps, versions
from web.auth import Viewer
from web.pipelines import MAX_BODY, number_or_404, show_page, submit

_Request = Request[Any, Any, Any]


@get("/pipelines/{pipeline_id:uuid}/versions/{number:int}")
async def show(
    request: _Request,
    pipeline_id: UUID,
    number: int,
    viewer: Viewer | None,
    run: UUID | None = None,
    output: int = 1,
    before: int | None = None,
) -> Response[bytes]:
    """The pipeline's page at one version, with that version's results alone; `?before=` as there."""
    viewer_id = viewer.id if viewer else None
    wanted, below = number_or_404(number), number_or_404(before) if before is not None else None
    found = await pipelines.read(pipeline_id, viewer_id, wanted, run_id=run, output=output, before=below)
    return await show_page(request, found, f"/pipelines/{pipeline_id}/versions/{number}")


@get("/pipelines/{pipeline_id:uuid}/versions/{number:int}/recipe.json")
async def recipe(request: _Request, pipeline_id: UUID, number: int, viewer: Viewer | None) -> Response[bytes]:
    """The version's recipe as canonical JSON, the bytes its digest is made of."""
    found = await versions.read(pipeline_id, viewer.id if viewer else None, number_or_404(number))
    return Response(
        content=msgspec.json.format(steps.encode(found.recipe), indent=2),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="pipeline-{pipeline_id}-v{number}.json"',
            "Cache-Control": "private, no-cache",
            "ETag": f'"{found.digest}"',
        },
    )


@post("/pipelines/{pipeline_id:uuid}/versions", request_max_body_size=MAX_BODY)
async def create(request: _Request, pipeline_id: UUID, me: Viewer, state: State) -> Response[bytes]:
    """Any button of a saved pipeline's composer: save a version, run it, keep the draft, move a step."""
    return await submit(request, me, state, pipeline_id)
