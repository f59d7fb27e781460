"""Collections: pipelines and published runs that a person put together, in an order, with a note each.

Whoever owns one sees every place in it, also those whose pipeline was made private or removed. Others see
what everybody may see, and nothing tells them that more is there. Every change locks the collection first.
"""

import re
import unicodedata
from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.collection_pages import (
    ADDABLE,
    GONE,
    Collection,
    Item,
    choices,
    feed,
    feed_of_person,
    item,
    items,
    of_person,
    pipeline_of,
    read,
)
from domain.errors import Invalid, NotFound, TooMany

__all__ = [
    "MAX_ITEMS",
    "VISIBILITIES",
    "WAYS",
    "Collection",
    "Details",
    "Item",
    "Way",
    "add",
    "annotate",
    "choices",
    "clean",
    "create",
    "delete",
    "edit",
    "feed",
    "feed_of_person",
    "item",
    "items",
    "move",
    "of_person",
    "pipeline_of",
    "read",
    "remove",
]

VISIBILITIES = {"public": "Everyone", "private": "Only me"}
MAX_TITLE = 120
MAX_ABOUT = 4_000
MAX_NOTE = 1_000
MAX_ITEMS = 10_000
"""In one collection."""
MAX_COLLECTIONS = 500
"""Of one person."""
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the words behind them round: titles stand among other words."""

Way = Literal["up", "down", "first", "last"]
WAYS: tuple[Way, ...] = ("up", "down", "first", "last")


class Details(Struct, frozen=True):
    """What an owner says of a collection: title, Markdown about it, and who sees it."""

    title: str
    about: str = ""
    visibility: str = "private"


_APPEND = """
INSERT INTO collection_items (collection_id, pipeline_id, run_id, note, position)
SELECT $1, $2, $3, $4, coalesce(max(position), 0) + 1 FROM collection_items WHERE collection_id = $1
ON CONFLICT DO NOTHING RETURNING id
"""

_NEIGHBOR = """
SELECT id, position FROM collection_items WHERE collection_id = $1 AND (position, id) {sign} ($2, $3)
ORDER BY position {way}, id {way} LIMIT 1
"""


def clean(details: Details) -> Details:
    """The details as they are kept. Raises Invalid with the words for every field at fault."""
    errors: dict[str, str] = {}
    title = " ".join(_UNSEEN.sub("", unicodedata.normalize("NFC", details.title)).split())
    about = details.about.strip()
    if not any(unicodedata.category(char)[0] in "LNPS" for char in title):
        errors["title"] = "Give it a title"
    elif len(title) > MAX_TITLE:
        errors["title"] = f"At most {MAX_TITLE} characters; this has {len(title)}"
    if len(about) > MAX_ABOUT:
        errors["about"] = f"At most {MAX_ABOUT:,} characters; this has {len(about):,}"
    if details.visibility not in VISIBILITIES:
        errors["visibility"] = "Choose one of the list"
    if errors:
        raise Invalid(errors)
    return Details(title, about, details.visibility)


def clean_note(note: str) -> str:
    """The note as it is kept. Raises Invalid (field `note`)."""
    kept = note.strip()
    if len(kept) > MAX_NOTE:
        raise Invalid({"note": f"At most {MAX_NOTE:,} characters; this has {len(kept):,}"})
    return kept


async def create(owner_id: UUID, details: Details) -> UUID:
    """Make an empty collection; its id. The same one again within a minute is the one just made: a double click.

    Raises Invalid, TooMany past 500.
    """
    kept = clean(details)
    async with db.transaction():
        await db.execute("SELECT FROM people WHERE id = $1 FOR NO KEY UPDATE", owner_id)
        again: UUID | None = await db.fetchval(
            """SELECT id FROM collections WHERE owner_id = $1 AND (title, about, visibility) = ($2, $3, $4)
               AND created_at > clock_timestamp() - interval '1 minute' ORDER BY id DESC LIMIT 1""",
            owner_id,
            kept.title,
            kept.about,
            kept.visibility,
        )
        if again is not None:
            return again
        if await db.fetchval("SELECT count(*) FROM collections WHERE owner_id = $1", owner_id) >= MAX_COLLECTIONS:
            raise TooMany(f"You have {MAX_COLLECTIONS} collections, and no more fit. Delete one first.")
        made: UUID = await db.fetchval(
            "INSERT INTO collections (owner_id, title, about, visibility) VALUES ($1, $2, $3, $4) RETURNING id",
            owner_id,
            kept.title,
            kept.about,
            kept.visibility,
        )
    return made


async def edit(collection_id: UUID, person_id: UUID, details: Details) -> None:
    """Keep new details. A collection that everybody may read has no private feed: its address is closed for good.

    Raises NotFound for a collection that is not the person's, Invalid."""
    kept = clean(details)
    async with db.transaction():
        await _own(collection_id, person_id)
        if kept.visibility == "public":
            await db.execute("DELETE FROM feed_keys WHERE collection_id = $1", collection_id)
        await db.execute(
            "UPDATE collections SET title = $2, about = $3, visibility = $4, updated_at = now() WHERE id = $1",
            collection_id,
            kept.title,
            kept.about,
            kept.visibility,
        )


