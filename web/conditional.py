"""Conditional GET: 304 when a visitor's copy of a public page is still right.

A page's tag has two halves: a hash of what everybody sees, and one of the form token inside it.
The first half is remembered for a moment, so that most repeated requests cost no query and no
rendering. A page for a person who is logged in is never tagged.
"""

import time
from hashlib import blake2b
from typing import Any

from litestar import Request, Response

from web import auth
from web.render import VARY, theme_of, wants_part

FRESH = 0.25
"""Seconds a page's hash is believed without looking again."""
KEPT = 512

_hashes: dict[tuple[Any, ...], tuple[float, str]] = {}


def unchanged(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """304 if the visitor has what was right a moment ago, else None: the page must be made."""
    asked = request.headers.get("if-none-match")
    if asked is None or auth.viewer_of(request) is not None:
        return None
    seen = _hashes.get(_key(request))
    if seen is None or seen[0] < time.monotonic() or not _matches(request, asked, seen[1]):
        return None
    return _not_modified(asked)


def tagged(request: Request[Any, Any, Any], response: Response[bytes]) -> Response[bytes]:
    """The page with its ETag, or 304 if the visitor has just this one."""
    if auth.viewer_of(request) is not None:
        return response
    token = auth.csrf_token(request)
    state = blake2b(response.content.replace(token.encode(), b""), digest_size=12).hexdigest()
    if len(_hashes) >= KEPT:
        _hashes.clear()
    _hashes[_key(request)] = (time.monotonic() + FRESH, state)
    asked = request.headers.get("if-none-match")
    if asked is not None and _matches(request, asked, state):
        return _not_modified(asked)
    response.headers["ETag"] = f'W/"{state}-{token[:8]}"'
    return response


def _matches(request: Request[Any, Any, Any], asked: str, state: str) -> bool:
    """Whether `asked` names this state, with this browser's token if the browser keeps one.

    Who sends no cookie back can use no form, so any token will do for them.
    """
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in asked.split(",")]
    token = auth.csrf_token(request)
    if "new_visitor" in request.scope["state"]:
        return any(tag.partition("-")[0] == state for tag in tags)
    return f"{state}-{token[:8]}" in tags


def _not_modified(asked: str) -> Response[bytes]:
    headers = {"Vary": VARY, "Cache-Control": "private, no-cache"}
    if "," not in asked:
        headers["ETag"] = asked
    return Response(content=b"", status_code=304, headers=headers, media_type="text/html; charset=utf-8")


def _key(request: Request[Any, Any, Any]) -> tuple[Any, ...]:
    scope = request.scope
    return id(request.app), scope["path"], scope.get("query_string"), theme_of(request), wants_part(request)
