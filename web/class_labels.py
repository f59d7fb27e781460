"""The classes that generators were trained on, as the composer offers and judges them."""

from collections.abc import Collection, Mapping

from domain import steps, vocabulary
from domain.models import ModelChoice


def choices(models: Collection[ModelChoice], value: str) -> list[tuple[str, str]]:
    """The classes of every model that a form offers, for no list can follow a model that is chosen beside it; what was
    typed stays, whether there is such a class or not."""
    known = [name for model in models for name in vocabulary.classes(model.words)]
    gone = [(value, f"{value} (gone)")] if value and value not in known else []
    return [("", "By the seed"), *gone, *((name, name) for name in dict.fromkeys(known))]


def faults(recipe: steps.Recipe, models: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """By form field, for classes that the step's model does not have: those that it has."""
    known = {model.name: vocabulary.classes(model.words) for model in models.get("gan_image", ())}
    return {
        f"s{number}-class_label": f"{step.model} has no such class. It has: {', '.join(known[step.model])}"
        for number, step in enumerate(recipe.steps, 1)
        if isinstance(step, steps.GanImage)
        and step.class_label
        and step.model in known
        and step.class_label not in known[step.model]
    }
