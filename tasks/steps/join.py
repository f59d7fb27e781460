"""Put pictures together: in a grid, side by side, or one after the other."""

from collections.abc import Sequence
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
        frames = [_fitted(one, cell) for one in pictures]
        made = Animation(frames, step.frame_ms, step.loop, None, step.layout)
    else:
        made = Picture(_sheet(pictures, cell, columns(step, len(pictures)), step.gap), None)
    ctx.progress(1, 1)
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


def _sheet(pictures: Sequence[Image.Image], cell: Size, across: int, gap: int) -> Image.Image:
    down = ceil(len(pictures) / across)
    width, height = (cell[0] + gap) * across - gap, (cell[1] + gap) * down - gap
    if max(width, height) > MAX_SIDE:
        raise DomainError(
            f"{len(pictures)} pictures of {cell[0]} × {cell[1]} pixels come to {width:,} × {height:,}; "
            f"a side has at most {MAX_SIDE:,} pixels."
        )
    sheet = Image.new("RGB", (width, height), "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, across)
        sheet.paste(_fitted(picture, cell), ((cell[0] + gap) * column, (cell[1] + gap) * row))
    return sheet


def _fitted(picture: Image.Image, cell: Size) -> Image.Image:
    """The picture in the middle of the cell, larger where it is smaller, never cropped."""
    return ImageOps.pad(picture, cell, Image.Resampling.LANCZOS, color="white")
