"""Anything that goes wrong becomes a page, a block for htmx, or problem+json. HTTP is known here alone."""

import inspect
import logging
import re
import secrets
from typing import Any, cast
from urllib.parse import quote, urlsplit

import asyncpg
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Scope
from msgspec import json

from domain.errors import DomainError, Invalid, NeedsLogin
from web import auth
from web.forms import Kept, Unstorable
from web.render import here, page, see_other, wants_part
from web.signatures import without_token

log = logging.getLogger("web")

PLAIN: dict[int, tuple[str, str]] = {
    400: ("That did not work", "The request could not be read. Go back, reload the page and try again."),
    401: ("Log in first", "This page is for people who are logged in."),
    403: ("Not allowed", "You can look at this, but you may not do that to it."),
    404: (
        "Nothing grows here",
        "There is no page at this address. It may have been removed by its owner, or the link may be cut short.",
    ),
    405: ("Not that way", "This address exists, but it does not take this kind of request."),
    409: ("Something changed meanwhile", "Load the page again and look before you try once more."),
    413: ("Too large", "That is more than the site takes at once, so nothing of it was taken. Send less."),
    422: ("Something needs mending", "Part of what was sent cannot be used as it is."),
    429: ("Slow down a little", "That was many requests in a short time. Wait a minute, then go on."),
    500: (
        "That broke on our side",
        "Try again. If it happens once more, tell the host the request number below.",
    ),
    503: ("Back in a moment", "A part of the site cannot be reached just now. Try again in a few seconds."),
}
TOO_SLOW = ("That took too long", "The site gave up after a few seconds. Try again in a moment, or ask for less.")
COMPOSER = re.compile(r"/drafts|/uploads|/pipelines(?:/([0-9a-f-]{36})/(?:versions|draft))?")
COMPOSED = (
    "That is more than the site takes at once, so nothing of it was taken. A picture may have 20 MB. "
    "What you typed is in your draft, as far as the page could save it: open it and choose a smaller picture."
)
HAS_A_FORM = re.compile(r"/login|/signup|/settings/profile|/pipelines/[0-9a-f-]{36}/(?:versions/\d+/runs|reviews)")
RETRY = {"Retry-After": "5"}
_NOTICE = {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"}
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    ConnectionError,
    TimeoutError,
)


def request_id(scope: Scope) -> str:
    """Eight letters that name this request to the person, in the header and in the log."""
    state: dict[str, Any] = scope["state"]
    if "request_id" not in state:
        state["request_id"] = secrets.token_hex(4)
    return cast("str", state["request_id"])


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Turn any exception into an answer, and write down what a host should know."""
    if isinstance(error, NeedsLogin) and not _wants_json(request):
        return _to_login(request)
    status, title, message, headers = _explain(error)
    reference = request_id(request.scope)
    if status >= 500:
        path = quote(without_token(request.scope["path"]))
        log.error("%s %s failed, request %s", request.method, path, reference, exc_info=error)
    if _wants_json(request):
        return _problem(error, status, title, message, reference, headers)
    if isinstance(error, (auth.Stale, Unstorable)) and _can_send_again(request, error.kept):
        return _kept_page(request, status, reference, error.kept, error.fields if isinstance(error, Invalid) else {})
    if status == 413 and COMPOSER.fullmatch(request.scope["path"]) and not isinstance(error, DomainError):
        message = COMPOSED
    return _page(request, status, title, message, reference, headers, error)


def _explain(error: Exception) -> tuple[int, str, str, dict[str, str]]:
    """Status, title, words and headers for an exception. Only a DomainError's own words are shown."""
    if isinstance(error, DomainError):
        plain = PLAIN.get(error.status, PLAIN[400])
        message = error.message if error.message != error.title else plain[1]
        return error.status, error.title, message, RETRY if error.status == 503 else {}
    if isinstance(error, _AWAY):
        return 503, *PLAIN[503], RETRY
    if isinstance(error, asyncpg.QueryCanceledError):
        return 503, *TOO_SLOW, RETRY
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return 404, *PLAIN[404], {}
    if isinstance(error, ValidationException):
        # a path or query parameter of the wrong type: no such page
        status = 422 if getattr(error, "extra", None) and _in_body(error) else 404
        return status, *PLAIN[status], {}
    if isinstance(error, HTTPException):
        status = error.status_code if error.status_code in PLAIN else (400 if error.status_code < 500 else 500)
        return status, *PLAIN[status], dict(error.headers or {})
    return 500, *PLAIN[500], {}


