"""Turning what a step made into files with its receipt inside, and WebP renditions of how it looks."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from domain import receipts
from domain.artifacts import WIDTHS
from domain.receipts import Receipt
from tasks import animated, meshes, sounds
from tasks.context import Animation, Made, Mesh, Sound
from tasks.messages import File, Rendition

PNG_LEVEL = 4
"""zlib's level: 6 takes twice as long for two percent."""


def encode(made: Made, receipt: Receipt) -> File:
    """What was made as it is stored, with the receipt that made it: a picture is lossless, an animation as it says.

    An animation's renditions show its first frame, those of a surface its front.
    """
    if isinstance(made, Mesh):
        return meshes.encode(made, receipt, renditions(made.views[0]))
    if isinstance(made, Sound):
        return sounds.encode(made, receipt)
    if isinstance(made, Animation):
        return animated.encode(made, receipt, renditions)
    image = made.image if made.image.mode == "RGB" else made.image.convert("RGB")
    return File(_png(image, receipt, made.seed), "image/png", *image.size, made.seed, renditions(image))


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
        small.save(buffer, "WEBP", **animated.WEBP)
        made.append(Rendition(name, width, height, buffer.getvalue()))
    return made
