"""The addresses of private feeds: made, made anew and withdrawn by whom they belong to."""

from typing import Any, cast, get_args
from uuid import UUID

from litestar import Request, Response, post
from msgspec import Struct

from domain import feed_keys
from domain.errors import NotFound
from domain.feed_keys import List
from web.auth import Viewer, config_of
from web.forms import read_form
from web.render import see_other
from web.signatures import feed_token

_Request = Request[Any, Any, Any]
LISTS = get_args(List)


class PrivateFeed(Struct, frozen=True):
    """A list that only one person may read: its feeds' address without the ending, "" while it has none."""

    list: str
    collection: str
    base: str


async def of(request: _Request, me: Viewer, of: List, collection_id: UUID | None = None) -> PrivateFeed:
    """The private feed of one's list. One query."""
    key_id = await feed_keys.read(me.id, of, collection_id)
    base = f"/feeds/{feed_token(config_of(request.scope).secret_key, key_id)}/feed" if key_id else ""
    return PrivateFeed(of, str(collection_id or ""), base)


@post("/feeds", status_code=303, include_in_schema=False)
async def create(request: _Request, me: Viewer) -> Response[bytes]:
    """Give a list (`list`, and `collection` for one of those) an address; with `renew` another one."""
    form = await read_form(request, {"list", "collection", "renew"})
    asked, collection_id = _asked(form)
    if form.get("renew") == "1":
        await feed_keys.renew(me.id, asked, collection_id)
    else:
        await feed_keys.make(me.id, asked, collection_id)
    return see_other(_page_of(me, asked, collection_id))


@post("/feeds/withdrawal", status_code=303, include_in_schema=False)
async def withdraw(request: _Request, me: Viewer) -> Response[bytes]:
    """Take a list's address away: readers that have it get 410."""
    asked, collection_id = _asked(await read_form(request, {"list", "collection"}))
    await feed_keys.withdraw(me.id, asked, collection_id)
    return see_other(_page_of(me, asked, collection_id))


def _asked(form: dict[str, str]) -> tuple[List, UUID | None]:
    """Which list. Raises NotFound for one that does not exist."""
    asked, given = form.get("list", ""), form.get("collection", "")
    if asked not in LISTS or (asked == "collection") != bool(given):
        raise NotFound("There is no such list.")
    try:
        return cast("List", asked), UUID(given) if given else None
    except ValueError:
        raise NotFound("There is no such collection, or it is private.") from None


def _page_of(me: Viewer, of: List, collection_id: UUID | None) -> str:
    pages = {
        "following": "/following",
        "notifications": "/notifications",
        "runs": "/runs",
        "grids": "/grids",
        "bookmarks": f"/@{me.handle}?tab=bookmarks",
    }
    return f"{pages.get(of, f'/collections/{collection_id}')}#feeds"
