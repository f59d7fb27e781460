"""What runs would cost before they are asked for: which of their steps are known already, how long the others take."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, forecast, steps
from domain.errors import DomainError
from domain.means import Means
from domain.prepare import Given, prepare


class Ask(Struct, frozen=True, kw_only=True):
    """One run somebody might start, its inputs filled in."""

    recipe: steps.Recipe
    inputs: Mapping[str, str]
    seed: int


class Estimate(Struct, frozen=True, kw_only=True):
    """What a number of runs comes to. `seconds` is None where a kind of step never ran here."""

    runs: int = 0
    steps: int = 0
    reused: int = 0
    """Steps known to be reused; later ones of a run may turn out to be."""
    seconds: float | None = 0.0


class _Model(Struct, frozen=True):
    revision: str = ""
    means: Means = Means()


class _Way(Struct):
    """How far a run is known: what its steps made."""

    ask: Ask
    texts: dict[int, str] = {}
    pictures: dict[int, list[str]] = {}
    over: bool = False
    """A step is not known, so neither is what follows it."""

    def given(self, ordinal: int) -> Given:
        source = steps.source_of(ordinal, self.ask.recipe.steps) or 0
        text = next((self.texts[at] for at in range(source, 0, -1) if at in self.texts), "")
        recipe = self.ask.recipe
        pictures = self.pictures.get(source, [])
        return Given(inputs=self.ask.inputs, lists=recipe.lists, seed=self.ask.seed, text=text, pictures=pictures)


_KNOWN = """
SELECT asked.hash, known.output_text,
    (SELECT array_agg(o.sha256 ORDER BY o.position) FROM outputs o WHERE o.step_run_id = known.id) AS pictures
FROM unnest($1::text[]) AS asked (hash)
CROSS JOIN LATERAL (
    SELECT s.id, s.output_text FROM step_runs s JOIN runs r ON r.id = s.run_id JOIN pipelines p ON p.id = r.pipeline_id
    WHERE s.input_hash = asked.hash AND s.state IN ('succeeded', 'reused')
      AND (r.owner_id = $2 OR r.visibility = 'published' AND p.visibility = 'public' AND p.deleted_at IS NULL)
    ORDER BY s.state = 'succeeded' DESC, s.id LIMIT 1
) known
"""


async def estimate(asks: Sequence[Ask], person_id: UUID) -> Estimate:
    """What the runs would cost this person: the same rules of reuse as when they are run.

    One query for each place in the recipes up to the first step that nobody knows, and two more.
    """
    ways = [_Way(ask) for ask in asks]
    models = await _models(asks)
    fresh: list[dict[str, Any]] = []
    computed: set[str] = set()
    for ordinal in range(1, max((len(ask.recipe.steps) for ask in asks), default=0) + 1):
        there = [way for way in ways if len(way.ask.recipe.steps) >= ordinal]
        hashes = [None if way.over else _hash(way, ordinal, models) for way in there]
        known = await _known([hash for hash in hashes if hash is not None], person_id)
        for way, hash in zip(there, hashes, strict=True):
            row = known.get(hash) if hash is not None else None
            if row is not None:
                _go_on(way, ordinal, row)
            elif hash is None or hash not in computed:
                fresh.append(msgspec.to_builtins(way.ask.recipe.steps[ordinal - 1]))
            way.over = way.over or row is None
            computed |= {hash} if hash is not None else set()
    total = sum(len(ask.recipe.steps) for ask in asks)
    rates = await forecast.rates((step["kind"], step.get("model", "")) for step in fresh)
    seconds = forecast.total([forecast.seconds(step, rates) for step in fresh])
    return Estimate(runs=len(asks), steps=total, reused=total - len(fresh), seconds=seconds)


def _go_on(way: _Way, ordinal: int, row: db.Record) -> None:
    if row["output_text"] is not None:
        way.texts[ordinal] = row["output_text"]
    way.pictures[ordinal] = list(row["pictures"] or ())


def _hash(way: _Way, ordinal: int, models: Mapping[str, _Model]) -> str | None:
    """The step's identity; None for one that cannot be reused or cannot be run."""
    step = way.ask.recipe.steps[ordinal - 1]
    name = getattr(step, "model", "")
    model = models.get(name, _Model())
    if name and not model.revision:
        return None
    try:
        return prepare(step, way.given(ordinal), model.revision, model.means).input_hash
    except DomainError:
        return None


async def _known(hashes: Sequence[str], person_id: UUID) -> dict[str, db.Record]:
    if not hashes:
        return {}
    return {row["hash"]: row for row in await db.fetch(_KNOWN, sorted(set(hashes)), person_id)}


async def _models(asks: Sequence[Ask]) -> dict[str, _Model]:
    names = {getattr(step, "model", "") for ask in asks for step in ask.recipe.steps} - {""}
    if not names:
        return {}
    rows = await db.fetch(
        "SELECT name, revision, means FROM models WHERE name = ANY($1) AND removed_at IS NULL", sorted(names)
    )
    return {row["name"]: _Model(row["revision"], msgspec.convert(row["means"], Means)) for row in rows}
