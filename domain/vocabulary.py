"""Models that know few words say so: a list beside their weights, and what a prompt has that is not on it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from msgspec import Struct

from domain.template import LIST, NAME

FILE = "words.txt"
"""In the model's folder: on each line a group's name, a colon, and its words."""
CLASSES = "Classes"
"""The group that a generator's classes are in."""
TRIGGER = "Trigger words"
"""The group of the words that call what a LoRA has learned."""
VOICES = "Voices"
"""The group of the voices that a model speaks with."""
MAX_BYTES = 64_000
MOST = 8
"""Unknown words that are told."""
ALIKE = 0.75
"""How much a known word must look like an unknown one to be offered for it (0 to 1, as difflib counts)."""
Words = list[tuple[str, list[str]]]
"""The words that a model knows, in small letters, behind the name of their group. Empty: nobody said which."""

_WORD = re.compile(r"[^\W\d_]+")


class Unknown(Struct, frozen=True):
    """Words of a prompt that its model does not know, each with the known one that it looks like, or ""."""

    model: str
    words: dict[str, str]
    known: Words


def read(path: Path) -> Words:
    """The words of a model's folder; none for a single file and for a list that cannot be read."""
    try:
        if not (path / FILE).is_file():
            return []
        with (path / FILE).open("rb") as file:
            lines = file.read(MAX_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    groups = (line.partition(":") for line in lines)
    return [(name.strip(), words.lower().split()) for name, _, words in groups if words.strip()]


def of_classes(names: Sequence[str]) -> Words:
    """The classes that a generator knows, as words under a name of their own."""
    return [(CLASSES, list(names))] if names else []


def classes(known: Words) -> list[str]:
    """The classes among the words that a model knows."""
    return [word for group, words in known if group == CLASSES for word in words]


def of_voices(names: Sequence[str]) -> Words:
    """The voices of a model that speaks, as words under a name of their own."""
    return [(VOICES, list(names))] if names else []


def voices(known: Words) -> list[str]:
    """The voices among the words that are known of a model."""
    return [word for group, words in known if group == VOICES for word in words]


def prompts(known: Words) -> Words:
    """The words that a prompt is read by: voices are no words of it."""
    return [(group, words) for group, words in known if group != VOICES]


def unknown(texts: Iterable[str], known: Words) -> dict[str, str]:
    """The first words of the texts that are not known, each with the nearest known one, or ""."""
    every = {word for _, words in known for word in words}
    if not every:
        return {}
    said = dict.fromkeys(word.lower() for text in texts for word in _WORD.findall(text))
    missing = [word for word in said if word not in every][:MOST]
    return {word: next(iter(get_close_matches(word, every, 1, ALIKE)), "") for word in missing}


def texts(template: str, inputs: Mapping[str, Sequence[str]], lists: Mapping[str, Sequence[str]]) -> list[str]:
    """What may come out of a template in pieces: its own words, and those of the inputs and lists that it names."""
    named = [text for name in dict.fromkeys(NAME.findall(template)) for text in inputs.get(name, ())]
    drawn = [text for name in dict.fromkeys(LIST.findall(template)) for text in lists.get(name, ())]
    return [LIST.sub(" ", NAME.sub(" ", template)), *named, *drawn]
