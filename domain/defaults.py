"""The parameters that a model works best with, as its host writes them: `steps=30, guidance=7.5, width=512`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain import steps
from domain.errors import Invalid

SHORT = {"steps": "num_inference_steps", "guidance": "guidance_scale", "tokens": "max_new_tokens"}
"""What may be written for a longer name."""
OWN = ("model", "seed", "title", "stop", "voice", *steps.SOURCES, *steps.FILES)
"""Fields that say what one step is about, and not how a model is run."""
FACTS = ("most_frames",)
"""What a model's files tell beside its parameters, and no host says otherwise."""
_LONG = {name: short for short, name in SHORT.items()}


def _titles() -> dict[str, str]:
    """What every field is called, in the order of the forms."""
    found: dict[str, str] = {}
    for kind in steps.KINDS:
        for field in steps.fields_of(kind):
            found.setdefault(field.name, field.title)
    return found


_TITLES = _titles()
_ORDER = {name: place for place, name in enumerate(_TITLES)}


def names(kinds: Sequence[str]) -> list[str]:
    """What can be written for a model of these kinds, in the order of their forms."""
    return [_LONG.get(name, name) for name in _fields(kinds)]


def parse(text: str, kinds: Sequence[str]) -> dict[str, Any]:
    """Parameters from `steps=30, width=512`, separated by commas or lines, within the bounds of every kind that has
    them. Raises Invalid (field `defaults`) naming the first that is wrong."""
    known, found = _fields(kinds), dict[str, Any]()
    for entry in filter(None, (part.strip() for part in text.replace("\n", ",").replace(";", ",").split(","))):
        written, equals, value = (part.strip() for part in entry.partition("="))
        name = SHORT.get(written, written)
        if name not in known:
            raise _fault(f"There is no {written[:40]!r} to set. " + _offer(kinds))
        if not equals or not value:
            raise _fault(f"{written} needs a value, such as {written}={known[name][0][1]}")
        if name in found:
            raise _fault(f"{written} is given twice")
        found[name] = _value(written, name, value, [kind for kind, _ in known[name]])
    _check(found)
    return found


def spell(values: Mapping[str, Any]) -> str:
    """The parameters as `parse` reads them, in the order of the forms."""
    return ", ".join(f"{_LONG.get(name, name)}={_shown(value)}" for name, value in _in_order(values))


def titled(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as pages show them: what the field is called, and its value."""
    return [(_TITLES.get(name, name), _shown(value).removesuffix("Scheduler")) for name, value in _in_order(values)]


def facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of these is no parameter."""
    return {name: values[name] for name in FACTS if name in values}


def _in_order(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    parameters = [(name, value) for name, value in values.items() if name not in FACTS]
    return sorted(parameters, key=lambda one: _ORDER.get(one[0], len(_ORDER)))


def _fields(kinds: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By name of a parameter, the kinds that have it with its usual value there."""
    found: dict[str, list[tuple[str, str]]] = {}
    for kind in (kind for kind in kinds if kind in steps.KINDS):
        for field in steps.fields_of(kind):
            if field.name not in OWN and field.widget in ("number", "choice"):
                found.setdefault(field.name, []).append((kind, _shown(field.default)))
    return found


def _value(written: str, name: str, text: str, kinds: Sequence[str]) -> Any:
    if name == "scheduler" and f"{text}Scheduler" in steps.SCHEDULERS:
        text = f"{text}Scheduler"
    value: Any = None
    for kind in kinds:
        step, errors = steps.parse_step(kind, {name: text}, "")
        if step is None:
            raise _fault(f"{written}: {_lower(errors[name])}, not {text[:40]!r}")
        value = getattr(step, name)
    return value


def _check(found: Mapping[str, Any]) -> None:
    most = steps.DISTILLED.get(found.get("scheduler", ""))
    if most is not None and found.get("num_inference_steps", 0) > most:
        raise _fault(f"steps: at most {most} with the {found['scheduler']}")


def _offer(kinds: Sequence[str]) -> str:
    known = names(kinds)
    return f"There are {', '.join(known)}" if known else "Such a model has no parameters of its own"


def _fault(words: str) -> Invalid:
    return Invalid({"defaults": words})


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
