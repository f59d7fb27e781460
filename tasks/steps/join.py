"""Put pictures together: in a grid, side by side, or one after the other."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil, sqrt

from PIL import Image, ImageOps

from domain.errors import DomainError
from domain.steps import Join
from tasks.context import Animation, Context, Picture, Result

MAX_SIDE = 4096
"""Pixels of the longest side that comes out."""
Size = tuple[int, int]


def run(step: Join, ctx: Context) -> Result:
    """One file of all pictures that come in, in order. Each gets a cell as large as the largest of them, and is
    fitted into it whole, on white."""
    pictures = ctx.pictures()
    cell = max(picture.width for picture in pictures), max(picture.height for picture in pictures)
    made: Picture | Animation
    if step.layout in ("gif", "webp", "mp4"):
        frames, seconds = [*_fitted(pictures, cell, ctx)], Fraction(step.frame_ms, 1000)
        made = Animation(frames, seconds, step.loop, None, step.layout, step.colors)
    else:
        across = columns(step, len(pictures))
        sheet = _sheet(len(pictures), cell, across, step.gap)
        for number, picture in enumerate(_fitted(pictures, cell, ctx)):
            row, column = divmod(number, across)
            sheet.paste(picture, ((cell[0] + step.gap) * column, (cell[1] + step.gap) * row))
        made = Picture(sheet, None)
    return Result(pictures=[made])


def columns(step: Join, count: int) -> int:
    """How many of `count` pictures stand side by side."""
    match step.layout:
        case "row":
            return count
        case "column":
            return 1
        case _:
            return min(step.columns or ceil(sqrt(count)), count)


def _sheet(count: int, cell: Size, across: int, gap: int) -> Image.Image:
    """A white one with room for so many cells. Raises DomainError where it comes out too large."""
    down = ceil(count / across)
    width, height = (cell[0] + gap) * across - gap, (cell[1] + gap) * down - gap
    if max(width, height) > MAX_SIDE:
        raise DomainError(
            f"{count} pictures of {cell[0]} × {cell[1]} pixels come to {width:,} × {height:,}; "
            f"a side has at most {MAX_SIDE:,} pixels."
        )
    return Image.new("RGB", (width, height), "white")


def _fitted(pictures: Sequence[Image.Image], cell: Size, ctx: Context) -> Iterator[Image.Image]:
    """Each picture in the middle of a cell, larger where it is smaller, never cropped; the step can be stopped after
    each."""
    for done, picture in enumerate(pictures, 1):
        yield ImageOps.pad(picture, cell, Image.Resampling.LANCZOS, color="white")
        ctx.progress(done, len(pictures))
