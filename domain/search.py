"""Finding pipelines: one page of a search, ranked, counted by facet, and what else to try where nothing is found."""

import asyncio
from typing import Any, Literal, cast, get_args
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from domain import db, lists, search_candidates, search_conditions, search_corrections, search_facets, search_query
from domain.errors import NotFound, Unavailable
from domain.lists import NO_PAGE, PAGE
from domain.search_candidates import FEW, NOTHING, Answer, Page, Place, Row
from domain.search_conditions import Compiled
from domain.search_facets import Counts, Facet
from domain.search_query import Query

Ordered = tuple[list[Row], list[Row]]
"""The rows of a page, and those before it, the nearest first."""
Order = Literal["match", "newest", "rating", "offshoots"]
ORDERS: tuple[str, ...] = get_args(Order)
TOO_SLOW = "This search takes too long just now. Try again in a moment, or add a word or a filter"
TRIED = 8
"""Filters that are left out in turn where nothing is found."""
PATIENCE = 4_000
"""Milliseconds that one statement of a search may take."""
HASTE = 1_000
"""Milliseconds that finding the filter to blame may take."""


class Found(Struct, frozen=True):
    """One page of a search, and what there is to narrow it.

    `total` counts up to `MOST`; with `more` there are others, older ones, that were not counted. `whole` says whether
    the order holds for these too. `query` is what was searched: the question with the words of `corrected`, which
    maps words that nothing has to the nearest that occur. `next` is None on the last page, `previous` None on the
    first and "" on the one after it.
    """

    query: Query
    ids: list[UUID]
    total: int
    more: bool
    whole: bool
    facets: dict[str, list[Facet]]
    first: int
    next: str | None
    previous: str | None
    corrected: dict[str, str]
    compiled: Compiled


async def find(
    query: Query,
    order: str = "match",
    after: str | None = None,
    limit: int = PAGE,
    *,
    exactly: bool = False,
    facets: bool = True,
) -> Found:
    """One page of what matches, in an order (match, newest, rating, offshoots), without `facets` only that.

    A search without any result is tried again with the nearest known words, unless `exactly`. Raises NotFound, with
    words, for an order or cursor that does not exist, and Unavailable for a search that takes too long.
    """
    order = order_of(order)
    place = _decode(after, order) if after else None
    if not query.terms and order == "match":
        order, place = "newest", place and msgspec.structs.replace(place, order="newest")
    try:
        found = await _page(query, Page(order, place, limit), facets)
        if found.total or place is not None or exactly:
            return found
        corrected = await search_corrections.corrections(query)
        if not corrected:
            return found
        nearest = await _page(search_corrections.corrected(query, corrected), Page(order, None, limit), facets)
    except asyncpg.QueryCanceledError:
        raise Unavailable(TOO_SLOW) from None
    return msgspec.structs.replace(nearest, corrected=corrected) if nearest.total else found


async def _page(query: Query, page: Page, facets: bool) -> Found:
    """One page of exactly this."""
    compiled = await search_conditions.prepare(query)
    answer, counts, whole = await _answer(compiled, page, facets)
    before = page.place.before if page.place else 0
    chosen = {field: getattr(query, field) for field in search_candidates.FACETS}
    return Found(
        query=query,
        ids=[row.id for row in answer.page[: page.limit]],
        total=min(answer.total, search_candidates.MOST),
        more=answer.more,
        whole=whole,
        facets={field: search_facets.facets(field, counts, values) for field, values in chosen.items()},
        first=before + 1,
        next=_next(answer.page, page.order, page.limit, before),
        previous=None if page.place is None else _previous(answer.back, page.order, page.limit, before),
        corrected={},
        compiled=compiled,
    )


