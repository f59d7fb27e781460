"""What a step will really be run with: templates filled, seeds chosen, and one hash of it all. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from domain import loras, receipts, steps, template
from domain.errors import DomainError
from domain.loras import Lora
from domain.means import PLAIN, Means

TEMPLATES = ("template", "system", "prompt", "negative_prompt")
"""Fields that are filled before a step runs."""


class Given(Struct, frozen=True, kw_only=True):
    """What a run gives a step: the run's inputs, lists and seed, and what the steps before it made.

    `text` is the text of the nearest step before that wrote one, its source first; `pictures` are
    the SHA-256 of the pictures that come in, in order; `sizes` their width and height in pixels, and
    those of an upload that comes in instead, as far as they are known.
    """

    inputs: Mapping[str, str]
    lists: Mapping[str, Sequence[str]]
    seed: int
    text: str = ""
    pictures: Sequence[str] = ()
    sizes: Mapping[str, tuple[int, int]] = {}


class Prepared(Struct, frozen=True, kw_only=True):
    """A step ready to run. `batch_key` is equal for steps that one call can run together, "" for none."""

    parameters: dict[str, Any]
    pictures: list[str]
    """SHA-256 of what comes in."""
    input_hash: str
    batch_key: str
    loras: list[Lora] = []
    vae: str = ""
    """The revision of the VAE that it draws with, "" for the model's own."""


def prepare(
    step: steps.AnyStep,
    given: Given,
    revision: str,
    means: Means = PLAIN,
    known: Mapping[str, str] | None = None,
    family: str = "",
    vae: str = "",
) -> Prepared:
    """Fill the step's templates and hash everything that its result depends on.

    `revision` is the hash of the model's files, "" for a kind without a model; `means` is how it is
    run; `known` are the revisions of the site's LoRAs by name; `family` is the model's; `vae` is the revision of the
    VAE that the step names. Raises DomainError
    naming the field whose template cannot be filled, and the LoRA or VAE that is not there.
    """
    parameters = _parameters(step, given, step.unused(family))
    asked = loras.resolved(parameters.get("prompt", ""), known or {}) if isinstance(step, steps.DRAWING) else []
    if named := getattr(step, "vae", ""):
        if not vae:
            raise DomainError(f"This site has no decoder called “{named}”.")
        revision = receipts.digest([revision, {"vae": vae}])
    if means.look:
        revision = receipts.digest([revision, means.look])
    if asked:
        revision = receipts.digest([revision, [(lora.revision, lora.weight) for lora in asked]])
    kind = steps.kind_of(step)
    pictures = list(incoming(step, given.pictures))
    telling = {name: value for name, value in parameters.items() if name not in step.moot}
    return Prepared(
        parameters=parameters,
        pictures=pictures,
        input_hash=receipts.input_hash(kind, step.code, revision, telling, pictures),
        batch_key="" if means.first_block_cache else _batch_key(step, revision, parameters, _size(pictures, given)),
        loras=asked,
        vae=vae if named else "",
    )


def incoming(step: steps.AnyStep, pictures: Sequence[str]) -> Sequence[str]:
    """SHA-256 of the files that the step takes: its upload, else those of the step before; then its mask."""
    given = dict(steps.files(step))
    comes = step.takes in ("image", "audio") or getattr(step, "voice_of", None) is not None
    taken = [given["upload"]] if "upload" in given else list(pictures if comes else ())
    return [*taken, *([given["mask"]] if "mask" in given else [])]


def _parameters(step: steps.AnyStep, given: Given, unused: Collection[str]) -> dict[str, Any]:
    left_out = ("title", *steps.FILES, *steps.SOURCES, *unused)
    fields = [field.name for field in steps.fields_of(steps.kind_of(step)) if field.name not in left_out]
    asked = {name: getattr(step, name) for name in fields}
    parameters: dict[str, Any] = {
        name: step.usual.get(name) if value is None else value for name, value in asked.items()
    }
    seed = given.seed
    if "seed" in parameters:
        seed = parameters["seed"] = given.seed if step.seed is None else step.seed  # type: ignore[union-attr]
    for name in TEMPLATES:
        if name in parameters:
            parameters[name] = _filled(name, parameters[name], given, seed)
    return parameters


def _filled(name: str, text: str, given: Given, seed: int) -> str:
    try:
        return template.expand(text, {**given.inputs, "text": given.text}, given.lists, seed)
    except template.TemplateError as error:
        raise DomainError(f"{name.replace('_', ' ').capitalize()}: {error}") from error


def _size(pictures: Sequence[str], given: Given) -> tuple[int, int] | None:
    """Of the one picture that comes in; None for none, for several, and for one of unknown size."""
    return given.sizes.get(pictures[0]) if len(pictures) == 1 else None


def _batch_key(step: steps.AnyStep, revision: str, parameters: Mapping[str, Any], size: tuple[int, int] | None) -> str:
    """Equal for steps that differ in words, seed and number of pictures only, and in what their picture shows.

    Whether there is a negative prompt belongs to the key: some pipelines treat none otherwise than an empty one.
    A step that redraws several pictures runs alone: a claim counts those that a step makes of each.
    """
    if not step.together or (step.takes == "image" and size is None):
        return ""
    alike = {
        name: value for name, value in parameters.items() if name not in (*TEMPLATES, "seed", "num_images_per_prompt")
    }
    alike["negative"] = bool(parameters.get("negative_prompt"))
    content = [steps.kind_of(step), step.code, revision, receipts.canonical(alike), size]
    return receipts.digest(content)
