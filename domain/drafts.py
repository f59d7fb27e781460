"""Drafts: what a person has typed into the composer, kept as typed until it is saved."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.errors import NotFound, TooLarge

MAX_CHARACTERS = 500_000


class Draft(Struct, frozen=True):
    """The composer's fields by name, valid or not, and when they were kept."""

    form: dict[str, str]
    saved_at: datetime


async def save(person_id: UUID, pipeline_id: UUID | None, form: Mapping[str, str]) -> datetime:
    """Keep the form as the person's one draft of that pipeline (None: of a new one).

    Raises NotFound for a pipeline that is not theirs, TooLarge past 500,000 characters.
    """
    if sum(len(name) + len(value) for name, value in form.items()) > MAX_CHARACTERS:
        raise TooLarge(f"A draft holds at most {MAX_CHARACTERS:,} characters. Take some text out, then save.")
    saved_at: datetime | None = await db.fetchval(
        """
        INSERT INTO drafts (person_id, pipeline_id, form)
        SELECT $1, $2, $3
        WHERE $2::uuid IS NULL
           OR EXISTS (SELECT FROM pipelines WHERE id = $2 AND owner_id = $1 AND deleted_at IS NULL)
        ON CONFLICT (person_id, pipeline_id) DO UPDATE SET form = excluded.form, saved_at = now()
        RETURNING saved_at
        """,
        person_id,
        pipeline_id,
        dict(form),
    )
    if saved_at is None:
        raise NotFound("There is no such pipeline, or it is not yours.")
    return saved_at


async def read(person_id: UUID, pipeline_id: UUID | None) -> Draft | None:
    """The person's draft of that pipeline, if there is one."""
    row = await db.fetchrow(
        "SELECT form, saved_at FROM drafts WHERE person_id = $1 AND pipeline_id IS NOT DISTINCT FROM $2",
        person_id,
        pipeline_id,
    )
    return None if row is None else Draft(row["form"], row["saved_at"])


async def discard(person_id: UUID, pipeline_id: UUID | None) -> None:
    """Drop the draft; without one nothing happens."""
    await db.execute(
        "DELETE FROM drafts WHERE person_id = $1 AND pipeline_id IS NOT DISTINCT FROM $2", person_id, pipeline_id
    )
