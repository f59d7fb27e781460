"""Finding again and keeping up: bookmark, collect, follow, with and without JavaScript."""

import re
from pathlib import Path

import asyncpg
import msgspec
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser]

PIPELINE = """
WITH made AS (
    INSERT INTO pipelines (owner_id, title, tags, visibility, latest_version, prompt, published_at)
    SELECT id, $2, ARRAY['lanterns'], 'public', 1, 'paper lanterns over the water', now()
    FROM people WHERE handle = $1 RETURNING id
)
INSERT INTO versions (pipeline_id, number, digest, recipe)
SELECT id, 1, id::text, '{"steps": [{"kind": "text_to_image", "prompt": "paper lanterns over the water"}]}' FROM made
RETURNING pipeline_id
"""


async def publish(place: Path, handle: str, title: str) -> str:
    """A listed pipeline of somebody's, without waiting for a model: its address."""
    database = msgspec.json.decode((place / "run" / "urls.json").read_bytes())["database"]
    connection = await asyncpg.connect(database)
    try:
        return f"/pipelines/{await connection.fetchval(PIPELINE, handle, title)}"
    finally:
        await connection.close()


async def press(page: Page, name: str, pressed: bool = True) -> None:
    """Press a button that stays pressed; see that it does, also after loading the page again."""
    button = page.get_by_role("button", name=re.compile(f"^{name}"))
    await button.click()
    for _ in range(2):
        await expect(button).to_have_attribute("aria-pressed", "true" if pressed else "false")
        await page.reload()


@pytest.mark.parametrize(("javascript", "phone"), [(True, False), (False, True)], ids=["script", "no-script-phone"])
async def test_bookmark_collect_and_follow(open_page: OpenPage, place: Path, javascript: bool, phone: bool) -> None:
    suffix = "js" if javascript else "plain"
    options = {"javascript": javascript} | ({"viewport": PHONE} if phone else {})
    maker, page = await open_page(javascript=False), await open_page(**options)
    await sign_up(maker, f"mo.{suffix}")
    await sign_up(page, f"kim.{suffix}")
    first = await publish(place, f"mo.{suffix}", f"Lanterns {suffix}")
    second = await publish(place, f"mo.{suffix}", f"Boats {suffix}")

    # bookmark, and find it on one's own page
    await page.goto(first)
    await press(page, "Bookmark")
    await page.goto(f"/@kim.{suffix}?tab=bookmarks")
    await expect(page.get_by_role("heading", name=f"Lanterns {suffix}")).to_be_visible()

    # two into a new collection, the second goes up
    for address, title in ((first, f"Evenings {suffix}"), (second, "")):
        await page.goto(address)
        await page.get_by_role("link", name="Add to a collection").click()
        if title:
            await page.get_by_label("Title of the new one").fill(title)
            await page.get_by_label("Who can see it").select_option("public")
        await page.get_by_label("Note").fill(f"Note to {address}")
        await page.get_by_role("button", name="Add", exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(f"Evenings {suffix}")
    collection = page.url.split("#")[0]
    titles = page.locator("#items h3")
    await expect(titles).to_have_text([f"Lanterns {suffix}", f"Boats {suffix}"])
    await page.get_by_role("button", name=f"Up: Boats {suffix}").click()
    await expect(titles).to_have_text([f"Boats {suffix}", f"Lanterns {suffix}"])
    if javascript:
        await expect(page.get_by_role("button", name=f"Up: Boats {suffix}")).to_be_focused()
    await page.locator("#items li").last.get_by_text("More").click()
    await page.locator("#items li").last.get_by_role("button", name="Take out").click()
    await expect(titles).to_have_text([f"Boats {suffix}"])
    await page.locator("#items li").first.get_by_text("More").click()
    await page.get_by_role("link", name="Edit note").click()
    await page.get_by_label("Note").fill("n" * 1001)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("At most 1,000 characters")).to_be_visible()
    await page.get_by_label("Note").fill("Look at the boats")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Look at the boats")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visitor = await open_page(**options)
    await visitor.goto(collection)
    await expect(visitor.locator("#items h3")).to_have_text([f"Boats {suffix}"])
    await expect(visitor.get_by_role("button", name="Take out")).to_have_count(0)

    # follow: the page says what is new and why, and a feed of one's own tells it elsewhere
    await page.goto("/following")
    await expect(page.get_by_text("You follow nobody yet")).to_be_visible()
    await page.goto(f"/@mo.{suffix}")
    await press(page, "Follow")
    await page.goto("/following")
    await expect(page.get_by_role("heading", name=f"Boats {suffix}")).to_be_visible()
    await expect(page.get_by_text(f"By @mo.{suffix}, whom you follow").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="Make a private feed").click()
    feed = await page.get_by_role("link", name="JSON", exact=True).first.get_attribute("href")
    assert feed
    assert f"Boats {suffix}" in await (await visitor.request.get(feed)).text()
    await page.get_by_text("Only for you").click()
    await page.get_by_role("button", name="Withdraw it").click()
    await expect(page.get_by_role("button", name="Make a private feed")).to_be_visible()
    assert (await visitor.request.get(feed)).status == 410
    await page.get_by_role("link", name="Whom and what you follow").click()
    await page.get_by_role("button", name="Unfollow").click()
    await expect(page.get_by_text("You follow nobody yet")).to_be_visible()
