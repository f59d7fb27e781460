"""Enlarge pictures by resampling."""

from PIL import Image, ImageFilter

from domain.errors import DomainError
from domain.steps import Upscale
from tasks.context import Context, Picture, Result

MAX_SIDE = 4096
"""Pixels of the longest side that comes out."""
_METHODS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}


def run(step: Upscale, ctx: Context) -> Result:
    """Every picture that comes in, `factor` times as wide and high, then sharpened if asked."""
    sources = ctx.pictures()
    made: list[Picture] = []
    for number, source in enumerate(sources):
        ctx.progress(number, len(sources))
        width, height = source.width * step.factor, source.height * step.factor
        if max(width, height) > MAX_SIDE:
            raise DomainError(
                f"{source.width} × {source.height} pixels times {step.factor} is {width} × {height}; "
                f"a side has at most {MAX_SIDE:,} pixels."
            )
        image = source.resize((width, height), _METHODS[step.method])
        if step.sharpen:
            image = image.filter(ImageFilter.UnsharpMask(radius=step.factor, percent=round(150 * step.sharpen)))
        made.append(Picture(image, None))
    ctx.progress(len(sources), len(sources))
    return Result(pictures=made)