async def _answer(compiled: Compiled, page: Page, facets: bool) -> tuple[Answer, Counts, bool]:
    """Candidates and a page of them, what they have, and whether the order holds for all matches.

    Where more match than are counted, a page of an order is looked for among all of them, at the same time.
    """
    ordering: asyncio.Task[Ordered] | None = None
    try:
        async with db.transaction():
            newest = await search_candidates.begin(PATIENCE)
            if newest is None:
                return NOTHING, {}, True
            matches = await search_candidates.expected(compiled, newest)
            if page.order != "match" and matches > search_candidates.MOST:
                ordering = db.apart(_ordered(compiled, page, newest, matches))
            if facets:
                answer, counts = await search_facets.gather(compiled, page, newest, matches)
            else:
                answer, counts = await search_candidates.gather(compiled, page, newest, matches, facets=()), {}
        if page.order == "match" or not answer.more:
            return answer, counts, not answer.more
        every = await (ordering or _ordered(compiled, page, newest, answer.expected))
        whole = len(every[0]) >= min(page.limit + 1, len(answer.page))
        if whole:
            answer = msgspec.structs.replace(answer, page=every[0], back=every[1])
        return answer, counts, whole
    finally:
        if ordering:
            ordering.cancel()


async def _ordered(compiled: Compiled, page: Page, newest: int, matches: float) -> Ordered:
    """A page of an order over all matches."""
    async with db.transaction():
        await search_candidates.begin(PATIENCE)
        return await search_candidates.ordered(compiled, page, newest, matches)


class Less(Struct, frozen=True):
    """A filter, and how many matches there are without it; `more`: there are others."""

    filter: search_query.Filter
    total: int
    more: bool


async def culprit(query: Query) -> Less | None:
    """Of the filters in use, the one without which most is found; None if without none of them anything is, and if
    finding out takes too long. One statement counts for all of them."""
    tried = search_query.filters(query)[:TRIED]
    rests = [await search_conditions.prepare(one.rest) for one in tried]
    try:
        async with db.transaction():
            newest = await search_candidates.begin(HASTE)
            if newest is None or not rests:
                return None
            sql, args = totals(rests, newest)
            found = await db.fetch(sql, *args)
    except asyncpg.QueryCanceledError:
        return None
    place, total = max(((row["place"], row["n"]) for row in found), key=lambda one: (one[1], -one[0]))
    most = search_candidates.MOST
    return Less(tried[place], min(total, most), total > most) if total else None


def totals(searches: list[Compiled], newest: int) -> tuple[str, list[Any]]:
    """SQL and arguments: how much each search finds, counted no further than one beyond `MOST`."""
    args: list[Any] = []
    counts = []
    for place, compiled in enumerate(searches):
        near = None if compiled.narrows else search_candidates.windows(compiled, newest, FEW)
        where = search_conditions.conditions(compiled, near, args)
        found = f"SELECT FROM search_documents d WHERE {where} LIMIT {search_candidates.MOST + 1}"
        counts.append(f"SELECT {place} AS place, (SELECT count(*) FROM ({found}) found) AS n")  # noqa: S608
    return " UNION ALL ".join(counts), args


# cursors

_cursor = msgspec.json.Decoder(Place)


def _decode(text: str, order: str) -> Place:
    place = lists.unpack(text, _cursor)
    known = place.order == order or (place.order, order) == ("newest", "match")
    if not known or not 0 <= place.before < 2**31:
        raise NotFound(NO_PAGE)
    return place


def _next(page: list[Row], order: str, limit: int, before: int) -> str | None:
    """The cursor after the page, if there is one more."""
    return _cursor_after(order, page[limit - 1], before + limit) if len(page) > limit else None


def _previous(back: list[Row], order: str, limit: int, before: int) -> str | None:
    """The cursor of the page before: after the row that lies one page and one row back; "" is the first page, and
    None stands where the rows before lie too far apart to be found."""
    if len(back) > limit:
        return _cursor_after(order, back[limit], max(before - limit, 0))
    return None if before > limit else ""


def _cursor_after(order: str, row: Row, before: int) -> str:
    return lists.pack((order, row.value, row.id, before))


def order_of(text: str) -> Order:
    """The order of this name. Raises NotFound."""
    if text not in ORDERS:
        raise NotFound(f"There is no order “{text[:40]}”. Choose match, newest, rating or offshoots.")
    return cast("Order", text)
