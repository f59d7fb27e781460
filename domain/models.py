"""The registry of models: diffusers folders and single-file checkpoints, safetensors only."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from domain import db
from domain.errors import Invalid, NotFound

PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npz", ".h5", ".msgpack"})
"""File endings of formats that can run code when opened, or that diffusers would not read safely."""
WEIGHTS = ".safetensors"
IMAGE_KINDS = ("text_to_image", "image_to_image")
STARTER = "starter"
STARTER_PATH = Path(__file__).resolve().parent.parent / "tasks" / "weights" / "starter"
STARTER_DEFAULTS: dict[str, Any] = {
    "width": 128,
    "height": 128,
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "scheduler": "DDIMScheduler",
}
_CHUNK = 1 << 20
_LATENT_SCALE = 8


class Model(Struct, frozen=True, kw_only=True):
    """A registered model. `revision` is the hash of every file's name and content."""

    name: str
    family: str
    path: str
    revision: str
    license: str
    kinds: list[str]
    defaults: dict[str, Any]
    bytes: int


class ModelChoice(Struct, frozen=True):
    """A model as a form offers it, with the values it works best with."""

    name: str
    defaults: dict[str, Any]


_COLUMNS = "name, family, path, revision, license, kinds, defaults, bytes"


async def register(
    name: str,
    path: Path | str,
    license: str = "",
    kinds: Sequence[str] = IMAGE_KINDS,
    defaults: Mapping[str, Any] | None = None,
) -> Model:
    """Check, hash and register a diffusers folder or a single `.safetensors` file.

    Registering a name again replaces it. Raises Invalid for a bad name, a path that is not a
    model, and anything pickled.
    """
    found = inspect(name, Path(path), license, kinds, defaults)
    await db.execute(
        """
        INSERT INTO models (name, family, path, revision, license, kinds, defaults, bytes)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (name) DO UPDATE SET family = excluded.family, path = excluded.path,
            revision = excluded.revision, license = excluded.license, kinds = excluded.kinds,
            defaults = excluded.defaults, bytes = excluded.bytes, removed_at = NULL
        """,
        found.name,
        found.family,
        found.path,
        found.revision,
        found.license,
        found.kinds,
        found.defaults,
        found.bytes,
    )
    return found


async def register_all(extra: Mapping[str, Path]) -> list[Model]:
    """Register the starter model and those of the MODELS setting. Raises Invalid naming the one at fault."""
    found = [await register(STARTER, STARTER_PATH, "Apache-2.0", IMAGE_KINDS, STARTER_DEFAULTS)]
    for name, path in extra.items():
        try:
            found.append(await register(name, path))
        except Invalid as error:
            raise Invalid(error.fields, f"MODELS: {name}: {error.message}") from error
    return found


async def remove(name: str) -> None:
    """Offer the model no longer. Raises NotFound."""
    if not await db.execute(
        "UPDATE models SET removed_at = clock_timestamp() WHERE name = $1 AND removed_at IS NULL", name
    ):
        raise NotFound(f"There is no model called “{name}”.")


async def everything() -> list[Model]:
    """Every model on offer, by name."""
    rows = await db.fetch(f"SELECT {_COLUMNS} FROM models WHERE removed_at IS NULL ORDER BY name")  # noqa: S608
    return [Model(**row) for row in rows]


async def names(kind: str) -> list[ModelChoice]:
    """The models that can run steps of this kind, by name, the starter model last."""
    rows = await db.fetch(
        """SELECT name, defaults FROM models WHERE $1 = ANY (kinds) AND removed_at IS NULL
           ORDER BY name = $2, name""",
        kind,
        STARTER,
    )
    return [ModelChoice(row["name"], row["defaults"]) for row in rows]


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
    return Model(**row)


# -- files ------------------------------------------------------------------------------------


