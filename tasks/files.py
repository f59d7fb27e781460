"""Turning what a step made into files with its receipt inside, and WebP renditions of how it looks."""

import io
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from domain import receipts
from domain.artifacts import WIDTHS
from domain.receipts import Receipt
from tasks import meshes, sounds
from tasks.context import Animation, Made, Mesh, Sound
from tasks.messages import File, Rendition

PNG_LEVEL = 4
"""zlib's level: 6 takes twice as long for two percent."""
WEBP: dict[str, Any] = {"quality": 80, "method": 4}
H264 = {"crf": "18", "preset": "medium", "threads": "1"}
SEEN = 128
"""Pixels of a frame's longest side when the colors for all of them are chosen."""
IMAGE_DESCRIPTION = 0x010E
"""Exif's tag for what a picture shows."""


def encode(made: Made, receipt: Receipt) -> File:
    """What was made as it is stored, with the receipt that made it: a picture is lossless, an animation as it says.

    An animation's renditions show its first frame, those of a surface its front.
    """
    if isinstance(made, Mesh):
        return meshes.encode(made, receipt, renditions(made.views[0]))
    if isinstance(made, Sound):
        return sounds.encode(made, receipt)
    if isinstance(made, Animation):
        if made.format == "mp4":
            made = replace(made, frames=[_even(frame) for frame in made.frames])
        first = made.frames[0]
        media_type, write = ANIMATED[made.format]
        return File(write(made, receipt), media_type, *first.size, made.seed, renditions(first))
    image = made.image if made.image.mode == "RGB" else made.image.convert("RGB")
    return File(_png(image, receipt, made.seed), "image/png", *image.size, made.seed, renditions(image))


def _gif(made: Animation, receipt: Receipt) -> bytes:
    """256 colors a frame. The receipt is its comment.

    A GIF tells how often it plays again: nothing where it plays once, 0 where it never stops.
    """
    first, *rest = _paletted(made)
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


def _paletted(made: Animation) -> list[Image.Image]:
    """The frames in 256 colors of their own, or in those that suit all of them best, seen small side by side."""
    if made.colors == "own":
        return [frame.quantize(256) for frame in made.frames]
    small = [ImageOps.contain(frame, (SEEN, SEEN), Image.Resampling.NEAREST) for frame in made.frames]
    sheet = Image.new("RGB", (small[0].width * len(small), small[0].height))
    for number, frame in enumerate(small):
        sheet.paste(frame, (number * frame.width, 0))
    dither = Image.Dither.FLOYDSTEINBERG if made.colors == "dithered" else Image.Dither.NONE
    palette = sheet.quantize(256)
    return [frame.quantize(palette=palette, dither=dither) for frame in made.frames]


def _webp(made: Animation, receipt: Receipt) -> bytes:
    """All colors, lossy. The receipt is the description in its Exif."""
    first, *rest = made.frames
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = "offshoot " + receipts.to_json(receipt)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=made.frame_ms,
        loop=made.loop,
        exif=exif.tobytes(),
        **WEBP,
    )
    return buffer.getvalue()


def _mp4(made: Animation, receipt: Receipt) -> bytes:
    """H.264 as every browser plays it, of frames whose sides are even. The receipt is its comment.

    One thread: the same frames give the same file. Its index comes first, for which a file of its own is needed.
    """
    import av

    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.mp4"
        with av.open(path, "w", options={"movflags": "+faststart"}) as file:
            file.metadata["comment"] = "offshoot " + receipts.to_json(receipt)
            stream: Any = file.add_stream("libx264", rate=Fraction(1000, made.frame_ms), options=H264)
            (stream.width, stream.height), stream.pix_fmt = made.frames[0].size, "yuv420p"
            shown: Any = av.VideoFrame
            for image in made.frames:
                file.mux(stream.encode(shown.from_image(image)))
            file.mux(stream.encode(None))
        return path.read_bytes()


def _even(frame: Image.Image) -> Image.Image:
    """With a line of white to the right and below, where a side is odd."""
    return ImageOps.expand(frame, (0, 0, frame.width % 2, frame.height % 2), "white")


ANIMATED: dict[str, tuple[str, Callable[[Animation, Receipt], bytes]]] = {
    "gif": ("image/gif", _gif),
    "webp": ("image/webp", _webp),
    "mp4": ("video/mp4", _mp4),
}
"""By format: the media type, and what writes it."""


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
