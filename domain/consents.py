"""Consents: who said of which sample of a voice that they may let it speak, when, and in which words.

A sample is somebody's voice, so nothing speaks with it before the person whose run it is has said so. What they said
holds for them and for that file alone: whoever makes an offshoot says it for themselves, and words that changed are
asked for anew.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from domain import db, steps
from domain.errors import Invalid

WORDS = (
    "This is my own voice, or the person whose voice it is agreed that texts are spoken with it here, and that "
    "everyone who may see the pipeline can hear this sample."
)
"""What the tick says. Change it only with care: everybody is then asked again."""
ALONE = "It speaks with a sample of a voice. Run the version by itself first: its form asks whether that may be."
"""For forms that start several runs, and have no tick."""
MISSING = "Tick this first, for the sample is the voice of a person"


class Consent(Struct, frozen=True):
    """What a person said of a sample."""

    sha256: str
    words: str
    given_at: datetime


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
               FROM unnest($2::text[]) AS given (sha256) ON CONFLICT (person_id, sha256, words) DO NOTHING""",
            person_id,
            wanted,
            WORDS,
        )


async def given(person_id: UUID, wanted: Collection[str]) -> dict[str, datetime]:
    """When the person agreed, in today's words, by the SHA-256 of those of the samples that they agreed to."""
    if not wanted:
        return {}
    rows = await db.fetch(
        "SELECT sha256, given_at FROM consents WHERE person_id = $1 AND sha256 = ANY($2::text[]) AND words = $3",
        person_id,
        list(wanted),
        WORDS,
    )
    return {row["sha256"]: row["given_at"] for row in rows}


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
           WHERE r.id = $1 AND c.sha256 = $2 ORDER BY c.given_at DESC LIMIT 1""",
        run_id,
        step["upload"],
    )
    if row is None:
        raise Invalid({"consent": "Nobody agreed that this voice may be used. Run the version again and agree"})
    return Consent(**row)
