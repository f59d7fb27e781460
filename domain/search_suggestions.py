"""How what is typed may go on: words, tags, models, people and titles that are known."""

from msgspec import Struct

from domain import db, search_query

SUGGESTIONS = 8
SEEN = 3_000
"""Known words of each kind that are looked through for the commonest."""
NAMES = ("model", "tag", "by")
"""Fields whose values are known words."""
QUOTE = '"'
SUGGEST = f"""
WITH near AS MATERIALIZED (
    SELECT kinds.kind, found.word, found.documents
    FROM unnest('{{word,tag,model,by}}'::text[]) AS kinds (kind)
    CROSS JOIN LATERAL (SELECT CASE WHEN kinds.kind = 'word' THEN $1 ELSE $3 END AS text) begun
    CROSS JOIN LATERAL (
        SELECT w.word, w.documents FROM search_words w WHERE w.kind = kinds.kind
            AND w.word >= begun.text AND w.word < begun.text || U&'\\+10FFFF' AND w.documents > 0 LIMIT {SEEN}
    ) found
), words AS (
    (SELECT kind, word, documents FROM near WHERE kind = 'word' ORDER BY documents DESC, word LIMIT 5)
    UNION ALL (SELECT kind, word, documents FROM near WHERE kind <> 'word' ORDER BY documents DESC, word LIMIT 4)
)
SELECT kind, word FROM words
UNION ALL (SELECT 'title', title FROM search_texts WHERE folded >= $2 AND folded < $2 || U&'\\+10FFFF' AND $2 <> ''
    ORDER BY folded LIMIT 3)
"""  # noqa: S608 - constants only
NAMED = f"""
SELECT word FROM (
    SELECT word, documents FROM search_words WHERE kind = $1
        AND word >= $2 AND word < $2 || U&'\\+10FFFF' AND documents > 0 LIMIT {SEEN}
) near ORDER BY documents DESC, word LIMIT {SUGGESTIONS}
"""  # noqa: S608 - constants only


class Suggestion(Struct, frozen=True):
    """How the search box could go on: the whole text, and what it adds (a word, tag, model, by or title)."""

    text: str
    kind: str


async def suggest(typed: str) -> list[Suggestion]:
    """How what is typed may go on: its last word, or a whole title. Nothing for less than two letters."""
    text = search_query.clean(typed)[: search_query.MAX_TYPED]
    rest, _, last = text.rpartition(" ")
    if len(last) < 2 or typed.endswith(" ") or QUOTE in text:
        return []
    kind, colon, begun = last.partition(":")
    if colon and kind.lower() in NAMES:
        found = [(kind.lower(), name) for name in await named(kind.lower(), begun)]
    else:
        found = await _known(last, text)
    made = [_suggestion(rest, kind, word) for kind, word in found]
    return [one for one in dict.fromkeys(made) if one.text.casefold() != text.casefold()][:SUGGESTIONS]


async def named(kind: str, begun: str) -> list[str]:
    """Models, tags or handles (`by`) that begin so, the commonest first."""
    begun = search_query.clean(begun).lstrip("@#").casefold()[: search_query.MAX_VALUE]
    return [row[0] for row in await db.fetch(NAMED, kind, begun)] if begun else []


async def _known(last: str, text: str) -> list[tuple[str, str]]:
    """Kinds and words that the last word may become, and titles that the whole text may."""
    row = await db.fetchrow("SELECT btrim(search_fold($1)), btrim(search_fold($2))", last, text)
    assert row is not None
    word, whole = row
    if len(word) < 2:
        return []
    return [(row[0], row[1]) for row in await db.fetch(SUGGEST, word.split()[-1], whole, last.casefold())]


def _suggestion(rest: str, kind: str, found: str) -> Suggestion:
    if kind == "title":
        return Suggestion(f'"{search_query.clean(found).replace(QUOTE, " ")}"', kind)
    said = found
    if kind != "word":
        said = f'{kind}:"{found}"' if " " in found else f"{kind}:{found}"
    return Suggestion(f"{rest} {said}" if rest else said, kind)
