"""What a grid can vary, and reading the values that somebody typed for it. Pure.

An axis is one parameter and its values: of a step (typed by the step's struct), of a declared input, or the run's
seed. Every value is checked as a form's field would be.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from domain import steps
from domain.changes import FIXED

MAX_CELLS = 100
"""Cells of one grid: as many runs, and pictures on one page."""
SEED = "seed"
_NUMBER = r"[+-]?\d{1,15}(?:\.\d{1,15})?"
_SINGLE = re.compile(_NUMBER, re.ASCII)
_RANGE = re.compile(
    rf"({_NUMBER})\s*(?:\.\.+|…|–|\bto\b)\s*({_NUMBER})(?:\s*(?:by|step)\s*({_NUMBER}))?", re.ASCII | re.IGNORECASE
)
_SPACES = re.compile("[\u00a0\u2009\u202f]")
_TIGHT = re.compile(r"(\d+),(\d+)", re.ASCII)
_APART = re.compile(r",\s|;|\n|\d\s+[\d+-]|\.\.|…|–|\bto\b", re.ASCII | re.IGNORECASE)
EMPTY = "(empty)"
"""What an empty value is called, unless its field says otherwise."""
EACH = "---"
"""A line of this stands before each value, where one has line breaks or is empty."""
_EACH = re.compile(rf"^[^\S\n]*{EACH}[^\S\n]*$", re.MULTILINE)
LISTED = ("choice", "model", "vae", "class")
"""Widgets whose values are ticked."""
HOW = "Write numbers such as 20, 30, 40, or a range such as 10..50 by 10"


class Target(Struct, frozen=True, kw_only=True):
    """Something that a grid can vary. `key` names it in forms: `s2-guidance_scale`, `input-subject`, `seed`.

    `widget` is number, choice, model, vae, class, prompt or text; `now` is the value that the version has.
    """

    key: str
    group: str
    title: str
    widget: str
    step: int = 0
    """The step's number; 0 for an input and for the run's seed."""
    kind: str = ""
    field: str
    now: Any = None
    whole: bool = False
    """Whether its numbers are without a fraction."""
    choices: tuple[str, ...] = ()
    empty: str = EMPTY
    entry: steps.Input | None = None

    def shown(self, value: Any) -> str:
        """A value as the form says it."""
        return _shown(value, self.empty)

    @property
    def listed(self) -> bool:
        """Whether its values are ticked in a list instead of typed."""
        return self.widget in LISTED


class Axis(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parameter with the values that it takes, in order. `step` is 0 for an input and for the run's seed, `empty`
    what an empty value is called."""

    key: str
    title: str
    step: int
    field: str
    values: list[Any]
    empty: str = EMPTY

    @property
    def label(self) -> str:
        """What it is called above a table."""
        return f"{self.title}, step {self.step}" if self.step else self.title

    @property
    def numeric(self) -> bool:
        return all(isinstance(value, int | float) for value in self.values)

    def shown(self, value: Any) -> str:
        """A value as the head of a row or column says it."""
        return _shown(value, self.empty)

    def head(self, title: str, value: Any) -> str:
        """A value with what it is of: "Factor 4", or "Guidance, step 2: 4"."""
        return f"{title}{':' if title[-1:].isdigit() else ''} {self.shown(value)}"


def titles(axes: Sequence[Axis]) -> list[str]:
    """What axes are called side by side: with the step where two would be called alike."""
    names = [axis.title for axis in axes]
    return [axis.label if names.count(axis.title) > 1 else axis.title for axis in axes]


def targets(
    recipe: steps.Recipe,
    models: Mapping[str, Sequence[str]],
    classes: Mapping[str, Sequence[str]] = {},
    families: Mapping[str, str] = {},
    vaes: Mapping[str, Sequence[str]] = {},
) -> dict[str, Target]:
    """Everything of the recipe that can be varied, by key. `models` are the models' names by kind of step, `classes`
    those of pictures, or the voices, by the model that knows them, `families` the models' by name, `vaes` those that
    may fit by kind of step."""
    found = [
        Target(
            key=f"input-{entry.name}",
            group="Inputs",
            title=entry.name,
            widget="text" if entry.kind == "long" else entry.kind,
            field=entry.name,
            now=entry.default,
            choices=tuple(entry.choices),
            entry=entry,
        )
        for entry in recipe.inputs
    ]
    found.append(Target(key=SEED, group="The run", title="Seed", widget="number", field=SEED, whole=True))
    for number, step in enumerate(recipe.steps, 1):
        kind = steps.kind_of(step)
        idle = step.unused(families.get(getattr(step, "model", ""), ""))
        for field in steps.fields_of(kind):
            if field.widget not in FIXED and (field.empty or field.name not in idle):
                choices = _choices(field, step, (vaes if field.widget == "vae" else models).get(kind, ()), classes)
                found.append(
                    Target(
                        key=f"s{number}-{field.name}",
                        group=f"Step {number}, {step.title or step.label}",
                        title=field.title,
                        widget=_drawn(field, choices),
                        step=number,
                        kind=kind,
                        field=field.name,
                        now=getattr(step, field.name),
                        whole=field.whole,
                        choices=choices,
                        empty=field.empty or EMPTY,
                    )
                )
    return {target.key: target for target in found if not target.listed or len(target.choices) > 1}


def _drawn(field: steps.Field, choices: Sequence[str]) -> str:
    """The widget by which the field is varied: voices are ticked like classes, or typed where nobody said which, and
    moments are typed as seconds."""
    if field.widget == "clock":
        return "number"
    return ("class" if choices else "text") if field.widget == "voice" else field.widget


