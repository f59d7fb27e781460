"""Finding pipelines: bounded candidates from one index, ranked, counted by facet, and shown with their matches marked.

Every question is answered from the index `search_documents_found`. It holds stems, facets and marks together, so that
a filter narrows inside the index. A search looks at no more than `MOST` matches: where there are more, at the newest,
which share marks called windows. So no question costs more than its words deserve, and none scans a table.
"""

import base64
import binascii
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, search_marks, search_query
from domain.errors import NotFound
from domain.lists import MEDIA, NO_PAGE, PAGE
from domain.search_documents import ERA, WINDOW
from domain.search_query import Query, Range, Term

Order = Literal["match", "newest", "rating", "offshoots"]
ORDERS: tuple[str, ...] = get_args(Order)
MOST = 3_000
"""Matches that are counted and ordered."""
SHOWN = {"kind": 8, "model": 8, "license": 8, "tag": 12}
"""Values of each facet with their counts."""
FILL = 0.9
"""How near to `MOST` a look aims."""
FEW = 32
"""Windows looked at when a search only says what it does not want."""

_STOP_WORDS = """
a an and are as at be but by for from in into is it of on or that the to with
и в во на с со по из к у о об за не а но или от до для что как і й з зі та від
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing beside others."""


class Line(Struct, frozen=True):
    """A pipeline as a result shows it. `title` and `prompt` have matches between `search_marks.OPEN` and `CLOSE`.

    `seconds` is how long the run on its cover took."""

    id: UUID
    title: str
    prompt: str
    owner_handle: str
    owner_name: str
    model: str
    medium: str
    cover_sha256: str | None
    cover_width: int | None
    cover_height: int | None
    cover_text: str
    rating: float | None
    rating_count: int
    generation: int
    offshoot_count: int
    steps: int | None
    guidance: float | None
    seconds: float | None


class Facet(Struct, frozen=True):
    """A value of a field, how many matches have it, and whether it is asked for."""

    value: str
    count: int
    chosen: bool


class Found(Struct, frozen=True):
    """One page of a search, and what there is to narrow it.

    `total` counts up to `MOST`; with `more` there are others, older ones, that were not looked at. `corrected` maps
    words that nothing has to those searched instead. `next` is None on the last page, `previous` None on the first
    and "" on the one after it.
    """

    ids: list[UUID]
    total: int
    more: bool
    facets: dict[str, list[Facet]]
    first: int
    next: str | None
    previous: str | None
    corrected: dict[str, str]
    compiled: "Compiled"


class Compiled(Struct, frozen=True):
    """A query as PostgreSQL reads it: stems, and conditions on facets and marks by the field they come from.

    A group's values are alternatives; groups must all hold."""

    stems: str
    ranked: str
    typed: list[str] = []
    groups: dict[str, tuple[str, list[str]]] = {}
    """By field: the column (facets or marks), and values of which one must be there."""
    every: list[str] = []
    """Facets that must all be there."""
    no_facets: list[str] = []
    no_marks: list[str] = []
    rating: Range | None = None


class Place(Struct, frozen=True, array_like=True):
    """Between two results: order, its value and the number of the one before, and how many were read."""

    order: str
    value: float
    number: int
    before: int


async def find(
    query: Query,
    order: str = "match",
    after: str | None = None,
    limit: int = PAGE,
    *,
    exactly: bool = False,
    facets: bool = True,
) -> Found:
    """One page of what matches, in an order (match, newest, rating, offshoots).

    A search without any result is tried again with the nearest known words, unless `exactly`. Raises NotFound, with
    words, for an order or cursor that does not exist.
    """
    if order not in ORDERS:
        raise NotFound(f"There is no order “{order[:40]}”. Choose match, newest, rating or offshoots.")
    place = _decode(after, order) if after else None
    if not query.terms and order == "match":
        order, place = "newest", place and msgspec.structs.replace(place, order="newest")
    compiled = await prepare(query)
    answer, counts = await _answer(compiled, order, place, limit, facets)
    corrected: dict[str, str] = {}
    if not answer.total and place is None and not exactly:
        corrected = await _corrections(query)
        if corrected:
            nearest = await prepare(_corrected(query, corrected))
            second, others = await _answer(nearest, order, None, limit, facets)
            if second.total:
                compiled, answer, counts = nearest, second, others
            else:
                corrected = {}
    before = place.before if place else 0
    return Found(
        ids=[row.id for row in answer.page[:limit]],
        total=min(answer.total, MOST),
        more=answer.more,
        facets={field: _shown(field, counts.get(field, []), getattr(query, field)) for field in SHOWN if facets},
        first=before + 1,
        next=_next(answer.page, order, limit, before),
        previous=None if place is None else _previous(answer.back, order, limit, before),
        corrected=corrected,
        compiled=compiled,
    )


