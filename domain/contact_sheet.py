"""A grid as one labeled picture: small renditions, a line above, heads beside them.

At most 100 cells of at most 320 pixels, and some four megapixels in all, so that drawing one takes about a second.
"""

import asyncio
import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from domain import db, receipts
from domain.errors import NotFound
from domain.grid_axes import shown
from domain.grid_pages import GridPage
from domain.storage import Storage, key_of

CELL = 320
MOST_PIXELS = 4_000_000
GAP = 8
FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial.ttf")
"""Fonts of the machine that know more letters than Pillow's own."""
PAPER, INK, SHADE = "#fdfbf5", "#1f231b", "#ebe6d8"
AT_ONCE = 8
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


async def make(storage: Storage, grid: GridPage, title: str, about: str) -> bytes:
    """The sheet as PNG, with what the viewer of the page may see. `about` is the page's address, kept inside the file.

    Raises Unavailable when the file store cannot be reached.
    """
    pictures = await _pictures(storage, grid)
    return await asyncio.to_thread(_draw, grid, title, about, pictures)


async def _pictures(storage: Storage, grid: GridPage) -> dict[str, bytes]:
    """The smallest rendition of every picture by the picture's SHA-256."""
    wanted = list({cell.sha256 for cell in grid.shown if cell.sha256})
    rows = await db.fetch(
        "SELECT source, sha256 FROM renditions WHERE source = ANY($1::text[]) AND width = $2", wanted, CELL
    )
    small = {row["source"]: row["sha256"] for row in rows}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(sha256: str) -> tuple[str, bytes]:
        async with gate:
            try:
                return sha256, await storage.get(key_of(small.get(sha256, sha256)))
            except NotFound:
                return sha256, b""

    return dict(await asyncio.gather(*(one(sha256) for sha256 in wanted)))


def _draw(grid: GridPage, title: str, about: str, pictures: Mapping[str, bytes]) -> bytes:
    across = len(grid.axes[0].values) if len(grid.axes) > 1 else math.ceil(math.sqrt(len(grid.cells)))
    down = math.ceil(len(grid.cells) / across)
    width, height = _cell_size(grid, across * down)
    font, small = _font(18), _font(13)
    two = len(grid.axes) > 1
    left = 140 if two else GAP
    top = 72 if two else 44
    step_x, step_y = width + GAP, height + GAP + (0 if two else 20)
    sheet = Image.new("RGB", (max(left + across * step_x, 320), top + down * step_y), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 10), _fit(title, font, sheet.width - 2 * GAP), INK, font)
    if two:
        for place, value in enumerate(grid.axes[0].values):
            pen.text((left + place * step_x, top - 22), _fit(_head(grid, 0, value), small, width), INK, small)
        for place, value in enumerate(grid.axes[1].values):
            _lines(pen, (GAP, top + place * step_y), _head(grid, 1, value), small, left - 2 * GAP, 5)
    for place, cell in enumerate(grid.cells):
        corner = left + place % across * step_x, top + place // across * step_y
        pen.rectangle((*corner, corner[0] + width - 1, corner[1] + height - 1), SHADE)
        if cell is not None and cell.sha256 and pictures.get(cell.sha256):
            _paste(sheet, pictures[cell.sha256], corner, (width, height))
        elif cell is not None and cell.text:
            _lines(pen, (corner[0] + 6, corner[1] + 6), cell.text, small, width - 12, max(height // 18 - 1, 1))
        if not two:
            head = _head(grid, 0, grid.axes[0].values[place])
            pen.text((corner[0], corner[1] + height + 2), _fit(head, small, width), INK, small)
    return _png(sheet, title, about)


def _cell_size(grid: GridPage, count: int) -> tuple[int, int]:
    """Width and height of a cell in pixels: the largest picture's ratio, within the bounds."""
    sizes = [(cell.width, cell.height) for cell in grid.shown if cell.width and cell.height]
    ratio = max((wide / high for wide, high in sizes), default=1.0)
    ratio = min(max(ratio, 0.5), 2.0)
    width = min(CELL, int(math.sqrt(MOST_PIXELS / count * ratio)), max((wide for wide, _ in sizes), default=CELL))
    width = max(width, 96)
    return width, int(width / ratio)


def _head(grid: GridPage, axis: int, value: Any) -> str:
    return f"{grid.axes[axis].title} {shown(value)}"


def _paste(sheet: Image.Image, data: bytes, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """The picture whole, in the middle of its cell; nothing for a file that is none."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGB")
    except OSError:
        return
    picture.thumbnail(size, Image.Resampling.LANCZOS)
    sheet.paste(picture, (corner[0] + (size[0] - picture.width) // 2, corner[1] + (size[1] - picture.height) // 2))


def _lines(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, font: Font, width: int, most: int) -> None:
    """Words in lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    for place, line in enumerate(lines):
        pen.text((corner[0], corner[1] + 18 * place), _fit(line, font, width), INK, font)


def _fit(text: str, font: Font, width: int) -> str:
    text = " ".join(text[:300].split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[: -max(len(text) // 12, 1)]
    return text + "…"


@lru_cache
def _font(size: int) -> Font:
    """A font of the machine with many letters, else Pillow's own."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _png(sheet: Image.Image, title: str, about: str) -> bytes:
    told = PngImagePlugin.PngInfo()
    words: Sequence[tuple[str, str]] = (("Title", title), ("Source", about), ("XML:com.adobe.xmp", receipts.xmp()))
    for key, value in words:
        told.add_itxt(key, value)
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=told)
    return file.getvalue()
