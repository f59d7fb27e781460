"""The registry of models: diffusers folders, single-file checkpoints and models of transformers, safetensors only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from domain import db, receipts, vocabulary, weights
from domain.errors import Invalid, NotFound
from domain.means import PLAIN, Means, check_family
from domain.steps import Recipe
from domain.vocabulary import Words

IMAGE_KINDS = ("text_to_image", "image_to_image", "inpaint")
TEXT_KINDS = ("text_to_text",)
GAN_KINDS = ("gan_image",)
ANIMATION_KINDS = ("text_to_animation", "image_to_animation")
LORA = "lora"
"""What stands in the place of kinds of steps for a LoRA, which runs none by itself."""
KINDS: dict[str, tuple[str, ...]] = {
    "ForCausalLM": TEXT_KINDS,
    "ConditionalGenerator": GAN_KINDS,
    "VitsModel": ("text_to_speech",),
    "WhisperForConditionalGeneration": ("speech_to_text",),
    weights.LORA: (LORA,),
    "ShapEPipeline": ("text_to_3d",),
    "ShapEImg2ImgPipeline": ("image_to_3d",),
    "AnimateDiffPipeline": ANIMATION_KINDS,
    "AnimateDiffVideoToVideoPipeline": ANIMATION_KINDS,
    "StableVideoDiffusionPipeline": ("image_to_animation",),
}
"""What models of these classes can do; the class of one that stands alone may only end so. All others draw."""
ENDPOINT = "endpoint"
"""The family of models that run elsewhere."""
STARTER = "starter"
STARTER_PATH = Path(__file__).resolve().parent.parent / "tasks" / "weights" / "starter"
STARTER_DEFAULTS: dict[str, Any] = {
    "width": 256,
    "height": 256,
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "scheduler": "DDIMScheduler",
}


class Shipped(Struct, frozen=True):
    """A model that comes with the site, under the Apache licence."""

    path: Path
    kinds: tuple[str, ...]
    defaults: dict[str, Any]


SHIPPED = {
    STARTER: Shipped(STARTER_PATH, IMAGE_KINDS + ANIMATION_KINDS, {**STARTER_DEFAULTS, "most_frames": 8}),
    "shapes-gan": Shipped(STARTER_PATH.with_name("gan"), GAN_KINDS, {}),
    "cyanotype": Shipped(STARTER_PATH.with_name("lora") / "cyanotype.safetensors", (LORA,), {}),
    "fish": Shipped(STARTER_PATH.with_name("lora") / "fish.safetensors", (LORA,), {}),
}


class Model(Struct, frozen=True, kw_only=True):
    """A registered model. `revision` is the hash of every file's name and content."""

    name: str
    family: str
    path: str
    revision: str
    license: str
    kinds: list[str]
    defaults: dict[str, Any]
    means: Means = PLAIN
    bytes: int
    words: Words = []

    @property
    def classes(self) -> list[str]:
        """Of a generator: what it draws pictures of."""
        return vocabulary.classes(self.words)

    @property
    def remote(self) -> bool:
        """Whether it runs elsewhere: `path` is then the address of an API, # and the model's name there."""
        return self.path.startswith(weights.REMOTE)

    @property
    def host(self) -> str:
        """Where it runs, "" for here."""
        return urlsplit(self.path).netloc if self.remote else ""


class ModelChoice(Struct, frozen=True):
    """A model as a form offers it, with the values it works best with."""

    name: str
    defaults: dict[str, Any]
    words: Words = []


_COLUMNS = "name, family, path, revision, license, kinds, defaults, means, bytes, words"


async def register(
    name: str,
    path: Path | str,
    license: str = "",
    kinds: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    means: Means = PLAIN,
) -> Model:
    """Check, hash and register a folder of diffusers or transformers, or a single `.safetensors` file.

    `kinds` of steps are those that such a model can do, where none are named. Registering a name again replaces
    it. Raises Invalid for a bad name, a path that is not a model, anything pickled, and means that such a model
    cannot use.
    """
    found = inspect(name, Path(path), license, kinds, defaults, means)
    await _store(found)
    return found


