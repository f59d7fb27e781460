"""An animation by the starter: composed from a starting point, held and played, with and without JavaScript."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SMALL = {"width": "64", "height": "64", "num_inference_steps": "2"}


async def _compose(page: Page, form: str) -> None:
    """The starting point, first with too many frames; leads to the run's page."""
    await page.goto("/pipelines/new")
    await page.get_by_role("link", name="An animation", exact=True).click()
    await page.get_by_label("Title").fill("A circle that hops")
    await page.locator("[name=s1-prompt]").fill("a red circle on a white background")
    for name, value in SMALL.items():
        await page.locator(f"[name=s1-{name}]").fill(value)
    await page.locator("[name=s1-format]").select_option(form)
    await page.locator("[name=s1-frames]").fill("65")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_text("From 2 to 64, without a fraction").first).to_be_visible()
    await expect(page.locator("[name=s1-frames]")).to_have_value("65")
    await page.locator("[name=s1-frames]").fill("4")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))


async def test_an_mp4_has_the_browsers_own_player_without_javascript(open_page: OpenPage) -> None:
    page = await open_page(javascript=False, viewport=PHONE)
    await sign_up(page, "filmmaker")
    await _compose(page, "mp4")
    await _ended(page, False)
    film = page.locator("#preview video[controls]")
    await expect(film).to_be_visible()
    assert (await page.request.get(await film.get_attribute("poster") or "")).headers["content-type"] == "image/webp"
    source = await film.locator("source").get_attribute("src") or ""
    assert (await page.request.get(source)).headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(("javascript", "form"), [(True, "gif"), (False, "webp")])
async def test_a_prompt_moves_and_is_held(open_page: OpenPage, javascript: bool, form: str) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"animator{javascript}".lower())
    await _compose(page, form)
    await _ended(page, javascript)
    moving, hold = page.locator("#preview .moving"), page.get_by_role("switch", name="Hold or play the animation")
    await expect(moving).to_be_visible()
    await expect(page.locator("#steps")).to_contain_text("4, 8 a second")
    await hold.press("Space")
    await expect(moving).to_be_hidden()
    await page.emulate_media(reduced_motion="reduce")
    await expect(moving).to_be_visible()
    await hold.press("Space")
    await expect(moving).to_be_hidden()
    answer = await page.request.get(await moving.get_attribute("src") or "")
    assert answer.headers["content-type"] == f"image/{form}"
