"""Models that enlarge pictures, as the composer offers and judges them."""

import re
from collections.abc import Collection, Mapping

from domain import steps, upscalers
from domain.models import ModelChoice

KIND = "upscale"
_PART = dict.fromkeys(upscalers.WORDED, "words") | {"noise_level": "noise", "method": "method"}
"""Fields that only some families take, by what the page calls those of one kind."""


def offers(kind: str, field: str) -> bool:
    """Whether the field is the one that chooses such a model, or none."""
    return (kind, field) == (KIND, "model")


def part(kind: str, field: str) -> str:
    """What the page calls the field where it is shown with some models only; "" for all others."""
    return _PART.get(field, "") if kind == KIND else ""


def parts(offered: Collection[ModelChoice]) -> dict[str, str]:
    """The parts that each model takes, and no model, by name, with spaces between them."""
    families = {"": "", **{one.name: one.family for one in offered}}
    return {
        name: " ".join(sorted({_PART[field] for field in upscalers.TAKEN.get(family, _PART) if field in _PART}))
        for name, family in families.items()
    }


def idle(row: Mapping[str, str], offered: Collection[ModelChoice]) -> frozenset[str]:
    """The fields of a step that make no difference, as its model is chosen."""
    families = {"": "", **{one.name: one.family for one in offered}}
    return upscalers.unused(families.get(row.get("model", ""), "?")) if row.get("kind") == KIND else frozenset()


def hidden(row: Mapping[str, str], offered: Collection[ModelChoice]) -> frozenset[str]:
    """The fields that the page leaves out: those of models, where there is none to choose."""
    return upscalers.LATER if row.get("kind") == KIND and not offered and not row.get("model") else frozenset()


def trimmed(form: Mapping[str, str], offered: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """The form without what a step's model does not take: it may stay from another that was chosen before."""
    rows: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        if found := re.fullmatch(r"(s\d+-)(\w+)", name):
            rows.setdefault(found[1], {})[found[2]] = value
    left_out = {
        prefix + field for prefix, row in rows.items() for field in idle(row, offered.get(KIND, ())) - {"model"}
    }
    return {name: value for name, value in form.items() if name not in left_out}


def faults(recipe: steps.Recipe, offered: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """By form field, for factors that are more than the model's own."""
    known = {one.name: int(one.limits.get("factor", 0)) for one in offered.get(KIND, ())}
    return {
        f"s{number}-factor": words
        for number, step in enumerate(recipe.steps, 1)
        if isinstance(step, steps.Upscale) and (native := known.get(step.model))
        if (words := upscalers.too_far(step.model, native, step.factor))
    }
