"""What changed between two texts, word by word (pure).

Words are those of Unicode Standard Annex 29, so that Cyrillic, Arabic, CJK and emoji are cut where
people see a cut, and never inside what they see as one character.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

import regex
from msgspec import Struct

Op = Literal["same", "added", "removed"]

_TOKEN = regex.compile(r"\{\w+\}|\X(?:\B\X)*", regex.V1 | regex.WORD)
_COUNTED = regex.compile(r"[\w\p{Extended_Pictographic}\p{Regional_Indicator}]", regex.V1)
MAX_WORK = 1_000_000
"""Pairs of tokens compared at most for one page, some 150 ms; what is longer is compared by its anchors alone."""
MAX_READ = 600_000
"""Characters read at most for one page, some 250 ms; what comes after them is shown as replaced whole."""
PLAIN = 160_000
"""Pairs of tokens that are compared without looking for anchors first."""
ANCHORS = (12, 4, 1)
"""Lengths, in tokens, of the stretches that anchor two long texts: what stands once in each."""


class Work:
    """How much may still be read and compared: one for everything that a page compares."""

    def __init__(self, left: int = MAX_WORK, characters: int = MAX_READ) -> None:
        self.left = left
        self.characters = characters

    def take(self, pairs: int) -> bool:
        """Whether so many pairs may be compared; if so they are counted."""
        if pairs > self.left:
            return False
        self.left -= pairs
        return True

    def read(self, characters: int) -> bool:
        """Whether so many characters may be cut into words; if so they are counted."""
        if characters > self.characters:
            return False
        self.characters -= characters
        return True


class Token(Struct, frozen=True):
    """A stretch of text that stayed, came or went. Joining all but the removed gives the new text."""

    op: Op
    text: str


def tokens_of(text: str) -> list[str]:
    """The text in pieces: words, spaces, signs, and `{name}` as one. Joining them gives the text."""
    found: list[str] = _TOKEN.findall(text)
    return found


def is_word(token: str) -> bool:
    """Whether a piece counts as a word: letters, figures, emoji."""
    return _COUNTED.search(token) is not None


def words(before: str, after: str, work: Work | None = None) -> list[Token]:
    """A word-level diff that keeps every space. Neighbors of one kind are joined.

    Swapping the texts swaps added and removed and changes nothing else. Whoever compares several
    texts for one page gives each the same `work`.
    """
    if before > after:
        return _mirrored(words(after, before, work))
    work = work or Work()
    if before == after or not work.read(len(before) + len(after)):
        whole = [Token("removed", before), Token("added", after)] if before != after else [Token("same", before)]
        return [token for token in whole if token.text]
    old, new = tokens_of(before), tokens_of(after)
    start = _shared(old, new)
    end = _shared(old[start:][::-1], new[start:][::-1])
    middle = _compare(old[start : len(old) - end], new[start : len(new) - end], work, ANCHORS)
    parts = [Token("same", "".join(old[:start])), *middle, Token("same", "".join(old[len(old) - end :]))]
    return list(_joined(_absorbed([part for part in parts if part.text])))


def count_words(tokens: Sequence[Token], op: Op) -> int:
    """How many words the tokens of one kind hold."""
    return sum(is_word(piece) for token in tokens if token.op == op for piece in tokens_of(token.text))


def rising(values: Sequence[int]) -> list[int]:
    """Indices of a longest strictly rising subsequence (Fredman, 1975: patience sorting)."""
    tops: list[int] = []
    piles: list[int] = []
    below: list[int] = []
    for at, value in enumerate(values):
        pile = bisect_left(tops, value)
        below.append(piles[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [value]
        piles[pile : pile + 1] = [at]
    found: list[int] = []
    at = piles[-1] if piles else -1
    while at >= 0:
        found.append(at)
        at = below[at]
    return found[::-1]


def _mirrored(tokens: list[Token]) -> list[Token]:
    """The diff seen from the other side; what went still stands before what came in its place."""
    swapped: dict[Op, Op] = {"added": "removed", "removed": "added", "same": "same"}
    found: list[Token] = []
    for token in tokens:
        turned = Token(swapped[token.op], token.text)
        if turned.op == "removed" and found and found[-1].op == "added":
            found.insert(-1, turned)
        else:
            found.append(turned)
    return found


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """How many tokens the two begin with alike."""
    count = 0
    for left, right in zip(old, new, strict=False):
        if left != right:
            break
        count += 1
    return count


def _compare(old: list[str], new: list[str], work: Work, anchors: Sequence[int]) -> list[Token]:
    pairs = len(old) * len(new)
    if pairs <= PLAIN and work.take(pairs):
        return _plainly(old, new)
    for at, size in enumerate(anchors):
        blocks = _anchors(old, new, size)
        if blocks:
            return _between(old, new, blocks, work, anchors[at + 1 :])
    if work.take(pairs):
        return _plainly(old, new)
    return [Token("removed", "".join(old)), Token("added", "".join(new))]


def _plainly(old: list[str], new: list[str]) -> list[Token]:
    found: list[Token] = []
    for op, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            found.append(Token("same", "".join(old[i:j])))
            continue
        found.append(Token("removed", "".join(old[i:j])))
        found.append(Token("added", "".join(new[k:m])))
    return [token for token in found if token.text]


def _between(
    old: list[str], new: list[str], blocks: Sequence[tuple[int, int, int]], work: Work, anchors: Sequence[int]
) -> list[Token]:
    """The blocks stay, what lies between them is compared."""
    found: list[Token] = []
    i = j = 0
    for left, right, size in [*blocks, (len(old), len(new), 0)]:
        found += _compare(old[i:left], new[j:right], work, anchors)
        found.append(Token("same", "".join(old[left : left + size])))
        i, j = left + size, right + size
    return [token for token in found if token.text]


def _anchors(old: Sequence[str], new: Sequence[str], size: int) -> list[tuple[int, int, int]]:
    """Stretches that stand once in either and in the same order: (place in old, place in new, length).

    The idea is Bram Cohen's patience diff, with stretches of tokens in the place of lines.
    """
    left, right = _once(old, size), _once(new, size)
    places = sorted((place, right[stretch]) for stretch, place in left.items() if stretch in right)
    blocks: list[tuple[int, int, int]] = []
    for at in rising([place for _, place in places]):
        i, j = places[at]
        if blocks:
            begin_i, begin_j, length = blocks[-1]
            if i - begin_i == j - begin_j and i <= begin_i + length:
                blocks[-1] = (begin_i, begin_j, i + size - begin_i)
                continue
            if i < begin_i + length or j < begin_j + length:
                continue
        blocks.append((i, j, size))
    return blocks


def _once(tokens: Sequence[str], size: int) -> dict[tuple[str, ...], int]:
    """Where each stretch begins that stands once. Spaces alone are none."""
    stretches = list(zip(*(tokens[start:] for start in range(size)), strict=False))
    counts = Counter(stretches)
    once = {stretch: at for at, stretch in enumerate(stretches) if counts[stretch] == 1}
    return {stretch: at for stretch, at in once.items() if not stretch[0].isspace()} if size == 1 else once


def _absorbed(tokens: list[Token]) -> list[Token]:
    """Let a lone space between two changes change with them, so that phrases stay whole."""
    result: list[Token] = []
    for at, token in enumerate(tokens):
        lone = token.op == "same" and token.text.isspace() and 0 < at < len(tokens) - 1
        if lone and _both(tokens, at):
            result += [Token("removed", token.text), Token("added", token.text)]
        else:
            result.append(token)
    return result


def _both(tokens: list[Token], at: int) -> bool:
    """Whether words went and came on both sides of a token."""

    def around(positions: Sequence[int]) -> set[str]:
        ops: set[str] = set()
        for position in positions:
            if not 0 <= position < len(tokens) or tokens[position].op == "same":
                break
            ops.add(tokens[position].op)
        return ops

    return len(around((at - 1, at - 2))) == 2 and len(around((at + 1, at + 2))) == 2


def _joined(tokens: list[Token]) -> Iterator[Token]:
    """Join each run of changes into one removed and one added stretch."""
    gone, came, kept = "", "", ""
    for token in [*tokens, None]:
        if token is not None and token.op != "same":
            if kept:
                yield Token("same", kept)
                kept = ""
            gone += token.text if token.op == "removed" else ""
            came += token.text if token.op == "added" else ""
            continue
        if gone:
            yield Token("removed", gone)
        if came:
            yield Token("added", came)
        gone, came = "", ""
        kept += token.text if token is not None else ""
    if kept:
        yield Token("same", kept)
