"""What changed between two recipes: steps, prompts word by word, parameters, inputs, lists (pure)."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

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

    A step that only changed places is "moved"; one that was edited as well is "changed" and `moved`.
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
    def parameters(self) -> int:
        return sum(len(step.parameters) for step in self.steps) + len(self.inputs) + len(self.lists)

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
        """Title and value of the set parameters that stayed the same, words and names left out."""
        hidden = ("Name", "Prompt", "Negative prompt", "Template")
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
        only = new[right - 1] if right is not None else old[(left or 1) - 1]
        op: Literal["added", "removed"] = "removed" if right is None else "added"
        return StepChange(op, steps.kind_of(only), left, right, title=only.title)
    before, after = old[left - 1], new[right - 1]
    prompts: list[PromptChange] = []
    parameters: list[ParameterChange] = []
    same: list[tuple[str, Any]] = []
    for field in steps.fields_of(steps.kind_of(after)):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if field.name == "source" and was is not None:
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


def _renumbered(number: int, pairs: Sequence[Pair]) -> Any:
    """What an older recipe's step number is in the newer one."""
    after = next((pair.after for pair in pairs if pair.before == number), None)
    return after if after is not None else f"{number}, which is gone"


def prompt(name: str, title: str, before: str, after: str, work: Work | None = None) -> PromptChange:
    """One prompt's change with its word counts."""
    tokens = words(before, after, work)
    return PromptChange(name, title, tokens, count_words(tokens, "added"), count_words(tokens, "removed"))


def _inputs(before: Sequence[steps.Input], after: Sequence[steps.Input], work: Work) -> list[ParameterChange]:
    old = {entry.name: _described(entry) for entry in before}
    new = {entry.name: _described(entry) for entry in after}
    return _by_name(old, new, work)


def _described(entry: steps.Input) -> str:
    """The input in words. Text stands alone, so that its own direction counts."""
    if entry.kind == "text":
        return entry.default or "empty text"
    choices = f" ({', '.join(entry.choices)})" if entry.choices else ""
    return f"{entry.kind}: {entry.default}{choices}"


def _lists(before: dict[str, list[str]], after: dict[str, list[str]], work: Work) -> list[ParameterChange]:
    return _by_name(
        {name: ", ".join(items) for name, items in before.items()},
        {name: ", ".join(items) for name, items in after.items()},
        work,
    )


def _by_name(old: dict[str, str], new: dict[str, str], work: Work) -> list[ParameterChange]:
    names = [*new, *(name for name in old if name not in new)]
    return [_named(name, old.get(name), new.get(name), work) for name in names if old.get(name) != new.get(name)]


def _named(name: str, was: str | None, now: str | None, work: Work) -> ParameterChange:
    tokens = words(was, now, work) if was is not None and now is not None else []
    return ParameterChange(name, name, was, now, tokens)