# from a query to conditions


async def prepare(query: Query) -> Compiled:
    """Look up how words are stemmed and which models a name may mean. One query, or none without words."""
    terms = [term for term in query.terms if term.phrase or term.text.lower() not in STOP_WORDS] or query.terms
    stems, ranked, meant = "", "", list[str]()
    if terms or query.without or query.model or query.no_model:
        row = await db.fetchrow(*_stemming(terms, query.without, [*query.model, *query.no_model]))
        assert row is not None
        stems, ranked, meant = row[0], row[1], list(row[2])
    groups: dict[str, tuple[str, list[str]]] = {}
    if query.kind:
        groups["kind"] = ("both", [_kind(value) for value in query.kind])
    if query.model:
        groups["model"] = ("facets", _models(query.model, meant))
    if query.license:
        groups["license"] = ("facets", [f"license:{value}" for value in query.license])
    if query.by:
        groups["by"] = ("marks", [f"by:{value}" for value in query.by])
    if query.seed:
        groups["seed"] = ("marks", [f"seed:{value}" for value in query.seed])
    if query.steps:
        groups["steps"] = ("marks", [f"steps:{n}" for n in range(1, 151) if query.steps.holds(n)])
    if query.rating:
        halves = [n / 2 for n in range(11)]
        low, high = query.rating.low or 0, 5 if query.rating.high is None else query.rating.high
        groups["rating"] = ("marks", [f"rating:{half:g}" for half in halves if low - 0.5 < half <= high])
    unwanted = [_kind(value) for value in query.no_kind]
    unwanted += _models(query.no_model, meant) if query.no_model else []
    unwanted += [f"tag:{value}" for value in query.no_tag] + [f"license:{value}" for value in query.no_license]
    return Compiled(
        stems=stems,
        ranked=ranked,
        typed=[term.text for term in terms],
        groups=groups,
        every=[f"tag:{value}" for value in query.tag],
        no_facets=[value for value in unwanted if not value.startswith("does:")],
        no_marks=[f"by:{value}" for value in query.no_by] + [value for value in unwanted if value.startswith("does:")],
        rating=query.rating,
    )


def _stemming(terms: Sequence[Term], without: Sequence[Term], models: list[str]) -> tuple[Any, ...]:
    wanted = [f"search_phrase(${n})" for n in range(1, len(terms) + 1)]
    unwanted = [f"search_phrase(${n})" for n in range(len(terms) + 1, len(terms) + len(without) + 1)]
    ranked = " && ".join(wanted) or "''::tsquery"
    stems = " && ".join([ranked, *(f"!!{one}" for one in unwanted)])
    last = len(terms) + len(without) + 1
    sql = f"""SELECT ({stems})::text, ({ranked})::text, array(SELECT word FROM unnest(${last}::text[]) given
        CROSS JOIN LATERAL (SELECT word FROM search_words WHERE kind = 'model' AND starts_with(word, given)
            AND word >= given ORDER BY word LIMIT 20) w)"""  # noqa: S608 - numbered arguments only
    return sql, *(term.text for term in (*terms, *without)), models


def _kind(value: str) -> str:
    return f"kind:{value}" if value in MEDIA else f"does:{value}"


