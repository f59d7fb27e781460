"""Whom and what a person follows: people, tags, pipelines. Who follows is nobody else's to see, only how many."""

from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from domain import db, lists
from domain.errors import NotFound, Refused, TooMany

MAX_FOLLOWS = 1_000
"""Of one person, of all three kinds together: the following page asks about each of them."""
PAGE = 100

Kind = Literal["person", "tag", "pipeline"]


class Followed(Struct, frozen=True):
    """One of those that a person follows. `name` is empty for a pipeline that was made private or removed;
    `open` says that everybody may see it."""

    id: UUID
    kind: Kind
    name: str
    handle: str
    tag: str
    pipeline_id: UUID | None
    person_id: UUID | None
    open: bool


class FollowedPage(Struct, frozen=True):
    """Some of those, the latest first; `next` leads to earlier ones, None at the end."""

    followed: list[Followed]
    next: str | None


_PERSON_EXISTS = "SELECT EXISTS (SELECT FROM people WHERE id = $1)"
_PIPELINE_EXISTS = """
SELECT EXISTS (SELECT FROM pipelines
    WHERE id = $1 AND deleted_at IS NULL AND (visibility <> 'private' OR owner_id = $2))
"""

_ADD = """
INSERT INTO follows (follower_id, person_id, tag, pipeline_id) SELECT $1, $2::uuid, $3::text, $4::uuid
WHERE (SELECT count(*) FROM follows WHERE follower_id = $1) < $5
ON CONFLICT DO NOTHING
"""

_HAS = """
SELECT EXISTS (SELECT FROM follows WHERE follower_id = $1
    AND (person_id, tag, pipeline_id) IS NOT DISTINCT FROM ($2::uuid, $3::text, $4::uuid))
"""

_REMOVE = """
DELETE FROM follows WHERE follower_id = $1
    AND (person_id, tag, pipeline_id) IS NOT DISTINCT FROM ($2::uuid, $3::text, $4::uuid)
"""

_MINE = """
SELECT f.id, CASE WHEN f.person_id IS NOT NULL THEN 'person' WHEN f.tag IS NOT NULL THEN 'tag' ELSE 'pipeline' END,
    coalesce(nullif(o.name, ''), o.handle, f.tag, CASE
        WHEN p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $1) THEN p.title END, ''),
    coalesce(o.handle, ''), coalesce(f.tag, ''), f.pipeline_id, f.person_id,
    coalesce(p.visibility <> 'private', true)
FROM follows f LEFT JOIN people o ON o.id = f.person_id LEFT JOIN pipelines p ON p.id = f.pipeline_id
WHERE f.follower_id = $1 AND ($2::uuid IS NULL OR f.id < $2)
ORDER BY f.id DESC LIMIT $3
"""


async def follow_person(follower_id: UUID, person_id: UUID) -> None:
    """Follow somebody; again changes nothing. Raises NotFound, Refused for oneself, TooMany past 1,000."""
    if person_id == follower_id:
        raise Refused("This is you. Others follow you.")
    if not await db.fetchval(_PERSON_EXISTS, person_id):
        raise NotFound("There is no such person.")
    await _add(follower_id, person_id, None, None)


async def follow_tag(follower_id: UUID, tag: str) -> None:
    """Follow a tag as it is kept; again changes nothing. Raises TooMany past 1,000."""
    await _add(follower_id, None, tag, None)


async def follow_pipeline(follower_id: UUID, pipeline_id: UUID) -> None:
    """Follow a pipeline: its offshoots, versions and results; again changes nothing.

    Raises NotFound for one that the person may not see, TooMany past 1,000.
    """
    if not await db.fetchval(_PIPELINE_EXISTS, pipeline_id, follower_id):
        raise NotFound("There is no such pipeline, or it is private.")
    await _add(follower_id, None, None, pipeline_id)


async def unfollow_person(follower_id: UUID, person_id: UUID) -> None:
    """Follow somebody no more."""
    await db.execute(_REMOVE, follower_id, person_id, None, None)


async def unfollow_tag(follower_id: UUID, tag: str) -> None:
    """Follow a tag no more."""
    await db.execute(_REMOVE, follower_id, None, tag, None)


async def unfollow_pipeline(follower_id: UUID, pipeline_id: UUID) -> None:
    """Follow a pipeline no more, also one that is gone.

    Raises NotFound where it was not followed and the person may not see it either.
    """
    if await db.execute(_REMOVE, follower_id, None, None, pipeline_id):
        return
    if not await db.fetchval(_PIPELINE_EXISTS, pipeline_id, follower_id):
        raise NotFound("There is no such pipeline, or it is private.")


async def follows_person(follower_id: UUID, person_id: UUID) -> bool:
    """Whether somebody is followed."""
    return bool(await db.fetchval(_HAS, follower_id, person_id, None, None))


async def follows_tag(follower_id: UUID, tag: str) -> bool:
    """Whether a tag is followed."""
    return bool(await db.fetchval(_HAS, follower_id, None, tag, None))


async def mine(person_id: UUID, after: str | None = None, limit: int = PAGE) -> FollowedPage:
    """Whom and what a person follows, the latest first. Raises NotFound for a place that does not exist."""
    rows = await db.fetch(_MINE, person_id, lists.id_after(after), limit + 1)
    followed = [Followed(*row) for row in rows[:limit]]
    return FollowedPage(followed, str(followed[-1].id) if len(rows) > limit else None)


async def _add(follower_id: UUID, *of: Any) -> None:
    if await db.execute(_ADD, follower_id, *of, MAX_FOLLOWS):
        return
    if not await db.fetchval(_HAS, follower_id, *of):
        raise TooMany(f"You follow {MAX_FOLLOWS:,} already, and no more fit. Unfollow one first.")
