"""A 3D object: composed and run, turned by the viewer, and in still views without JavaScript."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests import meshes
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _add, _ended
from tests.browser.test_journey import sign_up
from tests.make import png

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ORBIT = "document.querySelector('model-viewer').getCameraOrbit().theta"


@pytest.fixture(scope="module")
def sculptor(site: str, place: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of 3D objects that the host added to the running site."""
    return _added("sculptor", meshes.text_folder(tmp_path_factory.mktemp("models") / "sculptor"), place, root)


@pytest.fixture(scope="module")
def molder(site: str, place: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that makes objects of pictures."""
    return _added("molder", meshes.image_folder(tmp_path_factory.mktemp("models") / "molder"), place, root)


def _added(name: str, folder: Path, place: Path, root: Path) -> str:
    command = [sys.executable, "-m", "deploy.cli", "models", "add", name, str(folder)]
    subprocess.run(command, cwd=root, env={**os.environ, "DATA_DIR": str(place)}, check=True)
    return name


async def test_an_object_is_made_turned_and_shown(open_page: OpenPage, sculptor: str) -> None:
    page = await open_page()
    await sign_up(page, "sculptress")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("A blob in the round")
    await _add(page, 1, "text_to_3d")
    await page.locator("button[value=drop-1]").click()
    await expect(page.locator("[name=s1-model]")).to_have_value(sculptor)
    for name, value in (("prompt", "a red circle"), ("frame_size", "33"), ("num_inference_steps", "2")):
        await page.locator(f"[name=s1-{name}]").fill(value)
    await page.locator("[name=s1-grid_size]").fill("32")
    await page.locator("form:has([name=s1-kind])").first.evaluate("form => form.noValidate = true")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_text("From 32 to 512, a multiple of 32").first).to_be_visible()
    await expect(page.locator("[name=s1-frame_size]")).to_have_value("33")
    await page.locator("[name=s1-frame_size]").fill("32")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, True)

    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    await page.get_by_label("View 1 of 8").press("ArrowRight")
    await expect(page.get_by_label("View 2 of 8")).to_be_checked()
    assert not any("model-viewer" in url for url in fetched)
    await page.get_by_role("button", name="Turn it freely").click()
    await expect(page.get_by_text("Arrow keys turn it")).to_be_visible(timeout=60_000)
    await expect(page.get_by_role("button", name="Turn it freely")).to_be_hidden()
    before = await page.evaluate(ORBIT)
    await page.keyboard.press("ArrowLeft")
    for _ in range(50):
        if abs(await page.evaluate(ORBIT) - before) > 0.1:
            break
        await page.wait_for_timeout(100)
    else:
        raise AssertionError("the object did not turn")
    async with page.expect_download() as saved:
        await page.get_by_role("link", name="STL").click()
    assert (await saved.value).suggested_filename == "a-blob-in-the-round-run-1.stl"

    await page.get_by_role("button", name="Publish and show the pipeline to everyone").click()
    await page.get_by_role("link", name="its page").click()
    await expect(page.locator(".object")).to_be_visible()
    facts = page.locator(".label .spec").first
    await expect(facts).to_contain_text("Views32 × 32")
    await expect(facts).not_to_contain_text("None")
    pipeline = page.url.split("?")[0]
    await _without_the_viewer(page)

    visitor = await open_page(javascript=False, viewport=PHONE)
    await visitor.goto("/?kind=mesh")
    card = visitor.locator(".card", has_text="A blob in the round")
    await expect(card.get_by_text("3D")).to_be_visible()
    await visitor.goto(pipeline)
    poster = await visitor.locator("meta[property='og:image']").get_attribute("content")
    assert (await visitor.request.get(poster or "")).headers["content-type"] == "image/webp"
    await expect(visitor.get_by_role("button", name="Turn it freely")).to_be_hidden()
    strip = visitor.locator(".object img")
    assert await strip.evaluate("image => image.complete && image.naturalWidth") == 8 * 32
    for view, place in (("1", "0%"), ("8", "100%")):
        await visitor.get_by_label(f"View {view} of 8").check()
        await expect(strip).to_have_css("object-position", re.compile(rf"^{place.removesuffix('%')}(px|%) 0(px|%)$"))

    entries = (await visitor.request.get("/gallery/feed.rss?kind=mesh")).text
    assert 'type="model/gltf-binary"' in await entries()


async def test_a_picture_becomes_an_object_without_javascript(open_page: OpenPage, molder: str) -> None:
    page = await open_page(javascript=False, viewport=PHONE)
    await sign_up(page, "molder")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("A blob from a picture")
    await _add(page, 1, "image_to_3d")
    await page.locator("button[value=drop-1]").click()
    await expect(page.locator("[name=s1-model]")).to_have_value(molder)
    for name, value in (("frame_size", "32"), ("grid_size", "32"), ("num_inference_steps", "0")):
        await page.locator(f"[name=s1-{name}]").fill(value)
    wrong = {"name": "chair.png", "mimeType": "image/png", "buffer": b"no picture at all"}
    await page.locator("input[name=s1-upload-file]").set_input_files(wrong)  # type: ignore[arg-type]
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.locator("#s1-upload-e")).to_be_visible()
    await expect(page.locator("#s1-num_inference_steps-e")).to_contain_text("From 1 to")
    await expect(page.locator("[name=s1-num_inference_steps]")).to_have_value("0")
    await page.locator("[name=s1-num_inference_steps]").fill("2")
    right = {"name": "chair.png", "mimeType": "image/png", "buffer": png("orange", (64, 64))}
    await page.locator("input[name=s1-upload-file]").set_input_files(right)  # type: ignore[arg-type]
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, False)
    await page.get_by_label("View 5 of 8").check()
    await expect(page.locator(".object img")).to_be_visible()
    saved = await page.get_by_role("link", name="GLB").get_attribute("href")
    data = await (await page.request.get(saved or "")).body()
    assert data[:4] == b"glTF"
    told = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    assert "image_to_3d" in json.dumps(told["asset"]), "the receipt is inside"


async def _without_the_viewer(page: Page) -> None:
    """The views stay and the reason is told where the viewer does not come, or the browser cannot draw with it."""
    button, views = page.get_by_role("button", name="Turn it freely"), page.locator(".object img")
    await page.route("**/model-viewer*", lambda route: route.abort())
    await button.click()
    await expect(page.get_by_text("It could not be fetched. Load the page again.")).to_be_visible()
    await expect(button).to_be_focused()
    await expect(button).to_be_enabled()
    await expect(views).to_be_visible()
    await page.unroute("**/model-viewer*")
    await page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    await page.reload()
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    await button.click()
    await expect(page.get_by_text("This browser cannot show it.")).to_be_visible()
    await expect(views).to_be_visible()
    assert not any("model-viewer" in url for url in fetched)
