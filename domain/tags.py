"""Tags as people type them and as they are kept (pure)."""

import unicodedata
from collections.abc import Iterable

from domain.errors import Invalid

MAX_TAGS = 12
MAX_LENGTH = 32
_LONGEST = 1_000
"""Characters looked at before a tag is folded: folding can make eighteen of one."""
_JOINERS = "-_+.#&'’"


def split(text: str) -> list[str]:
    """The tags of one text field: separated by commas, semicolons or line ends."""
    for sign in (";", "\n", "\r", "،", "、", "，"):
        text = text.replace(sign, ",")
    return [part for part in text.split(",") if part.strip()]


def normalize(raw: Iterable[str]) -> list[str]:
    """NFKC, lower case, single spaces, no `#` in front, each tag once, in the order given.

    Raises Invalid (field `tags`) for more than 12, longer than 32 characters or without a letter.
    """
    kept: list[str] = []
    for text in raw:
        if len(kept) > MAX_TAGS:
            break
        tag = " ".join(unicodedata.normalize("NFKC", text[:_LONGEST]).casefold().split()).lstrip("#").strip()
        if tag and tag not in kept:
            kept.append(_checked(tag))
    if len(kept) > MAX_TAGS:
        raise Invalid({"tags": f"At most {MAX_TAGS} tags"})
    return kept


def _checked(tag: str) -> str:
    shown = tag if len(tag) <= 40 else tag[:40] + "…"
    if len(tag) > MAX_LENGTH:
        raise Invalid({"tags": f"“{shown}” is too long: at most {MAX_LENGTH} characters a tag"})
    if not all(char in _JOINERS or char == " " or unicodedata.category(char)[0] in "LMN" for char in tag):
        raise Invalid({"tags": f"“{shown}” has signs in it. Tags are letters, digits, spaces and - _ + . # &"})
    if not any(unicodedata.category(char)[0] in "LN" for char in tag):
        raise Invalid({"tags": f"“{shown}” needs a letter or a digit"})
    return tag
