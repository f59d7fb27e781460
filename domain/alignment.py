"""Which step of one recipe is which step of another (pure)."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from domain import steps
from domain.text_diff import is_word, rising, tokens_of

ALIKE = 0.5
"""From here on two steps are the same one, wherever they stand; below it only when nothing stands between."""
READ = 2_000
"""Characters of each prompt that likeness is judged by."""


class Pair(Struct, frozen=True):
    """One step. `before` and `after` are its numbers, None on the side without it."""

    before: int | None
    after: int | None
    moved: bool = False


class _Look(Struct, frozen=True):
    """What likeness is judged by: the words of the prompts and the other parameters."""

    kind: str
    title: str
    words: frozenset[str]
    parameters: tuple[object, ...]


def align(old: Sequence[steps.AnyStep], new: Sequence[steps.AnyStep]) -> list[Pair]:
    """Every step of either recipe once, in the order of the newer one.

    Alike steps belong together even where they changed places; what is left is paired in order, kind
    by kind. Swapping the recipes swaps the sides and changes nothing else. At most 20 × 20 steps.
    """
    if _encoded(old) > _encoded(new):
        found = {(j, i): moved for (i, j), moved in _paired(new, old).items()}
    else:
        found = _paired(old, new)
    return _in_order(found, len(old), len(new))


def _encoded(recipe: Sequence[steps.AnyStep]) -> bytes:
    return msgspec.json.encode(recipe)


def _paired(old: Sequence[steps.AnyStep], new: Sequence[steps.AnyStep]) -> dict[tuple[int, int], bool]:
    """The pairs, counted from 0, and whether each moved."""
    looks = [_look(step) for step in old], [_look(step) for step in new]
    likeness = {
        (i, j): _likeness(left, right)
        for i, left in enumerate(looks[0])
        for j, right in enumerate(looks[1])
        if left.kind == right.kind
    }
    strong = _greedy(likeness)
    spine = [strong[at] for at in rising([j for _, j in strong])]
    found = {pair: pair not in spine for pair in strong}
    ends = zip([(-1, -1), *spine], [*spine, (len(old), len(new))], strict=True)
    for (i, j), (next_i, next_j) in ends:
        left = [at for at in range(i + 1, next_i) if all(at != pair[0] for pair in strong)]
        right = [at for at in range(j + 1, next_j) if all(at != pair[1] for pair in strong)]
        found |= dict.fromkeys(_one_by_one(left, right, likeness), False)
    return found


def _greedy(likeness: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """The most alike pairs first, then those that moved least. In the order of the older recipe."""
    strong = [pair for pair, alike in likeness.items() if alike >= ALIKE]
    found: dict[int, int] = {}
    for i, j in sorted(strong, key=lambda pair: (-likeness[pair], abs(pair[0] - pair[1]), pair)):
        if i not in found and j not in found.values():
            found[i] = j
    return sorted(found.items())


def _one_by_one(
    left: Sequence[int], right: Sequence[int], likeness: dict[tuple[int, int], float]
) -> list[tuple[int, int]]:
    """As many pairs of one kind as possible without changing places, of those the most alike."""
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    worth = {(a, b): 1 + likeness.get((i, j), -1.0) for a, i in enumerate(left) for b, j in enumerate(right)}
    for a in reversed(range(len(left))):
        for b in reversed(range(len(right))):
            best[a][b] = max(best[a + 1][b], best[a][b + 1], best[a + 1][b + 1] + worth[a, b])
    found: list[tuple[int, int]] = []
    a = b = 0
    while a < len(left) and b < len(right):
        if worth[a, b] and best[a][b] == best[a + 1][b + 1] + worth[a, b]:
            found.append((left[a], right[b]))
            a, b = a + 1, b + 1
        elif best[a][b] == best[a + 1][b]:
            a += 1
        else:
            b += 1
    return found


def _in_order(found: dict[tuple[int, int], bool], old: int, new: int) -> list[Pair]:
    """In the order of the newer recipe; a removed step stands where it stood."""
    by_new = {j: (i, moved) for (i, j), moved in found.items()}
    gone = [i for i in range(old) if all(i != pair[0] for pair in found)]
    result: list[Pair] = []
    for j in range(new):
        i, moved = by_new.get(j, (None, False))
        while gone and i is not None and not moved and gone[0] < i:
            result.append(Pair(gone.pop(0) + 1, None))
        result.append(Pair(None if i is None else i + 1, j + 1, moved))
    return result + [Pair(i + 1, None) for i in gone]


def _look(step: steps.AnyStep) -> _Look:
    fields = [field for field in steps.fields_of(steps.kind_of(step)) if field.name not in ("title", *steps.SOURCES)]
    prompts = [getattr(step, field.name)[:READ] for field in fields if field.widget == "prompt"]
    return _Look(
        steps.kind_of(step),
        step.title,
        frozenset(token.lower() for text in prompts for token in tokens_of(text) if is_word(token)),
        tuple(getattr(step, field.name) for field in fields if field.widget != "prompt"),
    )


def _likeness(left: _Look, right: _Look) -> float:
    """0 to 1: the share of words in common (Dice, 1945) counts most, then that of equal parameters; a name vouches."""
    equal = [a == b for a, b in zip(left.parameters, right.parameters, strict=True)]
    found = sum(equal) / len(equal) if equal else 1.0
    if left.words or right.words:
        shared = 2 * len(left.words & right.words) / (len(left.words) + len(right.words))
        found = 0.75 * shared + 0.25 * found
    return (1 + found) / 2 if left.title and left.title == right.title else found