async def delete(collection_id: UUID, person_id: UUID) -> None:
    """Take a collection away with its notes and its private feed's address; what was in it stays.

    Raises NotFound for a collection that is not the person's, or is gone already.
    """
    async with db.transaction():
        await _own(collection_id, person_id)
        await db.execute("DELETE FROM collections WHERE id = $1", collection_id)


async def add(
    collection_id: UUID, person_id: UUID, pipeline_id: UUID, run_id: UUID | None = None, note: str = ""
) -> UUID:
    """Put a pipeline, or a published run of it, at the end; the item's id. What is in there already stays as it is.

    Raises NotFound for a collection that is not the person's and for what they may not see or is not
    published, Invalid for a long note, TooMany past 10,000 items.
    """
    kept = clean_note(note)
    async with db.transaction():
        await _own(collection_id, person_id)
        if await db.fetchval(ADDABLE, pipeline_id, run_id, person_id) is None:
            raise NotFound("There is no such pipeline or run, or it is private.")
        there = await _item_of(collection_id, pipeline_id, run_id)
        if there is not None:
            return there
        count = await db.fetchval("SELECT count(*) FROM collection_items WHERE collection_id = $1", collection_id)
        if count >= MAX_ITEMS:
            raise TooMany(f"This collection holds {MAX_ITEMS:,} entries, and no more fit. Make another one.")
        item_id: UUID = await db.fetchval(_APPEND, collection_id, pipeline_id, run_id, kept)
        await _touch(collection_id)
    return item_id


async def annotate(collection_id: UUID, person_id: UUID, item_id: UUID, note: str) -> None:
    """Keep an item's note. Raises NotFound for what is not the person's, Invalid for a long one."""
    kept = clean_note(note)
    async with db.transaction():
        await _item(collection_id, person_id, item_id)
        await db.execute("UPDATE collection_items SET note = $2 WHERE id = $1", item_id, kept)
        await _touch(collection_id)


async def move(collection_id: UUID, person_id: UUID, item_id: UUID, way: Way) -> None:
    """Move an item one place up or down, or to either end; at the end it stays. Raises NotFound."""
    async with db.transaction():
        item = await _item(collection_id, person_id, item_id)
        if way in ("first", "last"):
            edge = "min(position) - 1" if way == "first" else "max(position) + 1"
            place = await db.fetchval(
                f"SELECT {edge} FROM collection_items WHERE collection_id = $1",  # noqa: S608 - one of two
                collection_id,
            )
            await db.execute("UPDATE collection_items SET position = $2 WHERE id = $1", item_id, place)
        else:
            sign, order = ("<", "DESC") if way == "up" else (">", "ASC")
            other = await db.fetchrow(
                _NEIGHBOR.format(sign=sign, way=order), collection_id, item["position"], item["id"]
            )
            if other is None:
                return
            await db.executemany(
                "UPDATE collection_items SET position = $2 WHERE id = $1",
                [(item_id, other["position"]), (other["id"], item["position"])],
            )
        await _touch(collection_id)


async def remove(collection_id: UUID, person_id: UUID, item_id: UUID) -> None:
    """Take an item out; one that is out already stays out. Raises NotFound for somebody else's collection."""
    async with db.transaction():
        await _own(collection_id, person_id)
        sql = "DELETE FROM collection_items WHERE id = $1 AND collection_id = $2"
        if await db.execute(sql, item_id, collection_id):
            await _touch(collection_id)


async def _own(collection_id: UUID, person_id: UUID) -> None:
    """Lock one's own collection. Raises NotFound for everybody else's."""
    sql = "SELECT true FROM collections WHERE id = $1 AND owner_id = $2 FOR NO KEY UPDATE"
    if not await db.fetchval(sql, collection_id, person_id):
        raise NotFound(GONE)


async def _item(collection_id: UUID, person_id: UUID, item_id: UUID) -> db.Record:
    """An item of one's own collection, which is locked. Raises NotFound."""
    await _own(collection_id, person_id)
    sql = "SELECT id, position FROM collection_items WHERE id = $1 AND collection_id = $2"
    row = await db.fetchrow(sql, item_id, collection_id)
    if row is None:
        raise NotFound("There is no such entry in this collection.")
    return row


async def _item_of(collection_id: UUID, pipeline_id: UUID, run_id: UUID | None) -> UUID | None:
    found: UUID | None = await db.fetchval(
        """SELECT id FROM collection_items
           WHERE collection_id = $1 AND pipeline_id = $2 AND run_id IS NOT DISTINCT FROM $3::uuid""",
        collection_id,
        pipeline_id,
        run_id,
    )
    return found


async def _touch(collection_id: UUID) -> None:
    await db.execute("UPDATE collections SET updated_at = now() WHERE id = $1", collection_id)
