"""Feeds of every list, for readers that follow: RSS 2.0, Atom and JSON Feed 1.1."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from litestar import Request, Response, get

from domain import bookmarks, collections, feed_keys, feeds, following, own_feeds, people, search, search_query
from domain.errors import NotFound, Withdrawn
from domain.feed_keys import Key
from domain.lists import NO_PAGE, Filter
from web import conditional, notifications
from web.auth import config_of
from web.feed_formats import TYPES, WRITERS, Channel
from web.gallery import KINDS, ORDERS, address, known_tag, tag_address
from web.signatures import feed_key

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
"""When a feed without entries was last changed."""
FORMATS = tuple(WRITERS)
KEPT = 512


class Known(NamedTuple):
    """A feed as it was: believed until then; its hash and its headers."""

    until: float
    tag: str
    headers: dict[str, str]


_known: dict[tuple[Any, ...], Known] = {}


async def _unchanged(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """304 without a query, if the reader has what was right a moment ago: most asking is in vain."""
    known = _known.get(_key(request))
    if known is None or known.until < time.monotonic() or not _current(request, known.tag):
        return None
    return Response(content=b"", status_code=304, headers=known.headers, media_type=_type(request))


def _key(request: Request[Any, Any, Any]) -> tuple[Any, ...]:
    return id(request.app), request.scope["path"], request.scope.get("query_string")


def _type(request: Request[Any, Any, Any]) -> str:
    return TYPES[request.scope["path"].rpartition(".")[2]]


def at(address: str) -> get:
    """A route for each format of a feed that everybody may read."""
    return get([f"{address}.{kind}" for kind in FORMATS], before_request=_unchanged, include_in_schema=False)


@at("/gallery/feed")
async def of_gallery(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The gallery: ?order=, ?kind=, ?after=."""
    asked = parameters(request, "order", "kind", "after")
    order, medium = asked.get("order", "newest"), asked.get("kind", "")
    page = await feeds.of_list(Filter(order, medium or None), asked.get("after"))
    label = next((one.label for one in KINDS if one.medium == medium and medium), "")
    title = " · ".join(filter(None, (config_of(request.scope).site_name, ORDERS[order][1], label)))
    about = "Pipelines that people share: prompt, model, every parameter, and what came out."
    return answer(request, page, title, about, "/", {"order": order, "kind": medium})


@at("/tags/{tag:str}/feed")
async def of_tag(request: Request[Any, Any, Any], tag: str) -> Response[bytes]:
    """A tag: ?order=, ?kind=, ?after=."""
    asked = parameters(request, "order", "kind", "after")
    kept = known_tag(tag)
    order, medium = asked.get("order", "newest"), asked.get("kind", "")
    page = await feeds.of_list(Filter(order, medium or None, kept), asked.get("after"))
    title = f"{config_of(request.scope).site_name} · Tagged {kept}"
    about = f"Pipelines tagged {kept}."
    return answer(request, page, title, about, tag_address(kept), {"order": order, "kind": medium})


