"""Animations as files: GIF, WebP or MP4, with what pictures carry inside: the receipt, the lines that other tools read,
and that a model made them.

PyAV is imported when first needed.
"""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from PIL import Image, ImageOps

from domain import receipts
from domain.receipts import Receipt
from tasks.context import Animation
from tasks.messages import File, Rendition

WEBP: dict[str, Any] = {"quality": 80, "method": 4}
H264 = {"crf": "18", "preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}
"""One thread and no kernels of a CPU's own, of which one differs now and then: the same frames give the same file."""
SEEN = 128
"""Pixels of a frame's longest side when the colors for all of them are chosen."""
IMAGE_DESCRIPTION, EXIF_IFD, USER_COMMENT = 0x010E, 0x8769, 0x9286
"""Exif's tags for what a picture shows, for where what is told of one picture stands, and for a comment there."""
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""By which XMP's specification, part 3, has the box of an MP4 known."""
XMP_TRAILER = b"\1" + bytes(range(255, -1, -1)) + b"\0"
"""What ends a packet in a GIF: from wherever in it a reader of blocks goes on, these lead out."""


def encode(made: Animation, receipt: Receipt, renditions: Callable[[Image.Image], list[Rendition]]) -> File:
    """The animation as it is stored; its renditions show the first frame."""
    if made.format == "mp4":
        made = replace(made, frames=[_even(frame) for frame in made.frames])
    first = made.frames[0]
    media_type, write = FORMATS[made.format]
    return File(write(made, receipt), media_type, *first.size, made.seed, renditions(first))


def _even(frame: Image.Image) -> Image.Image:
    """With a line of white to the right and below, where a side is odd."""
    return ImageOps.expand(frame, (0, 0, frame.width % 2, frame.height % 2), "white")


def _told(receipt: Receipt) -> str:
    return "offshoot " + receipts.to_json(receipt)


def _lines(made: Animation, receipt: Receipt) -> str:
    return receipts.infotext(receipt, made.seed, *made.frames[0].size)


def _lengths(made: Animation, unit: int) -> list[int]:
    """Milliseconds that each frame is shown, in a format that counts in units of so many: where the exact length is no
    whole one they differ, so that no frame comes off its time by more than half a unit."""
    ends = [round(number * made.seconds * 1000 / unit) * unit for number in range(len(made.frames) + 1)]
    return [end - start for start, end in pairwise(ends)]


def _gif(made: Animation, receipt: Receipt) -> bytes:
    """256 colors a frame. Its first comment is for other tools, if there is something to tell them; the last one, which
    ends the file, is the receipt.

    A GIF tells how often it plays again: nothing where it plays once, 0 where it never stops.
    """
    first, *rest = _paletted(made)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=_lengths(made, 10),
        comment=(_lines(made, receipt) or _told(receipt)).encode(),
        **({"loop": max(made.loop - 1, 0)} if made.loop != 1 else {}),
    )
    data = buffer.getvalue()
    body = 13 + 3 * 2 ** ((data[10] & 7) + 1)  # behind the header and the colors for all
    label = b"!\xff\x0bXMP DataXMP" + receipts.xmp().encode() + XMP_TRAILER if receipt.model else b""
    comment = _comment(_told(receipt).encode()) if _lines(made, receipt) else b""
    return data[:body] + label + data[body:-1] + comment + data[-1:]


def _comment(told: bytes) -> bytes:
    """The block of a GIF that holds a comment, in parts that tell their length."""
    parts = [told[at : at + 255] for at in range(0, len(told), 255)]
    return b"!\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


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
    """All colors, lossy. The receipt is the description in its Exif, and what is for other tools the comment."""
    first, *rest = made.frames
    exif = Image.Exif()
    exif[IMAGE_DESCRIPTION] = "offshoot " + json.dumps(msgspec.to_builtins(receipt))  # ASCII, as Exif wants it
    if lines := _lines(made, receipt):
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + lines.encode("utf-16-be")
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=_lengths(made, 1),
        loop=made.loop,
        exif=exif.tobytes(),
        xmp=receipts.xmp().encode() if receipt.model else b"",
        **WEBP,
    )
    return buffer.getvalue()


def _mp4(made: Animation, receipt: Receipt) -> bytes:
    """H.264 as every browser plays it, of frames whose sides are even, at the exact rate. The receipt is its
    description, and what is for other tools its comment.

    It counts in parts of a frame's length, so that its own is exact too. Its index comes first, for which a file of its
    own is needed.
    """
    import av

    rate = 1 / made.seconds
    options = {"movflags": "+faststart", "movie_timescale": str(1000 * rate.numerator)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.mp4"
        with av.open(path, "w", options=options) as file:
            file.metadata["description"] = _told(receipt)
            file.metadata["comment"] = _lines(made, receipt)
            stream: Any = file.add_stream("libx264", rate=rate, options=H264)
            (stream.width, stream.height), stream.pix_fmt = made.frames[0].size, "yuv420p"
            shown: Any = av.VideoFrame
            for image in made.frames:
                file.mux(stream.encode(shown.from_image(image)))
            file.mux(stream.encode(None))
        data = path.read_bytes()
    return data + _box(receipts.xmp().encode()) if receipt.model else data


def _box(packet: bytes) -> bytes:
    """The box of an MP4 that holds XMP. At the end it moves nothing that the index points at."""
    return pack(">I4s", 24 + len(packet), b"uuid") + XMP_UUID + packet


FORMATS: dict[str, tuple[str, Callable[[Animation, Receipt], bytes]]] = {
    "gif": ("image/gif", _gif),
    "webp": ("image/webp", _webp),
    "mp4": ("video/mp4", _mp4),
}
"""By name: the media type, and what writes it."""
