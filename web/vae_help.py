"""VAEs as the composer offers and judges them."""

from collections.abc import Collection, Mapping

from domain import steps, vaes
from domain.models import VAE, ModelChoice

FIELD = "vae"


def offered(kind: str, models: Mapping[str, Collection[ModelChoice]]) -> list[ModelChoice]:
    """Those that fit one of the kind's models or more: no list can follow a model that is chosen beside it."""
    if steps.KINDS.get(kind) not in steps.PICTURING:
        return []
    return [one for one in models.get(VAE, ()) if any(not _misfit(model, one) for model in models.get(kind, ()))]


def choices(fitting: Collection[ModelChoice], value: str, own: str) -> list[tuple[str, str]]:
    """The model's own by what it is called, and the others; what was typed stays, whether it is there or not."""
    names = [one.name for one in fitting]
    gone = [(value, f"{value} (gone)")] if value and value not in names else []
    return [("", own), *gone, *((name, name) for name in names)]


def hidden(row: Mapping[str, str], models: Mapping[str, Collection[ModelChoice]]) -> frozenset[str]:
    """The field, where there is nothing to choose."""
    none = not row.get(FIELD) and not offered(row.get("kind", ""), models)
    return frozenset({FIELD}) if none else frozenset()


def faults(recipe: steps.Recipe, models: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """By form field, for VAEs that are not there or do not fit the step's model."""
    known = {one.name: one for one in models.get(VAE, ())}
    found: dict[str, str] = {}
    for number, step in enumerate(recipe.steps, 1):
        if not isinstance(step, steps.PICTURING) or not step.vae:
            continue
        if step.vae not in known:
            found[f"s{number}-{FIELD}"] = f"This site has no decoder called “{step.vae}”"
            continue
        drawing = {one.name: one for one in models.get(steps.kind_of(step), ())}
        if words := _misfit(drawing.get(step.model), known[step.vae]):
            found[f"s{number}-{FIELD}"] = f"{step.vae} does not fit {step.model}: {words}"
    return found


def _misfit(model: ModelChoice | None, vae: ModelChoice) -> str:
    return vaes.misfit(model.limits if model else {}, vae.limits)
