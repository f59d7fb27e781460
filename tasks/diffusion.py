"""diffusers, as the steps use it: schedulers by name, one way to denoise.

torch and diffusers are imported when first needed, so that importing a step costs nothing.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from domain import loras, steps, weights
from domain.errors import DomainError
from tasks import emphasis, means, memory
from tasks.context import Context, Stopped
from tasks.loading import Model, reason

MAX_SIDE = 2048
MAX_PICTURES = 8
"""Pictures out of one step, however many come in."""
FLOW = "FlowMatch"
"""What the names of schedulers begin with that drive models which were trained to match flows, and no others."""
STILL_WITH = ("compile", "offload")
"""Means that change a U-Net so that motion modules have no place in it."""
UNLISTED = frozenset(
    {"DDIMParallelScheduler", "DDPMParallelScheduler", "LCMScheduler", "SASolverScheduler", "TCDScheduler"}
)
"""Schedulers that read the same betas as DDIM's, which diffusers lists as compatible with none."""


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


def seeds(first: int, count: int) -> list[int]:
    """`count` seeds counting up from `first`, starting over past the largest."""
    return [(first + number) % (steps.MAX_SEED + 1) for number in range(count)]


def seeds_of_each(first: int, sources: int, count: int, done: str) -> list[list[int]]:
    """`count` seeds for each picture that comes in, counting up over all of them. Raises DomainError for too many;
    `done` is what happens to each, such as "redrawn"."""
    if sources * count > MAX_PICTURES:
        raise DomainError(
            f"{sources} pictures come in and each is {done} {count} times: "
            f"that is more than {MAX_PICTURES}. Ask for fewer."
        )
    every = seeds(first, sources * count)
    return [every[start : start + count] for start in range(0, len(every), count)]


def drawing(model: Model, scheduler: str) -> Any:
    """The model's text-to-image pipeline with this scheduler. Raises DomainError."""
    return _with_scheduler(model, _task(model, "text2image"), scheduler)


def redrawing(model: Model, scheduler: str) -> Any:
    """The model's image-to-image pipeline, sharing the loaded parts. Raises DomainError."""
    return _with_scheduler(model, _task(model, "image2image"), scheduler)


def repainting(model: Model, scheduler: str) -> Any:
    """The model's inpainting pipeline, sharing the loaded parts. Raises DomainError."""
    return _with_scheduler(model, _task(model, "inpainting"), scheduler)


def moving(model: Model, scheduler: str) -> Any:
    """The model's AnimateDiffPipeline, sharing the loaded parts. Raises DomainError."""
    return _with_scheduler(model, _moving(model, "AnimateDiffPipeline"), scheduler)


def setting_in_motion(model: Model, scheduler: str) -> Any:
    """The model's AnimateDiffVideoToVideoPipeline, sharing the loaded parts. Raises DomainError.

    A model of Stable Video Diffusion has a pipeline of its own, whose U-Net knows no other times than its scheduler's.
    """
    if type(model.pipe).__name__ == steps.VIDEO:
        model.pipe.scheduler = type(model.scheduler).from_config(model.scheduler.config)
        return model.pipe
    return _with_scheduler(model, _moving(model, "AnimateDiffVideoToVideoPipeline"), scheduler)


def _moving(model: Model, name: str) -> Any:
    if name not in model.others:
        whole = type(model.pipe).__name__.startswith("AnimateDiff")
        parts = model.pipe if whole else _with_motion(model)
        family = _starting(model, parts, name)
        model.others[name] = parts if type(parts) is family else _built(family, parts)
    return model.others[name]


def _starting(model: Model, parts: Any, name: str) -> Any:
    """The pipeline's class of this name: ours for a motion adapter that was taught with noise which frames share."""
    import diffusers

    from tasks import moving

    if parts.motion_adapter is None or (share := parts.motion_adapter.config.get("shared_noise")) is None:
        return getattr(diffusers, name)
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise DomainError(f"The motion adapter of “{model.ref.name}” has a shared_noise that is not from 0 to 1.")
    return getattr(moving, name)


