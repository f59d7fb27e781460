"""Signing up, logging in, and the sessions that remember it."""

import asyncio
import hashlib
import re
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import UUID

import asyncpg

from domain import db, handles, notifications, passwords, people
from domain.errors import Invalid
from domain.people import Person

IDLE_DAYS = 30
ABSOLUTE_DAYS = 90
BRIEF_DAYS = 1
"""A session ends 30 days after its last use and 90 days after login, or after a day without "stay logged in"."""

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+")
_HASHERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
"""Each hash in flight takes 19 MiB and a core."""

Answer = TypeVar("Answer")

_SIGN_UP = """
INSERT INTO people (email, handle, name, password_hash) VALUES ($1, $2, $3, $4)
RETURNING id, email, handle, name, about, role, created_at
"""
LOOK = "replace(replace(translate(lower(handle), '01i._-', 'oll'), 'rn', 'm'), 'vv', 'w')"
"""`handles.look` in SQL, word for word that of the index `people_look`."""
_LOGIN = """
SELECT id, email, handle, name, about, role, created_at, password_hash
FROM people WHERE lower(handle) = lower($1) OR lower(email) = lower($1)
"""
_SESSION = f"""
SELECT p.id, p.email, p.handle, p.name, p.about, p.role, p.created_at, s.seen_at < now() - interval '1 hour' AS stale,
    {notifications.unread("s.person_id")} AS unread
FROM sessions s JOIN people p ON p.id = s.person_id
WHERE s.token_hash = $1 AND s.expires_at > now() AND s.seen_at > now() - make_interval(days => $2)
"""  # noqa: S608 - constants only


class Here(Person, frozen=True):
    """The person of a session, and how many notifications wait for them (10 for more)."""

    unread: int


WRONG = "That name and password do not match."


async def sign_up(email: str, handle: str, password: str, name: str = "") -> Person:
    """Make an account. Raises Invalid with the words for each field."""
    email = unicodedata.normalize("NFC", email.strip())
    handle, name = handle.strip(), name.strip()
    _check(email, handle, password, name)
    taken = await _taken(email, handle)
    if taken:
        raise Invalid(taken)
    digest = await _in_thread(passwords.hashed, password)
    try:
        row = await db.fetchrow(_SIGN_UP, email, handle, name, digest)
    except asyncpg.UniqueViolationError:
        raise Invalid(await _taken(email, handle) or {"handle": "This handle is taken"}) from None
    assert row is not None
    return Person(**row)


async def log_in(login: str, password: str) -> Person:
    """The person whose handle or e-mail and password these are.

    Raises Invalid with the same words, after the same time, for an unknown account and a wrong password.
    """
    row = await db.fetchrow(_LOGIN, unicodedata.normalize("NFC", login.strip()))
    known = row["password_hash"] if row else passwords.NOBODY
    right = len(password) <= passwords.MAX and await _in_thread(passwords.matches, known, password)
    if row is None or not right:
        raise Invalid({"password": "Enter the password again"}, WRONG)
    if passwords.outdated(known):
        digest = await _in_thread(passwords.hashed, password)
        await db.execute("UPDATE people SET password_hash = $2 WHERE id = $1", row["id"], digest)
    return Person(**{key: row[key] for key in Person.__struct_fields__})


async def open_session(person_id: UUID, stay: bool = True) -> str:
    """Start a session and return its token (256 bits). Only the token's SHA-256 is kept."""
    token = secrets.token_urlsafe(32)
    async with db.transaction():
        await db.execute("DELETE FROM sessions WHERE person_id = $1 AND expires_at < now()", person_id)
        await db.execute(
            "INSERT INTO sessions (token_hash, person_id, expires_at)"
            " VALUES ($1, $2, now() + make_interval(days => $3))",
            _digest(token),
            person_id,
            ABSOLUTE_DAYS if stay else BRIEF_DAYS,
        )
    return token


async def close_session(token: str) -> None:
    """End the session; its token is worthless from now on."""
    await db.execute("DELETE FROM sessions WHERE token_hash = $1", _digest(token))


async def person_of(token: str) -> Here | None:
    """Whose session this is, with what waits for them; None when it is unknown, was closed, or has run out.

    One query, rarely two.
    """
    if not 20 <= len(token) <= 100:
        return None
    digest = _digest(token)
    row = await db.fetchrow(_SESSION, digest, IDLE_DAYS)
    if row is None:
        return None
    if row["stale"]:
        await db.execute("UPDATE sessions SET seen_at = now() WHERE token_hash = $1", digest)
    return Here(**{key: row[key] for key in Here.__struct_fields__})


def _check(email: str, handle: str, password: str, name: str) -> None:
    wrong: dict[str, str] = {}
    if len(email) > 254 or not _EMAIL.fullmatch(email) or not email.isprintable():
        wrong["email"] = "An e-mail address, such as name@example.org"
    if fault := handles.fault(handle):
        wrong["handle"] = fault
    if fault := passwords.fault(password, handle, email, email.partition("@")[0], name):
        wrong["password"] = fault
    try:
        people.check(name)
    except Invalid as invalid:
        wrong |= invalid.fields
    if wrong:
        raise Invalid(wrong)


async def _taken(email: str, handle: str) -> dict[str, str]:
    row = await db.fetchrow(
        f"""
        SELECT EXISTS (SELECT FROM people WHERE lower(email) = lower($1)) AS email,
               EXISTS (SELECT FROM people WHERE lower(handle) = lower($2)) AS handle,
               (SELECT handle FROM people WHERE {LOOK} = $3 AND lower(handle) <> lower($2) LIMIT 1) AS alike
        """,  # noqa: S608 - LOOK is a constant
        email,
        handle,
        handles.look(handle),
    )
    assert row is not None
    words = {
        "email": row["email"] and "There is an account with this e-mail. Log in instead?",
        "handle": (row["handle"] and "This handle is taken")
        or (row["alike"] and f"This looks like {row['alike']}, which is taken. Choose one that nobody can mistake"),
    }
    return {field: said for field, said in words.items() if said}


async def _in_thread(work: Callable[..., Answer], *args: str) -> Answer:
    return await asyncio.get_running_loop().run_in_executor(_HASHERS, work, *args)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
