"""Beside a prompt stand the words that its model does not know."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]

UNKNOWN = "The model starter does not know “bleu” (“blue”?) and “dragon”, and draws without them."


async def test_unknown_words_are_named_while_one_writes(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "poet")
    await page.goto("/pipelines/new")
    prompt, told = page.locator("[name=s1-prompt]"), page.locator("#s1-prompt-u")
    await prompt.fill("a bleu dragon by the sea")
    await expect(told).to_have_text(UNKNOWN)
    await prompt.fill("a blue boat by the sea")
    await expect(told).to_have_text("")
    await page.locator("details:has([name=s1-negative_prompt]) > summary").last.click()
    await page.locator("[name=s1-negative_prompt]").fill("a dragon")
    await expect(page.locator("#s1-negative_prompt-u")).to_have_text(
        "The model starter does not know “dragon”, and draws without it."
    )
    await page.get_by_text("The words that starter knows").click()
    await expect(page.get_by_text("circle, square, triangle")).to_be_visible()


async def test_unknown_words_are_named_without_javascript(open_page: OpenPage) -> None:
    page = await open_page(javascript=False)
    await sign_up(page, "plainpoet")
    await page.goto("/pipelines/new")
    await page.locator("[name=s1-prompt]").fill("a bleu dragon by the sea")
    await page.locator("button[name=do][value=save]:visible").first.click()  # it has no title yet
    await expect(page.locator("#s1-prompt-u")).to_have_text(UNKNOWN)
    await expect(page.locator("[name=s1-prompt]")).to_have_value("a bleu dragon by the sea")
