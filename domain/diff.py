"""What changed between two recipes: steps, prompts word by word, parameters, inputs, lists (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from domain import steps
from domain.alignment import Pair, align
from domain.text_diff import Op, Token, Work, count_words, words

__all__ = [
    "Changes",
    "Op",
    "ParameterChange",
    "PromptChange",
    "StepChange",
    "Token",
    "Work",
    "changes",
    "count_words",
    "prompt",
    "words",
]


class ParameterChange(Struct, frozen=True):
    """A parameter whose value differs; `name` is the field's, `title` what the page calls it."""

    name: str
    title: str
    before: Any
    after: Any
    tokens: list[Token] = []
    """The difference word by word, where both values are words of people."""


class PromptChange(Struct, frozen=True):
    """A prompt that differs, word by word."""

    name: str
    title: str
    tokens: list[Token]
    words_added: int
    words_removed: int


class StepChange(Struct, frozen=True):
    """One step of either recipe. `before` and `after` are step numbers, None on the side without it.

    A step that only changed places is "moved"; one that was edited as well is "changed" and `moved`. Of one
    that was added or removed, everything that is set came or went.
    """

    op: Literal["same", "changed", "moved", "added", "removed"]
    kind: str
    before: int | None
    after: int | None
    prompts: list[PromptChange] = []
    parameters: list[ParameterChange] = []
    same: list[tuple[str, Any]] = []
    moved: bool = False
    title: str = ""
    """The step's own name, in the newer recipe if it is there."""

    @property
    def label(self) -> str:
        """What the page calls the step's kind."""
        return steps.KINDS[self.kind].label


class Changes(Struct, frozen=True):
    """Everything between two recipes, steps in the order of the newer one."""

    steps: list[StepChange]
    inputs: list[ParameterChange]
    lists: list[ParameterChange]

    @property
    def words_added(self) -> int:
        return sum(prompt.words_added for step in self.steps for prompt in step.prompts)

    @property
    def words_removed(self) -> int:
        return sum(prompt.words_removed for step in self.steps for prompt in step.prompts)

    @property
    def prompts(self) -> int:
        return sum(len(step.prompts) for step in self.steps)

    @property
    def signs(self) -> int:
        """Prompts that changed in signs or spaces alone."""
        changed = [prompt for step in self.steps if step.op == "changed" for prompt in step.prompts]
        return sum(not prompt.words_added and not prompt.words_removed for prompt in changed)

    @property
    def parameters(self) -> int:
        """Those that changed; what a whole step brought or took along is counted with the step."""
        changed = sum(len(step.parameters) for step in self.steps if step.op == "changed")
        return changed + len(self.inputs) + len(self.lists)

    @property
    def steps_added(self) -> int:
        return sum(step.op == "added" for step in self.steps)

    @property
    def steps_removed(self) -> int:
        return sum(step.op == "removed" for step in self.steps)

    @property
    def steps_moved(self) -> int:
        return sum(step.moved for step in self.steps)

    @property
    def unchanged(self) -> list[tuple[str, Any]]:
        """Title and value of the set parameters that stayed the same, words, names and pictures left out."""
        hidden = ("Name", "Prompt", "Negative prompt", "Template", "Picture")
        pairs = [pair for step in self.steps for pair in step.same]
        return [(title, value) for title, value in pairs if title not in hidden and value not in (None, "")]

    @property
    def nothing(self) -> bool:
        return not (self.inputs or self.lists) and all(step.op == "same" for step in self.steps)


def changes(before: steps.Recipe, after: steps.Recipe) -> Changes:
    """Everything between two recipes, within bounded time. A step that moved and was edited is one change."""
    pairs = align(before.steps, after.steps)
    work = Work()
    return Changes(
        steps=[_step(before.steps, after.steps, pair, pairs, work) for pair in pairs],
        inputs=_inputs(before.inputs, after.inputs, work),
        lists=_lists(before.lists, after.lists, work),
    )


