"""Words that nothing has: the nearest that something has, by letters to add, drop, change or swap."""

from collections.abc import Sequence
from typing import Any

import msgspec

from domain import db
from domain.search_query import Query, Term

SEVERAL = 4
"""Unknown words that are taken for slips."""
UNKNOWN = """
SELECT given FROM unnest($1::text[]) given
WHERE NOT EXISTS (SELECT FROM search_words w WHERE w.kind = 'word' AND w.word = given AND w.documents > 0)
"""
NEAREST = """
SELECT word, documents FROM search_words WHERE kind = 'word' AND word % $1 AND documents > 0
ORDER BY similarity(word, $1) DESC, documents DESC LIMIT 60
"""


async def corrections(query: Query) -> dict[str, str]:
    """For each single word that no document has, the nearest that one has, if it is near enough.

    None where more than `SEVERAL` words are unknown: then it is not a slip."""
    words = {term.text: "" for term in query.terms if not term.phrase and term.text.isalpha() and len(term.text) > 2}
    if not words:
        return {}
    folded = await db.fetch("SELECT given, btrim(search_fold(given)) FROM unnest($1::text[]) given", list(words))
    words = {row[0]: row[1] for row in folded if " " not in row[1]}
    unknown = {row[0] for row in await db.fetch(UNKNOWN, list(words.values()))}
    if len(unknown) > SEVERAL:
        return {}
    nearest: dict[str, str] = {}
    for word, fold in words.items():
        if fold in unknown:
            near = _best(fold, await db.fetch(NEAREST, fold))
            if near:
                nearest[word] = near
    return nearest


def _best(word: str, known: Sequence[Sequence[Any]]) -> str:
    """The known word with the fewest slips between, of those the commonest; "" beyond one slip in four letters."""
    allowed = 1 if len(word) < 6 else 2 if len(word) < 10 else 3
    slips = [(distance(word, other, allowed), -documents, other) for other, documents in known]
    near = min((one for one in slips if one[0] <= allowed), default=None)
    return near[2] if near else ""


def distance(one: str, other: str, most: int) -> int:
    """Letters to add, drop, change or swap with their neighbor, to make one word of the other.

    Optimal string alignment; stops counting beyond `most`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    earlier: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, row, earlier_last = row, [i], earlier
        for j, target in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != target))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == target:
                cost = min(cost, earlier_last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        earlier = last
    return row[-1]


def corrected(query: Query, nearest: dict[str, str]) -> Query:
    """The query with those words in place of its own."""
    terms = [term if term.phrase else Term(nearest.get(term.text, term.text)) for term in query.terms]
    return msgspec.structs.replace(query, terms=terms)
