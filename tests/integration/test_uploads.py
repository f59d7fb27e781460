"""Uploaded pictures: what is taken, what is refused, and that nothing hides inside."""

import asyncio
import io
import re
import struct
import zipfile
import zlib

import pytest
from PIL import Image

from domain import db, uploads
from domain.errors import Invalid, TooLarge
from tests.make import png


def encoded(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "teal").save(file, kind, **options)
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("picture.png", png())
    return file.getvalue()


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_pictures_are_made_anew(kind, make, storage):
    ada = await make.person()
    made = await uploads.add(storage, ada.id, encoded(kind), f"C:\\pictures\\my {kind}\x07.png")
    assert (made.width, made.height, made.filename) == (64, 48, f"my {kind}.png")
    row = await db.fetchrow("SELECT * FROM artifacts WHERE sha256 = $1", made.sha256)
    assert row is not None
    assert row["media_type"] == ("image/webp" if kind == "JPEG" else "image/png")
    assert row["state"] == "stored"
    stored = await storage.get(f"{made.sha256[:2]}/{made.sha256}")
    assert Image.open(io.BytesIO(stored)).size == (64, 48)


async def test_the_same_picture_twice_is_one(make, storage):
    ada = await make.person()
    first = await uploads.add(storage, ada.id, png(), "a.png")
    again = await uploads.add(storage, ada.id, png(), "b.png")
    assert first.sha256 == again.sha256
    assert await db.fetchval("SELECT count(*) FROM uploads") == 1


def test_where_it_was_taken_stays_with_the_person():
    exif = Image.Exif()
    exif[0x010E] = "home address"
    exif[0x0112] = 6
    data = encoded("JPEG", exif=exif)
    assert b"home address" in data
    made, _, width, height = uploads.remake(data, "JPEG")
    assert b"home address" not in made
    assert not Image.open(io.BytesIO(made)).getexif()
    assert (width, height) == (48, 64)


def test_text_chunks_and_color_modes():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "secret prompt")
    made, _, _, _ = uploads.remake(encoded("PNG", mode="LA", pnginfo=info), "PNG")
    assert b"secret prompt" not in made
    assert Image.open(io.BytesIO(made)).mode == "RGBA"
    assert Image.open(io.BytesIO(uploads.remake(encoded("JPEG", mode="CMYK"), "JPEG")[0])).mode == "RGB"


def test_of_an_animation_the_first_frame_stays():
    file = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    made, _, _, _ = uploads.remake(file.getvalue(), "GIF")
    still = Image.open(io.BytesIO(made)).convert("RGB")
    assert still.getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (archive(), "ZIP archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawings are not taken"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG drawings are not taken"),
        (b"%PDF-1.7", "PDF"),
        (b"BM" + b"\0" * 60, "BMP"),
        (b"", "empty"),
        (b"just words", "no picture we can read"),
        (b"\x80\x04\x95pickle", "no picture we can read"),
        (png()[:120], "cut off or damaged"),
        (encoded("JPEG", (400, 400))[:300], "cut off or damaged"),
        (encoded("GIF")[:30], "cut off or damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "cut off or damaged"),
        (b"RIFF\x10\0\0\0WEBPVP8 junk", "cut off or damaged"),
    ],
)
async def test_what_is_no_picture_is_refused(data, words, make, storage):
    ada = await make.person()
    with pytest.raises(Invalid, match=words):
        await uploads.add(storage, ada.id, data, "picture.png")
    assert await db.fetchval("SELECT count(*) FROM artifacts") == 0


