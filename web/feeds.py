"""Feeds of every list, for readers that follow: RSS 2.0, Atom and JSON Feed 1.1."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from litestar import Request, Response, get

from domain import feeds, people
from domain.errors import NotFound
from domain.lists import NO_PAGE, Filter
from web import conditional
from web.auth import config_of
from web.feed_formats import TYPES, WRITERS, Channel
from web.gallery import KINDS, ORDERS, address, known_tag, tag_address

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


@get([f"/gallery/feed.{kind}" for kind in FORMATS], before_request=_unchanged, include_in_schema=False)
async def of_gallery(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The gallery: ?order=, ?kind=, ?after=."""
    asked = _asked(request, "order", "kind", "after")
    order, medium = asked.get("order", "newest"), asked.get("kind", "")
    page = await feeds.of_list(Filter(order, medium or None), asked.get("after"))
    label = next((one.label for one in KINDS if one.medium == medium and medium), "")
    title = " · ".join(filter(None, (config_of(request.scope).site_name, ORDERS[order][1], label)))
    about = "Pipelines that people share: prompt, model, every parameter, and what came out."
    return _answer(request, page, title, about, "/", {"order": order, "kind": medium})


@get([f"/tags/{{tag:str}}/feed.{kind}" for kind in FORMATS], before_request=_unchanged, include_in_schema=False)
async def of_tag(request: Request[Any, Any, Any], tag: str) -> Response[bytes]:
    """A tag: ?order=, ?kind=, ?after=."""
    asked = _asked(request, "order", "kind", "after")
    kept = known_tag(tag)
    order, medium = asked.get("order", "newest"), asked.get("kind", "")
    page = await feeds.of_list(Filter(order, medium or None, kept), asked.get("after"))
    title = f"{config_of(request.scope).site_name} · Tagged {kept}"
    about = f"Pipelines tagged {kept}."
    return _answer(request, page, title, about, tag_address(kept), {"order": order, "kind": medium})


@get([f"/{{handle:str}}/feed.{kind}" for kind in FORMATS], before_request=_unchanged, include_in_schema=False)
async def of_person(request: Request[Any, Any, Any], handle: str) -> Response[bytes]:
    """What a person has published, newest first: ?after=."""
    asked = _asked(request, "after")
    if not handle.startswith("@"):
        raise NotFound
    person = await people.by_handle(handle[1:])
    page = await feeds.of_list(Filter(owner_id=person.id), asked.get("after"))
    title = f"{config_of(request.scope).site_name} · {person.shown}"
    return _answer(request, page, title, f"Pipelines by {person.shown}.", f"/@{person.handle}", {})


@get(
    [f"/pipelines/{{pipeline_id:uuid}}/results.{kind}" for kind in FORMATS],
    before_request=_unchanged,
    include_in_schema=False,
)
async def of_results(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """A pipeline's published runs, newest first: ?after=."""
    asked = _asked(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_results(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Results"
    about = f"What came out of “{subject.title}” by {subject.handle}, with the seed and prompt of each."
    return _answer(request, page, title, about, f"/pipelines/{pipeline_id}", {})


@get(
    [f"/pipelines/{{pipeline_id:uuid}}/lineage.{kind}" for kind in FORMATS],
    before_request=_unchanged,
    include_in_schema=False,
)
async def of_lineage(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """What grew from a pipeline, newest first: ?after=."""
    asked = _asked(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_lineage(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Offshoots"
    about = f"What people grew from “{subject.title}” by {subject.handle}."
    return _answer(request, page, title, about, f"/pipelines/{pipeline_id}/lineage", {})


@get(
    [f"/pipelines/{{pipeline_id:uuid}}/reviews.{kind}" for kind in FORMATS],
    before_request=_unchanged,
    include_in_schema=False,
)
async def of_reviews(request: Request[Any, Any, Any], pipeline_id: UUID) -> Response[bytes]:
    """What people wrote about a pipeline, newest first: ?after=."""
    asked = _asked(request, "after")
    subject = await feeds.subject(pipeline_id)
    page = await feeds.of_reviews(pipeline_id, asked.get("after"))
    title = f"{subject.title} · Reviews"
    about = f"What people wrote about “{subject.title}” by {subject.handle}."
    return _answer(request, page, title, about, f"/pipelines/{pipeline_id}/reviews", {})


def _asked(request: Request[Any, Any, Any], *known: str) -> dict[str, str]:
    """The query's words. Raises NotFound for any other, such as a page number."""
    asked = {name: value for name, value in request.query_params.items() if value != ""}
    if not asked.keys() <= set(known):
        raise NotFound(NO_PAGE)
    return asked


def _answer(
    request: Request[Any, Any, Any], page: feeds.Page, title: str, about: str, home: str, query: Mapping[str, str]
) -> Response[bytes]:
    """The feed in the format of the address, or 304 if the reader has it."""
    config = config_of(request.scope)
    path: str = request.scope["path"]
    kind = path.rpartition(".")[2]
    base = config.site_url + quote(path, safe="/@")

    def at(after: str | None) -> str:
        return address(base, {**query, "after": after})

    channel = Channel(
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
    return _conditional(request, kind, channel, dated=query.get("order", "newest") == "newest")


def _conditional(request: Request[Any, Any, Any], kind: str, channel: Channel, dated: bool) -> Response[bytes]:
    """`dated`: the newest entry's time is worth telling; in other orders it says nothing of the list."""
    body = WRITERS[kind](channel)
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "public, max-age=60", "Vary": "Accept-Encoding"}
    if dated:
        headers["Last-Modified"] = format_datetime(channel.updated.astimezone(UTC), usegmt=True)
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
