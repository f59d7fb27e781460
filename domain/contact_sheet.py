"""A grid as one labeled picture: small renditions, a line above, heads beside them.

At most 100 cells of at most 320 pixels, and some four megapixels in all, so that drawing one takes about a second.
What no font of the machine has letters for is numbered, and told in the file's description.
"""

import asyncio
import io
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from msgspec import Struct
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from domain import db, receipts
from domain.errors import NotFound
from domain.grid_pages import GridPage
from domain.storage import Storage, key_of

CELL = 320
MOST_PIXELS = 4_000_000
GAP = 8
LARGE, SMALL = 18, 13
"""Sizes of letters."""
LINE = 18
"""Pixels from line to line of small letters."""
UNDER = 3
"""Lines under each cell where one parameter varies."""
BRIEF = 24
"""Characters up to which a value stands with its parameter's name."""
FONTS = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoEmoji-Regular.ttf",
    "Symbola_hint.ttf",
)
"""Fonts of the machine that know more letters than Pillow's own; the first that has all of a text's draws it."""
NOBODY = "\U0010ffff"
"""A character that no font has: what a font draws in its place it draws for whatever it lacks."""
LACKING = "Numbers in brackets stand for words that this machine has no letters for. This file's description has them."
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


class _Plan(Struct, frozen=True):
    """Where everything goes, in pixels."""

    across: int
    down: int
    width: int
    height: int
    left: int
    top: int
    two: bool
    """Whether the heads stand above and beside the cells, or under each."""

    def corner(self, place: int) -> tuple[int, int]:
        """Where the cell begins."""
        column, row = place % self.across, place // self.across
        return self.left + column * (self.width + GAP), self.top + row * self.step

    @property
    def step(self) -> int:
        """From row to row."""
        return self.height + GAP + (0 if self.two else UNDER * LINE)


def _plan(grid: GridPage) -> _Plan:
    two = len(grid.axes) > 1
    across = len(grid.axes[0].values) if two else math.ceil(math.sqrt(len(grid.cells)))
    down = math.ceil(len(grid.cells) / across)
    return _Plan(across, down, *_cell_size(grid, across * down), 140 if two else GAP, 72 if two else 44, two)


