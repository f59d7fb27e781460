"""Lists of cards: the public gallery, a tag's, a person's, each in an order, page by page.

Pages are keyset pages: a cursor holds the place after the last card (its order value and id), so
what is published meanwhile never makes a page repeat or skip a card, and page ten thousand
costs what page one costs. A list is one query, people joined in.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, cast, get_args
from uuid import UUID

import msgspec

from domain import db
from domain.errors import NotFound
from domain.steps import Medium

Order = Literal["newest", "trending", "best", "offshoots"]
ORDERS: tuple[str, ...] = get_args(Order)
MEDIA: tuple[str, ...] = get_args(Medium)
PAGE = 24
"""Cards on a page."""
WEEK = timedelta(days=7)
"""How far back "best this week" looks, by the day of publication."""


class Card(msgspec.Struct, frozen=True, gc=False):
    """What a list shows of a pipeline. `rating` is the mean of its votes, or None without any."""

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
    published_at: datetime


class CardPage(msgspec.Struct, frozen=True):
    """One page of a list. `next` is the cursor of the following page, None on the last.

    `first` is the place of the first card in the list, counted from 1 as this reader paged."""

    cards: list[Card]
    next: str | None
    first: int = 1


class _Key(NamedTuple):
    column: str
    decode: type[datetime] | type[float] | type[int]


_KEYS = {
    "newest": _Key("published_at", datetime),
    "trending": _Key("trend", float),
    "best": _Key("rating_score", float),
    "offshoots": _Key("offshoot_count", int),
}

LISTED = "p.visibility = 'public' AND p.deleted_at IS NULL AND p.published_at IS NOT NULL"
"""The condition of the partial indexes, word for word: what the public lists hold."""

COLUMNS = """p.id, p.title, p.prompt, o.handle, o.name, p.model, p.medium,
    p.cover_sha256, p.cover_width, p.cover_height, p.cover_text,
    p.rating_sum::float8 / nullif(p.rating_count, 0), p.rating_count, p.generation, p.offshoot_count,
    p.published_at"""
"""A Card's fields in order, from `pipelines p` joined with `people o`."""


async def cards(
    order: str = "newest",
    medium: str | None = None,
    tag: str | None = None,
    owner_id: UUID | None = None,
    after: str | None = None,
    limit: int = PAGE,
    *,
    forked_from: UUID | None = None,
) -> CardPage:
    """One page of listed pipelines in an order (newest, trending, best, offshoots).

    Filters combine: a medium, a tag, an owner, and `forked_from`, the person whose pipelines
    these grew from. `after` is the `next` of the page before. Raises NotFound, with words, for
    an order, medium or cursor that doesn't exist.
    """
    place = _decode(after, order) if after else None
    sql, args = _query(_known_order(order), _known_medium(medium), tag, owner_id, forked_from, place, limit)
    rows = await db.fetch(sql, *args)
    first = place.before + 1 if place else 1
    page = [Card(*row[1:]) for row in rows[:limit]]
    last = _encode(order, rows[limit - 1], first + limit - 1) if len(rows) > limit else None
    return CardPage(page, last, first)


def _query(
    order: Order,
    medium: Medium | None,
    tag: str | None,
    owner_id: UUID | None,
    forked_from: UUID | None,
    place: "_Place | None",
    limit: int,
) -> tuple[str, list[Any]]:
    """The list's SQL. Words of a closed set and the limit are written out, so that PostgreSQL
    plans for them; everything that people type is an argument."""
    key = _KEYS[order].column
    where = [LISTED]
    args: list[Any] = []
    if medium is not None:
        where.append(f"p.medium = '{medium}'")
    if order == "best":
        args.append(_week_start())
        where.append(f"p.published_at >= ${len(args)}")
    if tag is not None:
        args.append([tag])
        where.append(f"p.tags @> ${len(args)}")
    if owner_id is not None:
        args.append(owner_id)
        where.append(f"p.owner_id = ${len(args)}")
    if forked_from is not None:
        args.append(forked_from)
        where.append(f"p.parent_id IN (SELECT id FROM pipelines WHERE owner_id = ${len(args)})")
        where.append(f"p.owner_id <> ${len(args)}")
    if place is not None:
        args += [place.value, place.id]
        where.append(f"(p.{key}, p.id) < (${len(args) - 1}, ${len(args)})")
    sql = f"SELECT p.{key}, {COLUMNS} FROM pipelines p JOIN people o ON o.id = p.owner_id"
    return f"{sql} WHERE {' AND '.join(where)} ORDER BY p.{key} DESC, p.id DESC LIMIT {limit + 1}", args


