"""Redraw pictures towards a prompt with a diffusers image-to-image pipeline."""

from domain.errors import DomainError
from domain.steps import ImageToImage
from tasks import diffusion
from tasks.context import Context, Picture, Result

MAX_PICTURES = 8
"""Pictures out of one step, however many come in."""


def run(step: ImageToImage, ctx: Context) -> Result:
    """`num_images_per_prompt` pictures for each picture that comes in, of its size.

    Sides are brought to multiples of 8 within the model's limits. Seeds count up over all pictures.
    """
    sources = ctx.pictures()
    if len(sources) * step.num_images_per_prompt > MAX_PICTURES:
        raise DomainError(
            f"{len(sources)} pictures come in and each is redrawn {step.num_images_per_prompt} times: "
            f"that is more than {MAX_PICTURES}. Ask for fewer."
        )
    seeds = diffusion.seeds(step.seed or 0, len(sources) * step.num_images_per_prompt)
    model = ctx.model()
    pipe = diffusion.redrawing(model, step.scheduler)
    parameters = {
        "prompt": step.prompt,
        "negative_prompt": step.negative_prompt,
        "strength": step.strength,
        "num_inference_steps": step.num_inference_steps,
        "guidance_scale": step.guidance_scale,
        "num_images_per_prompt": step.num_images_per_prompt,
    }
    made: list[Picture] = []
    for number, source in enumerate(sources):
        image = diffusion.fitted(source, model)
        own = seeds[number * step.num_images_per_prompt :][: step.num_images_per_prompt]
        (images,) = diffusion.denoise(pipe, model, {**parameters, "image": image}, [own], ctx, number, len(sources))
        made += [Picture(image, each) for image, each in zip(images, own, strict=True)]
    return Result(pictures=made, used={"scheduler": type(pipe.scheduler).__name__})
