"""How long steps take: guesses from what alike steps took lately, scaled by their work."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct

from domain import db, steps, upscalers

_TAKEN = "extract(epoch FROM s.finished_at - s.started_at)::float8 / coalesce((s.receipt #>> '{batch,size}')::int, 1)"
"""Seconds of a step: of those that ran together in one call, its share of the call."""
RECENT = 8
"""How many of the latest runs of a kind and model a guess rests on."""


class Waiting(Struct, frozen=True):
    """What stands in the queue now. `seconds` is None when nothing alike ran yet."""

    runs: int
    seconds: float | None


def work(step: Mapping[str, Any]) -> float:
    """The step's size in arbitrary units: passes × pixels × pictures or frames, or tokens, where the kind has them."""
    if "max_new_tokens" in step:
        return float(step["max_new_tokens"])
    asked = step.get("num_inference_steps", 1)
    usual = upscalers.USUAL["num_inference_steps"] if step.get("model") else 1
    passes = float(usual if asked is None else asked) * float(step.get("strength", 1))
    side = step.get("longest_side", 256)
    pixels = float(step.get("width", side)) * float(step.get("height", side)) / 65_536
    counted = "frames" if step.get("layout") == "walk" or "fps" in step else "num_images"
    pictures = float(step.get("num_images_per_prompt", step.get(counted, 1)))
    return max(passes * pixels * pictures * float(step.get("factor", 1)) ** 2, 0.01)


async def rates(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Median seconds per unit of work for each (kind, model) that finished lately. One query."""
    wanted = sorted(set(pairs))
    if not wanted:
        return {}
    rows = await db.fetch(
        f"""
        SELECT want.kind, want.model, past.step, past.seconds
        FROM unnest($1::text[], $2::text[]) AS want (kind, model)
        CROSS JOIN LATERAL (
            SELECT s.step, {_TAKEN} AS seconds FROM step_runs s
            WHERE s.kind = want.kind AND s.model = want.model AND s.state = 'succeeded'
            ORDER BY s.finished_at DESC LIMIT $3
        ) past
        """,  # noqa: S608 - constants only
        [kind for kind, _ in wanted],
        [model for _, model in wanted],
        RECENT,
    )
    past: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["seconds"] is not None:
            past.setdefault((row["kind"], row["model"]), []).append(row["seconds"] / work(row["step"]))
    return {pair: median(values) for pair, values in past.items()}


def seconds(step: Mapping[str, Any], known: Mapping[tuple[str, str], float]) -> float | None:
    """The step's expected seconds of work, or None when nothing alike ran yet; what a person does is none."""
    if steps.asks(step["kind"]):
        return 0.0
    rate = known.get((step["kind"], step.get("model", "")))
    return None if rate is None else rate * work(step)


def total(parts: Sequence[float | None]) -> float | None:
    """The sum, or None when a part is unknown."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


async def expected_seconds(recipe: steps.Recipe) -> float | None:
    """How long the recipe's steps take together once they start; None when a kind is new here."""
    plain: list[dict[str, Any]] = [msgspec.to_builtins(step) for step in recipe.steps]
    known = await rates((step["kind"], step.get("model", "")) for step in plain)
    return total([seconds(step, known) for step in plain])


async def waiting() -> Waiting:
    """How many runs have not ended, and about how many seconds until the last one starts.

    Each of them has exactly one step that is queued or running, unless it waits for its owner to choose, and both have
    a small index.
    """
    row = await db.fetchrow(
        f"""
        SELECT (SELECT count(*) FROM step_runs WHERE state = 'queued') AS queued,
               (SELECT count(*) FROM step_runs WHERE state = 'running') AS running,
               (SELECT greatest(count(DISTINCT lease_owner), 1) FROM step_runs WHERE state = 'running') AS workers,
               (SELECT avg(past.seconds)
                FROM (SELECT {_TAKEN} AS seconds FROM step_runs s
                      WHERE s.state = 'succeeded' ORDER BY s.id DESC LIMIT 20) past) AS seconds
        """  # noqa: S608 - constants only
    )
    assert row is not None
    if not row["queued"] + row["running"]:
        return Waiting(0, 0.0)
    about = None if row["seconds"] is None else row["queued"] * row["seconds"] / row["workers"]
    return Waiting(row["queued"] + row["running"], about)
