"""Headers on every response."""

from collections.abc import Awaitable, Callable
from typing import cast

from litestar.types import Message, Scope

from domain.config import Config
from web.errors import request_id

FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The content security policy of a file that is no page: nothing in it runs or loads anything."""
PERMISSIONS = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"


VIEWER_STYLE = "'sha256-PXtZZkJMMyc18o/DN1ZEFOJ2qEGq95IQbVaJFMOXOb0='"
"""The one style that <model-viewer> writes into its own shadow, as static/vendor has it: this text and no other."""


def content_security_policy(config: Config) -> str:
    """No inline script, no inline style but the viewer's own, nothing from other sites but artifacts from their own
    origin."""
    files = f" {config.artifact_origin}" if config.artifact_origin else ""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' {VIEWER_STYLE}; "
        f"img-src 'self'{files}; media-src 'self'{files}; connect-src 'self'{files}; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


_FOR_PAGES = (
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def _for_all(config: Config) -> list[tuple[bytes, bytes]]:
    headers = {
        "content-security-policy": content_security_policy(config),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "permissions-policy": PERMISSIONS,
    }
    if config.secure:
        headers["strict-transport-security"] = "max-age=31536000"
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def securing(config: Config) -> Callable[[Message, Scope], Awaitable[None]]:
    """Litestar's `before_send`: adds what the handler did not set itself.

    On raw headers, because it runs for every response: the header classes cost more than a 304 does.
    """
    for_all = _for_all(config)

    async def secure(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        headers = cast("list[tuple[bytes, bytes]]", message["headers"])
        given = {name.lower(): value for name, value in headers}
        extra = [*for_all, (b"x-request-id", request_id(scope).encode())]
        if given.get(b"content-type", b"").startswith(b"text/html"):
            extra += _FOR_PAGES
        message["headers"] = [*headers, *(one for one in extra if one[0] not in given)]

    return secure
