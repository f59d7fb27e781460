"""What a run changes of its version: parameters of single steps, as the cells of a grid do. Pure.

A version never changes, so a run that varies one says what it varies. The changes are applied once, when the
run is accepted: its steps are stored as they are run, and everything behind that (templates, hashes, reuse,
batches, receipts) works on what is really run.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from domain import steps

Changes = Mapping[str, Mapping[str, Any]]
"""The number of a step (a string, as JSON wants it), its parameters by name and their values."""
FIXED = ("title", "source", "sound", *steps.FILES)
"""Widgets of fields that no run changes: names, and where pictures come from."""


class Changed(Struct, frozen=True):
    """One changed parameter in words."""

    step: int
    title: str
    value: Any


def applied(recipe: steps.Recipe, changes: Changes) -> steps.Recipe:
    """The recipe as a run with these changes runs it.

    Raises LookupError for a step or parameter that it has not, msgspec.ValidationError for a value out of bounds.
    """
    if not changes:
        return recipe
    plain: list[dict[str, Any]] = [msgspec.to_builtins(step) for step in recipe.steps]
    for number, values in changes.items():
        if not 1 <= int(number) <= len(plain):
            raise IndexError(number)
        step = plain[int(number) - 1]
        for name, value in values.items():
            if name not in step:
                raise KeyError(name)
            step[name] = value
    changed = msgspec.convert(plain, list[steps.AnyStep])
    return steps.Recipe(inputs=recipe.inputs, lists=recipe.lists, steps=changed)


def as_run(recipe: steps.Recipe, changes: Changes, inputs: Mapping[str, str]) -> steps.Recipe:
    """The recipe with what a run of it changed, and with the run's inputs as their defaults. Raises as `applied`."""
    entries = [msgspec.structs.replace(entry, default=inputs.get(entry.name, entry.default)) for entry in recipe.inputs]
    return msgspec.structs.replace(applied(recipe, changes), inputs=entries)


def told(changes: Changes, kinds: Mapping[int, str]) -> list[Changed]:
    """The changes in the order of the steps and of their fields; `kinds` are the steps' kinds by number."""
    found = []
    for number in sorted(changes, key=int):
        kind = kinds.get(int(number), "")
        fields = {field.name: field for field in steps.fields_of(kind)} if kind in steps.KINDS else {}
        places = {name: place for place, name in enumerate(fields)}
        for name in sorted(changes[number], key=lambda name: places.get(name, len(places))):
            field, value = fields.get(name), changes[number][name]
            title, empty = (field.title, field.empty) if field else (name, "")
            found.append(Changed(int(number), title, empty if value == "" else value))
    return found
