"""Passwords: what is too weak, and argon2id. Pure."""

import re
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

MIN, MAX = 10, 128
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
"""OWASP's floor for argon2id: 19 MiB, two passes, one lane."""

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$je9gkyMWTczGSEiNxWqYYQ$wKWJ67LHjZ7OOP3oSmAHnZ9iHHk9t9WOTllr6QiEGuo"
"""The hash of a password that was thrown away: an unknown account takes as long as a wrong password."""

_LIST = Path(__file__).with_name("common_passwords.txt")
_LEET = str.maketrans("013457@$!", "oleastasi")


def hashed(password: str) -> str:
    """The argon2id hash to keep. Takes tens of milliseconds and 19 MiB: call it in a thread."""
    return _HASHER.hash(password)


def matches(password_hash: str, password: str) -> bool:
    """Whether the password belongs to the hash. As slow as `hashed`."""
    try:
        return _HASHER.verify(password_hash, password)
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False


def outdated(password_hash: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def fault(password: str, *about: str) -> str | None:
    """What is wrong with a new password, in words for its field. `about`: the handle, e-mail and the like."""
    if len(password) < MIN:
        return f"At least {MIN} characters. A few words in a row are good"
    if len(password) > MAX:
        return f"At most {MAX} characters; this has {len(password)}"
    if len(set(password)) < 4:
        return "More different characters. A few words in a row are good"
    folded = password.casefold()
    if _common(folded):
        return "Many people use this one, so it is guessed first. A few words in a row are good"
    if any(known and len(known) > 2 and _bare(folded) in (known.casefold(), _bare(known)) for known in about):
        return "Something other than your handle or e-mail"
    return None


@cache
def _words() -> frozenset[str]:
    return frozenset(_LIST.read_text(encoding="utf-8").split())


def _common(folded: str) -> bool:
    """On the list; or a word of the list with digits and signs round it; or one written twice."""
    words = _words()
    half, odd = divmod(len(folded), 2)
    candidates = {folded, _bare(folded), _bare(folded).translate(_LEET), folded.translate(_LEET)}
    if not odd and folded[:half] == folded[half:]:
        candidates.add(folded[:half])
    return bool(candidates & words) or folded in "01234567890123456789" or folded[::-1] in "01234567890123456789"


def _bare(text: str) -> str:
    """Without digits and signs at both ends."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text.casefold())