def _choices(
    field: steps.Field, step: steps.Step, models: Sequence[str], classes: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    if field.widget in ("model", "vae"):
        return (*([""] if field.empty else []), *models)
    if field.widget in ("class", "voice"):
        return tuple(classes.get(getattr(step, "model", ""), ()))
    return tuple(str(choice) for choice in field.choices)


def axis(target: Target, typed: str, ticked: Sequence[str] = (), most: int = MAX_CELLS) -> Axis:
    """The axis of a target with the values that were typed, or ticked where there is a list.

    Equal values count once. Raises ValueError with the words for beside the field.
    """
    texts = list(dict.fromkeys(_texts(target, typed, ticked, most)))
    if len(texts) > most:
        raise ValueError(too_many(len(texts), most))
    values = [_typed(target, text) for text in texts]
    values = [value for place, value in enumerate(values) if value not in values[:place]]
    if len(values) < 2:
        raise ValueError("Tick at least two" if target.listed else "Give at least two values")
    return Axis(
        key=target.key,
        title=target.title,
        step=target.step,
        field=target.field,
        values=values,
        empty=target.empty,
    )


def too_many(count: int, most: int = MAX_CELLS) -> str:
    """The words for more values or cells than a grid has."""
    return f"These are {count:,}, and a grid has at most {most:,} cells"


def _texts(target: Target, typed: str, ticked: Sequence[str], most: int) -> list[str]:
    if target.listed:
        if any(choice not in target.choices for choice in ticked):
            raise ValueError("Choose from the list")
        return [choice for choice in target.choices if choice in ticked]
    if target.widget == "number":
        if not target.whole:
            _refuse_mix(_SPACES.sub("", typed).strip())
        return numbers(typed, most)
    if _EACH.search(typed):
        first, *rest = (value.strip() for value in _EACH.split(typed))
        return [first, *rest] if first else rest
    return [line.strip() for line in typed.splitlines() if line.strip()]


def _refuse_mix(typed: str) -> None:
    """Raise ValueError where "7,5" may be one number: among numbers that something else keeps apart."""
    tight = _TIGHT.search(typed)
    if tight is not None and _APART.search(typed):
        one, other = tight.groups()
        raise ValueError(f"{tight[0]} may be one number or two. Write {one}.{other}, or {one}, {other}")


def numbers(typed: str, most: int = MAX_CELLS) -> list[str]:
    """Plain numbers from lists and ranges: "20, 30", "10..50 by 10", "1..8", several of them behind one another.

    A range may fall, and ends at or before its second number. Raises ValueError with the words for the field.
    """
    found: list[str] = []
    for part in re.split(r"[,;\n]", _SPACES.sub("", typed)):
        span = _RANGE.fullmatch(part.strip())
        if span is not None:
            found += _span(Decimal(span[1]), Decimal(span[2]), Decimal(span[3] or 1), most)
        elif all(_SINGLE.fullmatch(word) for word in part.split()):
            found += [_plain(Decimal(word)) for word in part.split()]
        else:
            raise ValueError(HOW)
        if len(found) > 10 * most:
            raise ValueError(too_many(len(found), most))
    return found


def _span(first: Decimal, last: Decimal, by: Decimal, most: int) -> list[str]:
    by = abs(by)
    if not by:
        raise ValueError("A range needs a step above 0")
    count = int(abs(last - first) / by) + 1
    if count > most:
        raise ValueError(too_many(count, most))
    way = by if last >= first else -by
    return [_plain(first + way * place) for place in range(count)]


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _typed(target: Target, text: str) -> Any:
    """The value as the step, the input or the run takes it. Raises ValueError with its words."""
    if target.key == SEED:
        if not text.isdecimal() or int(text) > steps.MAX_SEED:
            raise ValueError(f"{_short(text)}: from 0 to {steps.MAX_SEED:,}, without a fraction")
        return int(text)
    if target.entry is not None:
        try:
            return steps.check_input(target.entry, text)
        except ValueError as error:
            raise ValueError(f"{_short(text)}: {error}") from None
    parsed, errors = steps.parse_step(target.kind, {target.field: text}, "")
    if parsed is None:
        raise ValueError(f"{_short(text)}: {errors[target.field].lower()}")
    return getattr(parsed, target.field)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _shown(value: Any, empty: str) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return str(value).removesuffix("Scheduler") or empty


class Cell(Struct, frozen=True, kw_only=True):
    """One run of a grid: its place and what it is run with."""

    column: int
    row: int
    inputs: dict[str, str]
    seed: int | None
    changes: dict[str, dict[str, Any]]


def cells(axes: Sequence[Axis], inputs: Mapping[str, str], seed: int | None) -> list[Cell]:
    """Every combination of one or two axes' values, row by row; the first axis runs across."""
    across = axes[0]
    down = axes[1] if len(axes) > 1 else None
    found: list[Cell] = []
    for row, below in enumerate(down.values if down else [None]):
        for column, value in enumerate(across.values):
            chosen = [(across, value)] + ([(down, below)] if down else [])
            found.append(_cell(column, row, chosen, inputs, seed))
    return found


def _cell(
    column: int, row: int, chosen: Sequence[tuple[Axis, Any]], inputs: Mapping[str, str], seed: int | None
) -> Cell:
    given, changes = dict(inputs), dict[str, dict[str, Any]]()
    for axis, value in chosen:
        if axis.step:
            changes.setdefault(str(axis.step), {})[axis.field] = value
        elif axis.key == SEED:
            seed = value
        else:
            given[axis.field] = value
    return Cell(column=column, row=row, inputs=given, seed=seed, changes=changes)


def encode(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Axes as the database keeps them."""
    found: list[dict[str, Any]] = msgspec.to_builtins(list(axes))
    return found


def decode(stored: Any) -> list[Axis]:
    """Axes as the database kept them."""
    return msgspec.convert(stored, list[Axis])