async def register_endpoint(name: str, address: str) -> Model:
    """Register a model that runs elsewhere and writes texts: `address` is that of its API, # and its name there.

    Its revision speaks of the address alone: what answers there may change. Raises Invalid for a bad name.
    """
    _check_name(name)
    found = Model(
        name=name,
        family=ENDPOINT,
        path=address,
        revision=receipts.digest([address]),
        license="",
        kinds=list(TEXT_KINDS),
        defaults={},
        bytes=0,
    )
    await _store(found)
    return found


async def _store(found: Model) -> None:
    await db.execute(
        """
        INSERT INTO models (name, family, path, revision, license, kinds, defaults, means, bytes, words)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (name) DO UPDATE SET family = excluded.family, path = excluded.path,
            revision = excluded.revision, license = excluded.license, kinds = excluded.kinds,
            defaults = excluded.defaults, means = excluded.means, bytes = excluded.bytes, words = excluded.words,
            removed_at = NULL
        """,
        found.name,
        found.family,
        found.path,
        found.revision,
        found.license,
        found.kinds,
        found.defaults,
        msgspec.to_builtins(found.means),
        found.bytes,
        found.words,
    )


async def register_all(
    extra: Mapping[str, Path],
    means: Mapping[str, Means] | None = None,
    endpoints: Mapping[str, str] | None = None,
) -> list[Model]:
    """Register the models that come with the site, and those of the settings MODELS and ENDPOINTS.

    Raises Invalid naming every one at fault, once all others are registered.
    """
    found = [await register(name, own.path, "Apache-2.0", own.kinds, own.defaults) for name, own in SHIPPED.items()]
    faults: dict[str, str] = {}
    found += [await register_endpoint(name, address) for name, address in (endpoints or {}).items()]
    for name, path in extra.items():
        chosen = (means or {}).get(name, PLAIN)
        try:
            found.append(await _unchanged(name, path, chosen) or await register(name, path, means=chosen))
        except Invalid as error:
            faults[name] = error.message
        except OSError as error:
            faults[name] = f"{error.filename or path} cannot be read: {error.strerror or error}"
    if faults:
        raise Invalid(faults, "MODELS: " + "; ".join(f"{name}: {fault}" for name, fault in faults.items()))
    return found


async def _unchanged(name: str, path: Path, means: Means) -> Model | None:
    """The model as it is registered, if its files have the same size, and its means and kinds are the same: hashing
    gigabytes takes long, and a worker checks the hash anyway before it opens them. A LoRA is small, and one that was
    trained further has the size that it had."""
    kinds = kinds_of(path)
    if kinds == [LORA]:
        return None
    row = await db.fetchrow(
        f"""SELECT {_COLUMNS} FROM models
            WHERE name = $1 AND path = $2 AND bytes = $3 AND means = $4 AND kinds = $5
                AND removed_at IS NULL""",  # noqa: S608
        name,
        str(path),
        weights.size_of(weights.files_of(path)),
        msgspec.to_builtins(means),
        kinds,
    )
    return None if row is None else _model(row)


def _model(row: db.Record) -> Model:
    return msgspec.convert(dict(row), Model)


def kinds_of(path: Path) -> list[str]:
    """The kinds of steps that what lies there can do."""
    family = weights.family(path)
    if weights.has_motion(path):
        return [*IMAGE_KINDS, *ANIMATION_KINDS]
    alike = (family, *(ending for ending in weights.ALONE if family.endswith(ending)))
    return list(next((KINDS[name] for name in alike if name in KINDS), IMAGE_KINDS))


def _words_of(path: Path) -> Words:
    """The words that a model of few knows, the classes of a generator, or what calls a LoRA."""
    if weights.is_lora(path) and (trigger := weights.trigger_of(path)):
        return [(vocabulary.TRIGGER, trigger)]
    return vocabulary.of_classes(weights.classes_of(path)) or vocabulary.read(path)


