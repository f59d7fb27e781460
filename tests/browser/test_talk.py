"""People talk: comment, reply, change, mention, delete, and hear of it, with JavaScript and without."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def compose(page: Page, title: str) -> str:
    """Save a public pipeline without running it; its path."""
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill(title)
    await page.get_by_label("Prompt", exact=True).first.fill("a calm sea")
    await page.get_by_label("Who can see it").select_option("public")
    await page.locator("button[name=do][value=save]:visible").first.click()
    await page.wait_for_url(re.compile(r"/versions/1$"))
    return page.url.partition("/versions")[0]


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_comment_reply_change_delete_and_hear_of_it(open_page: OpenPage, javascript: bool) -> None:
    suffix = "js" if javascript else "plain"
    ada, bo = f"talker.{suffix}", f"answerer.{suffix}"
    hers, his = [await open_page(javascript=javascript, viewport=PHONE) for _ in range(2)]
    await sign_up(hers, ada)
    pipeline = await compose(hers, f"Talked about {suffix}")
    await sign_up(his, bo)

    # Bo comments; the form is empty again, and twice the same is not what a double click makes
    await his.goto(pipeline)
    await expect(his.get_by_role("heading", name="No comments yet")).to_be_visible()
    await his.get_by_label("Your comment").fill(f"So *calm*, @{ada}")
    await his.get_by_role("button", name="Post comment").dblclick()
    await expect(his.get_by_role("heading", name="One comment")).to_be_visible()
    await expect(his.locator("article.comment")).to_have_count(1)
    await expect(his.locator("article.comment em")).to_have_text("calm")
    await expect(his.get_by_label("Your comment")).to_have_value("")

    # Ada sees the badge, opens the notification and replies
    await hers.goto("/")
    await hers.get_by_role("link", name="Notifications, 1 unread").click()
    await hers.get_by_role("link", name="mentioned you on").click()
    await hers.wait_for_url(re.compile(r"/pipelines/[^/]+#comment-"))
    await hers.get_by_role("link", name=f"Reply to {bo}").click()
    await hers.get_by_label(f"Your reply to {bo}").fill("")
    await hers.get_by_role("button", name="Post reply").click()
    if javascript:
        await hers.get_by_label(f"Your reply to {bo}").fill("\u200b")
        await hers.get_by_role("button", name="Post reply").click()
        await expect(hers.get_by_text("Write something first")).to_be_visible()
        await expect(hers.get_by_label(f"Your reply to {bo}")).to_be_focused()
    await hers.get_by_label(f"Your reply to {bo}").fill("Calmer than it was")
    await hers.get_by_role("button", name="Post reply").click()
    await expect(hers.get_by_role("heading", name="2 comments")).to_be_visible()
    await expect(hers.locator("article.reply")).to_contain_text("Calmer than it was")
    await hers.goto("/notifications")
    if not javascript:
        await hers.get_by_role("button", name="Mark all as read").click()
    await expect(hers.get_by_role("link", name="Notifications", exact=True)).to_be_visible()

    # Bo changes his words, then takes them away; the reply stays
    await his.goto(pipeline)
    await his.get_by_role("link", name="Edit your comment").click()
    await his.locator("form[id^=edit-] textarea").fill("So very calm")
    await his.get_by_role("button", name="Save").click()
    await expect(his.locator("article.comment").first).to_contain_text("So very calm")
    await expect(his.locator("article.comment").first).to_contain_text("edited")
    await his.get_by_role("link", name=f"Delete the comment of {bo}").click()
    await his.get_by_role("button", name="Delete it").click()
    await expect(his.get_by_role("heading", name="One comment")).to_be_visible()
    await expect(his.get_by_text("Deleted by its author")).to_be_visible()
    await expect(his.locator("article.reply")).to_contain_text("Calmer than it was")
    if javascript:
        assert await his.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
