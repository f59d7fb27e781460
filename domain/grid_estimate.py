"""What a grid would cost: which steps would really run, by the same hashes that reuse goes by."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import advance, db, forecast, steps
from domain.changes import applied
from domain.errors import DomainError
from domain.grid_axes import Cell
from domain.means import Means
from domain.prepare import Given, prepare


class Estimate(Struct, frozen=True):
    """Before it runs. A cell is known when every step of it is; equal steps of several cells count once."""

    cells: int
    known_cells: int
    steps: int
    """Steps of all cells."""
    to_run: int
    """Those of them that would run; the others are reused."""
    seconds: float | None
    """Work in what would run, None when something alike never ran here."""


class _Model(Struct, frozen=True):
    revision: str = ""
    means: Means = Means()


class _Walk:
    """One cell on its way through the steps: what they made, or what stands for it."""

    def __init__(self, cell: Cell, recipe: steps.Recipe) -> None:
        self.cell = cell
        self.recipe = applied(recipe, cell.changes)
        self.known = True
        self.texts: dict[int, str] = {}
        self.pictures: dict[int, list[str]] = {}

    def given(self, number: int) -> Given:
        """What the step with this number takes in."""
        text, pictures = "", list[str]()
        if number > 1:
            source = steps.source_of(number, self.recipe.steps) or number - 1
            text = next((self.texts[before] for before in range(source, 0, -1) if before in self.texts), "")
            pictures = self.pictures.get(source, [])
        seed = self.cell.seed or 0
        return Given(inputs=self.cell.inputs, lists=self.recipe.lists, seed=seed, text=text, pictures=pictures)

    def made(self, number: int, step: steps.Step, found: advance.Known | None, content: str) -> None:
        """Note the step's result, or its hash in place of a result that is yet to be made."""
        if found is None:
            self.known = False
        if step.gives == "text":
            self.texts[number] = found.text if found else content
        else:
            self.pictures[number] = found.pictures if found else [content]


async def estimate(recipe: steps.Recipe, cells: Sequence[Cell], person_id: UUID) -> Estimate:
    """Walk every cell, its seed chosen, through the recipe. One query a step and two more."""
    walks = [_Walk(cell, recipe) for cell in cells]
    models = await _models(walks)
    to_run: dict[str, dict[str, Any]] = {}
    for number in range(1, len(recipe.steps) + 1):
        contents = [_content(walk, number, models) for walk in walks]
        known = await advance.known(set(contents) - {""}, person_id)
        for place, (walk, content) in enumerate(zip(walks, contents, strict=True)):
            step = walk.recipe.steps[number - 1]
            found = known.get(content) if _usable(step, models) else None
            content = content or f"{number}-{place}"
            walk.made(number, step, found, content)
            if found is None:
                to_run[content] = msgspec.to_builtins(step)
    return Estimate(
        cells=len(walks),
        known_cells=sum(walk.known for walk in walks),
        steps=len(walks) * len(recipe.steps),
        to_run=len(to_run),
        seconds=await _seconds(list(to_run.values())),
    )


def _content(walk: _Walk, number: int, models: Mapping[str, _Model]) -> str:
    """The step's input hash, "" when it cannot be prepared."""
    step = walk.recipe.steps[number - 1]
    model = models.get(getattr(step, "model", ""), _Model())
    try:
        return prepare(step, walk.given(number), model.revision, model.means).input_hash
    except DomainError:
        return ""


def _usable(step: steps.AnyStep, models: Mapping[str, _Model]) -> bool:
    """Whether a known result may be used: not that of a model which is not here."""
    return not getattr(step, "model", "") or getattr(step, "model", "") in models


async def _models(walks: Sequence[_Walk]) -> dict[str, _Model]:
    names = {str(getattr(step, "model", "")) for walk in walks for step in walk.recipe.steps}
    rows = await db.fetch(
        "SELECT name, revision, means FROM models WHERE name = ANY($1::text[]) AND removed_at IS NULL", list(names)
    )
    return {row["name"]: _Model(row["revision"], msgspec.convert(row["means"], Means)) for row in rows}


async def _seconds(parts: Sequence[Mapping[str, Any]]) -> float | None:
    known = await forecast.rates((step["kind"], step.get("model", "")) for step in parts)
    return forecast.total([forecast.seconds(step, known) for step in parts])