def place_of(model: Model, own: Mapping[str, Path]) -> str:
    """Where this machine has the model's files: its own MODELS and what comes with the site before what another
    machine registered.

    Whatever lies there must have the registered hash, or it is not opened.
    """
    shipped = {name: one.path for name, one in SHIPPED.items()}
    return str({**shipped, **own}.get(model.name, model.path))


async def remove(name: str) -> None:
    """Offer the model no longer. Raises NotFound."""
    if not await db.execute(
        "UPDATE models SET removed_at = clock_timestamp() WHERE name = $1 AND removed_at IS NULL", name
    ):
        raise NotFound(f"There is no model called “{name}”.")


async def everything() -> list[Model]:
    """Every model on offer, by name."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM models WHERE removed_at IS NULL ORDER BY name")  # noqa: S608
    return [_model(row) for row in rows]


async def offered() -> dict[str, list[ModelChoice]]:
    """The models that can run steps of each kind, by name, the starter model last; the LoRAs beside them."""
    rows = await db.fetch(
        """SELECT kind, name, defaults, words FROM models, unnest(kinds) AS kind WHERE removed_at IS NULL
           ORDER BY name = $1, name""",
        STARTER,
    )
    found: dict[str, list[ModelChoice]] = {}
    for kind, *row in rows:
        found.setdefault(kind, []).append(ModelChoice(*row))
    return found


async def names(kind: str) -> list[ModelChoice]:
    """The models that can run steps of this kind, as `offered` has them."""
    return (await offered()).get(kind, [])


async def loras() -> dict[str, str]:
    """The revision of each LoRA on offer, by name."""
    rows = await db.fetch("SELECT name, revision FROM models WHERE kinds @> '{lora}' AND removed_at IS NULL")
    return {row["name"]: row["revision"] for row in rows}


async def hosts(recipe: Recipe) -> list[str]:
    """Where the words of the recipe's prompts are sent, outside this site."""
    named = {getattr(step, "model", "") for step in recipe.steps} - {""}
    return sorted({model.host for model in await everything() if model.remote and model.name in named}) if named else []


async def require(name: str, kind: str) -> Model:
    """The model for a step. Raises NotFound when it is not here, Invalid when it cannot do this kind."""
    row = await db.fetchrow(
        f"SELECT {_COLUMNS} FROM models WHERE name = $1 AND removed_at IS NULL",  # noqa: S608
        name,
    )
    if row is None:
        raise NotFound(f"This site has no model called “{name}”.")
    if kind not in row["kinds"]:
        raise Invalid({"model": f"The model “{name}” cannot do this kind of step"})
    return _model(row)


def fault(model: Model, own: Mapping[str, Path]) -> str:
    """What is wrong with the model's files where this machine has them, in words; "" for nothing. Reads all of them.

    Of one that runs elsewhere there is nothing to read."""
    if model.remote:
        return ""
    try:
        revision = weights.revision(Path(place_of(model, own)))
    except Invalid as error:
        return error.message
    except OSError as error:
        return f"{error.filename or model.path} cannot be read: {error.strerror or error}"
    if revision == model.revision:
        return ""
    return f"its files are others: revision {revision[:12]} instead of {model.revision[:12]}"


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= 80 or not all(char.isalnum() or char in "-_." for char in name):
        raise Invalid({"name": "1 to 80 letters, digits, dots, dashes and underscores"})


def inspect(
    name: str,
    path: Path,
    license: str,
    kinds: Sequence[str],
    defaults: Mapping[str, Any] | None = None,
    means: Means = PLAIN,
) -> Model:
    """What `register` stores of the files at `path`, checked and hashed. Raises Invalid."""
    _check_name(name)
    path = path.expanduser().resolve()
    files = weights.files_of(path)
    check_family(means, weights.parts(path))
    hashes = {relative: weights.sha256_of(file) for relative, file in files.items()}
    return Model(
        name=name,
        family=weights.family(path),
        path=str(path),
        revision=weights.revision_of(hashes),
        license=license,
        kinds=list(kinds) or kinds_of(path),
        defaults=dict(defaults) if defaults is not None else weights.defaults_of(path),
        means=means,
        bytes=weights.size_of(files),
        words=_words_of(path),
    )
