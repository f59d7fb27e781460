"""A run's page while the run is alive: honest polls, the same truth elsewhere, an end."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Response, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_journey import PASSWORD, sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def _start(page: Page) -> str:
    """A run that takes minutes and is too large to share a call; the address of its form."""
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("A long one")
    await page.get_by_label("Prompt", exact=True).first.fill("a boat on the sea")
    await page.get_by_label("Width").fill("256")
    await page.get_by_label("Height").fill("256")
    await page.get_by_label("Sampling steps").fill("150")
    await page.get_by_text("More", exact=True).first.click()
    await page.get_by_label("Pictures", exact=True).fill("8")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    return await page.get_by_role("link", name="A long one").first.get_attribute("href") + "/versions/1/runs"


async def _stop(page: Page) -> None:
    await page.get_by_role("link", name="Stop").click()
    await page.get_by_role("button", name="Stop the run").click()
    await expect(page.get_by_role("heading", level=1, name="Stopped")).to_be_visible(timeout=30_000)


async def _log_in(page: Page, handle: str) -> None:
    await page.goto("/login")
    await page.get_by_label("E-mail").fill(f"{handle}@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("link", name="New", exact=True)).to_be_visible()


async def test_polls_cost_nothing_while_nothing_changes_and_end_with_the_run(open_page: OpenPage) -> None:
    first, handle = await open_page(), "patience"
    await sign_up(first, handle)
    form = await _start(first)
    long_run = first.url
    second = await first.context.new_page()
    polls: list[int] = []
    unchanged = asyncio.Event()

    def count(response: Response) -> None:
        if response.url.endswith("/progress"):
            polls.append(response.status)
            if polls.count(304) == 2:
                unchanged.set()

    second.on("response", count)
    await second.goto(form)
    await second.get_by_role("button", name="Run as is").click()
    headline = second.get_by_role("heading", level=1)
    await expect(headline).to_have_text("Waiting, first in the queue")
    await asyncio.wait_for(unchanged.wait(), 20)
    assert set(polls) <= {200, 304}

    # another device: the same truth
    elsewhere = await open_page()
    await _log_in(elsewhere, handle)
    await elsewhere.goto(second.url)
    await expect(elsewhere.get_by_role("heading", level=1)).to_have_text(await headline.inner_text())

    await _stop(second)
    await expect(elsewhere.get_by_role("heading", level=1)).to_have_text("Stopped")
    asked = len(polls)
    await asyncio.sleep(2.5)
    assert len(polls) == asked

    # a page that may no longer be seen is loaded again
    await second.goto("/")
    await second.get_by_role("button", name="Log out").click()
    await expect(first.get_by_role("heading", level=1, name="Nothing grows here")).to_be_visible(timeout=10_000)
    await elsewhere.goto(long_run)
    await _stop(elsewhere)
