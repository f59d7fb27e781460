"""The keys of private feeds: one for each list of a person that only they may read.

A key's id is half of the address; the other half is signed with the site's secret and stored nowhere, so
neither the database nor a backup of it opens a feed. Taking the key away closes its address for good.
"""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.errors import NotFound

List = Literal["following", "bookmarks", "notifications", "collection", "runs", "grids"]


class Key(Struct, frozen=True):
    """What an address opens: a list of a person, and which collection."""

    id: UUID
    person_id: UUID
    list: List
    collection_id: UUID | None


_MAKE = """
INSERT INTO feed_keys (person_id, list, collection_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_TAKE = "DELETE FROM feed_keys WHERE person_id = $1 AND list = $2 AND collection_id IS NOT DISTINCT FROM $3::uuid"
_READ = "SELECT id FROM feed_keys WHERE person_id = $1 AND list = $2 AND collection_id IS NOT DISTINCT FROM $3::uuid"


async def make(person_id: UUID, of: List, collection_id: UUID | None = None) -> None:
    """Give a list an address, if it has none. A collection that everybody may read needs none, and gets none.

    Raises NotFound for a collection that is not the person's."""
    async with db.transaction():
        if collection_id is None or await _visibility(person_id, collection_id) == "private":
            await db.execute(_MAKE, person_id, of, collection_id)


async def renew(person_id: UUID, of: List, collection_id: UUID | None = None) -> None:
    """Give a list another address; the one before opens nothing from now on. Raises NotFound as `make` does."""
    async with db.transaction():
        await db.execute(_TAKE, person_id, of, collection_id)
        await make(person_id, of, collection_id)


async def withdraw(person_id: UUID, of: List, collection_id: UUID | None = None) -> None:
    """Take a list's address away. Raises NotFound for a collection that is not the person's."""
    if collection_id is not None:
        await _visibility(person_id, collection_id)
    await db.execute(_TAKE, person_id, of, collection_id)


async def read(person_id: UUID, of: List, collection_id: UUID | None = None) -> UUID | None:
    """The id of a list's key, None where it has no address."""
    found: UUID | None = await db.fetchval(_READ, person_id, of, collection_id)
    return found


async def find(key_id: UUID) -> Key | None:
    """What a key opens, None for one that was taken away."""
    row = await db.fetchrow("SELECT id, person_id, list, collection_id FROM feed_keys WHERE id = $1", key_id)
    return None if row is None else Key(*row)


async def _visibility(person_id: UUID, collection_id: UUID) -> str:
    """Who sees a collection of the person's own; within a transaction it stays so."""
    own = "SELECT visibility FROM collections WHERE id = $1 AND owner_id = $2 FOR SHARE"
    found: str | None = await db.fetchval(own, collection_id, person_id)
    if found is None:
        raise NotFound("There is no such collection, or it is private.")
    return found
