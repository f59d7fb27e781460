"""Comments on pipelines and published runs: written, answered, changed, taken away. Reading them is in `talk`."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Sequence
from uuid import UUID

from domain import db, mentions, notifications, subjects
from domain.errors import Invalid, NotFound, Refused, TooMany
from domain.subjects import Subject

MAX_BODY = 5_000
MOST = 30
MINUTES = 10
"""A person may write 30 comments in 10 minutes."""
MODERATORS = ("moderator", "admin")
GONE = "There is no such comment, or it was deleted."
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(body: str) -> str:
    """The words as they are kept. Raises Invalid for none, and for more than 5,000 characters."""
    kept = _UNSEEN.sub("", unicodedata.normalize("NFC", body)).strip()
    if not any(unicodedata.category(char)[0] in "LNPS" for char in kept):
        raise Invalid({"body": "Write something first"})
    if len(kept) > MAX_BODY:
        raise Invalid({"body": f"At most {MAX_BODY:,} characters; this has {len(kept):,}"})
    return kept


async def on_pipeline(pipeline_id: UUID, author_id: UUID, body: str, key: str = "") -> UUID:
    """Write a comment (Markdown, up to 5,000 characters) about a pipeline and return its id.

    The same words sent again from one form, whose `key` it carries, are one comment. Raises
    NotFound for what the author may not see, Invalid, and TooMany after 30 in 10 minutes.
    """
    words = clean(body)
    async with db.transaction():
        return await _write(await subjects.pipeline(pipeline_id, author_id), author_id, words, key)


async def on_run(run_id: UUID, author_id: UUID, body: str, key: str = "") -> UUID:
    """The same about a published run."""
    words = clean(body)
    async with db.transaction():
        return await _write(await subjects.run(run_id, author_id), author_id, words, key)


async def reply(comment_id: UUID, author_id: UUID, body: str, key: str = "") -> UUID:
    """Answer a comment. Threads have one level: the answer to a reply stands beside that reply.

    Raises as `on_pipeline` does, and NotFound for a comment that is gone.
    """
    words = clean(body)
    async with db.transaction():
        subject = await subjects.of_comment(comment_id, author_id)
        answered = await db.fetchrow(
            """
            SELECT c.thread_id, c.author_id, first.author_id AS first_author_id
            FROM comments c JOIN comments first ON first.id = c.thread_id
            WHERE c.id = $1 AND c.deleted_at IS NULL FOR SHARE OF c
            """,
            comment_id,
        )
        if answered is None:
            raise NotFound(GONE)
        return await _write(subject, author_id, words, key, answered)


async def edit(comment_id: UUID, author_id: UUID, body: str) -> None:
    """Change one's own words; people who are mentioned now hear of it, up to 10 for one comment.

    Raises NotFound, Invalid, and Refused for somebody else's.
    """
    words = clean(body)
    async with db.transaction():
        subject = await subjects.of_comment(comment_id, author_id)
        row = await db.fetchrow(
            "SELECT author_id, body FROM comments WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE", comment_id
        )
        if row is None:
            raise NotFound(GONE)
        require_author(row["author_id"], author_id)
        if row["body"] == words:
            return
        mentioned = await _mentioned(words, subject)
        await db.execute(
            "UPDATE comments SET body = $2, mentioned = $3, edited_at = now() WHERE id = $1",
            comment_id,
            words,
            mentioned,
        )
        await notifications.tell(comment_id, author_id, await _newly_mentioned(comment_id, author_id, mentioned))


async def _newly_mentioned(comment_id: UUID, author_id: UUID, mentioned: Sequence[UUID]) -> dict[UUID, str]:
    """Those of the people who have not heard of the comment in any way, as many as it may still tell by name."""
    rows = await db.fetch("SELECT person_id, kind FROM notifications WHERE comment_id = $1", comment_id)
    heard = {author_id, *(row["person_id"] for row in rows)}
    room = mentions.MOST - sum(row["kind"] == "mention" for row in rows)
    fresh = [person for person in mentioned if person not in heard]
    return dict.fromkeys(fresh[: max(room, 0)], "mention")


async def delete(comment_id: UUID, person_id: UUID, role: str) -> Subject:
    """Take a comment's words away, and what was told of it. Again changes nothing.

    Its author may, the owner of what it is about, and a moderator. Raises NotFound, Refused.
    """
    async with db.transaction():
        subject = await subjects.of_comment(comment_id, person_id)
        author_id = await db.fetchval("SELECT author_id FROM comments WHERE id = $1 FOR NO KEY UPDATE", comment_id)
        by = require_deleter(subject, author_id, person_id, role)
        await db.execute(
            """
            UPDATE comments SET body = '', mentioned = '{}', once = NULL, deleted_at = now(), deleted_by = $2
            WHERE id = $1 AND deleted_at IS NULL
            """,
            comment_id,
            by,
        )
        await db.execute("DELETE FROM notifications WHERE comment_id = $1", comment_id)
        return subject


def require_author(author_id: UUID | None, person_id: UUID) -> None:
    """Raises Refused for words of somebody else."""
    if author_id != person_id:
        raise Refused("Somebody else wrote this. You can answer it.")


def require_deleter(subject: Subject, author_id: UUID | None, person_id: UUID, role: str) -> str:
    """As what the person may delete a comment. Raises Refused when they may not."""
    by = who(subject, author_id, person_id, role)
    if not by:
        raise Refused("Only its author, the owner of what it is about, and moderators may delete it.")
    return by


def who(subject: Subject, author_id: UUID | None, person_id: UUID | None, role: str) -> str:
    """As what a person may delete a comment: author, owner or moderator; "" when they may not."""
    if person_id is None:
        return ""
    if person_id == author_id:
        return "author"
    if person_id in subject.owners:
        return "owner"
    return "moderator" if role in MODERATORS else ""


async def _write(subject: Subject, author_id: UUID, words: str, key: str, answered: db.Record | None = None) -> UUID:
    parent_id: UUID | None = answered["thread_id"] if answered else None
    once = hashlib.sha256(f"{key} {subject.id} {parent_id} {words}".encode()).hexdigest() if key else None
    # one after the other, so that they are counted
    await db.execute("SELECT FROM people WHERE id = $1 FOR NO KEY UPDATE", author_id)
    known: UUID | None = await db.fetchval(
        "SELECT id FROM comments WHERE author_id = $1 AND once = $2", author_id, once
    )
    if known is not None:
        return known
    await _check_rate(author_id)
    mentioned = await _mentioned(words, subject)
    comment_id: UUID = await db.fetchval(
        """
        INSERT INTO comments (pipeline_id, run_id, author_id, parent_id, body, mentioned, once)
        VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id
        """,
        None if subject.run_id else subject.pipeline_id,
        subject.run_id,
        author_id,
        parent_id,
        words,
        mentioned,
        once,
    )
    people = {subject.owner_id: "comment"} | dict.fromkeys(mentioned, "mention")
    if answered:
        wrote = [one for one in (answered["first_author_id"], answered["author_id"]) if one]
        people |= dict.fromkeys(subject.seen_by(wrote), "reply")
    await notifications.tell(comment_id, author_id, people)
    return comment_id


async def _check_rate(author_id: UUID) -> None:
    row = await db.fetchrow(
        """
        SELECT count(*) AS written, extract(epoch FROM min(created_at) - now())::float8 AS since FROM comments
        WHERE author_id = $1 AND created_at > now() - make_interval(mins => $2)
        """,
        author_id,
        MINUTES,
    )
    if row is not None and row["written"] >= MOST:
        wait = max(math.ceil(MINUTES + row["since"] / 60), 1)
        raise TooMany(
            f"You wrote {row['written']} comments in {MINUTES} minutes, and {MOST} is the most. "
            f"Post this one in {wait} min; it is still here."
        )


async def _mentioned(words: str, subject: Subject) -> list[UUID]:
    """The people whom the words mention, of those who may see the subject, in the words' order."""
    named = mentions.handles(words)
    if not named:
        return []
    rows = await db.fetch("SELECT id, lower(handle) FROM people WHERE lower(handle) = ANY($1::text[])", named)
    found = {row[1]: row[0] for row in rows}
    return subject.seen_by([found[handle] for handle in named if handle in found])
