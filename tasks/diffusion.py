"""diffusers, as the steps use it: loading with care, schedulers by name, one way to denoise.

torch and diffusers are imported when first needed, so that importing a step costs nothing.
"""

import inspect
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from domain import steps, weights
from domain.errors import DomainError
from tasks.context import Context, Stopped
from tasks.messages import ModelRef

log = logging.getLogger(__name__)

KEPT = 2
"""Models kept in memory; the one unused for longest goes first."""
MAX_SIDE = 2048


@dataclass(slots=True)
class Model:
    """A loaded model: its pipeline for drawing, and others that share its parts."""

    ref: ModelRef
    pipe: Any
    scheduler: Any
    """The model's own scheduler, as it came."""
    device: str
    dtype: str
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def multiple(self) -> int:
        """Sides must be multiples of this many pixels."""
        return max(8, int(getattr(self.pipe, "vae_scale_factor", 8)))


class Models:
    """Loaded models, the latest used last."""

    def __init__(self, device: str) -> None:
        self._setting = device
        self._loaded: OrderedDict[str, Model] = OrderedDict()

    @cached_property
    def device(self) -> str:
        """The torch device, found when first needed: steps without a model need no torch."""
        return device_for(self._setting)

    def get(self, ref: ModelRef) -> Model:
        """The model, loaded now if need be. Raises DomainError when its files are not what was registered."""
        key = f"{ref.revision} {ref.path}"
        if key not in self._loaded:
            while len(self._loaded) >= KEPT:
                self._loaded.popitem(last=False)
                _free(self.device)
            self._loaded[key] = _load(ref, self.device)
        self._loaded.move_to_end(key)
        return self._loaded[key]


