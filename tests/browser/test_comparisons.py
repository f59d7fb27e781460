"""What a word did: from an offshoot's page to pairs of pictures, with and without JavaScript."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def _save(page: Page, title: str, prompt: str) -> None:
    """Fill the composer's form and save the version, drawn quickly."""
    await page.get_by_label("Title").fill(title)
    await page.get_by_label("Prompt", exact=True).first.fill(prompt)
    await page.get_by_label("Sampling steps").fill("3")
    await page.locator("button[name=do][value=save]:visible").first.click()
    await page.wait_for_url(re.compile(r"/versions/\d+$"))


async def _width(page: Page, selector: str) -> float:
    box = await page.locator(selector).first.bounding_box()
    assert box is not None
    return box["width"]


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_what_did_this_word_do(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript)
    await sign_up(page, f"cora.{'js' if javascript else 'plain'}")
    await page.goto("/pipelines/new")
    await _save(page, "A red circle", "a red circle on a blue background")
    await page.get_by_role("button", name="Make an offshoot").click()
    await page.wait_for_url(re.compile(r"/edit$"))
    await _save(page, "A green circle", "a green circle on a blue background")

    await page.get_by_role("link", name="Compare results of the same seed").click()
    await expect(page.get_by_role("heading", level=1, name="What changed")).to_be_visible()
    await expect(page.locator("main del")).to_have_text("red")
    await expect(page.locator("main ins")).to_have_text("green")
    compared = page.url

    await page.get_by_label("Seeds", exact=True).fill("3 4")
    await page.get_by_role("button", name="Run both over a few seeds").click()
    await page.wait_for_url(re.compile(r"/comparisons/runs\?.*seeds=3\+4$"))
    await expect(page.get_by_role("status")).to_have_text("4 of 4 runs done", timeout=60_000)
    assert await page.locator("#cells td img[src*='/artifacts/']").count() == 4

    await page.get_by_role("rowheader").get_by_role("link", name="3").click()
    await expect(page.get_by_role("heading", name="Outputs side by side")).to_be_visible()
    assert page.url.startswith(compared)
    whole = await _width(page, ".contrast .pair")
    assert await _width(page, ".contrast .over") < whole / 2
    await page.get_by_text("Slider", exact=True).click()
    whole = await _width(page, ".contrast .pair")
    assert abs(await _width(page, ".contrast .over") - whole / 2) < 2
    slider, stops = page.get_by_role("slider"), page.get_by_role("radio", name=re.compile("%"))
    if javascript:
        await slider.fill("20")
        assert abs(await _width(page, ".contrast .over") - whole / 5) < 2
        await expect(stops).to_have_count(0)
    else:
        await expect(slider).to_be_hidden()
        await page.get_by_role("radio", name="50 %").focus()
        await page.keyboard.press("ArrowRight")
        await expect(page.get_by_role("radio", name="75 %")).to_be_checked()
        assert abs(await _width(page, ".contrast .over") - whole * 3 / 4) < 2
    await page.get_by_text("Flicker", exact=True).click()
    boxes = [await page.locator(f".contrast .pic{name} img").bounding_box() for name in (".over", ":not(.over)")]
    assert boxes[0] == boxes[1], "both lie in one frame, and neither is cut"
    for name in (".over", ":not(.over)"):
        await expect(page.locator(f".contrast .pic{name} img")).to_have_css("object-fit", "contain")
    await page.emulate_media(reduced_motion="reduce")
    await expect(page.get_by_label("Change by itself")).to_be_hidden()
    await expect(page.locator(".contrast .over")).to_have_css("animation-name", "none")
    await page.emulate_media(reduced_motion="no-preference")
    await page.get_by_label("Change by itself").uncheck()
    await expect(page.locator(".contrast .over")).to_have_css("opacity", "1")
    await page.get_by_label("Show offshoot").check()
    await expect(page.locator(".contrast .over")).to_have_css("opacity", "0")

    if javascript:
        await _read_from_the_right(page)


async def _read_from_the_right(page: Page) -> None:
    """Under `dir=rtl` the table of pairs and the slider begin at the right, and nothing runs over the edge."""
    right = "document.documentElement.dir = 'rtl'"
    await page.evaluate(right)
    await page.get_by_text("Slider", exact=True).click()
    frame, over = [await page.locator(f".contrast {name}").bounding_box() for name in (".pair", ".over")]
    assert frame is not None
    assert over is not None
    assert abs(frame["x"] + frame["width"] - over["x"] - over["width"]) < 2
    await page.go_back()
    await page.set_viewport_size(PHONE)
    await page.evaluate(right)
    heads = [await head.bounding_box() for head in await page.locator("#cells thead th").all()]
    assert [box["x"] for box in heads if box] == sorted((box["x"] for box in heads if box), reverse=True)
    cells = [await cell.bounding_box() for cell in await page.locator("#cells tbody tr:first-child > *").all()]
    for head, cell in zip(heads, cells, strict=True):
        assert head is not None
        assert cell is not None
        assert abs(head["x"] - cell["x"]) < 1
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
