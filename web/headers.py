"""Headers on every response."""

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from domain.config import Config
from web.auth import config_of
from web.errors import request_id

PERMISSIONS = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"


def content_security_policy(config: Config) -> str:
    """No inline script or style, nothing from other sites but artifacts from their own origin."""
    files = f" {config.artifact_origin}" if config.artifact_origin else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self'{files}; media-src 'self'{files}; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )


async def secure(message: Message, scope: Scope) -> None:
    """Litestar's `before_send`: adds what the handler did not set itself."""
    if message["type"] != "http.response.start":
        return
    config = config_of(scope)
    headers = MutableScopeHeaders.from_message(message)
    headers.setdefault("Content-Security-Policy", content_security_policy(config))
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", PERMISSIONS)
    headers.setdefault("X-Request-ID", request_id(scope))
    if headers.get("content-type", "").startswith("text/html"):
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    if config.secure:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
