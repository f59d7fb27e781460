"""Bookmarking a pipeline, and taking that back."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, post

from domain import bookmarks
from domain.errors import Invalid
from web.auth import Viewer, local_path
from web.forms import read_form
from web.render import page, see_other, wants_part


@post("/pipelines/{pipeline_id:uuid}/bookmark", status_code=200, include_in_schema=False)
async def save(request: Request[Any, Any, Any], pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Form field `bookmarked`: 1 adds, 0 removes, so that a double click does what one does.

    Answers htmx with the button, others with the page in `next` or the pipeline's.
    """
    form = await read_form(request, {"bookmarked", "next"})
    if form.get("bookmarked") not in ("0", "1"):
        raise Invalid({"bookmarked": "1 to add it, 0 to remove it"})
    if form["bookmarked"] == "1":
        await bookmarks.add(pipeline_id, me.id)
    else:
        await bookmarks.remove(pipeline_id, me.id)
    if not wants_part(request):
        return see_other(local_path(form.get("next"), f"/pipelines/{pipeline_id}#bookmark"))
    marks = await bookmarks.marks(pipeline_id, me.id)
    return page(request, "bookmarks/button.html", block="button", pipeline_id=pipeline_id, marks=marks)
