"""Everything listed under a tag."""

from typing import Any

from litestar import Request, Response, get

from web import follows
from web.gallery import address, known_tag, listing, query_of, tag_address
from web.render import see_other, wants_part


@get("/tags/{tag:str}", include_in_schema=False)
async def show(request: Request[Any, Any, Any], tag: str) -> Response[bytes]:
    """A tag's list: ?order=, ?kind=, ?after= as in the gallery. Another spelling leads to the kept one."""
    kept = known_tag(tag)
    base = tag_address(kept)
    asked = query_of(request)
    asked.pop("tag", None)
    if kept != tag:
        return see_other(address(base, asked))
    follow = None if wants_part(request) else await follows.of_tag(request, kept)
    return await listing(request, asked, tag=kept, base=base, feed=f"{base}/feed", follow=follow)
