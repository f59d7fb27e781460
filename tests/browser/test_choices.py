"""A run that waits for a choice among pictures: composed, asked and gone on with, with and without JavaScript."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _add, _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("javascript", [True, False])
async def test_the_run_goes_on_with_the_picture_that_was_chosen(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"picker{javascript}".lower())
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("One of three")
    await page.locator("[name=s1-prompt]").fill("a red circle")
    await page.locator("[name=s1-num_inference_steps]").fill("2")
    await page.locator("details:has([name=s1-num_images_per_prompt]) > summary").last.click()
    await page.locator("[name=s1-num_images_per_prompt]").fill("3")
    await _add(page, 1, "pick")
    await _add(page, 2, "upscale")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))

    asked = page.get_by_role("heading", level=1, name="Choose how it goes on")
    for _ in range(60):
        if await asked.is_visible():
            break
        await page.wait_for_timeout(500)
        if not javascript:
            await page.reload()
    offered = page.get_by_role("list", name="Pictures to choose from").get_by_role("listitem")
    await expect(offered).to_have_count(3)
    await offered.nth(1).get_by_role("img").click()
    if javascript:  # polls leave alone what is ticked
        await page.wait_for_timeout(2_500)
    await expect(page.get_by_role("radio").nth(1)).to_be_checked()
    await page.get_by_role("button", name="Go on with this picture").click()

    await _ended(page, javascript)
    await expect(page.get_by_text("2 of 3", exact=True)).to_be_visible()
    await expect(page.locator("#preview img").first).to_have_attribute("width", "512")
