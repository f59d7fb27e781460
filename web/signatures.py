"""Addresses that open one artifact for a day or two, for an origin that knows no session.

Whoever was shown a page may load its pictures: the page's own checks decided that they may.
"""

import hashlib
import hmac
import time

DAY = 86_400


def sign(secret: str, sha256: str, now: float | None = None) -> str:
    """The token for an artifact: the same all day, so that browsers can cache, good for one to two days."""
    day = int(time.time() if now is None else now) // DAY + 2
    return f"{day:x}-{_mac(secret, sha256, day)}"


def signed(secret: str, sha256: str, token: str, now: float | None = None) -> bool:
    """Whether the token is ours, for this artifact, and still good."""
    text, _, mac = token.partition("-")
    try:
        day = int(text, 16)
    except ValueError:
        return False
    right = hmac.compare_digest(mac.encode("utf-8", "replace"), _mac(secret, sha256, day).encode())
    return right and (time.time() if now is None else now) < day * DAY


def _mac(secret: str, sha256: str, day: int) -> str:
    return hmac.new(secret.encode(), f"artifact:{day:x}:{sha256}".encode(), hashlib.sha256).hexdigest()[:40]
