"""Redraw pictures toward a prompt with a diffusers image-to-image pipeline."""

from collections.abc import Sequence

from PIL import Image

from domain.steps import ImageToImage
from tasks import diffusion
from tasks.context import Context, Made, Picture, Result


def run(step: ImageToImage, ctx: Context) -> Result:
    """`num_images_per_prompt` pictures for each picture that comes in, of its size.

    Sides are brought to multiples of what the model takes, 8 for most, within its limits. Seeds count up over all
    pictures.
    """
    sources = ctx.pictures()
    seeds = diffusion.seeds_of_each(step.seed or 0, len(sources), step.num_images_per_prompt, "redrawn")
    made: list[Made] = []
    for number, (source, own) in enumerate(zip(sources, seeds, strict=True)):
        (result,) = _redrawn([step], [source], [own], ctx, number, len(sources))
        made += result.pictures
    return Result(pictures=made, used=result.used)


def together(alike: Sequence[ImageToImage], ctx: Context) -> list[Result]:
    """The same for steps with one picture each, all of one size, that differ in words, seed and number of
    pictures only, as one call."""
    sources = [picture for member in range(len(alike)) for picture in ctx.pictures(member)]
    seeds = [diffusion.seeds(step.seed or 0, step.num_images_per_prompt) for step in alike]
    return _redrawn(alike, sources, seeds, ctx)


def _redrawn(
    alike: Sequence[ImageToImage],
    sources: Sequence[Image.Image],
    seeds: Sequence[Sequence[int]],
    ctx: Context,
    part: int = 0,
    parts: int = 1,
) -> list[Result]:
    """One call with a prompt, a picture and a seed for each picture that comes out.

    Pipelines that are left to repeat a picture differ in whose noise encodes it, so that the second
    would not be what its seed draws alone.
    """
    model = ctx.model()
    pipe = diffusion.redrawing(model, alike[0].scheduler)
    each = [(step, diffusion.fitted(source, model)) for step, source in zip(alike, sources, strict=True)]
    rows = [row for row, own in zip(each, seeds, strict=True) for _ in own]
    negative = [step.negative_prompt for step, _ in rows]
    parameters = {
        "prompt": [step.prompt for step, _ in rows],
        "negative_prompt": negative if any(negative) else "",
        "image": [image for _, image in rows],
        "width": rows[0][1].width,
        "height": rows[0][1].height,
        "strength": alike[0].strength,
        "num_inference_steps": alike[0].num_inference_steps,
        "guidance_scale": alike[0].guidance_scale,
    }
    images = diffusion.denoise(pipe, model, parameters, seeds, ctx, part, parts)
    used = {"scheduler": type(pipe.scheduler).__name__}
    return [
        Result(pictures=[Picture(image, seed) for image, seed in zip(made, own, strict=True)], used=used)
        for made, own in zip(images, seeds, strict=True)
    ]