def _with_motion(model: Model) -> Any:
    """An AnimateDiffPipeline of the loaded still parts and of the motion adapter beside them."""
    from diffusers import AnimateDiffPipeline

    from tasks.moving import MovingUNet

    path = Path(model.ref.path)
    if not weights.has_motion(path):
        raise DomainError(f"The model “{model.ref.name}” draws no animations.")
    if hindering := [name for name in STILL_WITH if getattr(model.ref.means, name)]:
        raise DomainError(f"The model “{model.ref.name}” runs with {hindering[0]} and draws no animations so.")
    if "motion" not in model.others:
        adapter = _adapter(model, path / weights.MOTION)
        try:
            unet = MovingUNet(model.pipe.unet, adapter)
        except ValueError as error:
            raise DomainError(f"The motion adapter of “{model.ref.name}” was made for another U-Net.") from error
        model.bytes += sum(weight.nbytes for weight in adapter.parameters())
        wanted = {**model.pipe.components, "unet": unet, "motion_adapter": adapter}
        model.others["motion"] = _made(AnimateDiffPipeline, wanted)
    return model.others["motion"]


def _adapter(model: Model, path: Path) -> Any:
    from diffusers import MotionAdapter

    try:
        opened: Any = MotionAdapter.from_pretrained(  # type: ignore[no-untyped-call]
            str(path),
            dtype=model.pipe.unet.dtype,
            variant=weights.variant_of_part(path),
            use_safetensors=True,
            local_files_only=True,
        )
        return opened.to(model.device).eval()
    except Exception as error:
        if memory.is_short(error):
            raise
        why = reason(error, str(path))
        raise DomainError(f"The motion adapter of “{model.ref.name}” cannot be opened: {why}") from error


_ABLE = {
    "text2image": "draw from a prompt",
    "image2image": "redraw pictures",
    "inpainting": "repaint a part of a picture",
}


def _task(model: Model, task: str) -> Any:
    """A pipeline for the task, built directly of the loaded parts: `from_pipe` checks their types too narrowly."""
    from diffusers.pipelines import auto_pipeline

    if task not in model.others:
        table = {
            "text2image": auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
            "image2image": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
            "inpainting": auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
        }[task]
        try:
            family = auto_pipeline._get_task_class(table, type(model.pipe).__name__)
        except ValueError as error:
            raise DomainError(f"The model “{model.ref.name}” cannot {_ABLE[task]}.") from error
        if "first_block_cache" in model.means and not means.tells_halves_apart(family):
            raise DomainError(f"The model “{model.ref.name}” cannot do this with its first_block_cache.")
        model.others[task] = model.pipe if isinstance(model.pipe, family) else _built(family, model.pipe)
    return model.others[task]


def _built(family: Any, pipe: Any) -> Any:
    return _made(family, pipe.components)


def _made(family: Any, components: Mapping[str, Any]) -> Any:
    wanted = inspect.signature(family.__init__).parameters
    parts = {name: part for name, part in components.items() if name in wanted}
    if "requires_safety_checker" in wanted:
        parts["requires_safety_checker"] = parts.get("safety_checker") is not None
    built = family(**parts)
    built.set_progress_bar_config(disable=True)
    return built


def _with_scheduler(model: Model, pipe: Any, name: str) -> Any:
    """Give the pipeline a fresh scheduler of this class, with the model's own betas and prediction type.

    A flow-matching model keeps its own where one of the others is named: none of them can drive it.
    """
    import diffusers

    own = model.scheduler
    if type(own).__name__.startswith(FLOW):
        family = getattr(diffusers, name) if name.startswith(FLOW) else type(own)
        pipe.scheduler = family.from_config(own.config)
        return pipe
    known = {type(own).__name__} | {family.__name__ for family in own.compatibles}
    if name not in known and not (name in UNLISTED and "DDIMScheduler" in known):
        raise DomainError(f"{name} cannot drive the model “{model.ref.name}”, which comes with {type(own).__name__}.")
    try:
        pipe.scheduler = getattr(diffusers, name).from_config(own.config)
    except (ValueError, NotImplementedError, ImportError) as error:
        raise DomainError(f"{name} cannot drive the model “{model.ref.name}”: {error}") from error
    return pipe


