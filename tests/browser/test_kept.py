"""Nothing typed is lost: the draft says when it is being saved, and an old page's form can be sent again."""

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.test_journey import PASSWORD, sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def test_the_draft_says_that_it_is_being_saved(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "saver")
    await page.goto("/pipelines/new")
    let_through = asyncio.Event()

    async def hold(route: Route) -> None:
        await let_through.wait()
        await route.continue_()

    await page.route("**/drafts", hold)
    await page.get_by_label("Title").fill("Half a thought")
    await expect(page.get_by_text("Saving", exact=True)).to_be_visible()
    let_through.set()
    await expect(page.locator("#draft")).to_contain_text("Draft saved")
    await expect(page.get_by_text("Saving", exact=True)).to_be_hidden()


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_a_session_that_ended_costs_no_words(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript)
    handle = f"returner.{javascript}".lower()
    await sign_up(page, handle)
    await page.goto("/pipelines/new")
    await page.context.clear_cookies(name=re.compile("^session-"))
    await page.get_by_label("Title").fill("Two owls")
    await page.get_by_label("Prompt", exact=True).first.fill("two owls\non a branch")
    if javascript:
        await expect(page.get_by_role("alert")).to_contain_text("You are not logged in any more")
    await page.locator("button[name=do][value=save]:visible").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not sent yet")

    async with page.context.expect_page() as opened:
        await page.get_by_role("main").get_by_role("link", name="Log in").click()
    beside = await opened.value
    await beside.get_by_label("Handle or e-mail").fill(handle)
    await beside.get_by_label("Password").fill(PASSWORD)
    await beside.get_by_role("button", name="Log in").click()
    await expect(beside.get_by_role("link", name="New", exact=True)).to_be_visible()
    await beside.close()

    await page.get_by_role("button", name="Send it again").click()
    await expect(page.get_by_text(f"logged in as {handle}")).to_be_visible()
    await page.get_by_role("button", name="Send it again").click()
    await page.wait_for_url(re.compile(r"/versions/1$"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Two owls")
    await expect(page.locator(".prompttext").first).to_have_text("two owls\non a branch")
