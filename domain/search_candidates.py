"""Bounded candidates for a search: the matches in the newest windows of its index, and an order's page from that
order's own index where so many match that the newest do not stand for all.

Every question is answered from the index `search_documents_found`. It holds stems, facets and marks together, so that
a filter narrows inside the index. A search counts no more than `MOST` matches: where there are more, the newest,
which share marks called windows. So no question costs more than its words deserve, and none scans a table.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db
from domain.errors import NotFound
from domain.lists import LISTED, NO_PAGE
from domain.search_conditions import Compiled, Where, conditions, indexed, published
from domain.search_documents import LEVELS, WINDOW

MOST = 1_100
"""Matches that are counted and ordered: more than a window has."""
FILL = 0.7
"""How near to `MOST` a look aims: estimates err."""
FEW = 64
"""Windows looked at when a search only says what it does not want."""
SORTED = 5_000
"""Matches that are all put in order for one page; of more, the order's own index is read."""
ROUGH = 1 / 3
"""Part of `MOST` that does for the facets beside a filter."""
FAR = 7_000
"""Rows of that index that are read for one page."""
VALUES = 100
"""Values of each facet that are told."""
FACETS = ("kind", "model", "license", "tag")


class Place(Struct, frozen=True, array_like=True):
    """Between two results: order, the value and the id of the one before, and how many were read."""

    order: str
    value: float
    id: UUID
    before: int


class Page(Struct, frozen=True):
    """Which page of which order: `limit` rows after a place, or the first ones."""

    order: str
    place: Place | None
    limit: int


class Look(Struct, frozen=True):
    """One look at the index: the newest windows, how many of them, and what to tell of what they hold.

    Candidates need not have the values of a field `beside`. `most`: how many are looked at, 0 for `MOST`."""

    page: Page
    newest: int
    wide: int
    beside: str = ""
    facets: Sequence[str] = FACETS
    most: int = 0

    @property
    def limit(self) -> int:
        """How many candidates are looked at."""
        return self.most or MOST


class Row(Struct, frozen=True):
    """A result and what it is ordered by."""

    id: UUID
    value: float


class Answer(Struct, frozen=True):
    """What one look at the index gave."""

    seen: int
    """Candidates, and how many of them match."""
    total: int
    more: bool
    """Whether there are others that were not looked at."""
    expected: int
    """How many there seem to be with these."""
    last: int
    """The highest number among the candidates."""
    counts: list[tuple[str, int]]
    """Facets with how many candidates have each."""
    page: list[Row]
    back: list[Row]
    """Those before the page, the nearest first."""


NOTHING = Answer(0, 0, False, 0, 0, [], [], [])

_PATIENCE = "SELECT set_config('statement_timeout', $1, true)"
"""Before anything else, which waits where a migration has locked the table."""
PLAIN = """SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),
    set_config('max_parallel_workers_per_gather', '0', true), set_config('plan_cache_mode', 'force_custom_plan', true),
    (SELECT max(number) FROM search_documents) AS newest"""
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
    assert plain is not None
    newest: int | None = plain["newest"]
    return newest


