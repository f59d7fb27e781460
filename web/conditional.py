"""Conditional GET: 304 when a visitor's copy of a public page is still right.

A page's tag has two halves: a hash of what everybody sees, and a piece of the form token inside it.
The first half is believed for a moment, so that most repeated requests cost no query, no rendering and no
routing; and a page that is still the same is not hashed again. A page for a person who is logged in is never tagged.
"""

import time
from hashlib import blake2b
from typing import Any, NamedTuple

from litestar import Request, Response
from litestar.types import Message

from web import auth
from web.render import VARY, theme_of, wants_part

FRESH = 0.25
"""Seconds a page's hash is believed without looking again."""
HTML = "text/html; charset=utf-8"
KEPT = 128
"""Pages remembered, some 35 KB each."""


class Seen(NamedTuple):
    """A page as it was: believed until then, its hash, and its body without the form token."""

    until: float
    state: str
    body: bytes


_seen: dict[tuple[Any, ...], Seen] = {}


def unchanged(request: Request[Any, Any, Any]) -> Message | None:
    """The head of a 304 if the visitor has what was right a moment ago, else None: the request must be routed."""
    asked = request.headers.get("if-none-match")
    if asked is None or auth.viewer_of(request) is not None:
        return None
    seen = _seen.get(_key(request))
    if seen is None or seen.until < time.monotonic() or not _matches(request, asked, seen.state):
        return None
    headers = [(name.lower().encode(), value.encode()) for name, value in _kept_headers(asked).items()]
    return {"type": "http.response.start", "status": 304, "headers": headers}


def tagged(request: Request[Any, Any, Any], response: Response[bytes]) -> Response[bytes]:
    """The page with its ETag, or 304 if the visitor has just this one."""
    if auth.viewer_of(request) is not None:
        return response
    token = auth.csrf_token(request)
    state = _remember(_key(request), response.content.replace(token.encode(), b""))
    asked = request.headers.get("if-none-match")
    if asked is not None and _matches(request, asked, state):
        return Response(content=b"", status_code=304, headers=_kept_headers(asked), media_type=HTML)
    response.headers["ETag"] = f'W/"{state}-{token[:8]}"'
    return response


def _remember(key: tuple[Any, ...], body: bytes) -> str:
    """The body's hash, believed from now."""
    seen = _seen.get(key)
    state = seen.state if seen and seen.body == body else blake2b(body, digest_size=12).hexdigest()
    if seen is None and len(_seen) >= KEPT:
        _seen.clear()
    _seen[key] = Seen(time.monotonic() + FRESH, state, body)
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
    if "," not in asked:
        headers["ETag"] = asked
    return headers


def _key(request: Request[Any, Any, Any]) -> tuple[Any, ...]:
    scope = request.scope
    return id(request.app), scope["path"], scope.get("query_string"), theme_of(request), wants_part(request)
