"""What changed between two texts and between two recipes (pure)."""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

from msgspec import Struct

from domain import steps

Op = Literal["same", "added", "removed"]

_TOKEN = re.compile(r"\s+|\{\w+\}|\w+(?:['’\-]\w+)*|[^\w\s]")
MAX_WORK = 1_000_000
"""Pairs of tokens compared at most for one page, some 150 ms; what is longer is shown as replaced whole."""


class Work:
    """How many pairs of tokens may still be compared: one for everything that a page compares."""

    def __init__(self, left: int = MAX_WORK) -> None:
        self.left = left

    def take(self, pairs: int) -> bool:
        """Whether so many pairs may be compared; if so they are counted."""
        if pairs > self.left:
            return False
        self.left -= pairs
        return True


class Token(Struct, frozen=True):
    """A stretch of text that stayed, came or went. Joining all but the removed gives the new text."""

    op: Op
    text: str


class ParameterChange(Struct, frozen=True):
    """A parameter whose value differs; `name` is the field's, `title` what the page calls it."""

    name: str
    title: str
    before: Any
    after: Any


class PromptChange(Struct, frozen=True):
    """A prompt that differs, word by word."""

    name: str
    title: str
    tokens: list[Token]
    words_added: int
    words_removed: int


class StepChange(Struct, frozen=True):
    """One step of either recipe. `before` and `after` are step numbers, None on the side without it."""

    op: Literal["same", "changed", "added", "removed"]
    kind: str
    before: int | None
    after: int | None
    prompts: list[PromptChange] = []
    parameters: list[ParameterChange] = []
    same: list[tuple[str, Any]] = []

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
    def unchanged(self) -> list[tuple[str, Any]]:
        """Title and value of the set parameters that stayed the same, words and names left out."""
        hidden = ("Name", "Prompt", "Negative prompt", "Template")
        pairs = [pair for step in self.steps for pair in step.same]
        return [(title, value) for title, value in pairs if title not in hidden and value not in (None, "")]

    @property
    def nothing(self) -> bool:
        return not (self.inputs or self.lists) and all(step.op == "same" for step in self.steps)


def words(before: str, after: str, work: Work | None = None) -> list[Token]:
    """A word-level diff that keeps every space. Neighbors of one kind are joined.

    Whoever compares several texts for one page gives each the same `work`.
    """
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    start = _shared(old, new)
    end = _shared(old[start:][::-1], new[start:][::-1])
    middle = _compare(old[start : len(old) - end], new[start : len(new) - end], work or Work())
    parts = [Token("same", "".join(old[:start])), *middle, Token("same", "".join(old[len(old) - end :]))]
    return list(_joined(_absorbed([part for part in parts if part.text])))


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """How many tokens the two begin with alike."""
    count = 0
    for left, right in zip(old, new, strict=False):
        if left != right:
            break
        count += 1
    return count


def _compare(old: list[str], new: list[str], work: Work) -> list[Token]:
    if not work.take(len(old) * len(new)):
        return [Token("removed", "".join(old)), Token("added", "".join(new))]
    found: list[Token] = []
    for op, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            found.append(Token("same", "".join(old[i:j])))
            continue
        found.append(Token("removed", "".join(old[i:j])))
        found.append(Token("added", "".join(new[k:m])))
    return [token for token in found if token.text]


def _absorbed(tokens: list[Token]) -> list[Token]:
    """Let a lone space between two changes change with them, so that phrases stay whole."""
    result: list[Token] = []
    for at, token in enumerate(tokens):
        lone = token.op == "same" and token.text.isspace() and 0 < at < len(tokens) - 1
        if lone and _both(tokens, at):
            result += [Token("removed", token.text), Token("added", token.text)]
        else:
            result.append(token)
    return result


def _both(tokens: list[Token], at: int) -> bool:
    """Whether words went and came on both sides of a token."""

    def around(positions: Sequence[int]) -> set[str]:
        ops: set[str] = set()
        for position in positions:
            if not 0 <= position < len(tokens) or tokens[position].op == "same":
                break
            ops.add(tokens[position].op)
        return ops

    return len(around((at - 1, at - 2))) == 2 and len(around((at + 1, at + 2))) == 2


def _joined(tokens: list[Token]) -> Iterator[Token]:
    """Join each run of changes into one removed and one added stretch."""
    gone, came, kept = "", "", ""
    for token in [*tokens, None]:
        if token is not None and token.op != "same":
            if kept:
                yield Token("same", kept)
                kept = ""
            gone += token.text if token.op == "removed" else ""
            came += token.text if token.op == "added" else ""
            continue
        if gone:
            yield Token("removed", gone)
        if came:
            yield Token("added", came)
        gone, came = "", ""
        kept += token.text if token is not None else ""
    if kept:
        yield Token("same", kept)


