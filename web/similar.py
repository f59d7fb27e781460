"""More like this: the page of everything near a pipeline in meaning."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get

from domain import neighbors
from web.auth import Viewer
from web.render import page


@get("/pipelines/{pipeline_id:uuid}/similar")
async def show(request: Request[Any, Any, Any], pipeline_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """The pipelines nearest in meaning, the nearest first; one page and no more."""
    of = await neighbors.subject(pipeline_id, viewer.id if viewer else None)
    found = await neighbors.around(pipeline_id, neighbors.MANY)
    return page(request, "pipelines/similar.html", block="main", of=of, found=found)
