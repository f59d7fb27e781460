"""Pages of feeds that lead on and back: each begins where the one before ended, whatever comes meanwhile."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from domain import db, lists
from domain.lists import Place

Rows = Sequence[Any]
Read = Callable[[Place | None, bool], Awaitable[Rows]]
"""Reads a page's rows and one more: those after a place, or with True those before it, nearest first. Each begins
with its order value and its id."""


async def paged(
    read: Read, after: str | None, limit: int, order: str = "newest"
) -> tuple[Rows, str | None, str | None]:
    """A page's rows, and the cursors of the next page and of the previous one as `feeds.Page` has them.

    Raises NotFound for a cursor that does not exist."""
    place = lists.decode(after, order) if after else None
    rows = await read(place, False)
    next_ = lists.next_of(order, rows, limit, place)
    if place is None:
        return rows[:limit], next_, None
    edge = Place(rows[0][0], rows[0][1], 0) if rows else place  # the page before ends where this one begins
    before = await read(edge, True)
    previous = ""
    if len(before) > limit:
        previous = lists.encode(order, before[limit][0], before[limit][1], max(place.before - limit, 0))
    return rows[:limit], next_, previous


def keyset(sql: str, by: tuple[str, ...], of: UUID, limit: int) -> Read:
    """Reads what `sql` selects about `of` ($1), newest first `by` a time and an id, or an id alone. It ends in a
    condition."""

    async def read(place: Place | None, backward: bool) -> Rows:
        sign, way = (">", "ASC") if backward else ("<", "DESC")
        edge = (place.value, place.id)[-len(by) :] if place else ()
        marks = ", ".join(f"${number}" for number in range(2, len(edge) + 2))
        beyond = f"AND ({', '.join(by)}) {sign} ({marks})" if edge else ""
        order = ", ".join(f"{column} {way}" for column in by)
        return await db.fetch(f"{sql} {beyond} ORDER BY {order} LIMIT {limit + 1}", of, *edge)

    return read
