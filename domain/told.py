"""What a host says of a model in place of what its files tell: license, trigger words, parameters. Pure."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from domain import defaults, vocabulary
from domain.errors import Invalid
from domain.vocabulary import Words

MOST = 20
"""Trigger words of one model."""
LONGEST = 100
"""Characters of a license's name, and of a trigger word."""


class Told(Struct, frozen=True, omit_defaults=True):
    """What is said of a model. None: what its files tell holds."""

    license: str | None = None
    trigger: list[str] | None = None
    defaults: dict[str, Any] | None = None


class Said(Struct, frozen=True):
    """The same as somebody typed it."""

    license: str = ""
    trigger: str = ""
    defaults: str = ""


def read(said: Said, kinds: Sequence[str]) -> tuple[str, list[str], dict[str, Any]]:
    """License, trigger words and parameters of a model of these kinds. Raises Invalid by field."""
    errors: dict[str, str] = {}
    license = " ".join(said.license.split())
    if len(license) > LONGEST or not license.isprintable():
        errors["license"] = f"At most {LONGEST} letters, such as Apache-2.0"
    words = [" ".join(part.split()) for part in said.trigger.replace("\n", ",").split(",")]
    words = list(dict.fromkeys(filter(None, words)))
    if len(words) > MOST or any(len(word) > LONGEST or _is_odd(word) for word in words):
        errors["trigger"] = f"At most {MOST} of {LONGEST} characters, with commas between them"
    given: dict[str, Any] = {}
    try:
        given = defaults.parse(said.defaults, kinds)
    except Invalid as error:
        errors |= error.fields
    if errors:
        raise Invalid(errors)
    return license, words, given


def added(said: Said, kinds: Sequence[str], found: Mapping[str, Any]) -> Told:
    """What is said of a new model. What is not named stays as the files tell it. Raises Invalid."""
    license, words, given = read(said, kinds)
    return Told(license or None, words or None, {**found, **given} if given else None)


def changed(said: Said, kinds: Sequence[str], license: str, words: Words, found: Mapping[str, Any]) -> Told:
    """What is said of a model from now on, without that which its files tell just so. Raises Invalid."""
    named, called, given = read(said, kinds)
    return Told(
        license=None if named == license else named,
        trigger=None if called == trigger(words, Told()) else called,
        defaults=None if begun(found, Told(defaults=given)) == found else given,
    )


def begun(found: Mapping[str, Any], told: Told) -> dict[str, Any]:
    """What a model's steps begin with, and what only its files know."""
    return dict(found) if told.defaults is None else {**told.defaults, **defaults.facts(found)}


def trigger(words: Words, told: Told) -> list[str]:
    """The words that call what a model has learned."""
    if told.trigger is not None:
        return told.trigger
    return [word for group, group_words in words if group == vocabulary.TRIGGER for word in group_words]


def _is_odd(word: str) -> bool:
    return any(unicodedata.category(char)[0] == "C" for char in word)
