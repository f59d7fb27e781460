"""Bounded candidates for a search: the matches in the newest windows of its index, and an order's page from that
order's own index where so many match that the newest do not stand for all.

Every question is answered from the index `search_documents_found`. It holds stems, facets and marks together, so that
a filter narrows inside the index. A search counts no more than `MOST` matches: where there are more, the newest,
which share marks called windows. So no question costs more than its words deserve, and none scans a table.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db
from domain.errors import NotFound
from domain.lists import LISTED, NO_PAGE
from domain.search_conditions import Compiled, conditions, indexed, published
from domain.search_documents import ERA, WINDOW

MOST = 3_000
"""Matches that are counted and ordered."""
FILL = 0.9
"""How near to `MOST` a look aims."""
FEW = 32
"""Windows looked at when a search only says what it does not want."""
FAR = 20_000
"""Rows of an order's index that are read for one page."""
VALUES = 100
"""Values of each facet that are told."""


class Place(Struct, frozen=True, array_like=True):
    """Between two results: order, the value and the id of the one before, and how many were read."""

    order: str
    value: float
    id: UUID
    before: int


class Row(Struct, frozen=True):
    """A result and what it is ordered by."""

    id: UUID
    value: float


class Answer(Struct, frozen=True):
    """What one look at the index gave."""

    total: int
    more: bool
    """Whether there are others that were not looked at."""
    last: int
    """The highest number among the candidates."""
    counts: list[tuple[str, int]]
    """Facets with how many candidates have each."""
    page: list[Row]
    back: list[Row]
    """Those before the page, the nearest first."""


NOTHING = Answer(0, False, 0, [], [], [])

_PATIENCE = "SELECT set_config('statement_timeout', $1, true)"
PLAIN = """SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
    set_config('max_parallel_workers_per_gather', '0', true), set_config('plan_cache_mode', 'force_custom_plan', true),
    (SELECT max(number) FROM search_documents)"""
"""The index of search is the only way in: a mistaken estimate must not make the planner walk another. The highest
number is read before that holds."""
_BY_ORDER = """SELECT set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true),
    set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true)"""
"""An order's own index is the only way in, read no further than the page needs."""

_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::float8"
_KEYS = {"newest": _MICROSECONDS.format("d.published_at"), "rating": "d.score", "offshoots": "d.offshoots::float8"}
_INDEXED = {"newest": "published_at", "rating": "rating_score", "offshoots": "offshoot_weight"}
"""The columns of the gallery's indexes."""
_WEIGHTS = "'{0.05, 0.15, 0.5, 1.0}'"


async def begin(patience: int) -> int | None:
    """Set the transaction up for looking, `patience` milliseconds for each statement; the highest number of a
    document, None without any."""
    await db.fetchrow(_PATIENCE, str(patience))
    plain = await db.fetchrow(PLAIN)
    newest: int | None = plain[4] if plain else None
    return newest


