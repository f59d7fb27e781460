"""Reading comments: a page of them under what they are about, one alone, its place, and the newest for feeds."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import comments, db, subjects
from domain.comments import GONE
from domain.errors import NotFound
from domain.subjects import Subject

PAGE = 24
COUNTED = 1_000
"""Comments that are counted; there may be more."""


class Author(Struct, frozen=True):
    """Who wrote a comment."""

    id: UUID
    handle: str
    name: str

    @property
    def shown(self) -> str:
        return self.name or self.handle


class Comment(Struct, frozen=True, kw_only=True):
    """A comment as a reader sees it. `body` is Markdown; empty when deleted."""

    id: UUID
    thread_id: UUID
    """The comment that began the thread: its own id, unless it is a reply."""
    author: Author | None
    """None when the account was deleted."""
    to: Author | None
    """Who began the thread that a reply stands in, if they are still here."""
    body: str
    mentioned: tuple[str, ...]
    """Handles in the body that lead to people."""
    created_at: datetime
    edited_at: datetime | None
    deleted_by: str
    """author, owner or moderator; "" while it stands."""
    mine: bool
    may_delete: bool

    @property
    def is_reply(self) -> bool:
        return self.thread_id != self.id


class Talk(Struct, frozen=True, kw_only=True):
    """A page of a subject's comments: threads in the order they began, replies under what they answer."""

    subject: Subject
    comments: list[Comment]
    count: int
    """Of those that stand, counted to 1,000; 0 on a page past the end."""
    after: UUID | None
    next: UUID | None
    """The last comment of this page, if there are newer ones."""


class Place(Struct, frozen=True):
    """Where a comment stands: on the page after comment `after`, or on the first."""

    subject: Subject
    after: UUID | None


_COLUMNS = """
c.id, c.thread_id, c.body, c.created_at, c.edited_at, coalesce(c.deleted_by, '') AS deleted_by,
    c.author_id, a.handle, a.name, b.id AS to_id, b.handle AS to_handle, b.name AS to_name,
    (SELECT array_agg(m.handle) FROM people m WHERE m.id = ANY (c.mentioned)) AS mentioned
"""
_PEOPLE = """
LEFT JOIN people a ON a.id = c.author_id
LEFT JOIN comments first ON first.id = c.parent_id
LEFT JOIN people b ON b.id = first.author_id
"""
_SHOWN = """(c.deleted_at IS NULL OR c.parent_id IS NULL AND (
    SELECT true FROM comments reply WHERE reply.parent_id = c.id AND reply.deleted_at IS NULL LIMIT 1))"""
"""A deleted comment keeps its place while it has replies. EXISTS would be looked up in all comments at once."""


async def read(
    subject: Subject, viewer_id: UUID | None, role: str = "", after: UUID | None = None, limit: int = PAGE
) -> Talk:
    """A page of comments with their authors, in one query. The caller knows that the viewer may see the subject."""
    rows = await db.fetch(
        f"""
        SELECT {_COLUMNS}, (SELECT count(*) FROM (SELECT FROM comments n
            WHERE n.{subject.column} = $1 AND n.deleted_at IS NULL LIMIT {COUNTED}) counted) AS count
        FROM comments c {_PEOPLE}
        WHERE c.{subject.column} = $1 AND {_SHOWN} {_PAST if after else ""}
        ORDER BY c.thread_id, c.id LIMIT {limit + 1}
        """,  # noqa: S608 - constants only
        subject.id,
        *((after,) if after else ()),
    )
    found = [_comment(row, subject, viewer_id, role) for row in rows[:limit]]
    return Talk(
        subject=subject,
        comments=found,
        count=rows[0]["count"] if rows else 0,
        after=after,
        next=found[-1].id if len(rows) > limit else None,
    )


_PAST = "AND (c.thread_id, c.id) > ((SELECT thread_id FROM comments WHERE id = $2), $2)"


async def one(comment_id: UUID, viewer_id: UUID | None, role: str = "") -> tuple[Subject, Comment]:
    """A comment that stands, and what it is about. Raises NotFound."""
    subject = await subjects.of_comment(comment_id, viewer_id)
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM comments c {_PEOPLE} WHERE c.id = $1 AND c.deleted_at IS NULL",  # noqa: S608
        comment_id,
    )
    if row is None:
        raise NotFound(GONE)
    return subject, _comment(row, subject, viewer_id, role)


