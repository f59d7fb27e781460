"""What happened to a person's things: comments, replies, mentions, offshoots. Never by themselves, none twice.

They are written in the transaction of what they tell of. What a person may not see (any more) is
left out when they are read, so that it comes back with the thing.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import db, paging
from domain.errors import NotFound
from domain.people import CardName
from domain.subjects import seen

PAGE = 24
COUNTED = 10
"""Unread ones that are counted; more are "9+"."""

_THING = """
CROSS JOIN LATERAL (
    SELECT c.id AS comment_id, c.body, p.id AS pipeline_id, p.title, p.parent_id, r.number
    FROM (SELECT) nothing
    LEFT JOIN comments c ON c.id = n.comment_id
    LEFT JOIN runs r ON r.id = c.run_id
    JOIN pipelines p ON p.id = coalesce(n.pipeline_id, c.pipeline_id, r.pipeline_id)
    WHERE (c.id IS NULL OR c.deleted_at IS NULL) AND {seen}
    OFFSET 0
) thing
"""
"""What notification `n` tells of, if that is to be seen. OFFSET 0: one after the other, until there are enough."""
_FOR_THEM = _THING.replace("{seen}", seen("n.person_id"))
_FOR_ANYBODY = _THING.replace("{seen}", seen("NULL::uuid"))


def unread(person: str) -> str:
    """SQL: how many unread ones `person` (an expression) has, counted to 10 among the newest 100."""
    return f"""(SELECT count(*) FROM (SELECT FROM (
        SELECT * FROM notifications WHERE person_id = {person} AND read_at IS NULL ORDER BY id DESC LIMIT 100
    ) n {_FOR_THEM} LIMIT {COUNTED}) news)"""  # noqa: S608 - constants only


class Notification(Struct, frozen=True, kw_only=True):
    """One line of the list. `excerpt` is the comment's beginning, in Markdown."""

    id: UUID
    kind: str
    """comment, reply, mention or fork"""
    unread: bool
    created_at: datetime
    actor: CardName
    comment_id: UUID | None
    excerpt: str
    pipeline_id: UUID
    title: str
    """The pipeline's: for a fork, the offshoot's."""
    number: int | None
    """The run's, where it is about one."""
    parent_title: str
    """For a fork: the pipeline it grew from, unless that is gone or not to be named to whoever reads this."""


class NotificationList(Struct, frozen=True):
    """Some of a person's notifications, newest first; `next` leads to older ones, None at the end."""

    notifications: list[Notification]
    next: UUID | None


_LINES = """
SELECT n.created_at, n.id, n.kind, n.read_at IS NULL AS unread, a.handle, a.name, thing.comment_id,
    coalesce(left(thing.body, 300), '') AS excerpt, thing.pipeline_id, thing.title, thing.number,
    coalesce((SELECT up.title FROM pipelines up WHERE n.kind = 'fork' AND up.id = thing.parent_id
        AND up.deleted_at IS NULL AND {named}), '') AS parent_title
FROM notifications n JOIN people a ON a.id = n.actor_id {thing}
WHERE n.person_id = $1
"""
_OWN = _LINES.replace("{thing}", _FOR_THEM).replace("{named}", "up.owner_id = n.person_id")
_OPEN = _LINES.replace("{thing}", _FOR_ANYBODY).replace("{named}", "up.visibility = 'public'")
_ONE = f"{_OWN} AND n.id = $2"


async def listed(person_id: UUID, after: UUID | None = None, limit: int = PAGE) -> NotificationList:
    """A person's notifications older than `after`, newest first, in one query."""
    older = ("AND n.id < $2", after) if after else ("",)
    rows = await db.fetch(f"{_OWN} {older[0]} ORDER BY n.id DESC LIMIT {limit + 1}", person_id, *older[1:])
    found = [_notification(row) for row in rows[:limit]]
    return NotificationList(found, found[-1].id if len(rows) > limit else None)


async def open_ones(
    person_id: UUID, after: str | None = None, limit: int = PAGE
) -> tuple[list[Notification], str | None, str | None]:
    """A page of those about things that everybody may see, for readers that do not log in, and the cursors of the
    next page and of the previous one as `feeds.Page` has them. Raises NotFound for a cursor that does not exist."""
    rows, next_, previous = await paging.paged(paging.keyset(_OPEN, ("n.id",), person_id, limit), after, limit)
    return [_notification(row) for row in rows], next_, previous


def _notification(row: db.Record) -> Notification:
    plain = {name: value for name, value in row.items() if name not in ("handle", "name")}
    return Notification(**plain, actor=CardName(row["handle"], row["name"]))


async def read_all(person_id: UUID, until: UUID) -> None:
    """Mark as read what the person has, up to the newest one they saw."""
    await db.execute(
        "UPDATE notifications SET read_at = now() WHERE person_id = $1 AND read_at IS NULL AND id <= $2",
        person_id,
        until,
    )


async def read(notification_id: UUID, person_id: UUID) -> Notification:
    """Mark one as read. Raises NotFound for other people's, and for what they may not see any more."""
    row = await db.fetchrow(_ONE, person_id, notification_id)
    if row is None:
        raise NotFound("There is no such notification, or what it told of is gone.")
    await db.execute("UPDATE notifications SET read_at = now() WHERE id = $1 AND read_at IS NULL", notification_id)
    return _notification(row)


async def tell(comment_id: UUID, actor_id: UUID, people: Mapping[UUID, str]) -> None:
    """Tell each of the people of a comment, by its kind; who was told of it already hears nothing."""
    told = {person: kind for person, kind in people.items() if person != actor_id}
    if told:
        await db.execute(
            """
            INSERT INTO notifications (person_id, kind, actor_id, comment_id)
            SELECT p.id, told.kind, $2, $1
            FROM unnest($3::uuid[], $4::text[]) AS told (person_id, kind) JOIN people p ON p.id = told.person_id
            ON CONFLICT (comment_id, person_id) DO NOTHING
            """,
            comment_id,
            actor_id,
            list(told),
            list(told.values()),
        )


async def tell_of_offshoot(pipeline_id: UUID) -> None:
    """Tell the parent's owner of an offshoot, the first time that everybody may see it."""
    await db.execute(
        """
        INSERT INTO notifications (person_id, kind, actor_id, pipeline_id)
        SELECT parent.owner_id, 'fork', p.owner_id, p.id
        FROM pipelines p JOIN pipelines parent ON parent.id = p.parent_id
        WHERE p.id = $1 AND p.visibility = 'public' AND p.deleted_at IS NULL
          AND parent.deleted_at IS NULL AND parent.owner_id <> p.owner_id
        ON CONFLICT (pipeline_id, person_id) DO NOTHING
        """,
        pipeline_id,
    )
