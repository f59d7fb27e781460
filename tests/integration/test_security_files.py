"""SECURITY.md 20, 21: what people upload, and how files are served."""

import dataclasses
import io
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image

from domain import uploads
from tests import sessions
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
    assert "frame-ancestors 'none'" in policy
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


async def test_21_a_preview_cannot_act_as_a_page(client: httpx.AsyncClient, make: Make, log_in: Any, db: Any) -> None:
    ada = await make.person("ada")
    run = await make.run(await make.pipeline(ada), state="running")
    await db.execute("INSERT INTO previews VALUES ($1, 1, 'image/webp', $2)", run.step_runs[0], b"rough")
    await log_in(client, ada)
    answer = await client.get(f"/runs/{run.id}/previews/{run.step_runs[0]}")
    assert answer.status_code == 200
    policy = {rule.strip() for rule in answer.headers["content-security-policy"].split(";")}
    assert policy == {"default-src 'none'", "frame-ancestors 'none'", "sandbox"}


@pytest.mark.parametrize("mine", [True, False])
async def test_17_the_composer_signs_no_address_of_a_picture_one_may_not_see(
    config: Any, db: Any, make: Make, storage: Any, mine: bool
) -> None:
    site = create_app(dataclasses.replace(config, artifact_origin="https://files.example"))
    site.state.storage = storage
    ada, olga = await make.person("ada"), await make.person("olga")
    secret = (await uploads.add(storage, ada.id if mine else olga.id, png("purple"))).sha256
    form = {"title": "x", "s1-kind": "image_to_image", "s1-prompt": "x", "s1-upload": secret}
    part = {"HX-Request": "true", "HX-Request-Type": "partial"}
    transport = httpx.ASGITransport(app=site)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=config.site_url) as client:
        await sessions.log_in(client, ada)
        await client.post("/drafts", data=form)
        two = {**form, "s2-kind": "image_to_image", "s2-prompt": "x", "s2-upload": ""}
        pages = [
            await client.get("/pipelines/new"),
            await client.post("/pipelines", data={**form, "title": "", "do": "save"}),
            await client.post("/pipelines", data={**form, "do": "add-1", "add-1-kind": "upscale"}, headers=part),
            await client.post("/drafts", data=form, headers=part),
            await client.post(
                "/uploads?field=s1-upload-file", data=form, files={"s1-upload-file": ("a.png", b"x")}, headers=part
            ),
            await client.post(
                "/uploads?field=s2-upload-file", data=two, files={"s2-upload-file": ("a.png", png())}, headers=part
            ),
        ]
    assert [page.status_code for page in pages] == [200, 422, 200, 200, 422, 200]
    signed = [f"/{secret}" in page.text for page in pages]
    assert signed == ([True, True, True, False, True, False] if mine else [False] * 6)
    assert f'name="s1-upload" value="{secret}"' in pages[0].text
