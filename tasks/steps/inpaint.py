"""Repaint a part of a picture with a diffusers inpainting pipeline."""

from PIL import Image, ImageFilter

from domain.errors import DomainError
from domain.steps import Inpaint
from tasks import diffusion
from tasks.context import Animation, Context, Picture, Result


def run(step: Inpaint, ctx: Context) -> Result:
    """`num_images_per_prompt` pictures for each picture that comes in, of its size, with new content where the mask
    says so. What the mask keeps is the picture's own, pixel by pixel. Seeds count up over all pictures.
    """
    sources, mask = ctx.masked()
    count = step.num_images_per_prompt
    seeds = diffusion.seeds_of_each(step.seed or 0, len(sources), count, "repainted")
    model = ctx.model()
    pipe = diffusion.repainting(model, step.scheduler)
    made: list[Picture | Animation] = []
    for number, (source, own) in enumerate(zip(sources, seeds, strict=True)):
        old = diffusion.fitted(source, model)
        where = _where(mask, old.size)
        parameters = {
            "prompt": [step.prompt] * count,
            "negative_prompt": [step.negative_prompt] * count if step.negative_prompt else "",
            "image": [old] * count,
            "mask_image": [where] * count,
            "width": old.width,
            "height": old.height,
            "strength": step.strength,
            "num_inference_steps": step.num_inference_steps,
            "guidance_scale": step.guidance_scale,
        }
        (images,) = diffusion.denoise(pipe, model, parameters, [own], ctx, number, len(sources))
        soft = where.filter(ImageFilter.GaussianBlur(step.feather / 2))
        made += [Picture(Image.composite(image, old, soft), seed) for image, seed in zip(images, own, strict=True)]
    return Result(pictures=made, used={"scheduler": type(pipe.scheduler).__name__})


def _where(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The mask at the picture's size: white where to repaint, else black. Raises DomainError where that is nowhere."""
    gray = mask.convert("L").resize(size, Image.Resampling.BILINEAR)
    where = gray.point([0] * 128 + [255] * 128)
    if not where.getbbox():
        raise DomainError("Nothing of the mask is light, so there is nothing to repaint.")
    return where
