"""Addresses that open something without a session, because nobody can guess them.

An artifact, for a day or two, on an origin that knows no session: whoever was shown a page may load its
pictures, since the page's own checks decided that they may. And a person's private feed, until its key is
taken away: feed readers do not log in.
"""

import hashlib
import hmac
import re
import time
from uuid import UUID

DAY = 86_400
_FEED = re.compile("(?<=/feeds/)[^/?]+")


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


def feed_token(secret: str, key_id: UUID) -> str:
    """The unguessable part of a private feed's address: the key's id, and 160 bits that only we can make of it."""
    return f"{key_id.hex}{_feed_mac(secret, key_id)}"


def feed_key(secret: str, token: str) -> UUID | None:
    """The id of the key that a token was made of; None for what we never made."""
    try:
        key_id = UUID(token[:32])
    except ValueError:
        return None
    right = feed_token(secret, key_id)
    return key_id if hmac.compare_digest(token.encode("utf-8", "replace"), right.encode()) else None


def _feed_mac(secret: str, key_id: UUID) -> str:
    return hmac.new(secret.encode(), f"feed:{key_id.hex}".encode(), hashlib.sha256).hexdigest()[:40]


def without_token(path: str) -> str:
    """An address as logs may keep it: who reads them must not be able to read a private feed."""
    return _FEED.sub("…", path)
