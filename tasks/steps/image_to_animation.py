"""Set pictures in motion with diffusers: an AnimateDiffVideoToVideoPipeline or a StableVideoDiffusionPipeline."""

from typing import Any

from PIL import Image

from domain.steps import ImageToAnimation
from tasks import animations, diffusion
from tasks.context import Animation, Context, Result


def run(step: ImageToAnimation, ctx: Context) -> Result:
    """An animation of each picture that comes in, its longest side brought to `longest_side`; seeds count up.

    AnimateDiff redraws the picture as often as there are frames, with `strength`. Stable Video Diffusion starts from
    the picture, hears no prompt, and has no strength; its guidance rises from 1 in the first frame to
    `guidance_scale` in the last.
    """
    pictures = ctx.pictures()
    seeds = diffusion.seeds_of_each(step.seed or 0, len(pictures), 1, "set in motion")
    model = ctx.model()
    pipe = diffusion.setting_in_motion(model, step.scheduler)
    animations.check_frames(pipe, model, step.frames)
    made: list[Animation] = []
    for number, (picture, own) in enumerate(zip(pictures, seeds, strict=True)):
        first = diffusion.fitted(_scaled(picture, step.longest_side), model)
        ((frames,),) = diffusion.denoise(pipe, model, _parameters(step, first), [own], ctx, number, len(pictures))
        made.append(animations.of(frames, step, own[0]))
    return Result(pictures=made, used={"scheduler": type(pipe.scheduler).__name__})


def _parameters(step: ImageToAnimation, first: Image.Image) -> dict[str, Any]:
    """What both kinds of pipelines take; each is given what it knows."""
    return {
        "prompt": step.prompt,
        "negative_prompt": step.negative_prompt,
        "video": [first] * step.frames,
        "image": first,
        "width": first.width,
        "height": first.height,
        "strength": step.strength,
        "num_frames": step.frames,
        "num_inference_steps": step.num_inference_steps,
        "guidance_scale": step.guidance_scale,
        "max_guidance_scale": max(step.guidance_scale, 1.0),
        "fps": step.fps,
        "motion_bucket_id": step.motion_bucket_id,
        "decode_chunk_size": animations.AT_ONCE,
    }


def _scaled(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    return picture.resize(
        (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)), Image.Resampling.LANCZOS
    )
