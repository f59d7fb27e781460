"""How many frames the models of animations know, as forms judge them."""

from collections.abc import Collection, Mapping

from domain import steps
from domain.models import ModelChoice


def faults(recipe: steps.Recipe, models: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """By form field, for more frames than the step's model can tell apart."""
    found = {}
    for number, step in enumerate(recipe.steps, 1):
        if isinstance(step, steps.TextToAnimation | steps.ImageToAnimation):
            offered = models.get(steps.kind_of(step), ())
            most = next((one.limits.get("frames") for one in offered if one.name == step.model), None)
            if most and step.frames > most:
                found[f"s{number}-frames"] = f"At most {most} with {step.model}"
    return found
