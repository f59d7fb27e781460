"""Comparing two runs: what each was given, and what came of it, side by side."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response, get

from domain import run_comparisons
from web import conditional, run_words
from web.auth import Viewer
from web.comparisons import id_or_404
from web.render import page, see_other

_Request = Request[Any, Any, Any]


@get("/runs/{run_id:uuid}/comparison")
async def show(
    request: _Request, run_id: UUID, viewer: Viewer | None, left: str = "", right: str = "", output: int = 1
) -> Response[bytes]:
    """What differs between two runs and their results: from the run `left`, or the one nearest to it, to this one.

    `right` leads to the address of another run; `output` chooses the pictures shown.
    """
    viewer_id = viewer.id if viewer else None
    if right and id_or_404(right) != run_id:
        return see_other(address(id_or_404(left) if left else None, id_or_404(right)))
    other = id_or_404(left) if left else await run_comparisons.other(run_id, viewer_id)
    if not left and other is not None:
        return see_other(address(other, run_id))
    found = await run_comparisons.read(other or run_id, run_id, viewer_id)
    response = page(
        request,
        "runs/comparison.html",
        headers={"Cache-Control": "no-store"} if viewer else {},
        c=found,
        output=output,
        words=run_words,
        url=address(found.left.run_id, run_id),
        swapped=address(run_id, found.left.run_id),
    )
    return conditional.tagged(request, response)


def address(left: UUID | None, right: UUID) -> str:
    """Where the comparison from one run to another is; without `left` that with the run nearest to it."""
    return f"/runs/{right}/comparison" + (f"?{urlencode({'left': left})}" if left else "")
