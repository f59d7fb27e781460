"""What the pages and feeds of collections show: to the owner every place, to others what everybody may see."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain import db, feeds, paging, things
from domain.errors import NotFound
from domain.lists import NO_PAGE, PAGE
from domain.things import Thing

COUNTED = 1_000
"""Entries are counted up to here; a page then says “1,000 or more”."""
COUNTED_IN_LISTS = 100
GONE = "There is no such collection, or it is private."

State = Literal["shown", "private", "removed"]


class Item(Struct, frozen=True):
    """One place in a collection; `thing` is None where its pipeline or run was made private or removed."""

    id: UUID
    state: State
    note: str
    added_at: datetime
    thing: Thing | None


class Collection(Struct, frozen=True):
    """A collection without its items. `count` is what the reader sees of them, up to 1,000."""

    id: UUID
    title: str
    about: str
    visibility: str
    owner_id: UUID
    owner_handle: str
    owner_name: str
    mine: bool
    count: int
    created_at: datetime
    updated_at: datetime

    @property
    def owner(self) -> str:
        """The owner's name to show."""
        return self.owner_name or self.owner_handle


class ItemPage(Struct, frozen=True):
    """Some items in their order; `next` leads to the following ones, None at the end."""

    items: list[Item]
    next: str | None


class Line(Struct, frozen=True):
    """A collection in a list of them, with the picture of its first item that has one."""

    id: UUID
    title: str
    about: str
    visibility: str
    updated_at: datetime
    count: int
    sha256: str | None
    width: int | None
    height: int | None


class LinePage(Struct, frozen=True):
    """Some of a person's collections, the latest made first; `next` leads to earlier ones."""

    collections: list[Line]
    next: str | None


class Choice(Struct, frozen=True):
    """A collection of one's own that something can be put into; `item_id` where it is in there already."""

    id: UUID
    title: str
    visibility: str
    item_id: UUID | None


_OPEN = "p.deleted_at IS NULL AND p.visibility = 'public' AND (i.run_id IS NULL OR r.visibility = 'published')"
"""What everybody may see of items `i` with their pipelines `p` and runs `r`."""
_IN_FEEDS = "p.deleted_at IS NULL AND p.visibility <> 'private' AND (i.run_id IS NULL OR r.visibility = 'published')"
_ITEMS = "collection_items i JOIN pipelines p ON p.id = i.pipeline_id LEFT JOIN runs r ON r.id = i.run_id"


def _count(most: int) -> str:
    """SQL for how many items of `collections c` the reader $2 sees."""
    return f"""(SELECT count(*) FROM (SELECT FROM {_ITEMS}
        WHERE i.collection_id = c.id AND (c.owner_id IS NOT DISTINCT FROM $2 OR {_OPEN}) LIMIT {most}) i)"""  # noqa: S608


_READ = f"""
SELECT c.id, c.title, c.about, c.visibility, c.owner_id, o.handle, o.name, c.owner_id IS NOT DISTINCT FROM $2,
    {_count(COUNTED)}, c.created_at, c.updated_at
FROM collections c JOIN people o ON o.id = c.owner_id
WHERE c.id = $1 AND (c.visibility = 'public' OR c.owner_id = $2)
"""  # noqa: S608 - constants only

_PAGE = f"""
SELECT i.id, CASE
    WHEN p.deleted_at IS NOT NULL THEN 'removed'
    WHEN p.visibility = 'private' AND p.owner_id IS DISTINCT FROM $2
        OR r.visibility = 'private' AND r.owner_id IS DISTINCT FROM $2 THEN 'private'
    ELSE 'shown' END, i.note, i.added_at, i.pipeline_id, i.run_id
FROM {_ITEMS}
WHERE i.collection_id = $1 AND ($3 OR {_OPEN})
    AND ($4::uuid IS NULL OR (i.position, i.id) > (
        SELECT position, id FROM collection_items WHERE id = $4 AND collection_id = $1))
ORDER BY i.position, i.id LIMIT $5
"""  # noqa: S608 - constants only