def _models(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """A model's name in full, and those that begin with it."""
    return [f"model:{name}" for name in dict.fromkeys([*asked, *(k for k in known if k.startswith(tuple(asked)))])]


class _Where:
    """Conditions with numbered arguments."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.args: list[Any] = []

    def arg(self, value: Any) -> str:
        """The mark of one more argument."""
        self.args.append(value)
        return f"${len(self.args)}"


def _where(compiled: Compiled, windows: list[str] | None = None) -> _Where:
    """The conditions on `search_documents d`, in some windows only if given."""
    where = _Where()
    if compiled.stems:
        where.conditions.append(f"d.document @@ {where.arg(compiled.stems)}::text::tsquery")
    where.conditions += [_any(where, column, values) for column, values in compiled.groups.values()]
    if compiled.every:
        where.conditions.append(f"d.facets @> {where.arg(compiled.every)}::text[]")
    if compiled.no_facets:
        where.conditions.append(f"NOT d.facets && {where.arg(compiled.no_facets)}::text[]")
    if compiled.no_marks:
        where.conditions.append(f"NOT d.marks && {where.arg(compiled.no_marks)}::text[]")
    if compiled.rating:
        span = compiled.rating
        if span.low is not None:
            where.conditions.append(f"d.rating {'>' if span.above else '>='} {where.arg(span.low)}::float8")
        if span.high is not None:
            where.conditions.append(f"d.rating {'<' if span.below else '<='} {where.arg(span.high)}::float8")
    if windows is not None:
        where.conditions.append(f"d.marks && {where.arg(windows)}::text[]")
    return where


def _any(where: _Where, column: str, values: list[str]) -> str:
    if column != "both":
        return f"d.{column} && {where.arg(values)}::text[]"
    media = [value for value in values if value.startswith("kind:")]
    does = [value for value in values if value.startswith("does:")]
    parts = [f"d.facets && {where.arg(media)}::text[]"] if media else []
    parts += [f"d.marks && {where.arg(does)}::text[]"] if does else []
    return f"({' OR '.join(parts)})"


# candidates


class _Row(Struct, frozen=True):
    id: UUID
    number: int
    value: float


class _Answer(Struct, frozen=True):
    """What one look at the index gave."""

    total: int
    more: bool
    last: int
    """The highest number among the candidates."""
    counts: list[tuple[str, int]]
    page: list[_Row]
    back: list[_Row]


_PLAIN = """SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
    set_config('max_parallel_workers_per_gather', '0', true), set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('statement_timeout', '4000', true), (SELECT max(number) FROM search_documents)"""
"""The index of search is the only way in: a mistaken estimate must not make the planner walk another."""

_KEYS = {
    "newest": "(extract(epoch FROM d.published_at) * 1000000)::float8",
    "rating": "d.score",
    "offshoots": "d.offshoots::float8",
}
_WEIGHTS = "'{0.05, 0.15, 0.5, 1.0}'"


Counts = dict[str, list[tuple[str, int]]]
"""By field: its values and how many have each."""


async def _answer(
    compiled: Compiled, order: str, place: Place | None, limit: int, facets: bool
) -> tuple[_Answer, Counts]:
    """Candidates, their number and a page of them; with `facets` also what they have, by field."""
    async with db.transaction():
        newest: int | None = (await _settings())[5]
        if newest is None:
            return _Answer(0, False, 0, [], [], []), {}
        answer = await _candidates(compiled, order, place, limit, newest)
        return answer, await _facets(compiled, answer, newest) if facets else {}


async def _candidates(compiled: Compiled, order: str, place: Place | None, limit: int, newest: int) -> _Answer:
    """Look at as many of the newest windows as hold some `MOST` matches, or at all of them."""
    span = _span(compiled, newest)
    wide = await _width(compiled, span)
    answer = await _look(compiled, order, place, limit, newest, wide)
    if answer.total > MOST:
        # what came were the oldest: they tell how close together matches lie
        while answer.total > MOST and wide > 1:
            spread = max(answer.last - max(newest - wide * WINDOW, 0), 1)
            wide = min(max(int(spread * FILL // WINDOW), 1), wide - 1)
            answer = await _look(compiled, order, place, limit, newest, wide)
        return answer
    while answer.total < MOST // 2 and wide < span:
        wide = min(wide * 4 if answer.total < MOST // 8 else wide * 2, span)
        wider = await _look(compiled, order, place, limit, newest, wide)
        if wider.total > MOST:
            break
        answer = wider
    return answer


def _span(compiled: Compiled, newest: int) -> int:
    """How many windows may be looked at: all, or a few where nothing but what is unwanted narrows."""
    every = newest // WINDOW + 1
    return every if _narrows(compiled) else min(every, FEW)


async def _settings() -> Any:
    return await db.fetchrow(_PLAIN)


async def _width(compiled: Compiled, span: int) -> int:
    """How many of the newest windows to look at, by the planner's estimate of matches: all, if they are few."""
    where = _where(compiled)
    if not where.conditions:
        return min(MOST // WINDOW, span)
    sql = f"EXPLAIN (FORMAT JSON) SELECT FROM search_documents d WHERE {' AND '.join(where.conditions)}"
    plan = msgspec.json.decode(await db.fetchval(sql, *where.args))
    expected = float(plan[0]["Plan"]["Plan Rows"])
    if expected <= MOST / 2:
        return span
    return min(max(math.floor(span * MOST * FILL / expected), 1), span)


def _question(
    compiled: Compiled, order: str, place: Place | None, limit: int, newest: int, wide: int
) -> tuple[str, list[Any]]:
    """SQL and arguments: the number of candidates (part 0), their facets (1), a page (2), those before it (3)."""
    windows = _windows(compiled, newest, wide)
    where = _where(compiled, windows=windows)
    key = _KEYS.get(order) or _rank(where, compiled)
    page, back = f"ORDER BY value DESC, number DESC LIMIT {limit + 1}", "LIMIT 0"
    after = before = ""
    if place is not None:
        value, number = where.arg(place.value), where.arg(place.number)
        after = f"WHERE (value, number) < ({value}::float8, {number}::bigint)"
        before = f"WHERE (value, number) >= ({value}::float8, {number}::bigint)"
        back = f"ORDER BY value, number LIMIT {limit + 1}"
    sql = f"""
        WITH found AS MATERIALIZED (
            SELECT d.pipeline_id, d.number, d.facets, {key} AS value FROM search_documents d
            WHERE {" AND ".join(where.conditions)} LIMIT {MOST + 1}
        ), counted AS (
            SELECT facet, count(*) AS n FROM found, unnest(facets) facet GROUP BY facet
        ), placed AS (
            SELECT facet, n, row_number() OVER (PARTITION BY split_part(facet, ':', 1) ORDER BY n DESC, facet) AS place
            FROM counted
        )
        SELECT 0 AS part, '' AS facet, count(*) AS n, NULL::uuid AS id, max(number)::float8 AS value FROM found
        UNION ALL SELECT 1, facet, n, NULL, NULL FROM placed WHERE place <= 24
        UNION ALL (SELECT 2, '', number, pipeline_id, value FROM found {after} {page})
        UNION ALL (SELECT 3, '', number, pipeline_id, value FROM found {before} {back})
        """  # noqa: S608 - columns and numbered arguments only
    return sql, where.args


async def _look(compiled: Compiled, order: str, place: Place | None, limit: int, newest: int, wide: int) -> _Answer:
    sql, args = _question(compiled, order, place, limit, newest, wide)
    rows = await db.fetch(sql, *args)
    total, last = next((row["n"], row["value"]) for row in rows if row["part"] == 0)
    return _Answer(
        total=total,
        last=int(last or 0),
        more=total > MOST or wide <= newest // WINDOW,
        counts=[(row["facet"], row["n"]) for row in rows if row["part"] == 1],
        page=[_Row(row["id"], row["n"], row["value"]) for row in rows if row["part"] == 2],
        back=[_Row(row["id"], row["n"], row["value"]) for row in rows if row["part"] == 3],
    )


def _narrows(compiled: Compiled) -> bool:
    return bool(compiled.ranked or compiled.groups or compiled.every)


def _windows(compiled: Compiled, newest: int, wide: int) -> list[str] | None:
    """The marks of the newest windows; None where the other conditions do to find one's way through the index."""
    last = newest // WINDOW
    if wide > last and _narrows(compiled):
        return None
    return _marks(last, max(last - wide + 1, 0))


def _marks(last: int, first: int) -> list[str]:
    """The windows from `last` down to `first`, whole eras of them by their era's mark."""
    marks: list[str] = []
    while last >= first:
        era = (last + 1) % ERA == 0 and last - ERA + 1 >= first
        marks.append(f"era:{last // ERA}" if era else f"window:{last}")
        last -= ERA if era else 1
    return marks


def _rank(where: _Where, compiled: Compiled) -> str:
    """Where and how often the words stand, title first, and a little for what people think of it (1 to 5)."""
    words = where.arg(compiled.ranked)
    return f"ts_rank({_WEIGHTS}, d.document, {words}::text::tsquery, 1)::float8 * (0.7 + d.score / 10)"


# facets


async def _facets(compiled: Compiled, answer: _Answer, newest: int) -> Counts:
    """The values of each field among the matches; of a field in use, among the matches without it."""
    counts: Counts = {field: [] for field in SHOWN}
    for facet, n in answer.counts:
        field, _, value = facet.partition(":")
        counts[field].append((value, n))
    for field in ("kind", "model", "license"):
        if field in compiled.groups:
            counts[field] = await _without(compiled, field, newest)
    return counts


async def _without(compiled: Compiled, field: str, newest: int) -> list[tuple[str, int]]:
    """How many there are of each value of one field, if it did not narrow."""
    relaxed = msgspec.structs.replace(
        compiled, groups={name: group for name, group in compiled.groups.items() if name != field}
    )
    wide = await _width(relaxed, _span(relaxed, newest))
    where = _where(relaxed, windows=_windows(relaxed, newest, wide))
    rows = await db.fetch(
        f"""SELECT facet, count(*) FROM (
                SELECT d.facets FROM search_documents d WHERE {" AND ".join(where.conditions)} LIMIT {MOST}
            ) found, unnest(found.facets) facet
            WHERE starts_with(facet, '{field}:') GROUP BY facet ORDER BY count(*) DESC, facet LIMIT 24""",  # noqa: S608
        *where.args,
    )
    return [(row[0].partition(":")[2], row[1]) for row in rows]


def _shown(field: str, counts: list[tuple[str, int]], chosen: Sequence[str]) -> list[Facet]:
    """The commonest, and those in use whatever their number."""
    known = dict(sorted(counts, key=lambda one: (-one[1], one[0])))
    names = list(known)[: SHOWN[field]]
    names += [name for name in chosen if name not in names]
    return [Facet(name, known.get(name, 0), name in chosen) for name in names]


# words that nothing has

_UNKNOWN = """
SELECT given FROM unnest($1::text[]) given
WHERE NOT EXISTS (SELECT FROM search_words w WHERE w.kind = 'word' AND w.word = given AND w.documents > 0)
"""
_NEAREST = """
SELECT word, documents FROM search_words WHERE kind = 'word' AND word % $1 AND documents > 0
ORDER BY similarity(word, $1) DESC, documents DESC LIMIT 60
"""


async def _corrections(query: Query) -> dict[str, str]:
    """For each single word that no document has, the nearest that one has, if it is near enough."""
    words = {term.text: "" for term in query.terms if not term.phrase and term.text.isalpha() and len(term.text) > 2}
    if not words:
        return {}
    folded = await db.fetch("SELECT given, btrim(search_fold(given)) FROM unnest($1::text[]) given", list(words))
    words = {row[0]: row[1] for row in folded if " " not in row[1]}
    unknown = {row[0] for row in await db.fetch(_UNKNOWN, list(words.values()))}
    nearest: dict[str, str] = {}
    for word, fold in words.items():
        if fold in unknown:
            near = _best(fold, await db.fetch(_NEAREST, fold))
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


def _corrected(query: Query, corrections: dict[str, str]) -> Query:
    terms = [term if term.phrase else Term(corrections.get(term.text, term.text)) for term in query.terms]
    return msgspec.structs.replace(query, terms=terms)


# what a page shows

_LINES = """
SELECT p.id, p.title, p.prompt, o.handle, o.name, p.model, p.medium, p.cover_sha256, p.cover_width, p.cover_height,
    p.cover_text, p.rating_sum::float8 / nullif(p.rating_count, 0), p.rating_count, p.generation, p.offshoot_count,
    (drawn.step ->> 'num_inference_steps')::int, (drawn.step ->> 'guidance_scale')::float8,
    extract(epoch FROM r.finished_at - r.started_at)::float8
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
JOIN pipelines p ON p.id = wanted.id JOIN people o ON o.id = p.owner_id
LEFT JOIN runs r ON r.id = p.cover_run_id
LEFT JOIN LATERAL (
    SELECT s.step FROM step_runs s WHERE s.run_id = p.cover_run_id AND s.step ? 'num_inference_steps'
    ORDER BY s.ordinal LIMIT 1
) drawn ON true
ORDER BY wanted.place
"""
_MATCHING = "SELECT word FROM unnest($1::text[]) word WHERE search_vector(word) @@ $2::text::tsquery"
_BETWEEN = re.compile(r" (?:&|<->|<\d+>) ")


async def lines(found: Found) -> list[Line]:
    """The results of a page, matches marked. One query, and one for the words to mark."""
    if not found.ids:
        return []
    rows = [Line(*row) for row in await db.fetch(_LINES, found.ids)]
    texts = [text for row in rows for text in (row.title, row.prompt)]
    words = search_marks.likely(texts, found.compiled.typed)
    matching: set[str] = set()
    if words and found.compiled.ranked:
        stems = _BETWEEN.sub(" | ", found.compiled.ranked)
        matching = {row[0] for row in await db.fetch(_MATCHING, words, stems)}

    def shown(text: str) -> str:
        return search_marks.mark(text, matching, found.compiled.typed)

    return [
        msgspec.structs.replace(row, title=shown(row.title), prompt=search_marks.excerpt(shown(row.prompt)))
        for row in rows
    ]


class Less(Struct, frozen=True):
    """A filter, and how many matches there are without it."""

    filter: search_query.Filter
    total: int


async def culprit(query: Query) -> Less | None:
    """Of the filters in use, the one without which most is found; None if without none of them anything is."""
    tried = search_query.filters(query)[:8]
    found = [await find(one.rest, exactly=True, facets=False, limit=1) for one in tried]
    best = max(zip(tried, found, strict=True), key=lambda pair: pair[1].total, default=None)
    return Less(best[0], best[1].total) if best and best[1].total else None


# suggestions

SUGGESTIONS = 8
QUOTE = '"'
_SUGGEST = """
WITH near AS MATERIALIZED (
    SELECT kind, word, documents FROM search_words
    WHERE kind = ANY('{word,tag,model,by}') AND word >= $1 AND word < $1 || U&'\\+10FFFF' AND documents > 0 LIMIT 3000
), words AS (
    (SELECT kind, word, documents FROM near WHERE kind = 'word' ORDER BY documents DESC, word LIMIT 5)
    UNION ALL (SELECT kind, word, documents FROM near WHERE kind <> 'word' ORDER BY documents DESC, word LIMIT 4)
)
SELECT kind, word FROM words
UNION ALL (SELECT 'title', title FROM search_texts WHERE folded >= $2 AND folded < $2 || U&'\\+10FFFF' AND $2 <> ''
    ORDER BY folded LIMIT 3)
"""


class Suggestion(Struct, frozen=True):
    """How the search box could go on: the whole text, and what it adds (a word, tag, model, by or title)."""

    text: str
    kind: str


async def suggest(typed: str) -> list[Suggestion]:
    """How what is typed may go on: its last word, or a whole title. Nothing for less than two letters."""
    text = search_query.clean(typed)[: search_query.MAX_LENGTH]
    rest, _, last = text.rpartition(" ")
    if len(last) < 2 or typed.endswith(" ") or '"' in text:
        return []
    row = await db.fetchrow("SELECT btrim(search_fold($1)), btrim(search_fold($2))", last, text)
    assert row is not None
    word, whole = row
    if len(word) < 2:
        return []
    rows = await db.fetch(_SUGGEST, word.split()[-1], whole)
    made: list[Suggestion] = []
    for kind, found in rows:
        said = (
            found
            if kind == "word"
            else f'"{search_query.clean(found).replace(QUOTE, " ")}"'
            if kind == "title"
            else _field(kind, found)
        )
        made.append(Suggestion(said if kind == "title" or not rest else f"{rest} {said}", kind))
    return [one for one in dict.fromkeys(made) if one.text.casefold() != text.casefold()][:SUGGESTIONS]


def _field(kind: str, value: str) -> str:
    return f'{kind}:"{value}"' if " " in value else f"{kind}:{value}"


# cursors

_cursor = msgspec.json.Decoder(Place)


def _encode(order: str, row: _Row, before: int) -> str:
    packed = msgspec.json.encode(Place(order, row.value, row.number, before))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _decode(text: str, order: str) -> Place:
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        place = _cursor.decode(packed if len(text) <= 300 else b"")
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise NotFound(NO_PAGE) from None
    known = place.order == order or (place.order, order) == ("newest", "match")
    if not known or not 0 <= place.before < 2**31 or abs(place.number) >= 2**62:
        raise NotFound(NO_PAGE)
    return place


def _next(page: list[_Row], order: str, limit: int, before: int) -> str | None:
    return _encode(order, page[limit - 1], before + limit) if len(page) > limit else None


def _previous(back: list[_Row], order: str, limit: int, before: int) -> str:
    """The cursor of the page before: after the row that lies one page and one row back."""
    return _encode(order, back[limit], max(before - limit, 0)) if len(back) > limit else ""


def order_of(text: str) -> Order:
    """The order of this name. Raises NotFound."""
    if text not in ORDERS:
        raise NotFound(f"There is no order “{text[:40]}”. Choose match, newest, rating or offshoots.")
    return cast("Order", text)
