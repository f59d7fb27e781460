"""The public lists' SQL and their cursors (pure): which rows, in which order, from which place.

Pages are keyset pages: a cursor holds the place after the last row (its order value and id), so
what is published meanwhile never makes a page repeat or skip a row, and page ten thousand costs
what page one costs.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.errors import NotFound
from domain.steps import Medium

Order = Literal["newest", "trending", "best", "top", "offshoots", "grown"]
ORDERS: tuple[str, ...] = get_args(Order)
MEDIA: tuple[str, ...] = get_args(Medium)
PAGE = 24
"""Rows on a page."""
WEEK = timedelta(days=7)
"""How far back "best this week" looks, by the day of publication."""

LISTED = "p.visibility = 'public' AND p.deleted_at IS NULL AND p.published_at IS NOT NULL"
"""The condition of the partial indexes, word for word: what the public lists hold."""


class _Key(NamedTuple):
    column: str
    kind: type[datetime] | type[float] | type[int]


_KEYS = {
    "newest": _Key("published_at", datetime),
    "trending": _Key("trend", float),
    "best": _Key("rating_score", float),
    "top": _Key("rating_score", float),
    "offshoots": _Key("offshoot_weight", int),
    "grown": _Key("grown_weight", int),
}


class Filter(Struct, frozen=True):
    """What a list holds: an order, and any of a medium, a tag, an owner, and `forked_from`, the
    person whose pipelines these grew from."""

    order: str = "newest"
    medium: str | None = None
    tag: str | None = None
    owner_id: UUID | None = None
    forked_from: UUID | None = None


class Place(NamedTuple):
    """Between two rows: the order value and id of the one before, and how many were read until there."""

    value: datetime | float
    id: UUID
    before: int


def select(
    columns: str, joins: str, of: Filter, place: Place | None, limit: int, *, backward: bool = False
) -> tuple[str, list[Any]]:
    """SQL and arguments for `limit` rows: the order value, then `columns` of `pipelines p` and what `joins` it.

    Rows after `place`, or with `backward` those before it, nearest first. Raises NotFound, with
    words, for an order or medium that does not exist. Words of a closed set and the limit are
    written out, so that PostgreSQL plans for them; everything that people type is an argument.
    """
    key = _KEYS[_known_order(of.order)].column
    where = [LISTED]
    args: list[Any] = []
    if of.medium is not None:
        where.append(f"p.medium = '{_known_medium(of.medium)}'")
    if of.order == "best":
        args.append(_week_start())
        where.append(f"p.published_at >= ${len(args)}")
    if of.order == "grown":
        where.append("p.parent_id IS NULL")
    if of.tag is not None:
        args.append([of.tag])
        where.append(f"p.tags @> ${len(args)}")
    if of.owner_id is not None:
        args.append(of.owner_id)
        where.append(f"p.owner_id = ${len(args)}")
    if of.forked_from is not None:
        args.append(of.forked_from)
        where.append(f"p.parent_id IN (SELECT id FROM pipelines WHERE owner_id = ${len(args)})")  # noqa: S608
        where.append(f"p.owner_id <> ${len(args)}")
    if place is not None:
        args += [place.value, place.id]
        where.append(f"(p.{key}, p.id) {'>' if backward else '<'} (${len(args) - 1}, ${len(args)})")
    way = "ASC" if backward else "DESC"
    by = f"coalesce(p.{key}, p.{key})" if _narrow(of) else f"p.{key}"
    sql = f"SELECT p.{key}, {columns} FROM pipelines p {joins} WHERE {' AND '.join(where)}"  # noqa: S608
    return f"{sql} ORDER BY {by} {way}, p.id {way} LIMIT {limit}", args


def _narrow(of: Filter) -> bool:
    """Whether to find the rows first and sort them then: reading in order, most would be thrown away.

    PostgreSQL takes the filters for independent of the order and would bet on the order's index,
    which costs 500 ms at a million rows where this costs 20; wrapping the column hides the index.
    """
    if of.forked_from is not None:
        return True
    return (of.owner_id is not None and of.order != "newest") or (of.tag is not None and of.order == "best")


def _week_start() -> datetime:
    """A week ago, to the minute: pages read in one sitting then share their edge."""
    return (datetime.now(UTC) - WEEK).replace(second=0, microsecond=0)


def _known_order(order: str) -> Order:
    if order not in ORDERS:
        raise NotFound(f"There is no order “{order[:40]}”. Choose newest, trending, best, top, offshoots or grown.")
    return cast("Order", order)


def _known_medium(medium: str) -> Medium:
    if medium not in MEDIA:
        raise NotFound(f"There is no kind “{medium[:40]}”. Choose image, animation, mesh, text or audio.")
    return cast("Medium", medium)


# cursors

_T = TypeVar("_T")
_cursor = msgspec.json.Decoder(tuple[str, datetime | int | float, UUID, int])
NO_PAGE = "There is no such page. The list begins at its first page."


def id_after(after: str | None) -> UUID | None:
    """Where a page of a list in the order of its ids begins; None for the first. Raises NotFound for what is no id."""
    try:
        return UUID(after) if after else None
    except ValueError:
        raise NotFound("There is no such page.") from None


def encode(order: str, value: Any, id_: UUID, before: int) -> str:
    """The cursor after a row: opaque, but no secret. A made-up one only names another place."""
    return pack((order, value, id_, before))


def pack(parts: tuple[Any, ...]) -> str:
    """What a cursor holds, fit for an address."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).rstrip(b"=").decode()


def unpack(text: str, decoder: msgspec.json.Decoder[_T]) -> _T:
    """What `pack` made. Raises NotFound for anything else."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return decoder.decode(packed if len(text) <= 300 else b"")
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise NotFound(NO_PAGE) from None


def decode(text: str, order: str) -> Place:
    """Read a cursor of this order. Raises NotFound for anything else."""
    kind, value, id_, before = unpack(text, _cursor)
    try:
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC)  # the first and last day of the calendar have no such time elsewhere
    except (ValueError, OverflowError):
        raise NotFound(NO_PAGE) from None
    wanted = _KEYS[_known_order(order)].kind
    if kind != order or not 0 <= before < 2**31 or not _fits(value, wanted):
        raise NotFound(NO_PAGE)
    return Place(float(cast("float", value)) if wanted is float else value, id_, before)


def next_of(order: str, rows: Sequence[Sequence[Any]], limit: int, place: Place | None) -> str | None:
    """The cursor after a page of `limit` rows (order value and id first), if one more row was found."""
    if len(rows) <= limit:
        return None
    return encode(order, rows[limit - 1][0], rows[limit - 1][1], (place.before if place else 0) + limit)


def _fits(value: datetime | float, wanted: type) -> bool:
    if wanted is datetime:
        return isinstance(value, datetime) and value.tzinfo is not None
    if wanted is int:
        return isinstance(value, int) and abs(value) < 2**31
    return not isinstance(value, datetime)