_COVERED = f"""collections c LEFT JOIN LATERAL (
    SELECT coalesce(made.sha256, p.cover_sha256) AS sha256,
        coalesce(made.width, p.cover_width) AS width, coalesce(made.height, p.cover_height) AS height
    FROM (SELECT * FROM collection_items WHERE collection_id = c.id ORDER BY position, id LIMIT 30) i
    JOIN pipelines p ON p.id = i.pipeline_id LEFT JOIN runs r ON r.id = i.run_id
    LEFT JOIN LATERAL (
        SELECT u.sha256, a.width, a.height FROM step_runs s
        JOIN outputs u ON u.step_run_id = s.id JOIN artifacts a ON a.sha256 = u.sha256
        WHERE s.run_id = i.run_id ORDER BY s.ordinal DESC, u.position LIMIT 1
    ) made ON true
    WHERE {_OPEN} AND coalesce(made.sha256, p.cover_sha256) IS NOT NULL ORDER BY i.position, i.id LIMIT 1
) first ON true"""  # noqa: S608 - constants only
"""Collections `c` with the picture of the first of each that everybody may see and that has one."""

_LINES = f"""
SELECT c.id, c.title, left(c.about, 400), c.visibility, c.updated_at, {_count(COUNTED_IN_LISTS)},
    first.sha256, first.width, first.height
FROM {_COVERED}
WHERE c.owner_id = $1 AND (c.visibility = 'public' OR c.owner_id = $2) AND ($3::uuid IS NULL OR c.id < $3)
ORDER BY c.id DESC LIMIT $4
"""  # noqa: S608 - constants only

_OF_PERSON = f"""
SELECT c.created_at, c.id, c.title, c.about, c.updated_at, o.handle, o.name,
    a.sha256, a.media_type, a.bytes, a.width, a.height
FROM {_COVERED} JOIN people o ON o.id = c.owner_id LEFT JOIN artifacts a ON a.sha256 = first.sha256
WHERE c.owner_id = $1 AND c.visibility = 'public'"""  # noqa: S608 - constants only

_CHOICES = """
SELECT c.id, c.title, c.visibility, (SELECT i.id FROM collection_items i
    WHERE i.collection_id = c.id AND i.pipeline_id = $2 AND i.run_id IS NOT DISTINCT FROM $3::uuid)
FROM collections c WHERE c.owner_id = $1 ORDER BY c.updated_at DESC, c.id DESC
"""

ADDABLE = """
SELECT p.id FROM pipelines p LEFT JOIN runs r ON r.id = $2 AND r.pipeline_id = p.id
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $3)
    AND ($2::uuid IS NULL OR r.visibility = 'published')
"""

_FEED = f"""
SELECT i.added_at, i.id, i.note, i.pipeline_id, i.run_id FROM {_ITEMS}
WHERE i.collection_id = $1 AND {{shown}}"""  # noqa: S608 - constants only


async def read(collection_id: UUID, viewer_id: UUID | None) -> Collection:
    """A collection's head. Raises NotFound for a private one of somebody else as for one that never was."""
    row = await db.fetchrow(_READ, collection_id, viewer_id)
    if row is None:
        raise NotFound(GONE)
    return Collection(*row)


async def items(
    collection_id: UUID, viewer_id: UUID | None, own: bool, after: UUID | None = None, limit: int = PAGE
) -> ItemPage:
    """A page of items in their order, in three queries at most: all of them for the owner, else what is open.

    `after` is the last item of the page before. Raises NotFound for one that is not in there (any more).
    """
    rows = await db.fetch(_PAGE, collection_id, viewer_id, own, after, limit + 1)
    if after is not None and not rows:
        inside = "SELECT true FROM collection_items WHERE id = $1 AND collection_id = $2"
        if not await db.fetchval(inside, after, collection_id):
            raise NotFound(NO_PAGE)
    shown = [row for row in rows[:limit] if row[1] == "shown"]
    found = await things.read(
        [row["pipeline_id"] for row in shown if row["run_id"] is None],
        [row["run_id"] for row in shown if row["run_id"]],
    )
    page = [
        Item(row[0], row[1], row["note"], row["added_at"], found.get(row["run_id"] or row["pipeline_id"]))
        for row in rows[:limit]
    ]
    return ItemPage(page, str(page[-1].id) if len(rows) > limit else None)


