"""The files of a model: what may be opened, what it is, and one hash for all of it. Pure but for reading."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from domain import upscalers, vaes
from domain.errors import DomainError, Invalid

PICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".npz", ".h5", ".msgpack"})
"""File endings of formats that can run code when opened, or that diffusers would not read safely."""
SAFE = ".safetensors"
LORA = "LoRA"
"""The family of small changes of a model's weights."""
LANGUAGE = "language"
GENERATOR = "generator"
SPEECH = "speech"
HEARING = "hearing"
UPSCALER = "upscaler"
VAE = "vae_alone"
"""Not `vae`, which is a part of most pipelines."""
ALONE = {
    "ForCausalLM": LANGUAGE,
    "ConditionalGenerator": GENERATOR,
    "VitsModel": SPEECH,
    "SpeechT5ForTextToSpeech": SPEECH,
    "WhisperForConditionalGeneration": HEARING,
    upscalers.RRDB: UPSCALER,
    **dict.fromkeys(vaes.FAMILIES, VAE),
}
"""What a class that config.json names ends with, and what such a model is called where it is no part of a pipeline."""
SHAP_E = ("ShapEPipeline", "ShapEImg2ImgPipeline")
RENDERER = "shap_e_renderer"
"""The part of a ShapE folder that makes surfaces and pictures."""
MOTION = "motion_adapter"
"""The part of a folder that sets what its model draws in motion."""
STILL = "StableDiffusionPipeline"
"""The class of models that a motion adapter beside their parts sets in motion."""
REMOTE = ("http://", "https://")
"""What the path of a model begins with that runs elsewhere."""
MOST_CLASSES = 1_000
LONGEST_CLASS = 200
"""Characters of a class' name: as many as a step's `class_label` has."""
MOST_BLOCKS = 7
"""Of a generator, which draws 256 × 256 pixels then."""
MOST_CHANNELS = 1_024
FOLDED = {3: 1, 12: 2, 48: 4}
"""By the channels that come in: how many times narrower a picture is made first, its pixels becoming channels."""
MOST_DOUBLINGS = 3
MOST_TENSORS = 5_000
"""Of a network that enlarges and of a VAE in a file: real ones have some hundred."""
_VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "loss.", "model_ema.")
"""Of a VAE in a file, with what its training may have left there."""
_VAE_BLOCK = re.compile(r"encoder\.(?:down_blocks|down)\.(\d+)\.")
_OLD = re.compile(r"model\.\d+\.weight")
USUAL_FRAMES = 25
"""Of an animation, where its model knows more."""
LONGEST = 1024
"""Pixels of the longest side of a picture that is set in motion."""
_ODD = ("Cc", "Cs")
"""Characters that are none, by their Unicode category: line breaks and the like, and bytes that are no UTF-8."""
Say = Callable[[int], None]
Limits = dict[str, float]
_CHUNK = 1 << 20
_MOST_HEADER = 32 << 20
_MOST_JSON = 32 << 20
_LATENT_SCALE = 8


class OtherFiles(DomainError):
    """What lies on this machine under a model's name is not the revision that was asked for."""

    def __init__(self, revision: str, message: str) -> None:
        self.revision = revision
        super().__init__(message)


def files_of(path: Path) -> dict[str, Path]:
    """Every file of the model by its relative name. Raises Invalid for pickled or missing weights."""
    if path.is_file():
        if path.suffix.lower() != SAFE:
            raise _refusal(path)
        _check_header(path)
        _check_enlarges(path)
        return {path.name: path}
    if not (path / "model_index.json").is_file() and not alone(path):
        raise Invalid(
            {
                "path": f"{path} is neither a diffusers folder (model_index.json), nor a folder of a model that "
                f"stands alone ({', '.join(ALONE)} in config.json), nor a {SAFE} file"
            }
        )
    files = {
        str(file.relative_to(path)): file
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    }
    for relative, file in files.items():
        if any(unicodedata.category(one) in _ODD for one in relative):
            raise Invalid({"path": f"{relative!a} has a name that is no text on a line. Name it otherwise"})
        if file.suffix.lower() in PICKLED:
            raise _refusal(Path(relative))
        if file.suffix.lower() == ".py":
            raise Invalid({"path": f"{relative} is code: this site runs no model's own code"})
        if file.suffix.lower() == SAFE:
            _check_header(file)
    if alone(path) == GENERATOR:
        check_generator(path)
    if alone(path) == VAE and family(path) not in vaes.FAMILIES:
        raise Invalid(
            {"path": f"{path.name} is an {family(path)}: of VAEs only {' and '.join(vaes.FAMILIES)} are taken"}
        )
    _check_enlarges(path)
    if (alone(path) or not _parts_with_weights(path)) and not any(path.glob(f"*{SAFE}")):
        raise Invalid({"path": f"{path.name} has no {SAFE} file, so its weights cannot be loaded safely"})
    for part in _parts_with_weights(path):
        if not any((path / part).glob(f"*{SAFE}")):
            raise Invalid({"path": f"{part}/ has no {SAFE} file, so its weights cannot be loaded safely"})
    return files


