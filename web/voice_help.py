"""Voices as forms offer and judge them, and the tick that a sample of one needs."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from domain import consents, steps, vocabulary
from domain.models import SAMPLE, ModelChoice

KIND = "text_to_speech"
FIELD = "consent"
"""The tick's field of a step, beside its parameters."""
NEW = "new"
"""The tick's value while no sample is chosen: what is ticked then counts for the file that comes along."""
TOLD = 20
"""Voices that an error names."""


class Tick(Struct, frozen=True):
    """What somebody has to agree to before a sample speaks. `value` is the sample's SHA-256, or `NEW`."""

    key: str
    value: str
    ticked: bool
    error: str
    given_at: datetime | None
    """When the reader agreed already."""
    words: str = consents.WORDS


def choices(models: Collection[ModelChoice], value: str) -> list[tuple[str, str]]:
    """The voices of every model that a form offers, for no list can follow a model that is chosen beside it; what was
    typed stays. Empty where no model names any: then a number is typed."""
    known = [name for model in models for name in vocabulary.voices(model.words)]
    gone = [(value, f"{value} (gone)")] if value and value not in known else []
    return [("", "The first"), *gone, *((name, name) for name in dict.fromkeys(known))] if known else []


def faults(recipe: steps.Recipe, models: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """By form field, for voices that the step's model does not have, and samples that it cannot speak like."""
    voices = {model.name: vocabulary.voices(model.words) for model in models.get(KIND, ())}
    able = [model.name for model in models.get(SAMPLE, ())]
    found: dict[str, str] = {}
    for number, step in enumerate(recipe.steps, 1):
        if isinstance(step, steps.TextToSpeech) and step.model in voices:
            field, words = _fault(step, voices[step.model], able)
            found |= {f"s{number}-{field}": words} if words else {}
    return found


def _fault(step: steps.TextToSpeech, voices: Collection[str], able: Collection[str]) -> tuple[str, str]:
    name, sampled = step.voice.strip(), step.upload or step.voice_of is not None
    if sampled and step.model not in able:
        others = f". These take one: {', '.join(able)}" if able else ""
        return "upload" if step.upload else "voice_of", f"{step.model} speaks with its own voices alone{others}"
    if name and name not in voices and (voices or not name.isdecimal()):  # of numbers the worker knows more
        has = f"It has: {', '.join([*voices][:TOLD])}" if voices else "Leave this empty"
        return "voice", f"{step.model} has no such voice. {has}"
    if not sampled and not voices and step.model in able:
        return "upload", f"{step.model} has no voice of its own: choose a sample of one"
    return "", ""


def hidden(kind: str, field: str, value: str, models: Mapping[str, Collection[ModelChoice]]) -> bool:
    """Whether a form leaves the field out: nobody can use a sample where no model takes one."""
    return kind == KIND and field in ("upload", "voice_of") and not value and not models.get(SAMPLE)


def tick(number: int, row: Mapping[str, str], agreed: Mapping[str, datetime], errors: Mapping[str, str]) -> Tick | None:
    """The tick of a step of the form; None for a step of another kind."""
    if row.get("kind") != KIND:
        return None
    key, sample = consents.field(number), row.get("upload", "")
    value = sample or NEW
    return Tick(key, value, row.get(FIELD) == value, errors.get(key, ""), agreed.get(sample))


def ticks(
    recipe: steps.Recipe, unsaid: Collection[str], sent: Mapping[str, str], errors: Mapping[str, str]
) -> list[Tick]:
    """The ticks that a run of the recipe needs: those of the fields in `unsaid`."""
    wanted = ((consents.field(number), sample) for number, sample in consents.samples(recipe).items())
    return [
        Tick(key, sample, sent.get(key) == sample, errors.get(key, ""), None) for key, sample in wanted if key in unsaid
    ]


def agreed(form: Mapping[str, str]) -> list[str]:
    """The samples that are ticked in a form, by their SHA-256."""
    return [value for name, value in form.items() if name.endswith(f"-{FIELD}") and value != NEW]


def chosen(form: dict[str, str], key: str, sha256: str) -> None:
    """Put a file that came along into the form. A tick counts for it only where there was no other before."""
    ticked = consents.field(int(key[1:].partition("-")[0]))
    if key.endswith("-upload") and form.get(ticked) == NEW and not form.get(key):
        form[ticked] = sha256
    elif form.get(key) != sha256:
        form.pop(ticked, None)
    form[key] = sha256


def samples(forms: Iterable[Mapping[str, str]]) -> list[str]:
    """The samples of voices that the steps of a form name."""
    return [row["upload"] for row in forms if row.get("kind") == KIND and row.get("upload")]