def _step(
    old: Sequence[steps.AnyStep], new: Sequence[steps.AnyStep], pair: Pair, pairs: Sequence[Pair], work: Work
) -> StepChange:
    left, right = pair.before, pair.after
    if left is None or right is None:
        return _alone(new[right - 1] if right is not None else old[(left or 1) - 1], pair, work)
    before, after = old[left - 1], new[right - 1]
    prompts: list[PromptChange] = []
    parameters: list[ParameterChange] = []
    same: list[tuple[str, Any]] = []
    for field in steps.fields_of(steps.kind_of(after)):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if field.name == "source" and (was, now) != (None, None):
            was, now = _renumbered(steps.source_of(left, old), pairs), steps.source_of(right, new)
        elif field.name in steps.SOURCES:
            was = _renumbered(was, pairs)
        if was == now:
            same.append((field.title, now))
        elif field.widget == "prompt":
            prompts.append(prompt(field.name, field.title, was, now, work))
        else:
            parameters.append(ParameterChange(field.name, field.title, was, now))
    changed: Literal["changed", "moved", "same"] = "moved" if pair.moved else "same"
    if prompts or parameters:
        changed = "changed"
    return StepChange(
        changed,
        steps.kind_of(after),
        left,
        right,
        prompts,
        parameters,
        same,
        pair.moved,
        after.title,
    )


def _alone(step: steps.AnyStep, pair: Pair, work: Work) -> StepChange:
    """A step that only one of the recipes has: its prompts whole, and every parameter that is set."""
    op: Literal["added", "removed"] = "removed" if pair.after is None else "added"
    prompts: list[PromptChange] = []
    parameters: list[ParameterChange] = []
    for field in steps.fields_of(steps.kind_of(step)):
        value = getattr(step, field.name)
        if value in (None, "") or field.name == "title":
            continue
        was, now = (None, value) if op == "added" else (value, None)
        if field.widget == "prompt":
            prompts.append(prompt(field.name, field.title, was or "", now or "", work))
        else:
            parameters.append(ParameterChange(field.name, field.title, was, now))
    return StepChange(op, steps.kind_of(step), pair.before, pair.after, prompts, parameters, title=step.title)


def _renumbered(number: int | None, pairs: Sequence[Pair]) -> Any:
    """What an older recipe's step number is in the newer one."""
    if number is None:
        return None
    after = next((pair.after for pair in pairs if pair.before == number), None)
    return after if after is not None else f"{number}, which is gone"


def prompt(name: str, title: str, before: str, after: str, work: Work | None = None) -> PromptChange:
    """One prompt's change with its word counts."""
    tokens = words(before, after, work)
    return PromptChange(name, title, tokens, count_words(tokens, "added"), count_words(tokens, "removed"))


def _inputs(before: Sequence[steps.Input], after: Sequence[steps.Input], work: Work) -> list[ParameterChange]:
    old = {entry.name: entry for entry in before}
    new = {entry.name: entry for entry in after}
    return [_named(name, *_described(old.get(name), new.get(name)), work) for name in _differing(old, new)]


def _described(was: steps.Input | None, now: steps.Input | None) -> tuple[str | None, str | None]:
    """Both in words. Texts stand alone, so that their own direction counts, and so does what differs by nothing else;
    else the kinds are told."""
    texts = all(entry is None or (entry.kind == "text" and not entry.choices) for entry in (was, now))
    alike = was is not None and now is not None and replace(was, default=now.default) == now

    def words_of(entry: steps.Input | None) -> str | None:
        return None if entry is None else entry.default if texts or alike else _in_full(entry)

    return words_of(was), words_of(now)


def _in_full(entry: steps.Input) -> str:
    choices = f" ({', '.join(f'“{choice}”' for choice in entry.choices)})" if entry.choices else ""
    return f"{entry.kind}: {entry.default}{choices}"


def _lists(
    before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]], work: Work
) -> list[ParameterChange]:
    return [_named(name, _lines(before.get(name)), _lines(after.get(name)), work) for name in _differing(before, after)]


def _lines(items: Sequence[str] | None) -> str | None:
    """A list as the composer shows it: one entry a line."""
    return None if items is None else "\n".join(item.replace("\n", "↵") for item in items)


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """The names of what is not the same in both, those of the newer recipe first."""
    names = [*new, *(name for name in old if name not in new)]
    return [name for name in names if old.get(name) != new.get(name)]


def _named(name: str, was: str | None, now: str | None, work: Work) -> ParameterChange:
    tokens = words(was, now, work) if was is not None and now is not None else []
    return ParameterChange(name, name, was, now, tokens)
