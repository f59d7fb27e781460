"""Bookmarks: what a person wants to find again. Only they see which; everybody sees how many a pipeline has."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain import db, feeds, lists, paging, things
from domain.errors import NotFound, TooMany
from domain.lists import PAGE
from domain.things import Thing

MAX_BOOKMARKS = 10_000
"""Of one person."""
COUNTED = 10_000
"""Bookmarks and followers are counted up to here; a page then says “10,000 or more”."""

State = Literal["shown", "private", "removed"]


class Marks(Struct, frozen=True):
    """How often a pipeline is bookmarked and followed (counted up to 10,000), and whether the reader does."""

    bookmarks: int
    bookmarked: bool
    followers: int
    followed: bool


class Bookmark(Struct, frozen=True):
    """One bookmark; `thing` is None where the pipeline was made private or removed."""

    pipeline_id: UUID
    state: State
    thing: Thing | None


class BookmarkPage(Struct, frozen=True):
    """Some bookmarks, newest first; `next` leads to older ones, None at the end."""

    bookmarks: list[Bookmark]
    next: str | None


_VISIBLE = "p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)"

_ADD = f"""
WITH seen AS (SELECT p.id FROM pipelines p WHERE p.id = $1 AND {_VISIBLE}),
room AS (SELECT count(*) < {MAX_BOOKMARKS} AS enough FROM bookmarks WHERE person_id = $2),
added AS (
    INSERT INTO bookmarks (pipeline_id, person_id) SELECT seen.id, $2 FROM seen, room WHERE room.enough
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM seen) AS seen, room.enough
    OR EXISTS (SELECT FROM bookmarks WHERE pipeline_id = $1 AND person_id = $2) AS enough FROM room
"""  # noqa: S608 - constants only

_MARKS = f"""
SELECT (SELECT count(*) FROM (SELECT FROM bookmarks WHERE pipeline_id = $1 LIMIT {COUNTED}) b),
    EXISTS (SELECT FROM bookmarks WHERE pipeline_id = $1 AND person_id = $2),
    (SELECT count(*) FROM (SELECT FROM follows WHERE pipeline_id = $1 LIMIT {COUNTED}) f),
    EXISTS (SELECT FROM follows WHERE pipeline_id = $1 AND follower_id = $2)
"""  # noqa: S608 - constants only

_MINE = """
SELECT b.created_at, b.pipeline_id, CASE
    WHEN p.deleted_at IS NOT NULL THEN 'removed'
    WHEN p.visibility = 'private' AND p.owner_id <> $1 THEN 'private' ELSE 'shown' END AS state
FROM bookmarks b JOIN pipelines p ON p.id = b.pipeline_id
WHERE b.person_id = $1"""

_BY = ("b.created_at", "b.pipeline_id")
_IN_FEEDS = " AND p.deleted_at IS NULL AND p.visibility <> 'private'"


async def add(pipeline_id: UUID, person_id: UUID) -> None:
    """Bookmark a pipeline; again changes nothing.

    Raises NotFound for one that the person may not see, TooMany past 10,000.
    """
    row = await db.fetchrow(_ADD, pipeline_id, person_id)
    assert row is not None  # an aggregate always answers
    if not row["seen"]:
        raise NotFound("There is no such pipeline, or it is private.")
    if not row["enough"]:
        raise TooMany(f"You have {MAX_BOOKMARKS:,} bookmarks, and no more fit. Remove one, or use a collection.")


async def remove(pipeline_id: UUID, person_id: UUID) -> None:
    """Take a bookmark away, also of a pipeline that is gone; one that is not there already is.

    Raises NotFound where there was none and the person may not see the pipeline either.
    """
    if await db.execute("DELETE FROM bookmarks WHERE pipeline_id = $1 AND person_id = $2", pipeline_id, person_id):
        return
    if not await db.fetchval(f"SELECT true FROM pipelines p WHERE p.id = $1 AND {_VISIBLE}", pipeline_id, person_id):  # noqa: S608
        raise NotFound("There is no such pipeline, or it is private.")


async def marks(pipeline_id: UUID, viewer_id: UUID | None) -> Marks:
    """The numbers on a pipeline's buttons, in one query. Who may see the pipeline is the caller's to know."""
    row = await db.fetchrow(_MARKS, pipeline_id, viewer_id)
    assert row is not None  # it reads no table
    return Marks(*row)


async def mine(person_id: UUID, after: str | None = None, limit: int = PAGE) -> BookmarkPage:
    """One's own bookmarks, newest first, in two queries. Raises NotFound for a cursor that does not exist."""
    place = lists.decode(after, "newest") if after else None
    rows = await paging.keyset(_MINE, _BY, person_id, limit)(place, False)
    shown = rows[:limit]
    found = await things.read([row["pipeline_id"] for row in shown if row["state"] == "shown"])
    return BookmarkPage(
        [Bookmark(row["pipeline_id"], row["state"], found.get(row["pipeline_id"])) for row in shown],
        lists.next_of("newest", rows, limit, place),
    )


async def feed(person_id: UUID, after: str | None = None, limit: int = PAGE) -> feeds.Page:
    """A page of one's bookmarks as a feed: without what is private, since feed readers do not log in."""
    rows, next_, previous = await paging.paged(paging.keyset(_MINE + _IN_FEEDS, _BY, person_id, limit), after, limit)
    entries = await feeds.by_ids([row["pipeline_id"] for row in rows])
    return feeds.Page(
        [feeds.told(entries[row["pipeline_id"]], row["created_at"]) for row in rows if row["pipeline_id"] in entries],
        next_,
        previous,
    )
