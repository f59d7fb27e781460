"""Lists of cards: the public gallery, a tag's, a person's; and the branch that opens the gallery.

A list is one query, people joined in; `domain.lists` pages through it.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from domain import db, lists
from domain.lists import LISTED, MEDIA, ORDERS, PAGE

__all__ = ["MEDIA", "ORDERS", "PAGE", "Branch", "Card", "CardPage", "Offshoot", "branch", "cards"]


class Card(msgspec.Struct, frozen=True, gc=False):
    """What a list shows of a pipeline. `rating` is the mean of its votes, or None without any; `offshoot_count` how
    many other people have listed an offshoot of it."""

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
    """One page of listed pipelines in an order (newest, trending, best, top, offshoots, grown).

    Filters combine: a medium, a tag, an owner, and `forked_from`, the person whose pipelines
    these grew from. `after` is the `next` of the page before. Raises NotFound, with words, for
    an order, medium or cursor that doesn't exist.
    """
    place = lists.decode(after, order) if after else None
    of = lists.Filter(order, medium, tag, owner_id, forked_from)
    sql, args = lists.select(COLUMNS, "JOIN people o ON o.id = p.owner_id", of, place, limit + 1)
    rows = await db.fetch(sql, *args)
    page = [Card(*row[1:]) for row in rows[:limit]]
    return CardPage(page, lists.next_of(order, rows, limit, place), place.before + 1 if place else 1)


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
    SELECT p.parent_id, p.owner_id FROM pipelines p WHERE {LISTED}
    ORDER BY p.published_at DESC, p.id DESC LIMIT {RECENT}
), grown AS (
    SELECT p.id FROM (
        SELECT parent_id, count(DISTINCT owner_id) AS n FROM recent WHERE parent_id IS NOT NULL
        GROUP BY parent_id ORDER BY n DESC, parent_id DESC LIMIT 5
    ) r JOIN pipelines p ON p.id = r.parent_id
    WHERE {LISTED} AND p.cover_sha256 IS NOT NULL AND {CHILDREN} = (SELECT count(*) FROM (
        SELECT FROM pipelines p WHERE p.parent_id = r.parent_id AND {LISTED} AND p.cover_sha256 IS NOT NULL
        LIMIT {CHILDREN}) c)
    ORDER BY r.n DESC, p.id DESC LIMIT 1
), children AS (
    SELECT p.id, p.offshoot_weight FROM pipelines p JOIN grown ON p.parent_id = grown.id
    WHERE {LISTED} AND p.cover_sha256 IS NOT NULL
    ORDER BY p.offshoot_weight DESC, p.id DESC LIMIT {CHILDREN}
), shown AS (
    SELECT id, 0 AS level, id AS above FROM grown
    UNION ALL SELECT id, 1, id FROM children
    UNION ALL SELECT twig.id, 2, c.id FROM children c CROSS JOIN LATERAL (
        SELECT p.id FROM pipelines p WHERE p.parent_id = c.id AND {LISTED} AND p.cover_sha256 IS NOT NULL
        ORDER BY p.id DESC LIMIT 1) twig
)
SELECT s.level, s.above, {COLUMNS}
FROM shown s JOIN pipelines p ON p.id = s.id JOIN people o ON o.id = p.owner_id
ORDER BY s.level, p.offshoot_weight DESC, p.id DESC
"""  # noqa: S608 - constants only
"""What grows now is what most people grow from: one person's many offshoots count as one, and open the gallery only
where nobody else grows anything."""


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