def _week_start() -> datetime:
    """A week ago, to the minute: pages read in one sitting then share their edge."""
    return (datetime.now(UTC) - WEEK).replace(second=0, microsecond=0)


def _known_order(order: str) -> Order:
    if order not in ORDERS:
        raise NotFound(f"There is no order “{order[:40]}”. Choose newest, trending, best or offshoots.")
    return cast("Order", order)


def _known_medium(medium: str | None) -> Medium | None:
    if medium is not None and medium not in MEDIA:
        raise NotFound(f"There is no kind “{medium[:40]}”. Choose image, animation, mesh, text or audio.")
    return cast("Medium | None", medium)


# -- cursors -----------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a page ended: the last card's order value and id, and how many cards came before."""

    value: datetime | float
    id: UUID
    before: int


_cursor = msgspec.json.Decoder(tuple[str, datetime | int | float, UUID, int])


def _encode(order: str, row: Sequence[Any], count: int) -> str:
    packed = msgspec.json.encode((order, row[0], row[1], count))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _decode(text: str, order: str) -> _Place:
    """Read a cursor. It is opaque but holds no secret: a made-up one only names another place."""
    gone = NotFound("There is no such page. The list begins at its first page.")
    if len(text) > 300:
        raise gone
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        kind, value, id_, before = _cursor.decode(packed)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise gone from None
    wanted = _KEYS[_known_order(order)].decode
    if kind != order or not 0 <= before < 2**31 or not _fits(value, wanted):
        raise gone
    return _Place(float(value) if wanted is float else value, id_, before)  # type: ignore[arg-type]


def _fits(value: datetime | float, wanted: type) -> bool:
    if wanted is datetime:
        return isinstance(value, datetime) and value.tzinfo is not None
    if wanted is int:
        return isinstance(value, int) and abs(value) < 2**31
    return not isinstance(value, datetime)


# -- the front page's opening --------------------------------------------------------------------


class Offshoot(msgspec.Struct, frozen=True):
    """A child in the opening branch, with the newest listed pipeline grown from it, if any."""

    card: Card
    next: Card | None


class Branch(msgspec.Struct, frozen=True):
    """The gallery's opening: a pipeline and three of its offshoots."""

    parent: Card
    offshoots: list[Offshoot]


CHILDREN = 3
RECENT = 200
"""Newest pipelines looked through for a branch that grows now."""

_BRANCH = f"""
WITH recent AS (
    SELECT p.parent_id FROM pipelines p WHERE {LISTED} ORDER BY p.published_at DESC, p.id DESC LIMIT {RECENT}
), grown AS (
    SELECT p.id FROM (
        SELECT parent_id, count(*) AS n FROM recent WHERE parent_id IS NOT NULL
        GROUP BY parent_id ORDER BY n DESC, parent_id DESC LIMIT 5
    ) r JOIN pipelines p ON p.id = r.parent_id
    WHERE {LISTED} AND p.offshoot_count >= {CHILDREN} AND p.cover_sha256 IS NOT NULL
    ORDER BY r.n DESC, p.id DESC LIMIT 1
), children AS (
    SELECT p.id, p.offshoot_count FROM pipelines p JOIN grown ON p.parent_id = grown.id
    WHERE {LISTED} AND p.cover_sha256 IS NOT NULL
    ORDER BY p.offshoot_count DESC, p.id DESC LIMIT {CHILDREN}
), shown AS (
    SELECT id, 0 AS level, id AS above FROM grown
    UNION ALL SELECT id, 1, id FROM children
    UNION ALL SELECT twig.id, 2, c.id FROM children c CROSS JOIN LATERAL (
        SELECT p.id FROM pipelines p WHERE p.parent_id = c.id AND {LISTED} AND p.cover_sha256 IS NOT NULL
        ORDER BY p.id DESC LIMIT 1) twig
)
SELECT s.level, s.above, {COLUMNS}
FROM shown s JOIN pipelines p ON p.id = s.id JOIN people o ON o.id = p.owner_id
ORDER BY s.level, p.offshoot_count DESC, p.id DESC
"""


async def branch() -> Branch | None:
    """A listed pipeline that grows now, with three listed offshoots and what grew from those.

    None when nothing has three offshoots with pictures among its newest. One bounded query.
    """
    rows = await db.fetch(_BRANCH)
    levels: dict[int, list[tuple[UUID, Card]]] = {0: [], 1: [], 2: []}
    for row in rows:
        levels[row[0]].append((row[1], Card(*row[2:])))
    if not levels[0] or len(levels[1]) < CHILDREN:
        return None
    twigs = dict(levels[2])
    return Branch(levels[0][0][1], [Offshoot(card, twigs.get(card.id)) for _, card in levels[1]])