def alone(path: Path) -> str:
    """What the model of a folder without a pipeline's index, or of a file, is, of `ALONE`; "" for all else."""
    return _alone(path)[1]


def _alone(path: Path) -> tuple[str, str]:
    """The same behind the class that says so, or that a file's tensors are known by."""
    if path.is_file():
        family = upscalers.RRDB if enlarges(path) else _vae_of(path)
        return family, ALONE.get(family, "")
    named = architectures(path)
    found = ((name, what) for ending, what in ALONE.items() for name in named if name.endswith(ending))
    return next(found, ("", ""))


def config_of(path: Path) -> dict[str, Any]:
    """What a folder's config.json says; nothing where there is none."""
    return _read_json(path / "config.json")


def tensors_of(file: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name, each with its dtype and shape."""
    return {name: told for name, told in _header(file).items() if name != "__metadata__"}


def architectures(path: Path) -> list[str]:
    """The classes that config.json names: those of transformers, or that of a model of diffusers."""
    config = _read_json(path / "config.json")
    named = config.get("architectures") or [config.get("_class_name", "")]
    return [str(name) for name in named] if isinstance(named, list) else []


def classes_of(path: Path) -> list[str]:
    """The classes of pictures that a generator's folder names, in its order."""
    named = _read_json(path / "config.json").get("classes") if alone(path) == GENERATOR else None
    return [str(name) for name in named] if isinstance(named, list) else []


def is_lora(path: Path) -> bool:
    """Whether it is a file whose every tensor is part of a LoRA, as diffusers, peft and kohya's scripts name them."""
    names = _header(path).keys() - {"__metadata__"} if path.is_file() else set()
    return bool(names) and all("lora" in name.lower() or name.endswith(".alpha") for name in names)


def enlarges(path: Path) -> int:
    """How many times wider and higher a network of the ESRGAN class, in a file or a folder, draws, by its tensors'
    shapes; 0 for anything else.

    Of a picture that is folded into channels first, 4 or 16 pixels for one, so much of the enlargement is lost again.
    """
    file = next(iter(sorted(path.glob(f"*{SAFE}"))), path) if path.is_dir() else path
    tensors = _shapes(file) if file.is_file() else {}
    first = tensors.get("conv_first.weight") or tensors.get("model.0.weight") or []
    if len(first) != 4 or first[1] not in FOLDED or 0 in first or len(tensors) > MOST_TENSORS:
        return 0
    if "body.0.rdb1.conv1.weight" in tensors:
        doublings = sum(f"conv_up{number}.weight" in tensors for number in range(1, MOST_DOUBLINGS + 1))
    elif "model.1.sub.0.RDB1.conv1.0.weight" in tensors:
        doublings = sum(bool(_OLD.fullmatch(name)) for name in tensors) - 3  # beside the first, and the last two
    else:
        return 0
    return max(0, 2**doublings // FOLDED[first[1]]) if 0 <= doublings <= MOST_DOUBLINGS else 0


def _vae_of(path: Path) -> str:
    """The class of the VAE that a file's tensors are, all of them; "" for none."""
    names = _header(path).keys() - {"__metadata__"}
    if not 0 < len(names) <= MOST_TENSORS or not all(name.startswith(_VAE_PARTS) for name in names):
        return ""
    if {"encoder.layers.0.weight", "decoder.layers.0.weight"} <= names:
        return vaes.TINY
    return vaes.KL if {"encoder.conv_in.weight", "decoder.conv_in.weight"} <= names else ""


def limits_of(path: Path) -> Limits:
    """What the files say that steps with the model must keep to: what the latents of one that draws and of a VAE are
    like (`domain.vaes.Latents`), how many `frames` one that animates can tell apart, the largest `factor` of one that
    enlarges."""
    what = alone(path)
    if what == UPSCALER or family(path) in upscalers.NATIVE:
        return {"factor": defaults_of(path)["factor"]}
    if what not in ("", VAE) or family(path) in (LORA, *SHAP_E):
        return {}
    frames = _frames(path, "motion_max_seq_length")
    return {**latents_of(path), **({"frames": frames} if frames else {})}


def latents_of(path: Path) -> vaes.Latents:
    """What the latents are like of a model that draws, or of a VAE; nothing where that is not told."""
    if path.is_dir():
        config = _read_json((path if alone(path) == VAE else path / "vae") / "config.json")
        return vaes.latents(str(config.get("_class_name", "")), config)
    family, head = _vae_of(path), _header(path)
    if not family:
        large = "conditioner.embedders.1.model.ln_final.weight" in head
        whole = any(name.startswith("first_stage_model.") for name in head)
        return {"channels": 4, "shrinks": 8, "scaling": 0.13025 if large else 0.18215, "shift": 0.0} if whole else {}
    first = _shapes(path)["decoder.layers.0.weight" if family == vaes.TINY else "decoder.conv_in.weight"]
    levels = 4 if family == vaes.TINY else len({found[1] for name in head if (found := _VAE_BLOCK.match(name))})
    config = {"latent_channels": first[1] if len(first) == 4 else 0, "block_out_channels": [0] * levels}
    return {name: value for name, value in vaes.latents(family, config).items() if name in ("channels", "shrinks")}


def trigger_of(path: Path) -> list[str]:
    """The words that call what a LoRA has learned, as its file tells them in the terms of ModelSpec."""
    told = _header(path).get("__metadata__", {}) if path.is_file() else {}
    phrase = told.get("modelspec.trigger_phrase", "") if isinstance(told, dict) else ""
    plain = "".join(one for one in str(phrase)[:500] if unicodedata.category(one) not in _ODD)
    return [word.strip() for word in plain.split(",") if word.strip()]


def _header(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors; nothing for one that says more than any real one."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            told = json.loads(file.read(length)) if length <= _MOST_HEADER else {}
        except (ValueError, RecursionError):
            return {}
    return told if isinstance(told, dict) else {}


def _shapes(file: Path) -> dict[str, list[int]]:
    """The shape of each tensor of a safetensors file by its name, [] for one that is told as nothing of the kind."""
    told = {name: about.get("shape") if isinstance(about, dict) else None for name, about in tensors_of(file).items()}
    return {
        name: shape if isinstance(shape, list) and all(type(size) is int for size in shape) else []
        for name, shape in told.items()
    }


def classes_fault(names: Sequence[Any]) -> str:
    """What keeps names from being a generator's classes, in words; "" for nothing."""
    if not 1 <= len(names) <= MOST_CLASSES:
        return f"there are 1 to {MOST_CLASSES:,} classes, and these are {len(names):,}"
    wrong = [name for name in names if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_CLASS]
    if wrong:
        return f"the name of a class has 1 to {LONGEST_CLASS} characters, and {str(wrong[0])[:20]!a} has not"
    odd = [name for name in names if name != name.strip() or any(unicodedata.category(one) in _ODD for one in name)]
    if odd:
        return f"the name of a class is text on a line, without spaces around it, and {odd[0]!a} is not"
    return "" if len({*names}) == len(names) else "two classes have one name"


def check_generator(path: Path) -> None:
    """Raise Invalid where config.json describes no generator, or one larger than any that is opened."""
    config = _read_json(path / "config.json")
    classes, channels = config.get("classes"), config.get("channels")
    sizes = [config.get(name, 1) for name in ("latent_channels", "style_channels")]
    fault = classes_fault(classes if isinstance(classes, list) else [])
    if not isinstance(channels, list) or not 1 <= len(channels) <= MOST_BLOCKS or not all(map(_counts, channels)):
        fault = fault or f"channels are 1 to {MOST_BLOCKS} numbers from 1 to {MOST_CHANNELS:,}"
    if not all(map(_counts, sizes)):
        fault = fault or f"latent_channels and style_channels are from 1 to {MOST_CHANNELS:,}"
    if fault:
        raise Invalid({"path": f"config.json of {path.name} is no generator's: {fault}"})


def _counts(channels: Any) -> bool:
    return type(channels) is int and 1 <= channels <= MOST_CHANNELS


def revision_of(hashes: Mapping[str, str]) -> str:
    """One hash for a set of files: SHA-256 over their names and hashes, sorted."""
    lines = "".join(f"{name}\0{hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def revision(path: Path, say: Say = lambda read: None) -> str:
    """The revision of the files that lie at `path` now. Raises Invalid as `register` does."""
    return revision_of({relative: sha256_of(file, say) for relative, file in files_of(path).items()})


def _check_enlarges(path: Path) -> None:
    """Raise Invalid for a network of the ESRGAN class that cannot be told from others, or draws no larger picture."""
    if alone(path) == UPSCALER and enlarges(path) < 2:
        raise Invalid(
            {"path": f"the tensors of {path.name} are not those of a network that enlarges ({upscalers.RRDB})"}
        )


def _refusal(path: Path) -> Invalid:
    return Invalid(
        {"path": f"{path.name} is refused: only {SAFE} files are safe to open; pickled weights can run code"}
    )


def _check_header(path: Path) -> None:
    """A safetensors file starts with the length of a JSON object; anything else only has the name."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        start = file.read(1)
    if start != b"{" or not 2 <= length <= path.stat().st_size - 8:
        raise Invalid({"path": f"{path.name} is not a safetensors file, whatever its name says"})


def sha256_of(path: Path, say: Say = lambda read: None) -> str:
    """The file's hash; `say` hears of every piece how many bytes it has, and may end it all by raising."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            say(len(chunk))
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    """What a file says; nothing for one that is larger than any real one, or no plain file: a pipe would never end."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_JSON:
            return {}
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


_WEIGHTLESS = (
    "Scheduler",
    "Tokenizer",
    "TokenizerFast",
    "ImageProcessor",
    "ImageProcessorFast",
    "ImageProcessorPil",
    "FeatureExtractor",
    "Processor",
)


def every_part(path: Path) -> dict[str, str]:
    """The class of each component that the folder's index names."""
    index = _read_json(path / "model_index.json").items()
    return {name: str(value[1]) for name, value in index if isinstance(value, list) and len(value) == 2 and value[1]}


def has_motion(path: Path) -> bool:
    """Whether a model that draws pictures has a motion adapter beside its parts, which its index need not name."""
    return family(path) == STILL and (path / MOTION / "config.json").is_file()


def only_repaints(path: Path) -> bool:
    """Whether a model takes a picture and its mask along with the noise (9 channels where latents have 4), so that it
    can repaint a part and nothing else."""
    if path.is_file():
        first = _shapes(path).get("model.diffusion_model.input_blocks.0.0.weight", [])
        return len(first) == 4 and first[1] == 9
    takes, latents = (_read_json(path / part / "config.json") for part in ("unet", "vae"))
    return takes.get("in_channels") == 9 and latents.get("latent_channels", 4) == 4


def left_out(path: Path) -> list[str]:
    """The components that the folder's index names as none, such as the largest text encoder of Stable Diffusion 3."""
    index = _read_json(path / "model_index.json").items()
    return [name for name, value in index if value == [None, None]]


def _parts_with_weights(path: Path) -> list[str]:
    """The folder's components that hold tensors: everything but schedulers, tokenizers and processors."""
    named = [name for name, kind in every_part(path).items() if not kind.endswith(_WEIGHTLESS)]
    return [*named, MOTION] if has_motion(path) and MOTION not in named else named


def parts(path: Path) -> set[str]:
    """The names of the folder's parts that hold tensors, such as unet and vae; those of a single file. A model
    that stands alone is one part."""
    if what := alone(path):
        return {what}
    if is_lora(path):
        return {LORA}
    if family(path) in upscalers.NATIVE:
        return {UPSCALER, *_parts_with_weights(path)}
    return {"unet", "vae", "text_encoder"} if path.is_file() else set(_parts_with_weights(path))


def variant(path: Path) -> str | None:
    """The variant, such as fp16, that a folder's weights come in where a part has no plain ones. None: all have.

    A motion adapter beside a model's parts has one of its own.
    """
    beside = {MOTION} if has_motion(path) else set()
    every = (variant_of_part(path / part) for part in _parts_with_weights(path) if part not in beside)
    return next(filter(None, every), None)


def variant_of_part(path: Path) -> str | None:
    """The variant that one part's weights come in, where it has no plain ones."""
    found = sorted({variant_of(file) for file in path.glob(f"*{SAFE}")})
    if not found or "" in found:
        return None
    return "fp16" if "fp16" in found else found[0]


def loaded_size(path: Path) -> int:
    """Bytes of the weights that loading reads: of each part the plain files, or those of the one variant."""
    if (what := alone(path)) and path.is_dir():
        of = "**/*" if what == SPEECH else "*"  # a vocoder and voices lie in folders beside the model
        return sum(file.stat().st_size for file in path.glob(f"{of}{SAFE}"))
    chosen = variant(path) or ""
    if path.is_file():
        return path.stat().st_size
    own = {MOTION: variant_of_part(path / MOTION) or ""} if has_motion(path) else {}
    folders = ((path / part, own.get(part, chosen)) for part in _parts_with_weights(path))
    files = [(file, read) for folder, read in folders for file in folder.glob(f"*{SAFE}")]
    return sum(file.stat().st_size for file, read in files if variant_of(file) == read)


def variant_of(file: Path) -> str:
    """The variant that a file is of: fp16 for `model.fp16-00001-of-00002.safetensors`, "" for a plain one."""
    return re.sub(r"-\d{5}-of-\d{5}$", "", file.name.removesuffix(SAFE)).partition(".")[2]


def family(path: Path) -> str:
    """The class that the folder names: of its pipeline, or of the model that stands alone."""
    if path.is_file() and is_lora(path):
        return LORA
    if named := _alone(path)[0]:
        return named
    if path.is_file():
        return "single-file"
    return str(_read_json(path / "model_index.json").get("_class_name", "unknown"))


def defaults_of(path: Path) -> dict[str, Any]:
    """Width, height, steps, guidance and scheduler that suit the model, or temperature and top p, as its folder tells
    them."""
    if (what := alone(path)) == UPSCALER:
        return {"factor": min(enlarges(path), upscalers.LARGEST)}
    if what:
        return _sampling_of(path) if what == LANGUAGE else {}
    if family(path) in upscalers.NATIVE:
        return {"factor": upscalers.NATIVE[family(path)]}
    if family(path) in (LORA, *SHAP_E):
        return {}
    defaults: dict[str, Any] = {"width": 512, "height": 512, "num_inference_steps": 30, "guidance_scale": 7.0}
    if path.is_file():
        return defaults | _drawing_of(path.with_suffix(""))  # its configuration lies beside it, if it is there
    defaults |= _drawing_of(path)
    return defaults | _motion_of(path, defaults["width"])


def _drawing_of(path: Path) -> dict[str, Any]:
    """Size and scheduler, as the parts of a folder tell them."""
    told: dict[str, Any] = {}
    for part in ("unet", "transformer"):
        sample = _read_json(path / part / "config.json").get("sample_size")
        if isinstance(sample, int) and 8 <= sample <= 256:
            told["width"] = told["height"] = sample * _latent_scale(path)
    scheduler = _read_json(path / "scheduler" / "scheduler_config.json").get("_class_name")
    if isinstance(scheduler, str):
        told["scheduler"] = scheduler
    return told


def _motion_of(path: Path, side: int) -> dict[str, Any]:
    """Frames and size that suit a model which draws animations."""
    frames = _frames(path, "motion_max_seq_length") or _frames(path, "num_frames")
    return {"frames": min(frames, USUAL_FRAMES), "longest_side": min(side, LONGEST)} if frames else {}


def _frames(path: Path, name: str) -> int:
    """What a motion adapter or a U-Net calls a number of frames; 0 for none."""
    found = [_read_json(path / part / "config.json").get(name) for part in (MOTION, "unet")]
    return next((number for number in found if type(number) is int and number > 1), 0)


def _sampling_of(path: Path) -> dict[str, Any]:
    told = _read_json(path / "generation_config.json")
    bounds = {"temperature": (0.0, 2.0), "top_p": (0.01, 1.0)}
    given = {name: told.get(name) for name in bounds}
    return {
        name: float(value)
        for name, value in given.items()
        if isinstance(value, int | float) and bounds[name][0] <= value <= bounds[name][1]
    }


def _latent_scale(path: Path) -> int:
    """Pixels of a picture's side for one of its latents': the autoencoder halves them before each block but one."""
    config = _read_json(path / "vae" / "config.json")
    blocks = config.get("encoder_block_out_channels") or config.get("block_out_channels")
    return 2 ** (len(blocks) - 1) if isinstance(blocks, list) and 1 < len(blocks) < 8 else _LATENT_SCALE


def size_of(files: Mapping[str, Path]) -> int:
    """Bytes of all files together."""
    return sum(file.stat().st_size for file in files.values())
