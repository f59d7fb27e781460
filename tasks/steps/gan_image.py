"""Generate pictures of a class with a trained generator, or a walk between them."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any

from PIL import Image

from domain.errors import DomainError
from domain.steps import GanImage
from tasks import diffusion
from tasks.context import Animation, Context, Picture, Result

AT_ONCE = 8
"""Pictures of each call, always as many: in a smaller one the same picture comes out slightly different."""
MAX_SIDE = 512
"""Pixels of a walk's side: all of its frames are in memory at once."""
MOST_GIF = 48 * MAX_SIDE**2
"""Pixels of all frames of a GIF: their colors are chosen in some ten seconds, which nothing can stop."""


def run(step: GanImage, ctx: Context) -> Result:
    """`num_images` RGB pictures, picture i from seed + i, `factor` times as large as the generator draws; or one
    animation of `frames` frames that passes through all of them. The receipt tells the classes where each seed had its
    own.

    Raises DomainError for a class that the model does not have, and for a walk that is too large or too long.
    """
    model = ctx.model()
    seeds = diffusion.seeds(step.seed or 0, step.num_images)
    classes = _classes(step, model.ref.name, model.pipe.classes, seeds)
    used: dict[str, Any] = {} if step.class_label else {"classes": classes}
    latents, shares = model.pipe.latents(seeds), model.pipe.shares(classes)
    if step.layout == "pictures":
        drawn = _drawn(step, ctx, latents, shares)
        return Result(pictures=[Picture(one, seed) for one, seed in zip(drawn, seeds, strict=True)], used=used)
    _check_walk(step, model.pipe.side * step.factor)
    from tasks.gan import drawing

    frames = list(_drawn(step, ctx, *drawing.walk(latents, shares, step.frames)))
    made = Animation(frames, Fraction(step.frame_ms, 1000), step.loop, seeds[0], step.format, step.colors)
    return Result(pictures=[made], used=used)


def _check_walk(step: GanImage, side: int) -> None:
    if side > MAX_SIDE:
        raise DomainError(f"A walk has at most {MAX_SIDE} pixels a side, and this comes to {side:,}. Enlarge it less.")
    if step.format == "gif" and step.frames > (most := MOST_GIF // side**2):
        raise DomainError(
            f"A GIF of {side} × {side} pixels has at most {most} frames, and this has {step.frames}. Take fewer, "
            "enlarge it less, or choose WebP or MP4."
        )


def _classes(step: GanImage, model: str, known: list[str], seeds: list[int]) -> list[str]:
    """The class of each picture."""
    if not step.class_label:
        return [known[seed % len(known)] for seed in seeds]
    if step.class_label not in known:
        raise DomainError(f"The model “{model}” has no class “{step.class_label}”. It has: {', '.join(known)}.")
    return [step.class_label] * len(seeds)


def _drawn(step: GanImage, ctx: Context, latents: Any, shares: Any) -> Iterator[Image.Image]:
    """A picture of each latent, a few at once: the last one is repeated where there are fewer."""
    pipe, total = ctx.model().pipe, len(latents)
    details = None if step.detail_seed is None else pipe.latents([step.detail_seed])
    ctx.progress(0, total)
    for start in range(0, total, AT_ONCE):
        here = [min(place, total - 1) for place in range(start, start + AT_ONCE)]
        drawn = pipe.draw(latents[here], shares[here], step.truncation, details)[: total - start]
        done = start + len(drawn)
        ctx.progress(done, total)
        ctx.preview(done, total, partial(_shown, drawn[-1]))
        yield from (_enlarged(one, step.factor) for one in drawn)


def _enlarged(image: Image.Image, factor: int) -> Image.Image:
    size = image.width * factor, image.height * factor
    return image if factor == 1 else image.resize(size, Image.Resampling.LANCZOS)


def _shown(last: Image.Image, member: int) -> Image.Image:
    return last.copy()