async def count(subject: Subject) -> int:
    """How many comments stand, counted to 1,000."""
    found: int = await db.fetchval(
        f"""SELECT count(*) FROM (SELECT FROM comments
            WHERE {subject.column} = $1 AND deleted_at IS NULL LIMIT {COUNTED}) counted""",  # noqa: S608
        subject.id,
    )
    return found


async def place(comment_id: UUID, viewer_id: UUID | None) -> Place:
    """Where a comment is to be found. Raises NotFound, also for one that was deleted and holds no place."""
    subject = await subjects.of_comment(comment_id, viewer_id)
    row = await db.fetchrow(
        f"""
        SELECT (SELECT count(*) FROM ({_BEFORE} AND (c.thread_id, c.id) < (it.thread_id, it.id)
                LIMIT {PAGE}) x) AS before,
            (SELECT count(*) FROM ({_BEFORE} AND c.thread_id = it.thread_id AND c.id < it.id
                LIMIT {PAGE}) x) AS within,
            ({_BEFORE} AND c.thread_id < it.thread_id ORDER BY c.thread_id DESC, c.id DESC LIMIT 1) AS thread_after,
            ({_BEFORE} AND (c.thread_id, c.id) < (it.thread_id, it.id)
                ORDER BY c.thread_id DESC, c.id DESC LIMIT 1) AS right_after
        FROM comments it WHERE it.id = $1 AND EXISTS (SELECT FROM comments c WHERE c.id = it.id AND {_SHOWN})
        """.replace("{column}", subject.column),  # noqa: S608 - constants only
        comment_id,
    )
    if row is None:
        raise NotFound(GONE)
    if row["before"] < PAGE:
        return Place(subject, None)
    return Place(subject, row["thread_after"] if row["within"] < PAGE else row["right_after"])


_BEFORE = f"SELECT c.id FROM comments c WHERE c.{{column}} = it.{{column}} AND {_SHOWN}"  # noqa: S608


class Newest(Struct, frozen=True):
    """A page of a feed, newest first. `previous` is as in `feeds.Page`."""

    comments: list[Comment]
    next: str | None
    previous: str | None


async def newest(subject: Subject, after: UUID | None = None, limit: int = PAGE) -> Newest:
    """What was written last about a subject that everybody may see, before comment `after`."""
    rows = await _newest(subject, "<", "DESC", after, limit)
    found = [_comment(row, subject, None, "") for row in rows[:limit]]
    previous = None
    if after is not None:
        later = await _newest(subject, ">" if rows else ">=", "ASC", rows[0]["id"] if rows else after, limit)
        previous = str(later[limit]["id"]) if len(later) > limit else ""
    return Newest(found, str(found[-1].id) if len(rows) > limit else None, previous)


async def _newest(subject: Subject, side: str, way: str, edge: UUID | None, limit: int) -> Sequence[db.Record]:
    return await db.fetch(
        f"""
        SELECT {_COLUMNS} FROM comments c {_PEOPLE}
        WHERE c.{subject.column} = $1 AND c.deleted_at IS NULL {f"AND c.id {side} $2" if edge else ""}
        ORDER BY c.id {way} LIMIT {limit + 1}
        """,  # noqa: S608 - constants only
        subject.id,
        *((edge,) if edge else ()),
    )


def _comment(row: db.Record, subject: Subject, viewer_id: UUID | None, role: str) -> Comment:
    stands = not row["deleted_by"]
    return Comment(
        id=row["id"],
        thread_id=row["thread_id"],
        author=Author(row["author_id"], row["handle"], row["name"]) if row["author_id"] else None,
        to=Author(row["to_id"], row["to_handle"], row["to_name"]) if row["to_id"] else None,
        body=row["body"],
        mentioned=tuple(sorted(row["mentioned"] or ())),
        created_at=row["created_at"],
        edited_at=row["edited_at"],
        deleted_by=row["deleted_by"],
        mine=stands and viewer_id is not None and row["author_id"] == viewer_id,
        may_delete=stands and bool(comments.who(subject, row["author_id"], viewer_id, role)),
    )