def _in_body(error: ValidationException) -> bool:
    extra = error.extra if isinstance(error.extra, list) else []
    return any(isinstance(item, dict) and item.get("source") == "body" for item in extra)


def _to_login(request: Request[Any, Any, Any]) -> Response[Any]:
    """Send a visitor to log in, and back to where they were afterwards."""
    after = here(request)
    if request.method not in auth.SAFE or request.headers.get("hx-request"):
        after = _path_of(request.headers.get("hx-current-url") or request.headers.get("referer") or "/")
    url = f"/login?next={quote(auth.local_path(after), safe='/@')}"
    if request.headers.get("hx-request"):
        return Response(content=b"", status_code=200, headers={"HX-Redirect": url}, media_type="text/html")
    return see_other(url)


def _path_of(url: str) -> str:
    """Path and query of the page that a browser says it is on; "/" for what is no address."""
    try:
        seen = urlsplit(url)
    except ValueError:
        return "/"
    return seen.path + (f"?{seen.query}" if seen.query else "")


def _wants_json(request: Request[Any, Any, Any]) -> bool:
    accept = request.headers.get("accept", "")
    return "json" in accept and "text/html" not in accept


def _problem(
    error: Exception, status: int, title: str, message: str, reference: str, headers: dict[str, str]
) -> Response[bytes]:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": message}
    body["request"] = reference
    if isinstance(error, Invalid):
        body["fields"] = error.fields
    return Response(
        content=json.encode(body), status_code=status, media_type="application/problem+json", headers=dict(headers)
    )


def _can_send_again(request: Request[Any, Any, Any], kept: Kept) -> bool:
    """A file cannot be kept: a page that htmx sent one from still has it, and all that was typed."""
    return not (kept.files and wants_part(request))


def _kept_page(
    request: Request[Any, Any, Any], status: int, reference: str, kept: Kept, fields: dict[str, str]
) -> Response[Any]:
    """The page with everything that was sent and a button that sends it again.

    Whoever has to log in first gets no token yet: sent too early, it comes back to this page.
    """
    needs_login = auth.viewer_of(request) is None and _for_members(request)
    return page(
        request,
        "errors/kept.html",
        block="notice",
        status=status,
        headers={**(_NOTICE if wants_part(request) else {}), "Cache-Control": "no-store"},
        code=status,
        reference=reference,
        kept=kept,
        fields=fields,
        texts=[value for _, value in kept.fields if len(value.split()) > 1],
        needs_login=needs_login,
    )


def _for_members(request: Request[Any, Any, Any]) -> bool:
    handler = request.scope.get("route_handler")
    return handler is not None and "me" in inspect.signature(handler.fn).parameters


def _form_behind(request: Request[Any, Any, Any]) -> str:
    """The page whose form was sent here, or "" where there is none of its own."""
    path = request.scope["path"]
    if request.method in auth.SAFE:
        return ""
    composer = COMPOSER.fullmatch(path)
    if composer:
        return f"/pipelines/{composer[1]}/edit" if composer[1] else "/pipelines/new"
    return path if HAS_A_FORM.fullmatch(path) else ""


def _page(
    request: Request[Any, Any, Any],
    status: int,
    title: str,
    message: str,
    reference: str,
    headers: dict[str, str],
    error: Exception,
) -> Response[Any]:
    """The error page; htmx gets a notice for the top of the page it is on."""
    return page(
        request,
        "errors/show.html",
        block="notice",
        status=status,
        headers={**(_NOTICE if wants_part(request) else {}), **headers},
        code=status,
        title=title,
        message=message,
        reference=reference,
        fields=error.fields if isinstance(error, Invalid) else {},
        back=_form_behind(request),
    )
