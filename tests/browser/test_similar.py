"""More like this, as a visitor meets it: from one pipeline to another that means nearly the same."""

import re
import time

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import compose_and_run, sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 150_000
"""Milliseconds for a worker that is still warming up on a busy machine."""


async def publish(page: Page, title: str, prompt: str) -> str:
    """Make, run and publish a pipeline; its address."""
    await compose_and_run(page, title, prompt)
    await page.get_by_role("button", name="Publish").click(timeout=PATIENCE)
    await expect(page.get_by_text("Published").first).to_be_visible()
    address = await page.locator("main a[href^='/pipelines/']").first.get_attribute("href")
    assert address is not None
    return re.sub(r"(/pipelines/[0-9a-f-]+).*", r"\1", address)


async def until_compared(page: Page, address: str, neighbor: str) -> None:
    """Load the page until a worker has found the time for both."""
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        await page.goto(address)
        like = page.locator("section", has=page.get_by_role("heading", name="More like this"))
        if await like.get_by_role("link", name=neighbor).count():
            return
        await page.wait_for_timeout(500)
    raise AssertionError("nobody compared it")


async def test_from_one_boat_to_the_other(open_page: OpenPage) -> None:
    maker = await open_page()
    await sign_up(maker, "nora.similar")
    first = await publish(maker, "A boat at noon", "a small sailing boat on a calm blue lake")
    await publish(maker, "A boat at night", "a sailing boat on a dark lake under the moon")

    for javascript, options in ((True, {}), (False, {"viewport": PHONE})):
        visitor = await open_page(javascript=javascript, **options)
        await until_compared(visitor, first, "A boat at night")
        like = visitor.locator("section", has=visitor.get_by_role("heading", name="More like this"))
        await expect(like.get_by_role("link", name="A boat at night")).to_be_visible()
        await like.get_by_role("link", name="See all like it").click()
        await expect(visitor.get_by_role("heading", level=1)).to_have_text("More like A boat at noon")
        await expect(visitor.get_by_role("group", name="Follow what is like this").get_by_role("link")).to_have_count(3)
        wide = await visitor.evaluate("document.documentElement.scrollWidth > innerWidth") if javascript else False
        assert not wide
        await visitor.get_by_role("link", name="A boat at night").click()
        await expect(visitor.get_by_role("heading", level=1)).to_have_text("A boat at night")
