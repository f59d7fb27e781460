"""Models in memory: opened with care, kept within a budget, the one unused for longest goes first.

torch and diffusers are imported when first needed, so that importing a step costs nothing.
"""

import inspect
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from domain import machine, voices, weights
from domain.errors import DomainError
from domain.means import Means
from domain.weights import OtherFiles
from tasks import hearing, language, means, memory, speech, speech_t5, upscaling, vaes
from tasks.endpoint import Endpoint
from tasks.messages import LoraRef, ModelRef

log = logging.getLogger(__name__)

CHECKPOINT = ("model.diffusion_model.", "first_stage_model.")
"""What the names of tensors begin with in a whole Stable Diffusion checkpoint."""
FEW_WORDS = 20
"""Words of a tokenizer that is only its own marks."""
MAX_REASON = 240
Say = Callable[[str], None]


@dataclass(slots=True)
class Model:
    """A loaded model: its pipeline for drawing, and others that share its parts; or its language, its generator, or
    where it is."""

    ref: ModelRef
    pipe: Any
    scheduler: Any
    """The model's own scheduler, as it came; None for a model that is no pipeline."""
    device: str
    dtype: str
    means: dict[str, Any] = field(default_factory=dict)
    """What is in force of its means."""
    bytes: int = 0
    """What its parameters and buffers take."""
    others: dict[str, Any] = field(default_factory=dict)
    loras: list[LoraRef] | None = field(default_factory=list)
    """Those that its parts wear now; None: something went wrong while they were changed."""
    vae: Any = None
    """Its own VAE, while another stands in for it."""

    @property
    def multiple(self) -> int:
        """Sides must be multiples of this many pixels."""
        return max(8, int(getattr(self.pipe, "vae_scale_factor", 8)))

    def fitting(self, side: int) -> int:
        """The side, or the next larger one that the model makes."""
        return -(-side // self.multiple) * self.multiple


class Models:
    """Loaded models, the latest used last. `budget`: bytes they may take together, 0 to suit the device."""

    def __init__(self, device: str, budget: int = 0, say: Say = lambda doing: None) -> None:
        self._setting = device
        self._given = budget
        self._say = say
        self._loaded: OrderedDict[tuple[str, str, str, Means], Model] = OrderedDict()

    @cached_property
    def device(self) -> str:
        """The torch device, found when first needed: steps without a model need no torch."""
        return device_for(self._setting)

    @cached_property
    def budget(self) -> int:
        """Bytes for loaded models: as given, else half of RAM, or four fifths of a CUDA device's memory."""
        if self._given:
            return self._given
        if self.device.startswith("cuda"):
            import torch

            return int(torch.cuda.get_device_properties(self.device).total_memory * 4 // 5)
        return machine.memory() // 2

    def get(self, ref: ModelRef) -> Model:
        """The model, loaded now if need be. One larger than the whole budget is loaded alone.

        Raises DomainError when its files are not what was registered or cannot be loaded.
        """
        key = (ref.name if ref.remote else "", ref.path, ref.revision, ref.means)
        if key not in self._loaded:
            self._make_room(_expected(Path(ref.path)))
            with memory.uncollected():  # the first one imports its libraries: a million objects that all stay
                model = self._load(ref)
            self._make_room(model.bytes)
            self._loaded[key] = model
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def free(self) -> None:
        """Give back memory that torch holds for later."""
        _free(self.device)

    def _make_room(self, size: int) -> None:
        while self._loaded and sum(model.bytes for model in self._loaded.values()) + size > self.budget:
            (_, _, revision, _), model = self._loaded.popitem(last=False)
            log.info("dropping %s (%s), %d MB", model.ref.name, revision[:12], model.bytes >> 20)
            del model
            _free(self.device)

    def _load(self, ref: ModelRef) -> Model:
        try:
            return load(ref, self.device, self._say)
        except Exception as error:
            if not memory.is_short(error) or not self._loaded:
                raise
            log.warning("%s does not fit beside other models: they go", ref.name)
        self._loaded.clear()
        _free(self.device)
        return load(ref, self.device, self._say)


def device_for(setting: str) -> str:
    """The torch device that the DEVICE setting means."""
    import torch

    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def quiet() -> None:
    """Keep the libraries' advice out of the log; their errors stay."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def load(ref: ModelRef, device: str, say: Say = lambda doing: None) -> Model:
    """Check the files, open them and put them on the device with their means; `say` hears of each part of it.

    Raises DomainError with the model's name and the reason, and torch's own errors when memory runs out.
    """
    if ref.remote:
        there = Endpoint(ref.name, ref.path)
        return Model(ref, there, None, there.host, "")
    try:
        return _load(ref, device, say)
    except Exception as error:
        if memory.is_short(error):
            raise
        log.warning("cannot load %s", ref.name, exc_info=error)
        words = f"The model “{ref.name}” cannot be loaded: {reason(error, ref.path)}"
        raise (OtherFiles(ref.revision, words) if isinstance(error, OtherFiles) else DomainError(words)) from error


def _load(ref: ModelRef, device: str, say: Say) -> Model:
    path = Path(ref.path)
    _check(ref, path, say)
    quiet()
    dtype = means.dtype(ref.means, device)
    log.info("loading %s from %s", ref.name, path)
    say("opening")
    if what := weights.alone(path):
        return _load_alone(ref, path, what, device, dtype, say)
    pipe = _open_folder(path, dtype) if path.is_dir() else open_file(path, dtype)
    check_words(pipe)
    pipe.set_progress_bar_config(disable=True)
    say("placing")
    force = means.place(pipe, ref.means, device)
    model = Model(ref, pipe, pipe.scheduler, device, str(dtype).removeprefix("torch."), force, _bytes_of(pipe))
    if ref.means.compile:
        say("compiling")
        warm_up(model)
    return model


def _load_alone(ref: ModelRef, path: Path, what: str, device: str, dtype: Any, say: Say) -> Model:
    """A model that is no pipeline. One that speaks or listens is run in fp32: it is small, and half of the numbers is
    heard."""
    import torch

    if what in (weights.SPEECH, weights.HEARING):
        dtype = torch.float32
    found = _opened_alone(path, what, dtype)
    check_words(found)
    say("placing")
    for part in found.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(device)
    return Model(ref, found, None, device, str(dtype).removeprefix("torch."), {}, _bytes_of(found))


def _opened_alone(path: Path, what: str, dtype: Any) -> Any:
    match what:
        case weights.LANGUAGE:
            return language.open_folder(path, dtype)
        case weights.GENERATOR:
            from tasks.gan import drawing

            return drawing.open_folder(path, dtype)
        case weights.HEARING:
            return hearing.open_folder(path)
        case weights.SPEECH:
            return (speech_t5 if weights.family(path) == voices.FAMILY else speech).open_folder(path)
        case weights.VAE:
            return vaes.opened(path, dtype)
        case weights.UPSCALER:
            return upscaling.opened(path, dtype)
    raise ValueError(what)


def warm_up(model: Model) -> None:
    """Draw once in few passes, so that the first person does not wait for what only happens once. A pipeline that
    begins with a picture waits for one."""
    import torch

    takes = list(inspect.signature(model.pipe.__call__).parameters)
    if takes[0] != "prompt":
        return
    frames = weights.defaults_of(Path(model.ref.path)).get("frames") if "num_frames" in takes else None
    with torch.inference_mode():
        model.pipe("", num_inference_steps=2, **({"num_frames": frames} if frames else {}))


def _check(ref: ModelRef, path: Path, say: Say) -> None:
    if not path.exists():
        raise OtherFiles(ref.revision, "its files are not on this machine.")
    hashes: dict[str, str] = {}
    for relative, file in weights.files_of(path).items():
        say("checking")
        hashes[relative] = weights.sha256_of(file)
    if weights.revision_of(hashes) != ref.revision:
        raise OtherFiles(ref.revision, "its files changed since it was registered. Register it again.")


def _open_folder(path: Path, dtype: Any) -> Any:
    """ShapE's renderer in fp32, whatever the rest is in: in 16 bits places run into each other."""
    import torch
    from diffusers import DiffusionPipeline

    _check_parts(path)
    renderer = weights.every_part(path).get(weights.RENDERER)
    if renderer not in (None, "ShapERenderer"):
        raise DomainError(f"its {weights.RENDERER} is of the class {renderer}, and must be a ShapERenderer.")
    return DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        str(path),
        dtype={"default": dtype, weights.RENDERER: torch.float32} if renderer else dtype,
        variant=weights.variant(path),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **dict.fromkeys(weights.left_out(path)),
    )


def open_file(path: Path, dtype: Any, config: Path | None = None) -> Any:
    """Open a checkpoint with the configuration (JSON and tokenizer, no weights) that its file lacks: from the folder
    `config`, by default that of the same name beside it, else the Hugging Face cache. Raises DomainError.
    """
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    names = _tensor_names(path)
    if not all(any(name.startswith(start) for name in names) for start in CHECKPOINT):
        raise DomainError("a single file must be a whole checkpoint of Stable Diffusion 1, 2 or XL, and this is none.")
    large = "conditioner.embedders.1.model.ln_final.weight" in names
    family = StableDiffusionXLPipeline if large else StableDiffusionPipeline
    beside = config or path.with_suffix("")
    if config is not None and not weights.every_part(config):
        raise DomainError(f"{config} is no diffusers folder: it has no model_index.json that names parts.")
    if beside.is_dir():
        _check_parts(beside)
        return family.from_single_file(str(path), dtype=dtype, config=str(beside), local_files_only=True)
    try:
        return family.from_single_file(str(path), dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as error:
        log.warning("%s: %s", path.name, error)
    raise DomainError(
        "it is a single file, and its configuration is not on this machine. "
        f"Put its diffusers configuration into a folder called {beside.name} beside it."
    )


def _check_parts(folder: Path) -> None:
    """Refuse a folder that lacks a part: transformers would make an empty tokenizer and say nothing."""
    for part in weights.every_part(folder):
        if not (folder / part).is_dir():
            raise DomainError(f"the folder {part} is missing.")


def check_words(pipe: Any) -> None:
    """Refuse a tokenizer that lacks a file: it would know no words and say nothing. Raises DomainError."""
    for name, part in pipe.components.items():
        if name.startswith("tokenizer") and part is not None and len(part) < FEW_WORDS:
            raise DomainError(f"its {name} knows no words: a file of it is missing.")


def dtype_of(path: Path) -> Any:
    """What most of a checkpoint's numbers are: float16, bfloat16 or float32; what else there is opens as float32."""
    import torch

    counts: dict[str, int] = {}
    for told in weights.tensors_of(path).values():
        counts[told["dtype"]] = counts.get(told["dtype"], 0) + math.prod(told["shape"])
    usual = max(counts, key=counts.__getitem__, default="F32")
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(usual, torch.float32)


def _tensor_names(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return set(file.keys())


def reason(error: Exception, path: str) -> str:
    """What the error says, in a line or two, without this machine's folders."""
    text = error.message if isinstance(error, DomainError) else f"{type(error).__name__}: {error}"
    words = " ".join(text.replace(path, Path(path).name).split())
    return words if len(words) <= MAX_REASON else f"{words[:MAX_REASON]}…"


def _expected(path: Path) -> int:
    """Bytes that loading will take, about: the weights' files."""
    try:
        return weights.loaded_size(path)
    except OSError:
        return 0


def _bytes_of(pipe: Any) -> int:
    """Bytes of all parameters and buffers, shared ones once."""
    import torch

    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    tensors = chain.from_iterable(chain(part.parameters(), part.buffers()) for part in parts)
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def _free(device: str) -> None:
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