async def gather(
    compiled: Compiled, order: str, place: Place | None, limit: int, newest: int, field: str = ""
) -> Answer:
    """Look at as many of the newest windows as hold some `MOST` matches, or at all of them.

    With a `field` its facets alone are counted."""
    span = _span(compiled, newest)
    wide = await _width(compiled, span)
    few, many, kept = 0, span + 1, NOTHING
    while True:
        answer = await _look(compiled, order, place, limit, newest, wide, field)
        if answer.total > MOST:
            # what came were the oldest: they tell how close together matches lie
            spread = max(answer.last - max(newest - wide * WINDOW, 0), 1)
            first, many = many > span and not few, wide
            wide = min(max(int(spread * FILL // WINDOW), 1), wide - 1) if first else (few + many) // 2
        elif answer.total < (MOST // 2 if many > span else MOST // 4) and wide < span:
            few, kept = wide, answer
            further = wide * 4 if answer.total < MOST // 8 else wide * 2
            wide = min(further, span) if many > span else (few + many) // 2
        else:
            return answer
        if many - few <= 1:
            return kept if few else answer


def _span(compiled: Compiled, newest: int) -> int:
    """How many windows may be looked at: all, or a few where nothing but what is unwanted narrows."""
    every = newest // WINDOW + 1
    return every if compiled.narrows else min(every, FEW)


async def _width(compiled: Compiled, span: int) -> int:
    """How many of the newest windows to look at, by the planner's estimate of matches: all, if they are few."""
    where = indexed(compiled)
    if not where.conditions:
        return min(MOST // WINDOW, span)
    plan = msgspec.json.decode(
        await db.fetchval(f"EXPLAIN (FORMAT JSON) SELECT FROM search_documents d WHERE {where}", *where.args)
    )
    expected = float(plan[0]["Plan"]["Plan Rows"])
    if expected <= MOST / 2:
        return span
    return min(max(math.floor(span * MOST * FILL / expected), 1), span)


def question(
    compiled: Compiled, order: str, place: Place | None, limit: int, newest: int, wide: int, field: str = ""
) -> tuple[str, list[Any]]:
    """SQL and arguments: the number of candidates (part 0), their facets (1), a page (2), those before it (3)."""
    where = conditions(compiled, windows(compiled, newest, wide))
    key = _KEYS.get(order) or _rank(where.arg(compiled.ranked))
    page, back = f"ORDER BY value DESC, id DESC LIMIT {limit + 1}", "LIMIT 0"
    after = before = ""
    if place is not None:
        edge = f"({where.arg(place.value)}::float8, {where.arg(place.id)}::uuid)"
        after, before = f"WHERE (value, id) < {edge}", f"WHERE (value, id) >= {edge}"
        back = f"ORDER BY value, id LIMIT {limit + 1}"
    sql = f"""
        WITH found AS MATERIALIZED (
            SELECT d.pipeline_id AS id, d.number, d.facets, {key} AS value FROM search_documents d
            WHERE {where} LIMIT {MOST + 1}
        ), counted AS (
            SELECT facet, count(*) AS n FROM found, unnest(facets) facet
            WHERE starts_with(facet, {where.arg(f"{field}:" if field else "")}) GROUP BY facet
        ), placed AS (
            SELECT facet, n, row_number() OVER (PARTITION BY split_part(facet, ':', 1) ORDER BY n DESC, facet) AS place
            FROM counted
        )
        SELECT 0 AS part, '' AS facet, count(*) AS n, NULL::uuid AS id, max(number)::float8 AS value FROM found
        UNION ALL SELECT 1, facet, n, NULL, NULL FROM placed WHERE place <= {VALUES}
        UNION ALL (SELECT 2, '', 0, id, value FROM found {after} {page})
        UNION ALL (SELECT 3, '', 0, id, value FROM found {before} {back})
        """  # noqa: S608 - columns and numbered arguments only
    return sql, where.args


async def _look(
    compiled: Compiled, order: str, place: Place | None, limit: int, newest: int, wide: int, field: str
) -> Answer:
    sql, args = question(compiled, order, place, limit, newest, wide, field)
    rows = await db.fetch(sql, *args)
    total, last = next((row["n"], row["value"]) for row in rows if row["part"] == 0)
    return Answer(
        total=total,
        last=int(last or 0),
        more=total > MOST or wide <= newest // WINDOW,
        counts=[(row["facet"], row["n"]) for row in rows if row["part"] == 1],
        page=[Row(row["id"], row["value"]) for row in rows if row["part"] == 2],
        back=[Row(row["id"], row["value"]) for row in rows if row["part"] == 3],
    )


def windows(compiled: Compiled, newest: int, wide: int) -> list[str] | None:
    """The marks of the newest windows; None where the other conditions do to find one's way through the index."""
    last = newest // WINDOW
    if wide > last and compiled.narrows:
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


def _rank(words: str) -> str:
    """Where and how often the words stand, title first, and a little for what people think of it (1 to 5)."""
    return f"ts_rank({_WEIGHTS}, d.document, {words}::text::tsquery, 1)::float8 * (0.7 + d.score / 10)"


# an order over everything


async def walk(compiled: Compiled, order: str, place: Place | None, limit: int) -> tuple[list[Row], list[Row]]:
    """A page of an order over all matches, and those before it, the nearest first; fewer where matches are so rare
    that the index would have to be read further than `FAR`. Nothing else can be asked in the same transaction."""
    await db.fetchrow(_BY_ORDER)
    sql, args = walking(compiled, order, place, limit)
    page = await db.fetch(sql, *args)
    back: list[db.Record] = []
    if place is not None:
        sql, args = walking(compiled, order, place, limit, backward=True)
        back = await db.fetch(sql, *args)
    return [Row(*row) for row in page], [Row(*row) for row in back]


def walking(
    compiled: Compiled, order: str, place: Place | None, limit: int, *, backward: bool = False
) -> tuple[str, list[Any]]:
    """SQL and arguments for `walk`: the gallery's index in this order, and the document of each row it gives."""
    where, column, way = conditions(compiled), _INDEXED[order], "ASC" if backward else "DESC"
    near = [LISTED, *published(where, compiled.made, "p")]
    if place is not None:
        edge = f"({where.arg(_indexed(order, place.value))}, {where.arg(place.id)})"
        near.append(f"(p.{column}, p.id) {'>=' if backward else '<'} {edge}")
    value = _MICROSECONDS.format("w.value") if order == "newest" else "w.value::float8"
    sql = f"""
        SELECT w.id, {value} FROM (
            SELECT p.id, p.{column} AS value FROM pipelines p WHERE {" AND ".join(near)}
            ORDER BY p.{column} {way}, p.id {way} LIMIT {FAR}
        ) w JOIN search_documents d ON d.pipeline_id = w.id
        WHERE {str(where) or "true"} ORDER BY w.value {way}, w.id {way} LIMIT {limit + 1}
        """  # noqa: S608 - columns and numbered arguments only
    return sql, where.args


def _indexed(order: str, value: float) -> Any:
    """A cursor's value as its column has it. Raises NotFound for what the column cannot have."""
    try:
        if order == "newest":
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(value))
        if order == "offshoots" and abs(value) >= 2**31:
            raise NotFound(NO_PAGE)
        return int(value) if order == "offshoots" else value
    except OverflowError:
        raise NotFound(NO_PAGE) from None
