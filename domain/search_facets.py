"""What there is to narrow a search: the values of each field among its matches, and how many have each."""

from collections.abc import Sequence

from msgspec import Struct

from domain import search_candidates
from domain.lists import MEDIA
from domain.search_candidates import FACETS, Answer, Page
from domain.search_conditions import Compiled

NARROWING = ("kind", "model", "license")
"""Fields of which any value will do: another can be chosen beside the one in use. Tags must all be there."""


class Facet(Struct, frozen=True):
    """A value of a field, how many matches have it, and whether it is asked for."""

    value: str
    count: int
    chosen: bool


Counts = dict[str, list[tuple[str, int]]]
"""By field: its values, the commonest first, and how many have each."""


async def gather(compiled: Compiled, page: Page, newest: int, matches: float) -> tuple[Answer, Counts]:
    """Candidates with a page of them, and the values of each field among the matches; of a field in use, among what
    would match without it. `matches` are expected.

    A look at what matches without a field often sees enough of what matches with it, and tells both.
    """
    found: Answer | None = None
    counts: Counts = {}
    for field in NARROWING:
        if field in compiled.groups:
            answer = await search_candidates.gather(compiled, page, newest, matches, field)
            counts[field] = _by_field(answer)[field]
            if not answer.more or search_candidates.MOST // 3 <= answer.total <= answer.seen <= search_candidates.MOST:
                found = answer
    found = found or await search_candidates.gather(compiled, page, newest, matches)
    return found, {**_by_field(found), **counts}


def _by_field(answer: Answer) -> Counts:
    counts: Counts = {field: [] for field in FACETS}
    for facet, n in sorted(answer.counts, key=lambda one: (-one[1], one[0])):
        field, _, value = facet.partition(":")
        counts[field].append((value, n))
    return counts


def facets(field: str, counts: Counts, chosen: Sequence[str]) -> list[Facet]:
    """The commonest values first; then those asked for that none of them is (kinds of steps are no facet).

    A model's name that is none counts the models whose names begin so, as the search does."""
    known = dict(counts.get(field, []))
    found = [Facet(name, n, name in chosen) for name, n in known.items()]
    for name in chosen:
        if name not in known and (field != "kind" or name in MEDIA):
            meant = [n for other, n in known.items() if field == "model" and other.startswith(name)]
            found.append(Facet(name, sum(meant), True))
    return found
