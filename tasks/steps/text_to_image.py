"""Draw pictures from a prompt with a diffusers text-to-image pipeline."""

from collections.abc import Sequence
from typing import Any

from domain.steps import TextToImage
from tasks import diffusion
from tasks.context import Context, Picture, Result


def run(step: TextToImage, ctx: Context) -> Result:
    """`num_images_per_prompt` RGB pictures of width × height; picture i comes from seed + i."""
    return together([step], ctx)[0]


def together(alike: Sequence[TextToImage], ctx: Context) -> list[Result]:
    """The same for steps that differ in words, seed and number of pictures only, as one call.

    Sides that the model cannot make are drawn a little larger, and what is too much is cut off all around."""
    seeds = [diffusion.seeds(step.seed or 0, step.num_images_per_prompt) for step in alike]
    model = ctx.model()
    pipe = diffusion.drawing(model, alike[0].scheduler)
    size = (alike[0].width, alike[0].height)
    parameters = {
        **_words(alike),
        "width": model.fitting(size[0]),
        "height": model.fitting(size[1]),
        "num_inference_steps": alike[0].num_inference_steps,
        "guidance_scale": alike[0].guidance_scale,
    }
    images = diffusion.denoise(pipe, model, parameters, seeds, ctx)
    used = {"scheduler": type(pipe.scheduler).__name__}
    return [
        Result(
            pictures=[Picture(diffusion.cut(image, size), seed) for image, seed in zip(made, own, strict=True)],
            used=used,
        )
        for made, own in zip(images, seeds, strict=True)
    ]


def _words(alike: Sequence[TextToImage]) -> dict[str, Any]:
    """The prompts as diffusers takes them: one text for all pictures, or one for each."""
    if len(alike) == 1:
        (step,) = alike
        return {
            "prompt": step.prompt,
            "negative_prompt": step.negative_prompt,
            "num_images_per_prompt": step.num_images_per_prompt,
        }
    each = [step for step in alike for _ in range(step.num_images_per_prompt)]
    negative = [step.negative_prompt for step in each]
    return {"prompt": [step.prompt for step in each], "negative_prompt": negative if any(negative) else ""}
