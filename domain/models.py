"""The registry of models: diffusers folders, single-file checkpoints and models of transformers, safetensors only."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from domain import db, readings, receipts, steps, told, upscalers, vaes, vocabulary, voices, weights
from domain.defaults import fitting
from domain.errors import Invalid, NotFound
from domain.means import PLAIN, Means, check_family
from domain.steps import Recipe
from domain.told import Said, Told
from domain.vocabulary import Words
from domain.weights import Limits

IMAGE_KINDS = ("text_to_image", "image_to_image", "inpaint")
TEXT_KINDS = ("text_to_text",)
GAN_KINDS = ("gan_image",)
SPEECH_KINDS = ("text_to_speech",)
UPSCALE_KINDS = ("upscale",)
ANIMATION_KINDS = ("text_to_animation", "image_to_animation")
LORA = "lora"
"""What stands in the place of kinds of steps for a LoRA, which runs none by itself."""
VAE = "vae"
"""The same for a VAE, which stands in for another model's."""
SAMPLE = "voice_sample"
"""What stands beside the kinds of steps for a model that speaks like a sample of a voice."""
KINDS: dict[str, tuple[str, ...]] = {
    "ForCausalLM": TEXT_KINDS,
    "ConditionalGenerator": GAN_KINDS,
    "VitsModel": SPEECH_KINDS,
    voices.FAMILY: SPEECH_KINDS,
    "WhisperForConditionalGeneration": ("speech_to_text",),
    weights.LORA: (LORA,),
    "ShapEPipeline": ("text_to_3d",),
    "ShapEImg2ImgPipeline": ("image_to_3d",),
    **dict.fromkeys(vaes.FAMILIES, (VAE,)),
    upscalers.RRDB: UPSCALE_KINDS,
    upscalers.LATENT: UPSCALE_KINDS,
    upscalers.DIFFUSION: UPSCALE_KINDS,
    "AnimateDiffPipeline": ANIMATION_KINDS,
    "AnimateDiffVideoToVideoPipeline": ANIMATION_KINDS,
    steps.VIDEO: ("image_to_animation",),
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
STARTER_MOTION: dict[str, Any] = {"frames": 8, "longest_side": 256}


class Shipped(Struct, frozen=True):
    """A model that comes with the site, under the Apache licence."""

    path: Path
    kinds: tuple[str, ...]
    defaults: dict[str, Any]


SHIPPED = {
    STARTER: Shipped(STARTER_PATH, IMAGE_KINDS + ANIMATION_KINDS, STARTER_DEFAULTS | STARTER_MOTION),
    "shapes-gan": Shipped(STARTER_PATH.with_name("gan"), GAN_KINDS, {}),
    "cyanotype": Shipped(STARTER_PATH.with_name("lora") / "cyanotype.safetensors", (LORA,), {}),
    "fish": Shipped(STARTER_PATH.with_name("lora") / "fish.safetensors", (LORA,), {}),
}


class File(Struct, frozen=True):
    """A file of a model: its name within the folder, its size and its SHA-256."""

    name: str
    bytes: int
    sha256: str


class Model(Struct, frozen=True, kw_only=True):
    """A registered model. `revision` is the hash of every file's name and content. Its license, defaults and words are
    those that were `told`, where they were."""

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
    files: list[File] = []
    told: Told = Told()
    limits: Limits = {}
    """What its files say that steps with it must keep to, as `domain.weights.limits_of` has it."""

    @property
    def trigger(self) -> list[str]:
        """The words that call what it has learned."""
        return told.trigger(self.words, self.told)

    @property
    def classes(self) -> list[str]:
        """Of a generator: what it draws pictures of."""
        return vocabulary.classes(self.words)

    @property
    def voices(self) -> list[str]:
        """Of one that speaks: the voices that a step can name."""
        return vocabulary.voices(self.words)

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
    trigger: list[str] = []
    family: str = ""
    limits: Limits = {}


_COLUMNS = "name, family, path, revision, license, kinds, defaults, means, bytes, words, files, told, limits"


async def register(
    name: str,
    path: Path | str,
    license: str = "",
    kinds: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    means: Means = PLAIN,
    *,
    said: Said | None = None,
    keep: bool = False,
    say: weights.Say = lambda read: None,
) -> Model:
    """Check, hash and register a folder of diffusers or transformers, or a single `.safetensors` file.

    `kinds` of steps are those that such a model can do, where none are named. What the host `said` of it stands in
    place of what its files tell. Registering a name again replaces it; `keep` keeps what was said before. `say` hears
    how many bytes were read. Raises Invalid for a bad name, a path that is not a model, anything pickled, and means
    that such a model cannot use.
    """
    check_name(name)
    look = check(Path(path), means)
    now = told.added(said or Said(), kinds or look.kinds, look.defaults if defaults is None else defaults)
    found = await asyncio.to_thread(inspect, name, Path(path), license, kinds, defaults, means, say)
    if not keep:
        await readings.forget(name)  # it speaks of files that another model had under this name
    return await _store(msgspec.structs.replace(found, told=now), keep=keep)


class Look(Struct, frozen=True):
    """What can be told of a model's files before all of them are read."""

    kinds: list[str]
    defaults: dict[str, Any]
    bytes: int


def check(path: Path, means: Means = PLAIN) -> Look:
    """Whether what lies there can be registered, as far as that is told quickly. Raises Invalid as `register` does."""
    path = path.expanduser().resolve()
    files = weights.files_of(path)
    check_family(means, weights.parts(path))
    kinds = kinds_of(path)
    return Look(kinds, fitting(weights.defaults_of(path), kinds), weights.size_of(files))


async def tell(name: str, said: Said) -> Model:
    """Change what is said of a model: its license, trigger words and parameters are these from now on, all others go.
    Raises NotFound, and Invalid by field."""
    found = msgspec.convert(dict(await _row(name)), Model)
    now = told.changed(said, found.kinds, found.license, found.words, found.defaults)
    await db.execute("UPDATE models SET told = $2 WHERE name = $1", name, msgspec.to_builtins(now))
    return _as_told(msgspec.structs.replace(found, told=now))


def _as_told(found: Model) -> Model:
    """The model with what was told in place of what was found."""
    now = found.told
    return msgspec.structs.replace(
        found,
        license=found.license if now.license is None else now.license,
        defaults=found.defaults if now.defaults is None else now.defaults,
        words=_told_words(found.kinds, found.words, now),
    )


def _told_words(kinds: Sequence[str], words: Words, now: Told) -> Words:
    """The words that a LoRA adds to its model's are those that call it."""
    if LORA not in kinds or now.trigger is None:
        return words
    return [(vocabulary.TRIGGER, now.trigger)] if now.trigger else []


async def register_endpoint(name: str, address: str, *, keep: bool = False) -> Model:
    """Register a model that runs elsewhere and writes texts: `address` is that of its API, # and its name there.

    Its revision speaks of the address alone: what answers there may change. Raises Invalid for a bad name.
    """
    check_name(name)
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
    return await _store(found, keep=keep)


async def _store(found: Model, *, keep: bool = False) -> Model:
    """Put it into the registry, and return it as it is offered. What was said of one that was removed is forgotten."""
    kept = await db.fetchval(
        """
        INSERT INTO models
            (name, family, path, revision, license, kinds, defaults, means, bytes, words, files, told, limits)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $14)
        ON CONFLICT (name) DO UPDATE SET family = excluded.family, path = excluded.path,
            revision = excluded.revision, license = excluded.license, kinds = excluded.kinds,
            defaults = excluded.defaults, means = excluded.means, bytes = excluded.bytes, words = excluded.words,
            files = excluded.files, limits = excluded.limits, removed_at = NULL,
            told = CASE WHEN $13 AND models.removed_at IS NULL THEN models.told ELSE excluded.told END
        RETURNING told
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
        msgspec.to_builtins(found.files),
        msgspec.to_builtins(found.told),
        keep,
        found.limits,
    )
    return _as_told(msgspec.structs.replace(found, told=msgspec.convert(kept, Told)))


async def register_all(
    extra: Mapping[str, Path],
    means: Mapping[str, Means] | None = None,
    endpoints: Mapping[str, str] | None = None,
) -> list[Model]:
    """Register the models that come with the site, and those of the settings MODELS and ENDPOINTS. What the host said
    of them stays.

    Raises Invalid naming every one at fault, once all others are registered.
    """
    found = [
        await register(name, own.path, "Apache-2.0", own.kinds, own.defaults, keep=True)
        for name, own in SHIPPED.items()
    ]
    faults: dict[str, str] = {}
    found += [await register_endpoint(name, address, keep=True) for name, address in (endpoints or {}).items()]
    for name, path in extra.items():
        chosen = (means or {}).get(name, PLAIN)
        try:
            found.append(await _unchanged(name, path, chosen) or await register(name, path, means=chosen, keep=True))
        except Invalid as error:
            faults[name] = error.message
        except OSError as error:
            faults[name] = f"{error.filename or path} cannot be read: {error.strerror or error}"
    if faults:
        raise Invalid(faults, "MODELS: " + "; ".join(f"{name}: {fault}" for name, fault in faults.items()))
    return found


async def _unchanged(name: str, path: Path, means: Means) -> Model | None:
    """The model as it is registered, if its files have the same size, and its means, kinds and words are the same:
    hashing gigabytes takes long, and a worker checks the hash anyway. A LoRA is small, and one that was
    trained further has the size that it had."""
    kinds = kinds_of(path)
    if kinds == [LORA]:
        return None
    row = await db.fetchrow(
        f"""SELECT {_COLUMNS} FROM models
            WHERE name = $1 AND path = $2 AND bytes = $3 AND means = $4 AND kinds = $5
                AND removed_at IS NULL AND words = $6 AND limits = $7 AND files <> '[]'""",  # noqa: S608
        name,
        str(path),
        weights.size_of(weights.files_of(path)),
        msgspec.to_builtins(means),
        kinds,
        _words_of(path),
        weights.limits_of(path),
    )
    return None if row is None else _model(row)


def _model(row: db.Record) -> Model:
    return _as_told(msgspec.convert(dict(row), Model))


def kinds_of(path: Path) -> list[str]:
    """The kinds of steps that what lies there can do."""
    family = weights.family(path)
    if weights.has_motion(path):
        return [*IMAGE_KINDS, *ANIMATION_KINDS]
    alike = (family, *(ending for ending in weights.ALONE if family.endswith(ending)))
    found = list(next((KINDS[name] for name in alike if name in KINDS), ()))
    if not found:
        found = ["inpaint"] if weights.only_repaints(path) else [*IMAGE_KINDS]
    return [*found, SAMPLE] if voices.takes_sample(path) else found


def _words_of(path: Path) -> Words:
    """The words that a model of few knows, the classes of a generator, the voices of one that speaks, or what calls a
    LoRA."""
    if weights.is_lora(path) and (trigger := weights.trigger_of(path)):
        return [(vocabulary.TRIGGER, trigger)]
    if found := vocabulary.of_voices(voices.names(path)):
        return found
    return vocabulary.of_classes(weights.classes_of(path)) or vocabulary.read(path)


def place_of(model: Model, own: Mapping[str, Path]) -> str:
    """Where this machine has the model's files: its own MODELS and what comes with the site before what another
    machine registered.

    Whatever lies there must have the registered hash, or it is not opened.
    """
    shipped = {name: one.path for name, one in SHIPPED.items()}
    return str({**shipped, **own}.get(model.name, model.path))


def here(model: Model, own: Mapping[str, Path], endpoints: Mapping[str, str]) -> bool:
    """Whether this machine can run it: its files lie there in the sizes that were registered, or this machine is told
    the same address. That they are the very files is checked before they are opened."""
    if model.remote:
        return endpoints.get(model.name) == model.path
    place = Path(place_of(model, own))
    try:
        root = place.parent if place.is_file() else place
        return place.exists() and all((root / file.name).stat().st_size == file.bytes for file in model.files)
    except OSError:
        return False


def stamp(name: str, revision: str) -> str:
    """A model with its revision, as workers say that they have it."""
    return f"{name}@{revision}"


async def remove(name: str) -> None:
    """Offer the model no longer. Raises NotFound."""
    if not await db.execute(
        "UPDATE models SET removed_at = clock_timestamp() WHERE name = $1 AND removed_at IS NULL", name
    ):
        raise _no_model(name)


def _no_model(name: str) -> NotFound:
    return NotFound(f"There is no model called “{name[:80]}”.")


async def read(name: str) -> Model:
    """The model on offer under this name. Raises NotFound."""
    return _model(await _row(name))


async def _row(name: str) -> db.Record:
    row = await db.fetchrow(f"SELECT {_COLUMNS} FROM models WHERE name = $1 AND removed_at IS NULL", name)  # noqa: S608
    if row is None:
        raise _no_model(name)
    return row


async def everything() -> list[Model]:
    """Every model on offer, by name."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM models WHERE removed_at IS NULL ORDER BY name")  # noqa: S608
    return [_model(row) for row in rows]


async def offered() -> dict[str, list[ModelChoice]]:
    """The models that can run steps of each kind, by name, the starter model last; the LoRAs beside them."""
    rows = await db.fetch(
        """SELECT kind, name, defaults, words, told, family, limits FROM models, unnest(kinds) AS kind
           WHERE removed_at IS NULL
           ORDER BY name = $1, name""",
        STARTER,
    )
    found: dict[str, list[ModelChoice]] = {}
    for kind, name, defaults, words, given, family, limits in rows:
        now = msgspec.convert(given, Told)
        choice = ModelChoice(
            name,
            defaults if now.defaults is None else now.defaults,
            _told_words([kind], words, now),
            told.trigger(words, now),
            family,
            limits,
        )
        found.setdefault(kind, []).append(choice)
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


def fault(model: Model, own: Mapping[str, Path], say: weights.Say = lambda read: None) -> str:
    """What is wrong with the model's files where this machine has them, in words; "" for nothing. Reads all of them.

    Of one that runs elsewhere there is nothing to read."""
    if model.remote:
        return ""
    try:
        revision = weights.revision(Path(place_of(model, own)), say)
    except Invalid as error:
        return error.message
    except OSError as error:
        return f"{error.filename or model.path} cannot be read: {error.strerror or error}"
    if revision == model.revision:
        return ""
    return f"its files are others: revision {revision[:12]} instead of {model.revision[:12]}"


def check_name(name: str) -> None:
    """Raise Invalid for what cannot be a model's name."""
    if not 1 <= len(name) <= 80 or not all(char.isalnum() or char in "-_." for char in name):
        raise Invalid({"name": "1 to 80 letters, digits, dots, dashes and underscores"})
    if name in (".", ".."):
        raise Invalid({"name": "More than dots: a name is part of an address"})


def inspect(
    name: str,
    path: Path,
    license: str,
    kinds: Sequence[str],
    defaults: Mapping[str, Any] | None = None,
    means: Means = PLAIN,
    say: weights.Say = lambda read: None,
) -> Model:
    """What `register` stores of the files at `path`, checked and hashed. Raises Invalid."""
    check_name(name)
    path = path.expanduser().resolve()
    files = weights.files_of(path)
    check_family(means, weights.parts(path))
    voices.check(path)
    hashes = {relative: weights.sha256_of(file, say) for relative, file in files.items()}
    can = list(kinds) or kinds_of(path)
    return Model(
        name=name,
        family=weights.family(path),
        path=str(path),
        revision=weights.revision_of(hashes),
        license=license,
        kinds=can,
        defaults=fitting(weights.defaults_of(path), can) if defaults is None else dict(defaults),
        means=means,
        bytes=weights.size_of(files),
        words=_words_of(path),
        files=[File(relative, file.stat().st_size, hashes[relative]) for relative, file in files.items()],
        limits=weights.limits_of(path),
    )