def device_for(setting: str) -> str:
    """The torch device that the DEVICE setting means."""
    import torch

    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def versions() -> dict[str, str]:
    """The libraries that decide what a picture looks like."""
    import diffusers
    import torch
    import transformers

    return {
        "diffusers": diffusers.__version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def quiet() -> None:
    """Keep the libraries' advice out of the log; their errors stay."""
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _free(device: str) -> None:
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def _load(ref: ModelRef, device: str) -> Model:
    import torch
    from diffusers import DiffusionPipeline

    path = Path(ref.path)
    if not path.exists():
        raise DomainError(f"The files of the model “{ref.name}” are not on this machine.")
    if weights.revision(path) != ref.revision:
        raise DomainError(f"The files of the model “{ref.name}” changed since it was registered. Register it again.")
    quiet()
    dtype = torch.float16 if device.startswith(("cuda", "mps")) else torch.float32
    log.info("loading %s from %s", ref.name, path)
    if path.is_dir():
        pipe = DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
            str(path), dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    else:
        pipe = _load_single_file(ref.name, path, dtype)
    pipe.set_progress_bar_config(disable=True)
    pipe.to(device)
    return Model(ref, pipe, pipe.scheduler, device, str(dtype).removeprefix("torch."))


def _load_single_file(name: str, path: Path, dtype: Any) -> Any:
    """Open a checkpoint with the configuration (JSON and tokenizer, no weights) that its file lacks:
    from the folder of the same name beside it, else the Hugging Face cache, else the hub."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    large = "conditioner.embedders.1.model.ln_final.weight" in _tensor_names(path)
    family = StableDiffusionXLPipeline if large else StableDiffusionPipeline
    beside = path.with_suffix("")
    ways: list[dict[str, Any]] = [{"local_files_only": True}, {}]
    if beside.is_dir():
        ways = [{"local_files_only": True, "config": str(beside)}]
    for way in ways:
        try:
            return family.from_single_file(str(path), dtype=dtype, **way)
        except (OSError, ValueError) as error:
            log.warning("%s: %s", name, error)
    raise DomainError(
        f"“{name}” is a single file, and its configuration is not on this machine. "
        f"Put its diffusers configuration into a folder called {beside.name} beside it."
    )


def _tensor_names(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return set(file.keys())


def seeds(first: int, count: int) -> list[int]:
    """`count` seeds counting up from `first`, starting over past the largest."""
    return [(first + number) % (steps.MAX_SEED + 1) for number in range(count)]


def drawing(model: Model, scheduler: str) -> Any:
    """The model's text-to-image pipeline with this scheduler. Raises DomainError."""
    return _with_scheduler(model, _task(model, "text2image"), scheduler)


def redrawing(model: Model, scheduler: str) -> Any:
    """The model's image-to-image pipeline, sharing the loaded parts. Raises DomainError."""
    return _with_scheduler(model, _task(model, "image2image"), scheduler)


def _task(model: Model, task: str) -> Any:
    """A pipeline for the task, built directly of the loaded parts: `from_pipe` checks their types too narrowly."""
    from diffusers.pipelines import auto_pipeline

    if task not in model.others:
        table = {
            "text2image": auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
            "image2image": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        }[task]
        try:
            family = auto_pipeline._get_task_class(table, type(model.pipe).__name__)
        except ValueError as error:
            words = "redraw pictures" if task == "image2image" else "draw from a prompt"
            raise DomainError(f"The model “{model.ref.name}” cannot {words}.") from error
        model.others[task] = model.pipe if isinstance(model.pipe, family) else _built(family, model.pipe)
    return model.others[task]


def _built(family: Any, pipe: Any) -> Any:
    wanted = inspect.signature(family.__init__).parameters
    parts = {name: part for name, part in pipe.components.items() if name in wanted}
    if "requires_safety_checker" in wanted:
        parts["requires_safety_checker"] = parts.get("safety_checker") is not None
    built = family(**parts)
    built.set_progress_bar_config(disable=True)
    return built


def _with_scheduler(model: Model, pipe: Any, name: str) -> Any:
    """Give the pipeline a fresh scheduler of this class, with the model's own betas and prediction type.

    A flow-matching model keeps its own: none of the classic ones can drive it.
    """
    import diffusers

    own = model.scheduler
    if type(own).__name__.startswith("FlowMatch"):
        pipe.scheduler = type(own).from_config(own.config)
        return pipe
    known = {type(own).__name__} | {family.__name__ for family in own.compatibles}
    if name not in known:
        raise DomainError(f"{name} cannot drive the model “{model.ref.name}”, which comes with {type(own).__name__}.")
    try:
        pipe.scheduler = getattr(diffusers, name).from_config(own.config)
    except (ValueError, NotImplementedError, ImportError) as error:
        raise DomainError(f"{name} cannot drive the model “{model.ref.name}”: {error}") from error
    return pipe


def fitted(image: Image.Image, model: Model) -> Image.Image:
    """The picture with sides the model takes: multiples of 8 or more, at most 2048, at least 64."""
    scale = min(1.0, MAX_SIDE / max(image.size))
    sides = [max(64, round(side * scale / model.multiple) * model.multiple) for side in image.size]
    size = (sides[0], sides[1])
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def denoise(
    pipe: Any,
    model: Model,
    parameters: Mapping[str, Any],
    own_seeds: Sequence[Sequence[int]],
    ctx: Context,
    part: int = 0,
    parts: int = 1,
) -> list[list[Image.Image]]:
    """Run the pipeline once; `own_seeds` and what comes back: each member's, in order.

    Progress and previews go to `ctx`. `part` of `parts` when a step runs the pipeline often. Each
    picture has a generator of its own on the CPU, so that a seed gives the same noise on every
    device and in every batch. Raises Stopped, DomainError.
    """
    import torch

    firsts = list(accumulate((len(seeds) for seeds in own_seeds), initial=0))

    def after_pass(pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        total = int(pipe.num_timesteps)
        done = part * total + index + 1
        try:
            ctx.progress(done, total * parts)
        except Stopped:
            pipe._interrupt = True
            return tensors
        if index + 1 < total:
            ctx.preview(done, lambda member: _decoded(pipe, tensors["latents"][firsts[member] :][:1]))
        return tensors

    arguments = {name: value for name, value in parameters.items() if name in _accepted(pipe)}
    if not arguments.get("negative_prompt"):
        arguments.pop("negative_prompt", None)
    generators = [torch.Generator("cpu").manual_seed(seed) for seeds in own_seeds for seed in seeds]
    with torch.inference_mode():
        try:
            made = pipe(**arguments, generator=generators, callback_on_step_end=after_pass)
        except ValueError as error:
            raise DomainError(f"The model “{model.ref.name}” refuses these parameters: {error}") from error
    if ctx.stopping:
        raise Stopped
    images: list[Image.Image] = made.images
    return [images[first:after] for first, after in pairwise(firsts)]


def _accepted(pipe: Any) -> set[str]:
    return set(inspect.signature(pipe.__call__).parameters)


def _decoded(pipe: Any, latents: Any) -> Image.Image | None:
    """A picture as it looks now, from latents of batch size 1; None for latents that no plain decoder takes."""
    vae = getattr(pipe, "vae", None)
    if vae is None or latents.ndim != 4:
        return None
    scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
    decoded = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    image: Image.Image = pipe.image_processor.postprocess(decoded, output_type="pil")[0]
    return image
