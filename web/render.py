"""Pages: the whole one, or the block that htmx asked for."""

from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import jinja2
from jinja2.utils import missing
from litestar import Request, Response
from litestar.datastructures import Cookie
from markupsafe import Markup

from domain.config import Config
from web import auth, filters
from web.assets import Assets
from web.forms import new_key
from web.signatures import sign

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
VARY = "Cookie, HX-Request, HX-Request-Type"
THEMES = ("auto", "light", "dark")

_csrf: ContextVar[str] = ContextVar("csrf")


class Careful(jinja2.StrictUndefined):
    """An unknown name or attribute is an error; a key that a dict lacks is merely empty."""

    def __new__(cls, hint: str | None = None, obj: Any = missing, *args: Any, **kwargs: Any) -> Any:
        """Lenient for dicts alone."""
        if isinstance(obj, dict):
            return jinja2.Undefined(hint, obj, *args, **kwargs)
        return super().__new__(cls)


def environment(config: Config, assets: Assets) -> jinja2.Environment:
    """The site's Jinja: escaping on, unknown names are errors, templates compiled once."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=Careful,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=config.log_level == "debug",
        cache_size=-1,
    )
    env.filters.update(filters.FILTERS)
    env.globals.update(
        config=config,
        site_name=config.site_name,
        site_url=config.site_url,
        static=assets.url,
        icons=assets.url("icons.svg"),
        sprig=filters.sprig,
        ratio=filters.ratio,
        plural=filters.plural,
        rendition=filters.rendition,
        srcset=filters.srcset,
        artifact_url=lambda sha256, width=None: _artifact_url(config, sha256, width),
        csrf_field=csrf_field,
        key_field=key_field,
    )
    return env


def page(
    request: Request[Any, Any, Any],
    template: str,
    block: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> Response[bytes]:
    """Render `template`, or its `block` alone when htmx asks for a part of the page.

    `me`, `csrf`, `path`, `theme`, `config` and `site_name` are always there.
    """
    env = cast("jinja2.Environment", request.app.state.templates)
    token = auth.csrf_token(request)
    found = env.get_template(template)
    context = {
        "me": auth.viewer_of(request),
        "csrf": token,
        "path": request.scope["path"],
        "theme": theme_of(request),
        "here": here(request),
        **context,
    }
    reset = _csrf.set(token)
    try:
        if block is not None and wants_part(request):
            html = "".join(found.blocks[block](found.new_context(context)))
        else:
            html = found.render(context)
    finally:
        _csrf.reset(reset)
    return Response(
        content=html.encode("utf-8", "replace"),
        status_code=status,
        media_type="text/html",
        headers={**page_headers(request), **(headers or {})},
    )


def wants_part(request: Request[Any, Any, Any]) -> bool:
    """Whether htmx asks for a part: not a boosted link, not a page from history."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-request-type") == "partial"


def see_other(url: str, cookies: list[Cookie] | None = None) -> Response[bytes]:
    """303: the browser loads `url` next, so that reloading it sends nothing twice."""
    return Response(
        content=b"", status_code=303, headers={"Location": url}, media_type="text/plain", cookies=cookies or []
    )


def here(request: Request[Any, Any, Any]) -> str:
    """Path and query of this request."""
    query = request.scope.get("query_string", b"").decode("latin-1")
    return request.scope["path"] + (f"?{query}" if query else "")


def theme_of(request: Request[Any, Any, Any]) -> str:
    """The theme the person chose: auto, light or dark."""
    theme = request.cookies.get(auth.cookie_name(auth.config_of(request.scope), "theme"), "auto")
    return theme if theme in THEMES else "auto"


def csrf_field() -> Markup:
    """The hidden field that every form carries."""
    return Markup('<input type="hidden" name="_csrf" value="{}">').format(_csrf.get())


def key_field() -> Markup:
    """The hidden field of a form that makes something once, however often it is sent."""
    return Markup('<input type="hidden" name="key" value="{}">').format(new_key())


def page_headers(request: Request[Any, Any, Any]) -> dict[str, str]:
    """What every page's headers say, a new visitor's cookie among it: Litestar's own cost more than a query."""
    headers = {"Vary": VARY, "Cache-Control": "private, no-cache"}
    visitor = request.scope["state"].get("new_visitor")
    if visitor is None:
        return headers
    config = auth.config_of(request.scope)
    secure = "; Secure" if config.secure else ""
    cookie = f"{auth.cookie_name(config, 'visitor')}={visitor}; HttpOnly; Path=/; SameSite=lax{secure}"
    return {**headers, "Set-Cookie": cookie}


def _artifact_url(config: Config, sha256: str, width: int | None) -> str:
    """Where pages get an artifact. Another origin has no session, so its addresses are signed."""
    url = f"/artifacts/{sha256}"
    if config.artifact_origin:
        url = f"{config.artifact_origin}/signed/{sign(config.secret_key, sha256)}/{sha256}"
    return f"{url}/{width}" if width else url
