"""A part of a picture is repainted: the mask is painted by mouse and keys, or chosen as a file."""

import io
import re
from collections.abc import Awaitable, Callable

import pytest
from PIL import Image
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def test_a_mask_is_painted_and_run(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "painter")
    await _compose(page)
    await page.get_by_label("Who can see it").select_option("public")
    canvas, mask = page.get_by_role("application", name="Mask of step 2"), page.locator("input[name=s2-mask]")
    await canvas.scroll_into_view_if_needed()
    box = await canvas.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.2)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.2, steps=4)
    await page.mouse.up()
    await expect(mask).not_to_have_value("")
    stroke = await _white(page)
    assert 0.02 < stroke < 0.1

    # turned around by its button, and back; a dot with keys
    await _changes(page, lambda: page.get_by_role("button", name="Invert").click())
    assert await _white(page) == pytest.approx(1 - stroke, abs=0.01)
    await _changes(page, lambda: page.get_by_role("button", name="Undo").click())
    assert await _white(page) == pytest.approx(stroke, abs=0.001)

    # the eraser by its key, made larger by another, takes a part of the stroke away; Z brings it back
    await canvas.focus()
    size = page.get_by_label("Size")
    for key, asked in (("]", "14"), ("[", "12"), ("]", "14"), ("]", "16")):
        await canvas.press(key)
        await expect(size).to_have_value(asked)
    await canvas.press("e")
    await expect(page.get_by_role("button", name="Eraser")).to_have_attribute("aria-pressed", "true")
    across = box["y"] + box["height"] * 0.2
    await page.mouse.move(box["x"] + box["width"] * 0.25, across)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.45, across, steps=4)
    await _changes(page, page.mouse.up)
    assert 0.1 * stroke < await _white(page) < 0.8 * stroke
    await _changes(page, lambda: canvas.press("z"))
    assert await _white(page) == pytest.approx(stroke, abs=0.001)
    await canvas.press("e")
    await expect(page.get_by_role("button", name="Brush")).to_have_attribute("aria-pressed", "true")

    await canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown"):
        await canvas.press(key)
    await _changes(page, lambda: canvas.press("Space"))
    assert await _white(page) > stroke + 0.005

    # the last stroke goes with the form, even before it is sent by itself
    await page.get_by_role("button", name="Clear").click()
    await canvas.press("Space")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_role("heading", level=1, name=re.compile("Done"))).to_be_visible(timeout=120_000)
    await page.get_by_role("link", name="To be repainted").first.click()
    await expect(page.get_by_role("img", name="The mask of step 2")).to_be_visible()

    # what was painted is there again, over what the first step drew
    await page.get_by_role("link", name="Edit").click()
    await expect(page.locator(".board")).to_have_attribute("style", re.compile("background-image: url"))
    await _changes(page, lambda: page.get_by_role("button", name="Invert").click())
    assert 0.9 < await _white(page) < 1


async def test_a_finger_paints(open_page: OpenPage) -> None:
    page = await open_page(viewport=PHONE, touch=True)
    await sign_up(page, "fingerpainter")
    await _compose(page)
    canvas = page.get_by_role("application", name="Mask of step 2")
    await canvas.scroll_into_view_if_needed()
    before = await page.evaluate("scrollY")
    await _changes(page, canvas.tap)
    dot = await _white(page)
    assert 0.005 < dot < 0.05
    box = await canvas.bounding_box()
    assert box is not None
    drag = await page.context.new_cdp_session(page)
    places = [{"x": box["x"] + box["width"] * part, "y": box["y"] + box["height"] * part} for part in (0.1, 0.5, 0.9)]

    async def stroke() -> None:
        for kind, at in zip(("touchStart", "touchMove", "touchMove"), places, strict=True):
            await drag.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at]})
        await drag.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    await _changes(page, stroke)
    assert await _white(page) > 3 * dot
    assert await page.evaluate("scrollY") == before, "a finger that paints does not move the page"


async def test_a_mask_is_chosen_without_javascript(open_page: OpenPage) -> None:
    page = await open_page(javascript=False)
    await sign_up(page, "plainpainter")
    await _compose(page)
    await expect(page.locator(".painter")).to_be_hidden()
    await page.locator("details:has([name=s2-feather]) > summary").last.click()
    await page.locator("[name=s2-feather]").fill("-1")
    await page.locator("button[name=do][value=save]:visible").first.click()
    await expect(page.locator("#s2-feather-e")).to_contain_text("From 0 to")
    await expect(page.locator("[name=s2-feather]")).to_have_value("-1")
    await page.locator("[name=s2-feather]").fill("2")
    await page.locator("button[name=do][value=save]:visible").first.click()
    await expect(page.get_by_text("Paint what to repaint, or choose a picture of it").first).to_be_visible()
    mask = io.BytesIO()
    Image.new("L", (64, 64), "white").save(mask, "PNG")
    chosen = {"name": "mask.png", "mimeType": "image/png", "buffer": mask.getvalue()}
    await page.get_by_label("Mask", exact=True).set_input_files(chosen)  # type: ignore[arg-type]
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, javascript=False)
    await page.get_by_role("link", name="To be repainted").first.click()
    await expect(page.get_by_role("img", name="The mask of step 2")).to_be_visible()


async def _compose(page: Page) -> None:
    """A pipeline that draws, then repaints a part."""
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("To be repainted")
    await page.get_by_label("Prompt", exact=True).first.fill("a house in a meadow")
    await page.locator("select[name=add-1-kind]").select_option("inpaint")
    await page.locator("button[name=do][value=add-1]").click()
    await page.locator("[name=s2-prompt]").fill("a red heart in a meadow")


async def _changes(page: Page, act: Callable[[], Awaitable[object]]) -> None:
    """Do this, and wait for the other mask that it makes."""
    field = page.locator("input[name=s2-mask]")
    before = await field.input_value()
    await act()
    await expect(field).not_to_have_value(before)


async def _white(page: Page) -> float:
    """How much of the mask that the server has is white, as a part of it."""
    sha256 = await page.locator("input[name=s2-mask]").input_value()
    answer = await page.request.get(f"/artifacts/{sha256}")
    gray = Image.open(io.BytesIO(await answer.body())).convert("L")
    return sum(gray.tobytes()) / 255 / (gray.width * gray.height)