async def gather(
    compiled: Compiled, page: Page, newest: int, matches: float, beside: str = "", *, facets: Sequence[str] = FACETS
) -> Answer:
    """Look at as many of the newest windows as hold some `MOST` candidates, or at all of them. `matches` are expected.

    Candidates need not have the values of a field `beside`: those of its facets that others have are counted too.
    A rough look will do then, and a narrow one where few of the candidates have the values."""
    near = compiled.without(beside)
    newest = newest if compiled.newest is None else min(newest, compiled.newest)
    span = _span(near, newest)
    candidates = await expected(near, newest) if beside else matches
    wide = _width(newest, compiled.oldest, span, candidates, MOST * ROUGH if matches < candidates * ROUGH else MOST)
    few, many, kept = 0, span + 1, NOTHING
    while True:
        answer = await _look(compiled, Look(page, newest, wide, beside, facets))
        if beside and answer.seen > MOST // 8:
            return answer
        if answer.seen > MOST:
            # what came were the oldest: they tell how close together matches lie
            spread = max(answer.last - max(newest - wide * WINDOW, compiled.oldest), 1)
            first, many = many > span and not few, wide
            wide = min(max(int(spread * FILL // WINDOW), 1), wide - 1) if first else (few + many) // 2
        elif answer.seen < (MOST // 2 if many > span else MOST // 4) and wide < span:
            few, kept = wide, answer
            further = wide * 4 if answer.seen < MOST // 8 else wide * 2
            wide = min(further, span) if many > span else (few + many) // 2
        else:
            return answer
        if many - few <= 1:
            return kept if few else answer


def _span(compiled: Compiled, newest: int) -> int:
    """How many windows may be looked at: all, or a few where nothing but what is unwanted narrows."""
    every = newest // WINDOW + 1
    return every if compiled.narrows else min(every, FEW)


async def expected(compiled: Compiled, newest: int) -> float:
    """How many match, by the planner's estimate; at least one."""
    where = indexed(compiled)
    if not where.conditions:
        return newest + 1.0
    sql = f"EXPLAIN (FORMAT JSON) SELECT FROM search_documents d WHERE {where}"
    plan = msgspec.json.decode(await db.fetchval(sql, *where.args))
    return max(float(plan[0]["Plan"]["Plan Rows"]), 1.0)


def _width(newest: int, oldest: int, span: int, expected: float, most: float) -> int:
    """How many of the newest windows to look at for `most` of the matches that are expected between two numbers: all,
    if they are few.

    The newest window may have only begun."""
    if expected <= most / 2:
        return span
    numbers = max(newest + 1 - oldest, 1) * most * FILL / expected
    return min(max(1 + round((numbers - newest % WINDOW - 1) / WINDOW), 1), span)


def question(compiled: Compiled, look: Look) -> tuple[str, list[Any]]:
    """SQL and arguments: the number of candidates (part 0), their facets (1), a page (2), those before it (3), and
    how many match (4)."""
    page, beside = look.page, look.beside
    near = compiled.without(beside)
    where = _recent(near, look)
    key, inside = _KEYS.get(page.order) or _rank(where.arg(compiled.ranked)), "true"
    if beside:
        inside = f"d.{compiled.groups[beside][0]} && {where.arg(compiled.groups[beside][1])}::text[]"
    rows, back = f"ORDER BY value DESC, id DESC LIMIT {page.limit + 1}", "LIMIT 0"
    after = before = ""
    if page.place is not None:
        edge = f"({where.arg(page.place.value)}::float8, {where.arg(page.place.id)}::uuid)"
        after, before = f"AND (value, id) < {edge}", f"AND (value, id) >= {edge}"
        back = f"ORDER BY value, id LIMIT {page.limit + 1}"
    few_enough = f"(SELECT count(*) FROM found) <= {look.limit}"  # noqa: S608 - what is too much is looked at again
    counting = f"(inside OR starts_with(facet, '{beside}:'))" if beside else few_enough
    sql = f"""
        WITH found AS MATERIALIZED (
            SELECT d.pipeline_id AS id, d.number, d.facets, {key} AS value, {inside} AS inside
            FROM search_documents d WHERE {where} LIMIT {look.limit + 1}
        ), counted AS MATERIALIZED (
            SELECT facet, count(*) AS n FROM (SELECT unnest(facets) AS facet, inside FROM found) one
            WHERE {counting} GROUP BY facet
        )
        SELECT 0 AS part, '' AS facet, count(*) AS n, NULL::uuid AS id, max(number)::float8 AS value FROM found
        UNION ALL SELECT 1, common.facet, common.n, NULL, NULL
            FROM unnest('{{{",".join(look.facets)}}}'::text[]) field CROSS JOIN LATERAL (
                SELECT facet, n FROM counted WHERE starts_with(facet, field || ':')
                ORDER BY n DESC, facet LIMIT {VALUES}
            ) common
        UNION ALL (SELECT 2, '', 0, id, value FROM found WHERE inside {after} {rows})
        UNION ALL (SELECT 3, '', 0, id, value FROM found WHERE inside {before} {back})
        UNION ALL SELECT 4, '', count(*), NULL, NULL FROM found WHERE inside
        """  # noqa: S608 - columns, fields and numbered arguments only
    return sql, where.args


def _recent(compiled: Compiled, look: Look) -> Where:
    """The conditions on candidates: in the newest windows.

    Each of many marks is looked for beside each match of the words. Where most windows are wanted, leaving out the
    few older matches afterward costs less."""
    oldest, last = _oldest(look.newest, look.wide), look.newest // WINDOW
    if not compiled.narrows or look.wide * 3 < (last + 1) * 2:
        return conditions(compiled, windows(compiled, look.newest, look.wide))
    where = conditions(compiled)
    if oldest:
        where.conditions.append(f"d.number + 0 >= {where.arg(oldest * WINDOW)}")  # no index of its own is wanted
    return where


def _oldest(newest: int, wide: int) -> int:
    """The oldest of so many of the newest windows."""
    return max(newest // WINDOW - wide + 1, 0)


async def _look(compiled: Compiled, look: Look) -> Answer:
    sql, args = question(compiled, look)
    rows = await db.fetch(sql, *args)
    seen, last = next((row["n"], row["value"]) for row in rows if row["part"] == 0)
    total = next(row["n"] for row in rows if row["part"] == 4)
    return Answer(
        seen=seen,
        total=total,
        last=int(last or 0),
        more=seen > look.limit or look.wide <= look.newest // WINDOW,
        expected=total * (look.newest // WINDOW + 1) // look.wide,
        counts=[(row["facet"], row["n"]) for row in rows if row["part"] == 1],
        page=[Row(row["id"], row["value"]) for row in rows if row["part"] == 2],
        back=[Row(row["id"], row["value"]) for row in rows if row["part"] == 3],
    )


def windows(compiled: Compiled, newest: int, wide: int) -> list[str] | None:
    """The marks of the newest windows; None where the other conditions do to find one's way through the index."""
    last = newest // WINDOW
    if wide > last and compiled.narrows:
        return None
    return _marks(last, _oldest(newest, wide))


def _marks(last: int, first: int) -> list[str]:
    """The windows from `last` down to `first` by as few marks as there are."""
    marks: list[str] = []
    while last >= first:
        whole = [(size, name) for name, size in LEVELS.items() if (last + 1) % size == 0 and last - size + 1 >= first]
        size, name = max(whole)
        marks.append(f"{name}:{last // size}")
        last -= size
    return marks


def _rank(words: str) -> str:
    """Where and how often the words stand, title first, and a little for what people think of it (1 to 5)."""
    return f"ts_rank({_WEIGHTS}, d.document, {words}::text::tsquery, 1)::float8 * (0.7 + d.score / 10)"


# an order over everything


async def ordered(compiled: Compiled, page: Page, newest: int, matches: float) -> tuple[list[Row], list[Row]]:
    """A page of an order over all matches, where more match than are counted, and those before it; fewer rows where
    that would take too long. `matches` are expected. Nothing else can be asked in the same transaction."""
    if compiled.narrows and matches <= SORTED:
        every = await _look(compiled, Look(page, newest, newest // WINDOW + 1, facets=(), most=SORTED))
        if not every.more:
            return every.page, every.back
    return await walk(compiled, page)


async def walk(compiled: Compiled, page: Page) -> tuple[list[Row], list[Row]]:
    """A page of an order over all matches, and those before it, the nearest first; fewer where matches are so rare
    that the index would have to be read further than `FAR`."""
    await db.fetchrow(_BY_ORDER)
    sql, args = walking(compiled, page)
    rows = await db.fetch(sql, *args)
    back: list[db.Record] = []
    if page.place is not None:
        sql, args = walking(compiled, page, backward=True)
        back = await db.fetch(sql, *args)
    return [Row(*row) for row in rows], [Row(*row) for row in back]


def walking(compiled: Compiled, page: Page, *, backward: bool = False) -> tuple[str, list[Any]]:
    """SQL and arguments for `walk`: the gallery's index in this order, and the document of each row it gives."""
    where, column, way = conditions(compiled), _INDEXED[page.order], "ASC" if backward else "DESC"
    near = [LISTED, *(published(where, compiled.made, "p") if page.order == "newest" else ())]
    if page.place is not None:
        edge = f"({where.arg(_indexed(page.order, page.place.value))}, {where.arg(page.place.id)})"
        near.append(f"(p.{column}, p.id) {'>=' if backward else '<'} {edge}")
    value = _MICROSECONDS.format("w.value") if page.order == "newest" else "w.value::float8"
    sql = f"""
        SELECT w.id, {value} FROM (
            SELECT p.id, p.{column} AS value FROM pipelines p WHERE {" AND ".join(near)}
            ORDER BY p.{column} {way}, p.id {way} LIMIT {FAR}
        ) w JOIN search_documents d ON d.pipeline_id = w.id
        WHERE {str(where) or "true"} ORDER BY w.value {way}, w.id {way} LIMIT {page.limit + 1}
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