@at("/pipelines/{pipeline_id:uuid}/results")
async def of_results(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """A pipeline's published runs, newest first: ?after=."""
    asked = parameters(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_results(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Results"
    about = f"What came out of “{subject.title}” by {subject.handle}, with the seed and prompt of each."
    return answer(request, page, title, about, f"/pipelines/{pipeline_id}", {})


@at("/pipelines/{pipeline_id:uuid}/lineage")
async def of_lineage(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """What grew from a pipeline, newest first: ?after=."""
    asked = parameters(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_lineage(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Offshoots"
    about = f"What people grew from “{subject.title}” by {subject.handle}."
    return answer(request, page, title, about, f"/pipelines/{pipeline_id}/lineage", {})


@at("/search/feed")
async def of_search(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What a search finds, newest first: ?q=, ?order=, ?after=."""
    asked = parameters(request, "q", "order", "after")
    query = search_query.parse(asked.get("q", ""))
    order, words = asked.get("order", "newest"), search_query.write(query)
    found = await search.find(query, order, asked.get("after"), exactly=True, facets=False)
    page = feeds.Page(await feeds.entries(found.ids), found.next, found.previous)
    title = f"{config_of(request.scope).site_name} · Search: {words or 'everything'}"
    return answer(request, page, title, f"Pipelines found by {words or 'everything'}.", "/search",
                  {"q": words, "order": order})  # fmt: skip


@at("/pipelines/{pipeline_id:uuid}/similar")
async def of_similar(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """The pipelines nearest in meaning to one, the nearest first."""
    parameters(request)
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_similar(pipeline_id)
    title = f"{subject.title} · More like this"
    about = f"Pipelines whose words mean nearly the same as “{subject.title}” by {subject.handle}."
    return answer(request, page, title, about, f"/pipelines/{pipeline_id}/similar", {}, dated=False)


@at("/collections/{collection_id:uuid}/feed")
async def of_collection(request: Request[Any, Any, Any], collection_id: UUID) -> Response[bytes]:
    """A public collection, what was added last first: ?after=."""
    asked = parameters(request, "after")
    found = await collections.read(collection_id, None)
    page = await collections.feed(collection_id, asked.get("after"))
    about = f"What {found.owner} collects in “{found.title}”."
    return answer(request, page, found.title, about, f"/collections/{collection_id}", {})


@get([f"/feeds/{{token:str}}/feed.{kind}" for kind in FORMATS], include_in_schema=False)
async def of_key(request: Request[Any, Any, Any], token: str) -> Response[bytes]:
    """A list that only one person may read, at an address that only they have: ?after=."""
    asked = parameters(request, "after")
    key_id = feed_key(config_of(request.scope).secret_key, token)
    if key_id is None:
        raise NotFound("There is no feed at this address.")
    key = await feed_keys.find(key_id)
    if key is None:
        raise Withdrawn("Whoever it belonged to took it back or made another. Look for the new one on its list’s page.")
    page, title, home = await _opened(key, asked.get("after"))
    title = f"{config_of(request.scope).site_name} · {title}"
    return answer(request, page, title, "Only for you: keep this address to yourself.", home, {}, private=True)


_OPENED: Mapping[str, tuple[Callable[[UUID, str | None], Awaitable[feeds.Page]], str, str]] = {
    "following": (following.feed, "Following", "/following"),
    "notifications": (notifications.feed, "Notifications", "/notifications"),
    "runs": (own_feeds.of_runs, "Your runs", "/runs"),
    "grids": (own_feeds.of_grids, "Your grids", "/grids"),
}
"""What keys open: a page of the list, its title, and its address."""


async def _opened(key: Key, after: str | None) -> tuple[feeds.Page, str, str]:
    """A page of the list that a key opens, its title, and the address of its page."""
    if key.collection_id is not None:
        found = await collections.read(key.collection_id, key.person_id)
        return await collections.feed(found.id, after, private=True), found.title, f"/collections/{found.id}"
    if key.list == "bookmarks":
        person = await people.by_id(key.person_id)
        return await bookmarks.feed(person.id, after), "Bookmarks", f"/@{person.handle}?tab=bookmarks"
    read, title, home = _OPENED[key.list]
    return await read(key.person_id, after), title, home


@at("/pipelines/{pipeline_id:uuid}/grids")
async def of_grids(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """A pipeline's published grids, newest first: ?after=."""
    asked = parameters(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_grids(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Grids"
    about = f"What parameters of “{subject.title}” by {subject.handle} do, varied over grids of results."
    return answer(request, page, title, about, f"/pipelines/{pipeline_id}/grids", {})


@at("/grids/{grid_id:uuid}/feed")
async def of_grid(request: Request[Any, Any, Any], grid_id: UUID) -> Response[bytes]:
    """A published grid's results: ?after=."""
    asked = parameters(request, "after")
    subject = await feeds.grid_subject(grid_id)
    page = await feeds.of_grid(grid_id, asked.get("after"))
    title = f"{subject.title} · Grid"
    about = f"The results of a grid of “{subject.title}” by {subject.handle}, with the seed and prompt of each."
    return answer(request, page, title, about, f"/grids/{grid_id}", {})


@at("/pipelines/{pipeline_id:uuid}/reviews")
async def of_reviews(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """What people wrote about a pipeline, newest first: ?after=."""
    asked = parameters(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_reviews(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Reviews"
    about = f"What people wrote about “{subject.title}” by {subject.handle}."
    return answer(request, page, title, about, f"/pipelines/{pipeline_id}/reviews", {})


def parameters(request: Request[Any, Any, Any], *known: str) -> dict[str, str]:
    """The query's words. Raises NotFound for any other, such as a page number."""
    asked = {name: value for name, value in request.query_params.items() if value != ""}
    if not asked.keys() <= set(known):
        raise NotFound(NO_PAGE)
    return asked


def answer(
    request: Request[Any, Any, Any],
    page: feeds.Page,
    title: str,
    about: str,
    home: str,
    query: Mapping[str, str],
    *,
    dated: bool = True,
    private: bool = False,
) -> Response[bytes]:
    """The feed in the format of the address, or 304 if the reader has it.

    `dated`: the newest entry's time is that of the list; in other orders it says nothing.
    `private`: no cache but the reader's own keeps it, and no robot lists it.
    """
    channel = channel_of(request, page, title, about, home, query)
    body = WRITERS[kind_of(request)](channel)
    if private:
        return _private(request, body)
    dated = dated and query.get("order", "newest") == "newest"
    return conditionally(request, body, channel.updated if dated else None)


def kind_of(request: Request[Any, Any, Any]) -> str:
    """rss, atom or json, by the address."""
    path: str = request.scope["path"]
    return path.rpartition(".")[2]


def channel_of(
    request: Request[Any, Any, Any], page: feeds.Page, title: str, about: str, home: str, query: Mapping[str, str]
) -> Channel:
    """The feed of a list at this request's address; `home` is the path of its page."""
    config = config_of(request.scope)
    path: str = request.scope["path"]
    base = config.site_url + quote(path, safe="/@")

    def at(after: str | None) -> str:
        return address(base, {**query, "after": after})

    return Channel(
        site=config.site_url,
        site_name=config.site_name,
        title=title,
        about=about,
        home=config.site_url + address(home, query),
        self=at(request.query_params.get("after")),
        first=at(None),
        next=at(page.next) if page.next else "",
        previous=at(page.previous) if page.previous is not None else "",
        updated=max((entry.updated for entry in page.entries), default=BEGAN),
        entries=page.entries,
    )


def _private(request: Request[Any, Any, Any], body: bytes) -> Response[bytes]:
    """A feed for one reader: nothing of it is remembered here, so that a withdrawn address is closed at once."""
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    status = 304 if _current(request, tag) else 200
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "X-Robots-Tag": "noindex"}
    return Response(
        content=b"" if status == 304 else body, status_code=status, headers=headers, media_type=_type(request)
    )


def conditionally(request: Request[Any, Any, Any], body: bytes, updated: datetime | None) -> Response[bytes]:
    """A feed with its hash and, where that is told, its time; or 304 if the reader has it."""
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
    if updated is not None:
        headers["Last-Modified"] = format_datetime(updated.astimezone(UTC), usegmt=True)
    if len(_known) >= KEPT:
        _known.clear()
    _known[_key(request)] = Known(time.monotonic() + conditional.FRESH, tag, headers)
    status = 304 if _current(request, tag) else 200
    return Response(
        content=b"" if status == 304 else body, status_code=status, headers=headers, media_type=_type(request)
    )


def _current(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether the reader's copy is right, by its hash alone.

    A date cannot tell: a withdrawn entry leaves the older ones' dates, and a second holds many changes.
    """
    asked = request.headers.get("if-none-match", "")
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in asked.split(","))