def inspect(
    name: str, path: Path, license: str, kinds: Sequence[str], defaults: Mapping[str, Any] | None = None
) -> Model:
    """What `register` stores of the files at `path`, checked and hashed. Raises Invalid."""
    if not 1 <= len(name) <= 80 or not all(char.isalnum() or char in "-_." for char in name):
        raise Invalid({"name": "1 to 80 letters, digits, dots, dashes and underscores"})
    path = path.expanduser().resolve()
    files = files_of(path)
    hashes = {relative: _sha256(file) for relative, file in files.items()}
    return Model(
        name=name,
        family=_family(path),
        path=str(path),
        revision=revision_of(hashes),
        license=license,
        kinds=list(kinds),
        defaults=dict(defaults) if defaults is not None else _defaults(path),
        bytes=sum(file.stat().st_size for file in files.values()),
    )


def files_of(path: Path) -> dict[str, Path]:
    """Every file of the model by its relative name. Raises Invalid for pickled or missing weights."""
    if path.is_file():
        if path.suffix.lower() != WEIGHTS:
            raise _refusal(path)
        _check_header(path)
        return {path.name: path}
    if not (path / "model_index.json").is_file():
        raise Invalid({"path": f"{path} is neither a diffusers folder (model_index.json) nor a {WEIGHTS} file"})
    files = {
        str(file.relative_to(path)): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    }
    for relative, file in files.items():
        if file.suffix.lower() in PICKLED:
            raise _refusal(Path(relative))
        if file.suffix.lower() == ".py":
            raise Invalid({"path": f"{relative} is code: this site runs no model's own code"})
        if file.suffix.lower() == WEIGHTS:
            _check_header(file)
    for part in _parts_with_weights(path):
        if not any((path / part).glob(f"*{WEIGHTS}")):
            raise Invalid({"path": f"{part}/ has no {WEIGHTS} file, so its weights cannot be loaded safely"})
    return files


def revision_of(hashes: Mapping[str, str]) -> str:
    """One hash for a set of files: SHA-256 over their names and hashes, sorted."""
    lines = "".join(f"{name}\0{hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def revision(path: Path) -> str:
    """The revision of the files that lie at `path` now. Raises Invalid as `register` does."""
    return revision_of({relative: _sha256(file) for relative, file in files_of(path).items()})


def _refusal(path: Path) -> Invalid:
    return Invalid(
        {"path": f"{path.name} is refused: only {WEIGHTS} files are safe to open; pickled weights can run code"}
    )


def _check_header(path: Path) -> None:
    """A safetensors file starts with the length of a JSON object; anything else only has the name."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start = file.read(1)
    if start != b"{" or not 2 <= length <= path.stat().st_size - 8:
        raise Invalid({"path": f"{path.name} is not a safetensors file, whatever its name says"})


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


_WEIGHTLESS = ("Scheduler", "Tokenizer", "TokenizerFast", "ImageProcessor", "FeatureExtractor", "Processor")


def _parts_with_weights(path: Path) -> list[str]:
    """The folder's components that hold tensors: everything but schedulers, tokenizers and processors."""
    index = _read_json(path / "model_index.json")
    return [
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] and not str(value[1]).endswith(_WEIGHTLESS)
    ]


def _family(path: Path) -> str:
    if path.is_file():
        return "single-file"
    return str(_read_json(path / "model_index.json").get("_class_name", "unknown"))


def _defaults(path: Path) -> dict[str, Any]:
    """Width, height, steps, guidance and scheduler that suit the model, as its folder tells them."""
    defaults: dict[str, Any] = {"width": 512, "height": 512, "num_inference_steps": 30, "guidance_scale": 7.0}
    if path.is_file():
        return defaults
    for part in ("unet", "transformer"):
        sample = _read_json(path / part / "config.json").get("sample_size")
        if isinstance(sample, int) and 8 <= sample <= 256:
            defaults["width"] = defaults["height"] = sample * _LATENT_SCALE
    scheduler = _read_json(path / "scheduler" / "scheduler_config.json").get("_class_name")
    if isinstance(scheduler, str):
        defaults["scheduler"] = scheduler
    return defaults
