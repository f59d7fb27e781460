"""Pictures of two steps joined to an animation that can be held, composed and watched with and without JavaScript."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def _add(page: Page, after: int, kind: str) -> None:
    """Add a step behind the one with this number."""
    await page.locator(f"#add-{after}-kind").select_option(kind)
    await page.locator(f"button[name=do][value=add-{after}]").click()
    await expect(page.locator(f"#step-{after + 1}")).to_be_visible()


async def _compose(page: Page, layout: str = "gif") -> None:
    """Two drawings of two pictures and an animation of all four; leads to the run's page."""
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("There and back")
    for number, prompt in ((1, "a red circle"), (2, "a blue ring")):
        if number > 1:
            await _add(page, number - 1, "text_to_image")
        await page.locator(f"[name=s{number}-prompt]").fill(prompt)
        await page.locator(f"[name=s{number}-num_inference_steps]").fill("2")
        await page.locator(f"details:has([name=s{number}-num_images_per_prompt]) > summary").last.click()
        await page.locator(f"[name=s{number}-num_images_per_prompt]").fill("2")
    await _add(page, 2, "join")
    await page.locator("[name=s3-source]").select_option("1")
    await page.locator("[name=s3-layout]").select_option(layout)
    await page.locator("[name=s3-also]").select_option("1")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_text("The output of step 1 comes in already").first).to_be_visible()
    await page.locator("[name=s3-also]").select_option("2")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))


async def _ended(page: Page, javascript: bool) -> None:
    done = page.get_by_role("heading", level=1, name=re.compile("Done"))
    for _ in range(60):
        if await done.is_visible():
            return
        await page.wait_for_timeout(500)
        if not javascript:
            await page.reload()
    raise AssertionError(await page.get_by_role("heading", level=1).inner_text())


@pytest.mark.parametrize("javascript", [True, False])
async def test_two_drawings_become_an_animation_that_can_be_held(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"joiner{javascript}".lower())
    await _compose(page)
    await _ended(page, javascript)

    hold, moving = page.get_by_role("switch", name="Hold or play the animation"), page.locator(".moving")
    await expect(moving).to_be_visible()
    await hold.press("Space")
    await expect(moving).to_be_hidden()
    await page.locator(".hold + .pic > label").click()
    await expect(moving).to_be_visible()
    await page.emulate_media(reduced_motion="reduce")
    await expect(moving).to_be_hidden()
    await hold.press("Space")
    await expect(moving).to_be_visible()

    answer = await page.request.get(await moving.get_attribute("src") or "")
    assert answer.headers["content-type"] == "image/gif"
    assert (await answer.body()).startswith(b"GIF89a")


async def test_a_video_plays_when_it_is_told_to(open_page: OpenPage) -> None:
    page = await open_page(viewport=PHONE)
    await sign_up(page, "filmer")
    await _compose(page, "mp4")
    await _ended(page, True)

    video = page.locator("#preview video")
    await expect(video).to_be_visible()
    assert await video.evaluate("one => one.paused && one.poster !== ''")
    moved = "new Promise((done) => { one.ontimeupdate = () => one.currentTime > 0.2 && done(true); })"
    assert await video.evaluate(f"(one) => {{ one.play(); return {moved}; }}")
    assert await video.evaluate("one => [one.videoWidth, one.duration]") == [256, 2]
