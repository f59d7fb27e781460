"""SECURITY.md 20, 21: what people upload, and how files are served."""

import dataclasses
import io
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.make import Make, png
from web.app import create_app

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a.png", png())
    return file.getvalue()


def huge() -> bytes:
    """144 megapixels of one color: a few kilobytes that unpack to 432 MB."""
    file = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.svg", SVG),
        ("a.png", SVG),
        ("a.png", archive()),
        ("a.png", png()[:200]),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 64),
        ("a.png", huge()),
        ("a.html", b"<html><script>alert(1)</script>"),
        ("a.png", b""),
    ],
)
async def test_20_what_is_no_picture_is_refused(
    client: httpx.AsyncClient, make: Make, log_in: Any, db: Any, name: str, data: bytes
) -> None:
    await log_in(client, await make.person("ada"))
    answer = await client.post("/uploads", files={"file": (name, data, "image/png")})
    assert answer.status_code in (413, 422), answer.text
    assert await db.fetchval("SELECT count(*) FROM uploads") == 0
    assert "Traceback" not in answer.text


async def test_20_pictures_are_written_anew_without_metadata(
    client: httpx.AsyncClient, make: Make, log_in: Any, db: Any, storage: Any
) -> None:
    await log_in(client, await make.person("ada"))
    exif = Image.Exif()
    exif[0x010E] = "GPS 59.3293 18.0686"
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "JPEG", exif=exif)
    payload = file.getvalue() + b"<script>alert(1)</script>"
    answer = await client.post("/uploads", files={"file": ("a.jpg", payload, "image/jpeg")})
    assert answer.status_code in (200, 201), answer.text
    sha256 = await db.fetchval("SELECT sha256 FROM uploads")
    kept = await storage.get(f"{sha256[:2]}/{sha256}")
    assert b"59.3293" not in kept
    assert b"<script>" not in kept


async def stored(make: Make, storage: Any, media_type: str) -> str:
    """A public file of a type, by its SHA-256."""
    from domain import db

    pipeline = await make.pipeline(published=True)
    sha256: str = await db.fetchval(
        "SELECT sha256 FROM outputs o JOIN step_runs s ON s.id = o.step_run_id WHERE s.run_id = $1", pipeline.run_id
    )
    await db.execute("UPDATE artifacts SET media_type = $2, bytes = 4 WHERE sha256 = $1", sha256, media_type)
    await storage.put(f"{sha256[:2]}/{sha256}", b"data", media_type)
    return sha256


@pytest.mark.parametrize(
    ("media_type", "shown"),
    [("image/png", True), ("image/webp", True), ("audio/wav", True), ("text/html", False), ("image/svg+xml", False),
     ("model/gltf-binary", False), ("text/plain", False), ("application/json", False)],
)  # fmt: skip
async def test_21_files_cannot_act_as_pages(
    client: httpx.AsyncClient, make: Make, storage: Any, media_type: str, shown: bool
) -> None:
    answer = await client.get(f"/artifacts/{await stored(make, storage, media_type)}")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert ("content-disposition" in answer.headers) == (not shown)
    if not shown:
        assert answer.headers["content-disposition"].startswith("attachment")


async def test_21_files_can_have_an_origin_of_their_own(config: Any, db: Any, make: Make, storage: Any) -> None:
    site = create_app(dataclasses.replace(config, artifact_origin="https://files.example"))
    await make.pipeline(published=True)
    transport = httpx.ASGITransport(app=site)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=config.site_url) as client:
        page = await client.get("/?order=newest")
    assert 'src="https://files.example/' in page.text
    assert 'src="/artifacts/' not in page.text
    assert "img-src 'self' https://files.example;" in page.headers["content-security-policy"]
