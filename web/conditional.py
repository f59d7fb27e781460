"""Public pages for visitors: one that was right a moment ago is sent again, or 304 if they have it.

A page's tag has two halves: a hash of what everybody sees, and a piece of the form token inside it.
The page is believed for a moment, so that a crowd costs no queries, no rendering and no routing; each
visitor gets it with a form token of their own. Who is logged in sees everything as it is.
"""

import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from litestar import Request, Response
from litestar.types import Message

from web import auth
from web.render import VARY, page_headers, theme_of, wants_part

FRESH = 0.25
"""Seconds a page is believed without looking again."""
HTML = "text/html; charset=utf-8"
KEPT = 128
"""Pages remembered, some 35 KB each."""


class Seen(NamedTuple):
    """A page as it was: believed until then, its hash, and its body in the pieces round the form token."""

    until: float
    state: str
    pieces: list[bytes]


_seen: dict[tuple[Any, ...], Seen] = {}


class Kept(NamedTuple):
    """An answer that needs no route."""

    head: Message
    body: bytes


def kept(request: Request[Any, Any, Any]) -> Kept | None:
    """The page as it was a moment ago, or 304 if the visitor has just that; None: the request must be routed."""
    if auth.viewer_of(request) is not None:
        return None
    seen = _seen.get(_key(request))
    if seen is None or seen.until < time.monotonic():
        return None
    asked = request.headers.get("if-none-match")
    if asked is not None and _matches(request, asked, seen.state):
        return Kept(_head(304, _kept_headers(asked)), b"")
    token = auth.csrf_token(request)
    body = token.encode().join(seen.pieces)
    headers = {**page_headers(request), "ETag": _tag(seen.state, token)}
    return Kept(_head(200, {**headers, "Content-Type": HTML, "Content-Length": str(len(body))}), body)


def _head(status: int, headers: Mapping[str, str]) -> Message:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


def tagged(request: Request[Any, Any, Any], response: Response[bytes]) -> Response[bytes]:
    """The page with its ETag, or 304 if the visitor has just this one."""
    if auth.viewer_of(request) is not None:
        return response
    token = auth.csrf_token(request)
    state = _remember(_key(request), response.content.split(token.encode()))
    asked = request.headers.get("if-none-match")
    if asked is not None and _matches(request, asked, state):
        return Response(content=b"", status_code=304, headers=_kept_headers(asked), media_type=HTML)
    response.headers["ETag"] = _tag(state, token)
    return response


def _tag(state: str, token: str) -> str:
    return f'W/"{state}-{token[:8]}"'


def _remember(key: tuple[Any, ...], pieces: list[bytes]) -> str:
    """The page's hash, believed from now."""
    seen = _seen.get(key)
    same = seen is not None and seen.pieces == pieces
    state = seen.state if seen and same else blake2b(b"\0".join(pieces), digest_size=12).hexdigest()
    if seen is None and len(_seen) >= KEPT:
        _seen.clear()
    _seen[key] = Seen(time.monotonic() + FRESH, state, pieces)
    return state


def _matches(request: Request[Any, Any, Any], asked: str, state: str) -> bool:
    """Whether `asked` names this state, with this browser's token if the browser keeps one.

    Who sends no cookie back can use no form, so any token will do for them.
    """
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in asked.split(",")]
    if not auth.visitor_cookie(request):
        return any(tag.partition("-")[0] == state for tag in tags)
    return f"{state}-{auth.csrf_token(request)[:8]}" in tags


def _kept_headers(asked: str) -> dict[str, str]:
    """What a 304 says again of the page that the visitor has."""
    headers = {"Vary": VARY, "Cache-Control": "private, no-cache"}
    return headers if "," in asked else {**headers, "ETag": asked}


def _key(request: Request[Any, Any, Any]) -> tuple[Any, ...]:
    scope = request.scope
    return id(request.app), scope["path"], scope.get("query_string"), theme_of(request), wants_part(request)
