"""What runs would cost before they are asked for: which of their steps are known already, how long the others take."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import advance, db, forecast, steps
from domain.errors import DomainError
from domain.means import Means
from domain.models import loras as loras_known
from domain.prepare import Given, prepare


class Ask(Struct, frozen=True, kw_only=True):
    """One run somebody might start, its inputs filled in."""

    recipe: steps.Recipe
    inputs: Mapping[str, str]
    seed: int


class Estimate(Struct, frozen=True, kw_only=True):
    """What a number of runs comes to. A run is known when every step of it is."""

    runs: int = 0
    known_runs: int = 0
    steps: int = 0
    """Steps of all runs."""
    to_run: int = 0
    """Those of them that would really run."""
    seconds: float | None = 0.0
    """Work in these, None where something like one never ran here."""

    @property
    def reused(self) -> int:
        """Steps whose result is there already, or will be by then."""
        return self.steps - self.to_run


class _Model(Struct, frozen=True):
    revision: str = ""
    means: Means = Means()
    family: str = ""


class _Way:
    """A run on its way through its steps: what they made, or what stands for it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.steps = ask.recipe.steps
        self.known = True
        self._texts: dict[int, str] = {}
        self._pictures: dict[int, list[str]] = {}

    def given(self, number: int) -> Given:
        """What the step with this number takes in."""
        source = steps.source_of(number, self.steps) or 0
        text = next((self._texts[before] for before in range(source, 0, -1) if before in self._texts), "")
        pictures = [one for each in steps.sources_of(number, self.steps) for one in self._pictures.get(each, [])]
        return Given(
            inputs=self.ask.inputs, lists=self.ask.recipe.lists, seed=self.ask.seed, text=text, pictures=pictures
        )

    def made(self, number: int, found: advance.Known | None, content: str) -> None:
        """Note the step's result, or its hash in place of a result that is yet to be made."""
        self.known = self.known and found is not None
        if self.steps[number - 1].made == "text":
            self._texts[number] = found.text if found else content
        else:
            self._pictures[number] = found.pictures if found else [content]


async def estimate(asks: Sequence[Ask], person_id: UUID, *, beyond: bool = False) -> Estimate:
    """What the runs would cost this person: the same rules of reuse as when they are run.

    Equal steps of several runs count once. Steps behind one that is yet to run count one by one, unless
    `beyond`: then they too are told apart by what they will take in. One query for each place in the recipes
    where a result may be known, and three more.
    """
    ways = [_Way(ask) for ask in asks]
    models = await _models(step for way in ways for step in way.steps)
    loras = await loras_known()
    to_run: dict[str, dict[str, Any]] = {}
    for number in range(1, max((len(way.steps) for way in ways), default=0) + 1):
        there = [way for way in ways if len(way.steps) >= number]
        contents = [_content(way, number, models, loras) if beyond or way.known else "" for way in there]
        known = await advance.known(set(contents) - {""}, person_id)
        for place, (way, content) in enumerate(zip(there, contents, strict=True)):
            step = way.steps[number - 1]
            found = known.get(content) if _usable(step, models) else None
            content = content or f"{number}-{place}"
            way.made(number, found, content)
            if found is None:
                to_run[content] = msgspec.to_builtins(step)
    return Estimate(
        runs=len(ways),
        known_runs=sum(way.known for way in ways),
        steps=sum(len(way.steps) for way in ways),
        to_run=len(to_run),
        seconds=await _seconds(list(to_run.values())),
    )


def _content(way: _Way, number: int, models: Mapping[str, _Model], loras: Mapping[str, str]) -> str:
    """The step's input hash, "" when it cannot be prepared."""
    step = way.steps[number - 1]
    model = models.get(getattr(step, "model", ""), _Model())
    vae = models.get(getattr(step, "vae", ""), _Model()).revision
    try:
        given = way.given(number)
        return prepare(step, given, model.revision, model.means, loras, model.family, vae).input_hash
    except DomainError:
        return ""


def _usable(step: steps.AnyStep, models: Mapping[str, _Model]) -> bool:
    """Whether a known result may be used: not that of a model which is not here."""
    name = getattr(step, "model", "")
    return not name or (name in models and bool(models[name].revision))


async def _models(parts: Iterable[steps.AnyStep]) -> dict[str, _Model]:
    names = {str(getattr(step, name, "")) for step in parts for name in steps.MODELS} - {""}
    if not names:
        return {}
    rows = await db.fetch(
        "SELECT name, revision, means, family FROM models WHERE name = ANY($1) AND removed_at IS NULL", sorted(names)
    )
    return {row["name"]: _Model(row["revision"], msgspec.convert(row["means"], Means), row["family"]) for row in rows}


async def _seconds(parts: Sequence[Mapping[str, Any]]) -> float | None:
    rates = await forecast.rates((step["kind"], step.get("model", "")) for step in parts)
    return forecast.total([forecast.seconds(step, rates) for step in parts])
