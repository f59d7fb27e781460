"""Uploaded pictures: told apart by their first bytes, measured before decoding, made anew
without metadata, and stored like anything else. Sounds are made anew by `domain/sounds.py`."""

import asyncio
import io
import struct
import unicodedata
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct

from domain import artifacts, db, sounds
from domain.errors import Invalid, TooLarge
from domain.steps import Medium
from domain.storage import Storage

if TYPE_CHECKING:
    import PIL.Image

MAX_BYTES = 20_000_000
MAX_PIXELS = 25_000_000
MAX_TOTAL = 1_000_000_000
"""Bytes that one person's uploads may take together."""
FIELD = "file"
_WEBP_SIDE = 16_383
"""Pixels that a WebP may be wide or high."""
_DECODER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
"""25 megapixels take some 300 MB while they are made anew: one picture at a time."""
_BREAKS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, struct.error, zlib.error)
"""What Pillow raises for damaged files."""

Format = Literal["PNG", "JPEG", "WEBP", "GIF"]
_BROKEN = "The picture is cut off or damaged. Save it again and upload the whole file"
_OTHERS = (
    (b"PK\x03\x04", "This is a ZIP archive. Unpack it and upload the picture inside"),
    (b"%PDF", "This is a PDF. Save the page as PNG or JPEG and upload that"),
    (b"BM", "This is a BMP. Save it as PNG and upload that"),
    (b"II*\x00", "This is a TIFF. Save it as PNG and upload that"),
    (b"MM\x00*", "This is a TIFF. Save it as PNG and upload that"),
)


class Uploaded(Struct, frozen=True):
    """A stored picture: its address and its size in pixels. A sound has none."""

    sha256: str
    width: int | None
    height: int | None
    filename: str


async def add(
    storage: Storage,
    person_id: UUID,
    data: bytes,
    filename: str = "",
    medium: Medium | None = "image",
    *,
    sample: bool = False,
) -> Uploaded:
    """Check a picture or a sound, make it anew without its metadata, and keep it for the person. `sample`: the sound is
    that of a voice.

    Raises Invalid (field `file`) for what is no whole PNG, JPEG, WebP or GIF, or no sound, TooLarge past
    20 MB, 25 megapixels, ten minutes or the person's share, TooMany while other sounds are read.
    """
    check_size(len(data))
    made = await _remade(person_id, data, medium, sample)
    sha256 = await artifacts.record(storage, made.data, made.media_type, made.width, made.height)
    name = _name(filename)
    async with db.transaction():
        await db.execute("SELECT FROM people WHERE id = $1 FOR NO KEY UPDATE", person_id)
        await _check_share(person_id, len(made.data), sha256)
        if made.peaks:
            await artifacts.tell_sound(sha256, made.seconds, made.peaks)
        await db.execute(
            """INSERT INTO uploads (person_id, sha256, filename) VALUES ($1, $2, $3)
               ON CONFLICT (person_id, sha256) DO UPDATE SET filename = excluded.filename""",
            person_id,
            sha256,
            name,
        )
    return Uploaded(sha256, made.width, made.height, name)


class _Made(NamedTuple):
    """What is kept: a picture with its size in pixels, or a sound with its seconds and peaks."""

    data: bytes
    media_type: str
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    peaks: str = ""


async def _remade(person_id: UUID, data: bytes, medium: Medium | None, sample: bool) -> _Made:
    if medium == "audio":
        sounds.sniff(data)
        await _check_share(person_id, len(data))
        sound = await sounds.remade(data, person_id, sample=sample)
        return _Made(sound.flac, "audio/flac", seconds=sound.seconds, peaks=sound.peaks)
    kind = sniff(data)
    await _check_share(person_id, len(data))
    return _Made(*await asyncio.get_running_loop().run_in_executor(_DECODER, remake, data, kind))


async def _check_share(person_id: UUID, more: int, sha256: str = "") -> None:
    """Whether so many more bytes fit, `sha256` itself not counted. Certain only while the person's row is locked:
    asked before the picture is decoded to save the work, and again when it is kept."""
    taken = await db.fetchval(
        """SELECT coalesce(sum(a.bytes), 0) FROM uploads u JOIN artifacts a USING (sha256)
           WHERE u.person_id = $1 AND u.sha256 <> $2""",
        person_id,
        sha256,
    )
    if taken + more > MAX_TOTAL:
        raise TooLarge("Your uploads have reached 1 GB together, and this one does not fit.")


def check_size(size: int) -> None:
    """Raise TooLarge for a file of more than 20 MB; `size` is its bytes."""
    if size > MAX_BYTES:
        raise TooLarge(f"The file has {size / 1e6:,.0f} MB; at most {MAX_BYTES // 1_000_000} MB fit.")


def sniff(data: bytes) -> Format:
    """The picture format by its first bytes; names and declared types are not believed. Raises Invalid."""
    if not data:
        raise Invalid({FIELD: "The file is empty"})
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    head = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")) or b"<svg" in head:
        raise Invalid({FIELD: "SVG drawings are not taken. Save it as PNG and upload that"})
    for magic, words in _OTHERS:
        if data.startswith(magic):
            raise Invalid({FIELD: words})
    raise Invalid({FIELD: "This is no picture we can read. Upload a PNG, JPEG, WebP or GIF"})


def remake(data: bytes, kind: Format) -> tuple[bytes, str, int, int]:
    """Decode and encode again: bytes, media type, width and height, upright and without metadata.

    Of an animation the first frame stays. Photographs become WebP, everything else PNG.
    Raises Invalid for a broken file and TooLarge past 25 megapixels, before decoding it.
    """
    from PIL import Image

    try:
        # warnings tell of damaged metadata, which is thrown away anyway
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=[kind]) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise _too_many(width, height)
            picture.load()
            plain = _upright(picture.convert("RGBA" if picture.has_transparency_data else "RGB"), _orientation(picture))
    except Image.DecompressionBombError:
        raise _too_many() from None
    except _BREAKS:
        raise Invalid({FIELD: _BROKEN}) from None
    plain.info.clear()
    file = io.BytesIO()
    if kind == "JPEG" and max(plain.size) <= _WEBP_SIDE:
        plain.save(file, "WEBP", quality=92)
        return file.getvalue(), "image/webp", *plain.size
    plain.save(file, "PNG")
    return file.getvalue(), "image/png", *plain.size


def _orientation(picture: "PIL.Image.Image") -> int:
    """How the camera was held, 1 to 8 as EXIF counts; 1 where the metadata is damaged."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except (*_BREAKS, OverflowError):
        return 1


def _upright(picture: "PIL.Image.Image", orientation: int) -> "PIL.Image.Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _too_many(width: int = 0, height: int = 0) -> TooLarge:
    size = f"The picture has {width * height / 1e6:.0f} megapixels ({width} × {height})" if width else "Too many pixels"
    return TooLarge(f"{size}; at most {MAX_PIXELS // 1_000_000} megapixels fit. Make it smaller and upload it again.")


def _name(filename: str) -> str:
    """The file's last name, without folders and control characters."""
    last = filename.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(char for char in last if unicodedata.category(char)[0] != "C")[:120]
