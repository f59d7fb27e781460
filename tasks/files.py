"""Turning a step's pictures into files: PNG with its receipt inside, and WebP renditions."""

import io
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from domain import receipts
from domain.artifacts import WIDTHS
from domain.receipts import Receipt
from tasks.context import Picture
from tasks.messages import File, Rendition

PNG_LEVEL = 4
"""zlib's level: 6 takes twice as long for two percent."""
WEBP: dict[str, Any] = {"quality": 80, "method": 4}


def encode(picture: Picture, receipt: Receipt) -> File:
    """The picture as it is stored: lossless, with the receipt that made it."""
    image = picture.image if picture.image.mode == "RGB" else picture.image.convert("RGB")
    return File(_png(image, receipt, picture.seed), *image.size, picture.seed, renditions(image))


def _png(image: Image.Image, receipt: Receipt, seed: int | None) -> bytes:
    info = PngInfo()
    lines = receipts.infotext(receipt, seed, *image.size)
    if lines:
        info.add_text("parameters", lines)  # itself takes iTXt for what Latin-1 cannot hold
    info.add_itxt("offshoot", receipts.to_json(receipt))
    if receipt.model:
        info.add_itxt("XML:com.adobe.xmp", receipts.xmp())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, compress_level=PNG_LEVEL)
    return buffer.getvalue()


def renditions(image: Image.Image) -> list[Rendition]:
    """WebP at each width below the picture's own, and always one for the narrowest."""
    made: list[Rendition] = []
    for name in WIDTHS:
        if name >= image.width and name != WIDTHS[0]:
            break
        width = min(name, image.width)
        height = max(1, round(image.height * width / image.width))
        small = image if width == image.width else image.resize((width, height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", **WEBP)
        made.append(Rendition(name, width, height, buffer.getvalue()))
    return made