def fitted(image: Image.Image, model: Model) -> Image.Image:
    """The picture with sides the model takes: multiples of 8 or of more, at most 2048, at least 64."""
    scale = min(1.0, MAX_SIDE / max(image.size))
    sides = [max(64, round(side * scale / model.multiple) * model.multiple) for side in image.size]
    size = (sides[0], sides[1])
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def cut(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of the picture at this size."""
    left, upper = ((have - want) // 2 for have, want in zip(image.size, size, strict=True))
    return image.crop((left, upper, left + size[0], upper + size[1])) if image.size != size else image


def denoise(
    pipe: Any,
    model: Model,
    parameters: Mapping[str, Any],
    own_seeds: Sequence[Sequence[int]],
    ctx: Context,
    part: int = 0,
    parts: int = 1,
) -> list[list[Any]]:
    """Run the pipeline once; `own_seeds` and what comes back: each member's pictures in order, or for a pipeline of
    animations the frames of each.

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
            if not hasattr(pipe, "interrupt"):
                raise
            pipe._interrupt = True
            return tensors
        if index + 1 < total:
            ctx.preview(done, total * parts, lambda member: _decoded(pipe, tensors["latents"][firsts[member] :][:1]))
        return tensors

    arguments = {name: value for name, value in parameters.items() if name in _accepted(pipe)}
    if "prompt" in arguments:
        arguments["prompt"] = _without_loras(arguments["prompt"])
    if not arguments.get("negative_prompt"):
        arguments.pop("negative_prompt", None)
    every = [seed for seeds in own_seeds for seed in seeds]
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in every]
    if hasattr(pipe.scheduler, "noise_sampler_seed"):
        pipe.scheduler.noise_sampler_seed = every  # its noise comes of no generator: a Brownian tree for each picture
    if type(pipe.scheduler).__name__.startswith(FLOW):
        pipe.scheduler.step = partial(pipe.scheduler.step, generator=generators)  # their pipelines pass none on
    _forget(pipe)
    with torch.inference_mode():
        try:
            weighed = emphasis.weighed(pipe, model, arguments)
            made = pipe(**weighed, generator=generators, callback_on_step_end=after_pass)
        except ValueError as error:
            raise DomainError(f"The model “{model.ref.name}” refuses these parameters: {error}") from error
    if ctx.stopping:
        raise Stopped
    images: list[Any] = made.frames if hasattr(made, "frames") else made.images
    return [images[first:after] for first, after in pairwise(firsts)]


def _without_loras(prompt: str | list[str]) -> str | list[str]:
    return loras.without(prompt) if isinstance(prompt, str) else [loras.without(one) for one in prompt]


def _forget(pipe: Any) -> None:
    """Drop what a cache kept of a call that an error ended."""
    if getattr(getattr(pipe, "transformer", None), "is_cache_enabled", False):
        pipe.transformer._reset_stateful_cache()


def _accepted(pipe: Any) -> set[str]:
    return set(inspect.signature(pipe.__call__).parameters)


def _decoded(pipe: Any, latents: Any) -> Image.Image | None:
    """A picture as it looks now, or the first of an animation, from latents of batch size 1; None for latents that no
    plain decoder takes."""
    vae = getattr(pipe, "vae", None)
    if latents.ndim == 5 and hasattr(pipe, "video_processor"):
        first = (latents[:, :1], 1) if type(pipe).__name__ == steps.VIDEO else (latents[:, :, :1],)
        frames: list[list[Image.Image]] = pipe.video_processor.postprocess_video(pipe.decode_latents(*first), "pil")
        return frames[0][0]
    if vae is None or latents.ndim != 4:
        return None
    scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
    decoded = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    image: Image.Image = pipe.image_processor.postprocess(decoded, output_type="pil")[0]
    return image