async def item(collection_id: UUID, person_id: UUID, item_id: UUID) -> Item:
    """One item of one's own collection. Raises NotFound."""
    row = await db.fetchrow(
        """SELECT i.id, i.note, i.added_at FROM collection_items i JOIN collections c ON c.id = i.collection_id
           WHERE i.id = $1 AND c.id = $2 AND c.owner_id = $3""",
        item_id,
        collection_id,
        person_id,
    )
    if row is None:
        raise NotFound(GONE)
    return Item(row["id"], "shown", row["note"], row["added_at"], None)


async def of_person(owner_id: UUID, viewer_id: UUID | None, after: str | None = None, limit: int = PAGE) -> LinePage:
    """A person's collections in one query: all for themselves, the public ones for others.

    Entries are counted up to 100. Raises NotFound for a place that does not exist.
    """
    try:
        place = UUID(after) if after else None
    except ValueError:
        raise NotFound(NO_PAGE) from None
    rows = await db.fetch(_LINES, owner_id, viewer_id, place, limit + 1)
    lines = [Line(*row) for row in rows[:limit]]
    return LinePage(lines, str(lines[-1].id) if len(rows) > limit else None)


async def choices(person_id: UUID, pipeline_id: UUID, run_id: UUID | None = None) -> list[Choice]:
    """One's own collections, the latest changed first, and which of them hold the thing already.

    Raises NotFound for what the person may not see or is not published.
    """
    if await db.fetchval(ADDABLE, pipeline_id, run_id, person_id) is None:
        raise NotFound("There is no such pipeline or run, or it is private.")
    return [Choice(*row) for row in await db.fetch(_CHOICES, person_id, pipeline_id, run_id)]


async def pipeline_of(run_id: UUID) -> UUID:
    """The pipeline that a run is of. Who may see it is asked elsewhere. Raises NotFound."""
    found: UUID | None = await db.fetchval("SELECT pipeline_id FROM runs WHERE id = $1", run_id)
    if found is None:
        raise NotFound("There is no such pipeline or run, or it is private.")
    return found


async def feed(
    collection_id: UUID, after: str | None = None, limit: int = PAGE, *, private: bool = False
) -> feeds.Page:
    """A page of a collection as a feed, what was added last first; who may read it is the caller's to know.

    `private`: through an address that only its owner has, so that unlisted pipelines are in it too; what
    only one person may see is in no feed, since feed readers do not log in.
    """
    sql = _FEED.format(shown=_IN_FEEDS if private else _OPEN)
    shown, next_, previous = await paging.paged(paging.keyset(sql, ("i.id",), collection_id, limit), after, limit)
    entries = await feeds.by_ids(
        [row["pipeline_id"] for row in shown if row["run_id"] is None],
        [row["run_id"] for row in shown if row["run_id"]],
    )
    page = []
    for row in shown:
        entry = entries.get(row["run_id"] or row["pipeline_id"])
        if entry is not None:
            page.append(feeds.told(entry, row["added_at"], row["note"]))
    return feeds.Page(page, next_, previous)


async def feed_of_person(owner_id: UUID, after: str | None = None, limit: int = PAGE) -> feeds.Page:
    """A page of a person's public collections as a feed, the latest made first.

    Raises NotFound for a cursor that does not exist."""
    rows, next_, previous = await paging.paged(paging.keyset(_OF_PERSON, ("c.id",), owner_id, limit), after, limit)
    return feeds.Page([_entry(row) for row in rows], next_, previous)


def _entry(row: db.Record) -> feeds.Entry:
    return feeds.other(
        row["id"],
        row["title"],
        f"/collections/{row['id']}",
        row["handle"],
        row["name"],
        row["created_at"],
        updated=row["updated_at"],
        description=row["about"],
        picture=feeds.Picture(*row[7:12]) if row["sha256"] else None,
    )