def _draw(grid: GridPage, title: str, about: str, pictures: Mapping[str, bytes]) -> bytes:
    plan = _plan(grid)
    heads, lacking = heads_of(grid)
    width = max(plan.left + plan.across * (plan.width + GAP), 320)
    height = plan.top + plan.down * plan.step
    sheet = Image.new("RGB", (width, height + (3 * LINE + GAP if lacking else 0)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _title(pen, drawable(title, LARGE), width - 2 * GAP)
    _draw_heads(pen, plan, heads)
    for place, cell in enumerate(grid.cells):
        x, y = plan.corner(place)
        pen.rectangle((x, y, x + plan.width - 1, y + plan.height - 1), SHADE)
        if cell is not None and cell.sha256 and pictures.get(cell.sha256):
            _paste(sheet, pictures[cell.sha256], (x, y), (plan.width, plan.height))
        elif cell is not None and cell.text:
            _lines(pen, (x + 6, y + 6), drawable(cell.text), plan.width - 12, plan.height // LINE - 1)
    if lacking:
        _lines(pen, (GAP, height), LACKING, width - 2 * GAP, 3)
    return _png(sheet, title, about, "\n".join(lacking))


def _draw_heads(pen: ImageDraw.ImageDraw, plan: _Plan, heads: Sequence[Sequence[str]]) -> None:
    """Above and beside the cells, none longer than its cell; under each where one parameter varies."""
    for place, text in enumerate(heads[0]):
        x, y = plan.corner(place)
        if plan.two:
            _write(pen, (x, y - 22), text, plan.width)
        else:
            _lines(pen, (x, y + plan.height + 2), text, plan.width, UNDER)
    for place, text in enumerate(heads[1] if plan.two else ()):
        _, y = plan.corner(place * plan.across)
        _lines(pen, (GAP, y), text, plan.left - 2 * GAP, min(plan.height // LINE, 5))


def heads_of(grid: GridPage) -> tuple[list[list[str]], list[str]]:
    """What stands at the values of each axis, and in full what cannot be drawn of it."""
    lacking: list[str] = []
    heads: list[list[str]] = []
    for title, axis in zip(grid.titles, grid.axes, strict=True):
        heads.append([])
        for place, value in enumerate(axis.values, 1):
            shown, head = axis.shown(value), axis.head(title, value)
            named = [] if len(grid.axes) == 1 and len(head) > BRIEF else [head]
            text = next((one for one in (*named, shown) if drawable(one) == one), "")
            if not text:
                lacking.append(f"{title} ({place}): {shown}")
                text = f"{title} ({place}): {drawable(shown)}"
            heads[-1].append(text)
    return heads, lacking


def _cell_size(grid: GridPage, count: int) -> tuple[int, int]:
    """Width and height of a cell in pixels: the largest picture's ratio, within the bounds."""
    sizes = [(cell.width, cell.height) for cell in grid.shown if cell.width and cell.height]
    ratio = max((wide / high for wide, high in sizes), default=1.0)
    ratio = min(max(ratio, 0.5), 2.0)
    width = min(CELL, int(math.sqrt(MOST_PIXELS / count * ratio)), max((wide for wide, _ in sizes), default=CELL))
    width = max(width, 96)
    return width, int(width / ratio)


def _paste(sheet: Image.Image, data: bytes, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """The picture whole, in the middle of its cell; nothing for a file that is none."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGB")
    except OSError:
        return
    picture.thumbnail(size, Image.Resampling.LANCZOS)
    sheet.paste(picture, (corner[0] + (size[0] - picture.width) // 2, corner[1] + (size[1] - picture.height) // 2))


def _lines(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width: int, most: int) -> None:
    """Words in lines of at most `width` pixels, at least one; what does not fit ends in an ellipsis."""
    font = _font_of(text, SMALL)
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > max(most, 1):
        lines = [*lines[: max(most, 1) - 1], " ".join(lines[max(most, 1) - 1 :])]
    for place, line in enumerate(lines):
        pen.text((corner[0], corner[1] + LINE * place), _fit(line, font, width), INK, font)


def _title(pen: ImageDraw.ImageDraw, text: str, width: int) -> None:
    """In large letters on a line, or in small ones on two."""
    if _font_of(text, LARGE).getlength(text) <= width:
        _write(pen, (GAP, 10), text, width, LARGE)
    else:
        _lines(pen, (GAP, 4), text, width, 2)


def _write(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, width: int, size: int = SMALL) -> None:
    """One line of at most `width` pixels."""
    font = _font_of(text, size)
    pen.text(corner, _fit(text, font, width), INK, font)


def _fit(text: str, font: Font, width: int) -> str:
    text = " ".join(text[:300].split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[: -max(len(text) // 12, 1)]
    return text + "…"


def drawable(text: str, size: int = SMALL) -> str:
    """The text as it can be drawn here: what no font has letters for becomes an ellipsis."""
    font = _font_of(text, size)
    kept = "".join(letter if _has(font, letter) else NOBODY for letter in text)
    return re.sub(rf"{NOBODY}[{NOBODY}\u200d\ufe0f]*", "…", kept)


def _font_of(text: str, size: int) -> Font:
    """The first font that has every letter of the text, else the first of all."""
    letters = set(text)
    fonts = _fonts(size)
    return next((font for font in fonts if all(_has(font, letter) for letter in letters)), fonts[0])


@lru_cache(maxsize=8_192)
def _has(font: Font, letter: str) -> bool:
    """Whether a font draws a letter as itself; spaces and marks on other letters go along with any."""
    if letter.isspace() or unicodedata.category(letter) in ("Mn", "Cf"):
        return True
    return _look(font, letter) != _look(font, NOBODY)


def _look(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@lru_cache
def _fonts(size: int) -> list[Font]:
    """The fonts of the machine, then Pillow's own."""
    found: list[Font] = []
    for name in FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return [*found, ImageFont.load_default(size)]


def _png(sheet: Image.Image, title: str, about: str, description: str) -> bytes:
    told = PngImagePlugin.PngInfo()
    words = {"Title": title, "Source": about, "Description": description, "XML:com.adobe.xmp": receipts.xmp()}
    for key, value in words.items():
        if value:
            told.add_itxt(key, value)
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=told)
    return file.getvalue()