@pytest.mark.parametrize("size", [(12_000, 12_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (5_001, 5_000)])
async def test_too_many_pixels_are_counted_before_decoding(size, make, storage):
    ada = await make.person()
    with pytest.raises(TooLarge, match="megapixels"):
        await uploads.add(storage, ada.id, header_of(*size))


async def test_too_many_bytes(make, storage):
    ada = await make.person()
    with pytest.raises(TooLarge, match="at most 20 MB"):
        await uploads.add(storage, ada.id, png() + b"\0" * uploads.MAX_BYTES)


async def test_a_persons_share_is_limited(make, storage, monkeypatch):
    ada = await make.person()
    monkeypatch.setattr(uploads, "MAX_TOTAL", 1_000)
    await uploads.add(storage, ada.id, png("red"))
    with pytest.raises(TooLarge, match="1 GB"):
        await uploads.add(storage, ada.id, png("blue") + b"\0" * 1_000)


async def test_uploads_at_the_same_time_share_one_limit(make, storage, monkeypatch):
    ada, bo = await make.person(), await make.person()
    pictures = [png(color) for color in ("red", "green", "blue", "black", "white")]
    for picture in pictures:
        await uploads.add(storage, bo.id, picture)
    total = "SELECT sum(a.bytes) FROM uploads u JOIN artifacts a USING (sha256) WHERE u.person_id = $1"
    monkeypatch.setattr(uploads, "MAX_TOTAL", await db.fetchval(total, bo.id) - 1)
    done = await asyncio.gather(*(uploads.add(storage, ada.id, one) for one in pictures), return_exceptions=True)
    assert [type(one) for one in done if not isinstance(one, uploads.Uploaded)] == [TooLarge], done
    assert await db.fetchval(total, ada.id) <= uploads.MAX_TOTAL


async def test_by_form(make, client, log_in):
    ada = await make.person()
    browser = await log_in(client, ada)
    answer = await browser.post("/uploads", files={"file": ("a.png", png(), "image/png")})
    assert answer.status_code == 201
    assert answer.json()["width"] == 128
    sha256 = answer.json()["sha256"]
    assert (await browser.get(f"/artifacts/{sha256}")).status_code == 200
    zipped = await browser.post("/uploads", files={"file": ("a.png", archive(), "image/png")})
    assert zipped.status_code == 422
    assert "ZIP archive" in zipped.text
    assert (await browser.post("/uploads", files={"file": ("a.png", header_of(12_000, 12_000))})).status_code == 413
    assert (await browser.post("/uploads", data={"x": "y"})).status_code == 422
    assert (await browser.post("/uploads")).status_code == 422


async def test_more_than_the_route_takes(make, client, log_in):
    browser = await log_in(client, await make.person())
    answer = await browser.post("/uploads", files={"file": ("a.png", b"\0" * 25_000_000)})
    assert answer.status_code == 413


async def test_htmx_gets_the_field_back(make, client, log_in):
    browser = await log_in(client, await make.person())
    part = {"HX-Request": "true", "HX-Request-Type": "partial"}
    form = {"s1-kind": "image_to_image", "s1-prompt": "at night", "s1-upload": ""}
    answer = await browser.post(
        "/uploads?field=s1-upload-file", data=form, files={"s1-upload-file": ("a.png", png())}, headers=part
    )
    assert answer.status_code == 200
    assert 'name="s1-upload" value="' in answer.text
    assert "<img" in answer.text
    assert "<html" not in answer.text
    broken = await browser.post(
        "/uploads?field=s1-upload-file", data=form, files={"s1-upload-file": ("a.svg", b"<svg/>")}, headers=part
    )
    assert broken.status_code == 422
    assert "SVG drawings are not taken" in broken.text
    assert 'aria-invalid="true"' in broken.text


async def test_a_mask_is_kept_for_its_own_field(make, client, log_in):
    browser = await log_in(client, await make.person())
    form = {"s1-kind": "inpaint", "s1-prompt": "at night", "s1-upload": "", "s1-mask": ""}
    part = {"HX-Request": "true", "HX-Request-Type": "partial"}
    sent = {"s1-mask-file": ("mask.png", png("white"))}
    answer = await browser.post("/uploads?field=s1-mask-file", data=form, files=sent, headers=part)
    assert answer.status_code == 200
    assert re.search(r'name="s1-mask" value="[0-9a-f]{64}"', answer.text)
    assert 'id="s1-mask-field"' in answer.text
    other = {"s1-kind": "image_to_image", "s1-prompt": "at night"}
    refused = await browser.post("/uploads?field=s1-mask-file", data=other, files=sent, headers=part)
    assert refused.status_code == 422


async def test_other_peoples_uploads_are_not_found(make, clients, log_in, storage):
    ada, eve = await make.person(), await make.person()
    made = await uploads.add(storage, ada.id, png("purple"))
    assert (await (await log_in(clients(), ada)).get(f"/artifacts/{made.sha256}")).status_code == 200
    assert (await (await log_in(clients(), eve)).get(f"/artifacts/{made.sha256}")).status_code == 404
    assert (await clients().get(f"/artifacts/{made.sha256}")).status_code == 404


def with_chunk(name: bytes, data: bytes) -> bytes:
    """A small PNG with one chunk more, behind its header."""
    whole = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    plain = png()
    return plain[:33] + whole + plain[33:]


@pytest.mark.parametrize(("name", "start"), [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")])
def test_a_bomb_in_the_metadata_is_not_unpacked(name, start):
    bomb = with_chunk(name, start + zlib.compress(b"a" * 50_000_000))
    with pytest.raises(Invalid, match="damaged"):
        uploads.remake(bomb, "PNG")


def test_a_frame_larger_than_its_gif_is_measured_too():
    frame = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x40\x1f\x40\x1f\0\2\2D\1\0;"
    with pytest.raises(TooLarge, match="64 megapixels"):
        uploads.remake(frame, "GIF")


def test_of_many_frames_one_is_decoded():
    frames = [Image.new("P", (50, 50), number % 250) for number in range(500)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert uploads.remake(file.getvalue(), "GIF")[1:] == ("image/png", 50, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_to_hold_a_camera_comes_out_upright(orientation):
    from PIL import ImageOps

    picture = Image.new("RGB", (40, 24), "teal")
    picture.paste("gold", (0, 0, 20, 12))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    made, _, width, height = uploads.remake(file.getvalue(), "PNG")
    shown, wanted = Image.open(io.BytesIO(made)), ImageOps.exif_transpose(Image.open(file))
    assert shown.size == (width, height) == wanted.size
    assert shown.tobytes() == wanted.tobytes()


def test_damaged_metadata_does_not_cost_the_picture():
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description that is long enough"
    whole = encoded("JPEG", exif=exif)
    at = whole.index(b"Exif")
    for place in range(at, at + 60):
        for byte in (0, 127, 255):
            broken = whole[:place] + bytes([byte]) + whole[place + 1 :]
            assert sorted(uploads.remake(broken, "JPEG")[2:]) == [48, 64]


def test_a_photograph_too_long_for_webp_is_kept():
    assert uploads.remake(encoded("JPEG", (20_000, 8)), "JPEG")[1:] == ("image/png", 20_000, 8)


async def test_pictures_are_made_anew_one_at_a_time(make, storage, monkeypatch):
    busy: list[int] = []
    most: list[int] = []
    real = uploads.remake

    def watched(data, kind):
        busy.append(1)
        most.append(len(busy))
        try:
            return real(data, kind)
        finally:
            busy.pop()

    monkeypatch.setattr(uploads, "remake", watched)
    ada = await make.person()
    pictures = [encoded("PNG", (600 + number, 600)) for number in range(6)]
    await asyncio.gather(*(uploads.add(storage, ada.id, data) for data in pictures))
    assert max(most) == 1
