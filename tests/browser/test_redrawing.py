"""A picture of one's own is redrawn and set in motion, with and without JavaScript: bounds, a file that is none, the
viewers of both, and what the saved files tell."""

import io
import json
import re

import pytest
from PIL import Image
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _add, _ended
from tests.browser.test_journey import sign_up
from tests.make import png

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NO_PICTURE = {"name": "boat.png", "mimeType": "image/png", "buffer": b"no picture at all"}
PICTURE = {"name": "boat.png", "mimeType": "image/png", "buffer": png("orange", (96, 64))}


async def _run(page: Page) -> None:
    await page.locator("button[name=do][value=run]:visible").first.click()


@pytest.mark.parametrize("javascript", [True, False])
async def test_an_upload_is_redrawn_and_moves(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"redrawer{javascript}".lower())
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("An orange, redrawn")
    await page.locator("[name=s1-prompt]").fill("a red circle")
    await _add(page, 1, "image_to_image")
    await page.locator("button[name=do][value=drop-1]").click()
    await expect(page.locator("#step-2")).to_have_count(0)
    await _add(page, 1, "image_to_animation")
    await page.locator("[name=s2-source]").select_option("1")
    for number in (1, 2):
        await page.locator(f"[name=s{number}-prompt]").fill("an orange circle on a white background")
        await page.locator(f"[name=s{number}-num_inference_steps]").fill("3")
    await page.locator("[name=s2-longest_side]").fill("64")
    await page.locator("[name=s2-frames]").fill("4")

    # what is out of bounds and a file that is no picture are told, and everything typed stays
    await page.locator("[name=s1-strength]").fill("1.5")
    await page.locator("input[name=s1-upload-file]").set_input_files(NO_PICTURE)  # type: ignore[arg-type]
    if javascript:  # it is looked at once it is chosen, else with the form
        await expect(page.locator("#s1-upload-e")).to_be_visible()
    await _run(page)
    await expect(page.locator("#s1-strength-e")).to_contain_text("More than 0, up to 1")
    await expect(page.locator("[name=s1-strength]")).to_have_value("1.5")
    if not javascript:
        await expect(page.locator("#s1-upload-e")).to_be_visible()
    await page.locator("[name=s1-strength]").fill("0.7")
    await page.locator("input[name=s1-upload-file]").set_input_files(PICTURE)  # type: ignore[arg-type]
    if javascript:
        await expect(page.get_by_role("img", name="The picture chosen for step 1")).to_be_visible()
    await _run(page)
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, javascript)

    # the animation moves and is held; the redrawn picture tells how it was made
    moving = page.locator("#preview .moving")
    await expect(moving).to_be_visible()
    await page.get_by_role("switch", name="Hold or play the animation").press("Space")
    await expect(moving).to_be_hidden()
    redrawn = page.locator("#steps .shots a").first
    await expect(redrawn.get_by_role("img")).to_be_visible()
    address = await redrawn.get_attribute("href") or ""
    picture = Image.open(io.BytesIO(await (await page.request.get(address)).body()))
    assert "Denoising strength: 0.7" in picture.info["parameters"]
    assert json.loads(picture.info["offshoot"])["parameters"]["strength"] == 0.7
    assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
