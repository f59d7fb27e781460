"""Consents: who said of which sample of a voice that they may let it speak, when, and in which words.

A sample is somebody's voice, so nothing speaks with it before the person whose run it is has said so. What they said
holds for them and for that file alone: whoever makes an offshoot says it for themselves, and words that changed are
asked for anew. It can be taken back; what was said stays on record with both times.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from domain import db, lists, steps
from domain.errors import Invalid, NotFound

WORDS = (
    "This is my own voice, or the person whose voice it is agreed that texts are spoken with it here, and that "
    "everyone who may see the pipeline can hear this sample."
)
"""What the tick says. Change it only with care: everybody is then asked again."""
ALONE = "It speaks with a sample of a voice. Run the version by itself first: its form asks whether that may be."
"""For forms that start several runs, and have no tick."""
MISSING = "Tick this first, for the sample is the voice of a person"
PAGE = 50
GONE = "There is no such consent, or it is somebody else’s."


class Consent(Struct, frozen=True):
    """What a person said of a sample."""

    sha256: str
    words: str
    given_at: datetime


class Listed(Struct, frozen=True):
    """A consent as whoever gave it finds it again. `file` is what they called the sample, "" if they did not."""

    id: UUID
    sha256: str
    words: str
    given_at: datetime
    withdrawn_at: datetime | None
    file: str


class Page(Struct, frozen=True):
    """Some consents, the latest first; `next` leads to earlier ones, None at the end."""

    consents: list[Listed]
    next: str | None


def samples(recipe: steps.Recipe) -> dict[int, str]:
    """The SHA-256 of the sample of each step that has one, by the step's number."""
    return {
        number: step.upload
        for number, step in enumerate(recipe.steps, 1)
        if isinstance(step, steps.TextToSpeech) and step.upload
    }


def field(number: int) -> str:
    """The name of the form field in which the sample of a step is agreed to. Its value is the sample's SHA-256."""
    return f"s{number}-consent"


async def give(person_id: UUID, recipe: steps.Recipe, agreed: Collection[str]) -> None:
    """Record what the person agreed to now: samples of the recipe by their SHA-256. Again changes nothing."""
    wanted = sorted({*agreed} & {*samples(recipe).values()})
    if wanted:
        await db.execute(
            """INSERT INTO consents (person_id, sha256, words) SELECT $1, given.sha256, $3
               FROM unnest($2::text[]) AS given (sha256) ON CONFLICT (person_id, sha256, words)
               WHERE withdrawn_at IS NULL DO NOTHING""",
            person_id,
            wanted,
            WORDS,
        )


async def given(person_id: UUID, wanted: Collection[str]) -> dict[str, datetime]:
    """When the person agreed, in today's words, by the SHA-256 of those of the samples that they agreed to."""
    if not wanted:
        return {}
    rows = await db.fetch(
        """SELECT sha256, given_at FROM consents
           WHERE person_id = $1 AND sha256 = ANY($2::text[]) AND words = $3 AND withdrawn_at IS NULL""",
        person_id,
        list(wanted),
        WORDS,
    )
    return {row["sha256"]: row["given_at"] for row in rows}


async def mine(person_id: UUID, after: str | None = None) -> Page:
    """What the person agreed to and what of it they took back, the latest first. Raises NotFound for a place that does
    not exist."""
    rows = await db.fetch(
        """SELECT c.id, c.sha256, c.words, c.given_at, c.withdrawn_at, coalesce(u.filename, '') AS file
           FROM consents c LEFT JOIN uploads u ON u.person_id = c.person_id AND u.sha256 = c.sha256
           WHERE c.person_id = $1 AND ($2::uuid IS NULL OR c.id < $2) ORDER BY c.id DESC LIMIT $3""",
        person_id,
        lists.id_after(after),
        PAGE + 1,
    )
    listed = [Listed(**row) for row in rows[:PAGE]]
    return Page(listed, str(listed[-1].id) if len(rows) > PAGE else None)


async def withdraw(person_id: UUID, consent_id: UUID) -> None:
    """Take a consent of the person's back, and what they said of the same sample in other words. Again changes nothing.
    Raises NotFound."""
    taken = await db.fetchval(
        """WITH asked AS (SELECT person_id, sha256 FROM consents WHERE id = $2 AND person_id = $1), taken AS (
               UPDATE consents c SET withdrawn_at = now() FROM asked
               WHERE c.person_id = asked.person_id AND c.sha256 = asked.sha256 AND c.withdrawn_at IS NULL)
           SELECT EXISTS (SELECT FROM asked)""",
        person_id,
        consent_id,
    )
    if not taken:
        raise NotFound(GONE)


async def missing(person_id: UUID, recipe: steps.Recipe, agreed: Collection[str] = ()) -> dict[str, str]:
    """By form field, for samples that the person has not agreed to: not before, and not among the `agreed`."""
    found = samples(recipe)
    known = {*agreed, *await given(person_id, found.values())}
    return {field(number): MISSING for number, sha256 in found.items() if sha256 not in known}


async def require(person_id: UUID, recipe: steps.Recipe) -> None:
    """Raise Invalid, by form field, unless the person agreed to every sample of the recipe."""
    if errors := await missing(person_id, recipe):
        raise Invalid(errors, ALONE)


async def behind(run_id: UUID, step: Mapping[str, Any]) -> Consent | None:
    """The latest consent of the run's owner to the sample that a stored step speaks with, be it through other steps.

    None for a step without a sample. Raises Invalid where there is a sample and no consent.
    """
    while voice := step.get("voice_of"):
        step = await db.fetchval("SELECT step FROM step_runs WHERE run_id = $1 AND ordinal = $2", run_id, voice)
    if step.get("kind") != "text_to_speech" or not step.get("upload"):
        return None
    row = await db.fetchrow(
        """SELECT c.sha256, c.words, c.given_at FROM runs r JOIN consents c ON c.person_id = r.owner_id
           WHERE r.id = $1 AND c.sha256 = $2 AND c.withdrawn_at IS NULL ORDER BY c.given_at DESC LIMIT 1""",
        run_id,
        step["upload"],
    )
    if row is None:
        raise Invalid({"consent": "Nobody agreed that this voice may be used. Run the version again and agree"})
    return Consent(**row)
