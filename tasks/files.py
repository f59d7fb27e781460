"""Turning what a step made into files with its receipt inside, and WebP renditions of how it looks."""

import io
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from domain import receipts
from domain.artifacts import WIDTHS
from domain.receipts import Receipt
from tasks.context import Animation, Picture
from tasks.messages import File, Rendition

PNG_LEVEL = 4
"""zlib's level: 6 takes twice as long for two percent."""
WEBP: dict[str, Any] = {"quality": 80, "method": 4}


def encode(made: Picture | Animation, receipt: Receipt) -> File:
    """What was made as it is stored, with the receipt that made it: a picture is lossless, an animation a GIF.

    An animation's renditions show its first frame.
    """
    if isinstance(made, Animation):
        first = made.frames[0]
        return File(_gif(made, receipt), "image/gif", *first.size, made.seed, renditions(first))
    image = made.image if made.image.mode == "RGB" else made.image.convert("RGB")
    return File(_png(image, receipt, made.seed), "image/png", *image.size, made.seed, renditions(image))


def _gif(made: Animation, receipt: Receipt) -> bytes:
    """256 colors of its own for each frame. The receipt is its comment.

    A GIF tells how often it plays again: nothing where it plays once, 0 where it never stops.
    """
    first, *rest = (frame.quantize(256) for frame in made.frames)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=made.frame_ms,
        comment=b"offshoot " + receipts.to_json(receipt).encode(),
        **({"loop": max(made.loop - 1, 0)} if made.loop != 1 else {}),
    )
    return buffer.getvalue()


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
