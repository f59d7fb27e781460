"""Enlarge pictures by resampling, or with a model."""

from collections.abc import Iterator

from PIL import Image, ImageFilter

from domain import upscalers
from domain.errors import DomainError
from domain.steps import Upscale
from tasks import diffusion, upscaling
from tasks.context import Context, Picture, Result

MAX_SIDE = 4096
"""Pixels of the longest side that comes out."""
_METHODS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
Drawn = Iterator[tuple[Image.Image, int | None]]


def run(step: Upscale, ctx: Context) -> Result:
    """Every picture that comes in, `factor` times as wide and high, then sharpened if asked.

    A model draws at its own factor: where that is larger, what it drew is reduced by Lanczos. Seeds count up over all
    pictures. Raises DomainError for pictures that would come out too large, and for a factor beyond the model's.
    """
    sources = ctx.pictures()
    for source in sources:
        _check(source, step.factor)
    drawn = _with_model(step, sources, ctx) if step.model else _resampled(step, sources, ctx)
    return Result(
        pictures=[
            Picture(_finished(step, image, source), seed) for source, (image, seed) in zip(sources, drawn, strict=True)
        ]
    )


def _check(source: Image.Image, factor: int) -> None:
    width, height = source.width * factor, source.height * factor
    if max(width, height) > MAX_SIDE:
        raise DomainError(
            f"{source.width} × {source.height} pixels times {factor} is {width} × {height}; "
            f"a side has at most {MAX_SIDE:,} pixels."
        )


def _resampled(step: Upscale, sources: list[Image.Image], ctx: Context) -> Drawn:
    for number, source in enumerate(sources):
        ctx.progress(number, len(sources))
        yield source.resize((source.width * step.factor, source.height * step.factor), _METHODS[step.method]), None
    ctx.progress(len(sources), len(sources))


def _with_model(step: Upscale, sources: list[Image.Image], ctx: Context) -> Drawn:
    """What the model draws of each, at its own factor."""
    model = ctx.model()
    native = upscaling.native(model)
    if words := upscalers.too_far(f"The model “{model.ref.name}”", native, step.factor):
        raise DomainError(f"{words}.")
    if isinstance(model.pipe, upscaling.Rrdb):
        before, total = 0, sum(sum(1 for _ in upscaling.boxes(source.size)) for source in sources)
        for source in sources:
            yield model.pipe.enlarge(source, ctx, before, total), None
            before += sum(1 for _ in upscaling.boxes(source.size))
        ctx.progress(total, total)
        return
    for number, (source, seed) in enumerate(zip(sources, diffusion.seeds(step.seed or 0, len(sources)), strict=True)):
        yield upscaling.drawn(step, model, source, seed, ctx, number, len(sources)), seed


def _finished(step: Upscale, image: Image.Image, source: Image.Image) -> Image.Image:
    """At the size that was asked for, and sharpened."""
    size = source.width * step.factor, source.height * step.factor
    image = image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
    if step.sharpen:
        image = image.filter(ImageFilter.UnsharpMask(radius=step.factor, percent=round(150 * step.sharpen)))
    return image
