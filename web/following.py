"""What is new from those whom one follows."""

from typing import Any

from litestar import Request, Response, get

from domain import following
from web import private_feeds
from web.auth import Viewer
from web.render import page, wants_part


@get("/following", include_in_schema=False)
async def show(request: Request[Any, Any, Any], me: Viewer, after: str | None = None) -> Response[bytes]:
    """Pipelines, published runs and versions, newest first, each with the reason why it is here: ?after=."""
    found = await following.news(me.id, after)
    return page(
        request,
        "following/show.html",
        block="more",
        part=wants_part(request),
        list=found,
        later=bool(after),
        feed=await private_feeds.of(request, me, "following"),
    )
