"""Who is asking, and did the request come from one of our own pages?"""

import hashlib
import hmac
import secrets
from functools import cache
from typing import Any, cast
from urllib.parse import quote, urlsplit
from uuid import UUID

from litestar import Request
from litestar.datastructures import Cookie
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from domain import accounts
from domain.config import Config
from domain.errors import NeedsLogin, NotFound, Refused
from web.forms import CSRF_FIELD, Kept, close_files, form_items, keep

CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_IN_URLS = "%/?#[]@!$&'()*+,;=:~"
_STALE = "This page has grown old. Load it again, then send the form once more."


class Viewer(Struct, frozen=True):
    """The person behind the request, as pages need them."""

    id: UUID
    handle: str
    name: str
    role: str
    unread: int = 0
    """Notifications that wait, counted to 10."""

    @property
    def shown(self) -> str:
        """The name to show: the chosen one, or the handle."""
        return self.name or self.handle


def config_of(scope: Scope) -> Config:
    """The settings this app was made with."""
    return cast("Config", scope["litestar_app"].state.config)


def cookie_name(config: Config, name: str) -> str:
    """`__Host-` pins a cookie to this host and to TLS, where there is TLS.

    Browsers keep one set of cookies for all ports of a host, so without TLS the port is in the name.
    """
    return f"__Host-{name}" if config.secure else f"{name}-{_port(config.site_url)}"


@cache
def _port(site_url: str) -> int:
    return urlsplit(site_url).port or 80


def cookie(config: Config, name: str, value: str, max_age: int | None = None) -> Cookie:
    """A cookie that scripts and other sites cannot read; `max_age` in seconds, None: until the browser closes."""
    return Cookie(
        key=cookie_name(config, name),
        value=value,
        max_age=max_age,
        path="/",
        secure=config.secure,
        httponly=True,
        samesite="lax",
    )


def expired(config: Config, name: str) -> Cookie:
    """The cookie that removes `name`."""
    return cookie(config, name, "", max_age=0)


def token_of(request: Request[Any, Any, Any]) -> str:
    """The session token as the browser sent it, or ""."""
    return request.cookies.get(cookie_name(config_of(request.scope), "session"), "")


def local_path(value: str | None, otherwise: str = "/") -> str:
    """`value` if it is a path on this site, else `otherwise`: a login form never leads elsewhere.

    Letters outside ASCII come back percent-encoded, so that the answer fits in a header.
    """
    if not value or not value.startswith("/") or value.startswith(("//", "/\\")) or len(value) > 500:
        return otherwise
    if any(ord(letter) < 33 or letter == "\\" for letter in value) or urlsplit(value).netloc:
        return otherwise
    return quote(value, safe=_IN_URLS, errors="replace")


# who


async def identify(scope: Scope) -> None:
    """Look the session up once, before routing, so that a page for a wrong address knows the person too.

    A failure is kept for `Guard` to raise where it becomes a page.
    """
    state: dict[str, Any] = scope["state"]
    state["viewer"] = None
    request: Request[Any, Any, Any] = Request(scope)
    token = token_of(request)
    if not token or scope["path"].startswith(("/static/", "/health")):
        return
    try:
        person = await accounts.person_of(token)
    except Exception as error:
        state["identify_error"] = error
        return
    if person is not None:
        state["viewer"] = Viewer(person.id, person.handle, person.name, person.role, person.unread)


def viewer_of(request: Request[Any, Any, Any]) -> Viewer | None:
    """The person who is logged in, or None."""
    return cast("Viewer | None", request.scope["state"].get("viewer"))


async def provide_viewer(request: Request[Any, Any, Any]) -> Viewer | None:
    """Handler parameter `viewer`: the person who is logged in, or None."""
    return viewer_of(request)


async def provide_me(request: Request[Any, Any, Any]) -> Viewer:
    """Handler parameter `me`. Raises NeedsLogin when nobody is logged in."""
    viewer = viewer_of(request)
    if viewer is None:
        raise NeedsLogin
    return viewer


def require_admin(me: Viewer) -> None:
    """Let admins alone go on. For all others there is nothing here: raises NotFound."""
    if me.role != "admin":
        raise NotFound


# from one of our pages?


class Stale(Refused):
    """A page of ours sent the token of another session: the person logged in or out since it was loaded."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(_STALE)
        self.kept = kept


def csrf_token(request: Request[Any, Any, Any]) -> str:
    """The token for this browser's forms: bound to the session, or to a cookie while logged out."""
    config = config_of(request.scope)
    binding = token_of(request) if viewer_of(request) else _visitor(request)
    mac = hmac.new(config.secret_key.encode(), b"csrf:" + binding.encode(), hashlib.sha256)
    return mac.hexdigest()


def visitor_cookie(request: Request[Any, Any, Any]) -> str:
    """The visitor cookie that the browser sent, or ""."""
    sent = request.cookies.get(cookie_name(config_of(request.scope), "visitor"), "")
    return sent if len(sent) == 43 else ""


def _visitor(request: Request[Any, Any, Any]) -> str:
    """The visitor cookie, or a new one that `render.page` sends along."""
    state: dict[str, Any] = request.scope["state"]
    sent = visitor_cookie(request)
    if sent:
        return sent
    if "new_visitor" not in state:
        state["new_visitor"] = secrets.token_urlsafe(32)
    return cast("str", state["new_visitor"])


def _from_elsewhere(request: Request[Any, Any, Any]) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    if origin is None:
        return False
    config = config_of(request.scope)
    if origin == config.site_url:
        return False
    host = request.headers.get("host")
    return config.secure or not host or origin != f"http://{host}"


def _from_here(request: Request[Any, Any, Any]) -> bool:
    """Whether the browser says that a page of ours sent this; asked after `_from_elsewhere`."""
    return request.headers.get("sec-fetch-site") == "same-origin" or "origin" in request.headers


async def check_csrf(request: Request[Any, Any, Any]) -> None:
    """Let a request with an unsafe method pass only from our own pages. Raises Refused.

    Of a page that the browser says is ours, what it sent is kept for sending it again (Stale).
    No route is exempt: a new one that must be needs an anchored path here and a test.
    """
    if _from_elsewhere(request):
        raise Refused("This form was sent from another site.")
    given: object = request.headers.get(CSRF_HEADER)
    if given is None:
        given = next((value for name, value in await form_items(request) if name == CSRF_FIELD), None)
    if not isinstance(given, str) or not _same(given, csrf_token(request)):
        refused = Stale(await keep(request)) if _from_here(request) else Refused(_STALE)
        await close_files(request)
        raise refused


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


class Guard:
    """Middleware round every route: raises what `identify` met and checks CSRF."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] == ScopeType.HTTP:
            error = scope["state"].get("identify_error")
            if error is not None:
                raise error
            if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
                raise NotFound
            if scope["method"] not in SAFE:
                await check_csrf(Request(scope, receive, send))
        await self.app(scope, receive, send)
