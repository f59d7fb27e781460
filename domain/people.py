"""People as others see them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.errors import Conflict, Invalid, NotFound

MAX_NAME = 60
MAX_ABOUT = 4_000


class Person(Struct, frozen=True):
    """One account. `email` is for its owner alone."""

    id: UUID
    email: str
    handle: str
    name: str
    about: str
    role: str
    created_at: datetime

    @property
    def shown(self) -> str:
        """The name to show: the chosen one, or the handle."""
        return self.name or self.handle


class CardName(Struct, frozen=True):
    """How a card names somebody."""

    handle: str
    name: str


COLUMNS = "id, email, handle, name, about, role, created_at"


async def by_handle(handle: str) -> Person:
    """The person with this handle, whatever its case. Raises NotFound."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM people WHERE lower(handle) = lower($1)", handle)  # noqa: S608
    if row is None:
        raise NotFound
    return Person(**row)


async def by_id(person_id: UUID) -> Person:
    """The person with this id. Raises NotFound."""
    row = await db.fetchrow(f"SELECT {COLUMNS} FROM people WHERE id = $1", person_id)  # noqa: S608
    if row is None:
        raise NotFound
    return Person(**row)


async def grant_admin(handle: str) -> str:
    """Let somebody look after the site, from their next page on. Returns their handle. Raises NotFound."""
    return await _set_role(handle, "admin", ("member", "moderator", "admin"))


async def revoke_admin(handle: str) -> str:
    """Make an admin a member again. Returns their handle. Raises NotFound, and Conflict for who is none."""
    return await _set_role(handle, "member", ("admin",))


async def _set_role(handle: str, role: str, of: Sequence[str]) -> str:
    plain = handle.removeprefix("@")
    row = await db.fetchrow(
        """
        UPDATE people p SET role = CASE WHEN was.role = ANY ($3) THEN $2 ELSE was.role END
        FROM people was WHERE was.id = p.id AND lower(p.handle) = lower($1) RETURNING p.handle, was.role
        """,
        plain,
        role,
        list(of),
    )
    if row is None:
        raise NotFound(f"There is nobody called @{plain[:40]}.")
    if row["role"] not in of:
        raise Conflict(f"@{row['handle']} is no admin.")
    return str(row["handle"])


async def card_names(ids: Sequence[UUID]) -> dict[UUID, CardName]:
    """Handle and name of each id that exists, in one query."""
    rows = await db.fetch("SELECT id, handle, name FROM people WHERE id = ANY($1)", list(ids))
    return {row["id"]: CardName(row["handle"], row["name"]) for row in rows}


async def edit(person_id: UUID, name: str, about: str) -> None:
    """Change one's shown name (up to 60 characters) and about text (Markdown, up to 4,000).

    Raises Invalid.
    """
    check(name, about)
    await db.execute("UPDATE people SET name = $2, about = $3 WHERE id = $1", person_id, name.strip(), about.strip())


def check(name: str, about: str = "") -> None:
    """Raises Invalid for a name or about text that is too long or unprintable."""
    wrong: dict[str, str] = {}
    if len(name.strip()) > MAX_NAME:
        wrong["name"] = f"At most {MAX_NAME} characters; this has {len(name.strip())}"
    elif not name.isprintable():
        wrong["name"] = "One line of letters, without invisible characters"
    if len(about.strip()) > MAX_ABOUT:
        wrong["about"] = f"At most {MAX_ABOUT:,} characters; this has {len(about.strip()):,}"
    if wrong:
        raise Invalid(wrong)
