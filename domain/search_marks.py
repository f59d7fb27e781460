"""Where a text matches: which of its words may, marks round those that do, and the piece worth showing (pure).

PostgreSQL knows which words share a stem; asking it of every word of every result would take longer than the search.
A stem keeps a word's beginning, so only words that begin alike are asked about.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable

OPEN, CLOSE = "\ue000", "\ue001"
"""Round what matched: private characters, taken out of the text before."""
EXCERPT = 320
"""Characters of a long text that are shown."""
LEAD = 70
"""Characters before the first match."""
_WORD = re.compile(r"\w+(?:['’ʼ]\w+)*")
_PARTS = re.compile(f"({_WORD.pattern})")
"""Splits a text into words and what is between them."""
_MARKED = re.compile(f"{OPEN}([^{CLOSE}]*)")
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff]")
"""Scripts that write words without spaces between: there, what was typed is looked for as it stands."""


def likely(texts: Iterable[str], typed: Iterable[str]) -> list[str]:
    """The words of the texts that begin like a typed one."""
    starts = tuple({_fold(word)[: 2 if len(word) > 2 else 1] for text in typed for word in _WORD.findall(text)})
    words = {word for text in texts for word in _WORD.findall(text)}
    return [word for word in words if starts and _fold(word).startswith(starts)]


def mark(text: str, matching: Collection[str], typed: Iterable[str]) -> str:
    """The text with marks round its matching words, and round what was typed in scripts without spaces."""
    text = text.replace(OPEN, "").replace(CLOSE, "")
    whole = [re.escape(one) for one in typed if _NO_SPACES.search(one)]
    if not whole:
        return "".join(f"{OPEN}{part}{CLOSE}" if part in matching else part for part in _PARTS.split(text))
    pattern = re.compile("|".join([*whole, _WORD.pattern]), re.IGNORECASE)

    def shown(found: re.Match[str]) -> str:
        word = found[0]
        if word in matching or any(re.fullmatch(one, word, re.IGNORECASE) for one in whole):
            return f"{OPEN}{word}{CLOSE}"
        return re.sub("|".join(whole), lambda part: f"{OPEN}{part[0]}{CLOSE}", word, flags=re.IGNORECASE)

    return pattern.sub(shown, text)


def matches(marked: str) -> int:
    """How many different words of a marked text are marked."""
    return len({word.casefold() for word in _MARKED.findall(marked)})


def excerpt(marked: str, room: int = EXCERPT) -> str:
    """The piece of a marked text that begins a little before its first match: some `room` characters."""
    if len(marked) <= room:
        return marked
    first, lead = marked.find(OPEN), min(LEAD, room // 4)
    start = 0
    if first > room - lead:
        start = marked.rfind(" ", 0, first - lead // 2) + 1
        start = start if first - start <= 2 * lead else first
    end = start + room
    if end < len(marked):
        space = marked.rfind(" ", start + room // 2, end)
        end = space if space > 0 else end
    piece = marked[start:end]
    if piece.count(OPEN) > piece.count(CLOSE):
        piece += CLOSE
    return ("… " if start else "") + piece + (" …" if end < len(marked) else "")


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(c))
