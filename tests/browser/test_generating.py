"""Shapes from a generator: composed from a starting point, as pictures and as a walk."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def _compose(page: Page, **values: str) -> None:
    """A step of the starting point with other values; leads to the run's page."""
    await page.goto("/pipelines/new")
    await page.get_by_role("link", name="Shapes from a generator").click()
    await page.get_by_label("Title").fill("Shapes")
    await page.get_by_label("Class").select_option("star")
    for name, value in values.items():
        field = page.locator(f"[name=s1-{name}]")
        await (field.select_option(value) if name in ("layout", "format") else field.fill(value))
    await page.locator("button[name=do][value=run]:visible").first.click()


@pytest.mark.parametrize("javascript", [True, False])
async def test_pictures_of_a_class_stand_side_by_side(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"shaper{javascript}".lower())
    await _compose(page, truncation="2")
    await expect(page.get_by_text("From 0 to 1").first).to_be_visible()
    await expect(page.get_by_label("Class")).to_have_value("star")
    await page.locator("[name=s1-truncation]").fill("0.6")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, javascript)
    await expect(page.locator("#preview .shots img")).to_have_count(4)


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_walk_is_held_and_played(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"walker{javascript}".lower())
    await _compose(page, layout="walk", format="webp", frames="16", num_images="2")
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, javascript)
    moving = page.locator(".moving")
    await expect(moving).to_be_visible()
    await page.get_by_role("switch", name="Hold or play the animation").press("Space")
    await expect(moving).to_be_hidden()
    answer = await page.request.get(await moving.get_attribute("src") or "")
    assert answer.headers["content-type"] == "image/webp"
