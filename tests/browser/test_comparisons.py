"""What a word did: from an offshoot's page to pairs of pictures, with and without JavaScript."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
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
    slider = page.get_by_role("slider")
    if javascript:
        await slider.fill("20")
        assert abs(await _width(page, ".contrast .over") - whole / 5) < 2
    else:
        await expect(slider).to_be_hidden()
    await page.get_by_text("Flicker", exact=True).click()
    await page.get_by_label("Change by itself").uncheck()
    await expect(page.locator(".contrast .over")).to_have_css("opacity", "1")
    await page.get_by_label("Show offshoot").check()
    await expect(page.locator(".contrast .over")).to_have_css("opacity", "0")