def count_words(tokens: Sequence[Token], op: Op) -> int:
    """How many words the tokens of one kind hold."""
    return sum(len(re.findall(r"\w+(?:['’\-]\w+)*", token.text)) for token in tokens if token.op == op)


def changes(before: steps.Recipe, after: steps.Recipe) -> Changes:
    """Everything between two recipes. Steps are aligned by kind, alike ones first."""
    pairs = _aligned(before.steps, after.steps)
    moved = {left: right for left, right in pairs if left is not None and right is not None}
    work = Work()
    return Changes(
        steps=[_step(before.steps, after.steps, left, right, moved, work) for left, right in pairs],
        inputs=_inputs(before.inputs, after.inputs),
        lists=_lists(before.lists, after.lists),
    )


def _aligned(old: Sequence[steps.Step], new: Sequence[steps.Step]) -> list[tuple[int | None, int | None]]:
    """Pairs of step numbers in the order of `new`: the longest common subsequence of kinds,
    preferring equal steps. At most 20 × 20."""
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + _alike(old[i], new[j]))
    pairs: list[tuple[int | None, int | None]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        both = i < len(old) and j < len(new)
        alike = _alike(old[i], new[j]) if both else 0
        if both and alike and best[i][j] == best[i + 1][j + 1] + alike:
            pairs.append((i + 1, j + 1))
            i, j = i + 1, j + 1
        elif j == len(new) or (i < len(old) and best[i][j] == best[i + 1][j]):
            pairs.append((i + 1, None))
            i += 1
        else:
            pairs.append((None, j + 1))
            j += 1
    return pairs


def _alike(left: steps.Step, right: steps.Step) -> float:
    """0 for other kinds, up to 2 for an equal step."""
    if type(left) is not type(right):
        return 0
    names = [field.name for field in steps.fields_of(steps.kind_of(left))]
    equal = [name for name in names if getattr(left, name) == getattr(right, name)]
    return 1 + len(equal) / len(names)


def _step(
    old: Sequence[steps.Step],
    new: Sequence[steps.Step],
    left: int | None,
    right: int | None,
    moved: dict[int, int],
    work: Work,
) -> StepChange:
    if left is None or right is None:
        only = new[right - 1] if right is not None else old[(left or 1) - 1]
        return StepChange("removed" if right is None else "added", steps.kind_of(only), left, right)
    before, after = old[left - 1], new[right - 1]
    prompts: list[PromptChange] = []
    parameters: list[ParameterChange] = []
    same: list[tuple[str, Any]] = []
    for field in steps.fields_of(steps.kind_of(after)):
        was, now = getattr(before, field.name), getattr(after, field.name)
        if field.name == "source" and was is not None:
            was = moved.get(was, was)
        if was == now:
            same.append((field.title, now))
        elif field.widget == "prompt":
            prompts.append(prompt(field.name, field.title, was, now, work))
        else:
            parameters.append(ParameterChange(field.name, field.title, was, now))
    op: Literal["same", "changed"] = "changed" if prompts or parameters else "same"
    return StepChange(op, steps.kind_of(after), left, right, prompts, parameters, same)


def prompt(name: str, title: str, before: str, after: str, work: Work | None = None) -> PromptChange:
    """One prompt's change with its word counts."""
    tokens = words(before, after, work)
    return PromptChange(name, title, tokens, count_words(tokens, "added"), count_words(tokens, "removed"))


def _inputs(before: Sequence[steps.Input], after: Sequence[steps.Input]) -> list[ParameterChange]:
    old = {entry.name: _described(entry) for entry in before}
    new = {entry.name: _described(entry) for entry in after}
    return _by_name(old, new)


def _described(entry: steps.Input) -> str:
    """The input in words. Text stands alone, so that its own direction counts."""
    if entry.kind == "text":
        return entry.default or "empty text"
    choices = f" ({', '.join(entry.choices)})" if entry.choices else ""
    return f"{entry.kind}: {entry.default}{choices}"


def _lists(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[ParameterChange]:
    return _by_name(
        {name: ", ".join(items) for name, items in before.items()},
        {name: ", ".join(items) for name, items in after.items()},
    )


def _by_name(old: dict[str, str], new: dict[str, str]) -> list[ParameterChange]:
    names = [*new, *(name for name in old if name not in new)]
    return [
        ParameterChange(name, name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    ]
