"""The main job, from signing up to following, as a person does it."""

import re

import feedparser
import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "four small red boats"


async def sign_up(page: Page, handle: str) -> None:
    await page.goto("/signup")
    await page.get_by_label("Handle").fill(handle)
    await page.get_by_label("E-mail").fill(f"{handle}@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Make the account").click()
    await expect(page.get_by_role("link", name="New")).to_be_visible()


async def compose_and_run(page: Page, title: str, prompt: str) -> None:
    """Compose a public pipeline of one step and run it; leaves the page of the run."""
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill(title)
    await page.get_by_label("Prompt", exact=True).first.fill(prompt)
    await page.get_by_label("Tags").fill("journey, circle")
    await page.get_by_label("Who can see it").select_option("public")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))


async def watch_until_done(page: Page) -> None:
    """A person without JavaScript has a page that reloads itself; with it, htmx swaps the news in."""
    await expect(page.get_by_role("button", name="Publish")).to_be_visible(timeout=60_000)
    await expect(page.locator("img[src*='/artifacts/']").first).to_be_visible()


@pytest.mark.parametrize(
    ("javascript", "phone"), [(True, False), (False, False), (True, True)], ids=["script", "no-script", "phone"]
)
async def test_sign_up_compose_run_publish_fork_rate_follow(
    open_page: OpenPage, site: str, javascript: bool, phone: bool
) -> None:
    suffix = f"{'js' if javascript else 'plain'}{'phone' if phone else ''}"
    options = {"javascript": javascript} | ({"viewport": PHONE} if phone else {})
    ada, ben = f"ada.{suffix}", f"ben.{suffix}"
    title = f"A red circle {suffix}"

    # Ada makes, runs and publishes
    hers = await open_page(**options)
    await sign_up(hers, ada)
    await compose_and_run(hers, title, "a red circle on a blue background")
    await watch_until_done(hers)
    await hers.get_by_role("button", name="Publish").click()
    await expect(hers.get_by_text("Published").first).to_be_visible()

    # a visitor finds it in the gallery, and its picture arrives
    visitor = await open_page(**options)
    await visitor.goto("/")
    await visitor.get_by_role("link", name=title).first.click()
    await expect(visitor.get_by_role("heading", level=1, name=title)).to_be_visible()
    picture = visitor.locator("main figure img").first
    await expect(picture).to_be_visible()
    if javascript:
        assert await picture.evaluate("image => image.complete && image.naturalWidth") > 0
    pipeline = visitor.url.split("?")[0]

    # Ben forks it, changes the prompt and runs that
    his = await open_page(**options)
    await sign_up(his, ben)
    await his.goto(pipeline)
    await his.get_by_role("button", name="Make an offshoot").click()
    await his.wait_for_url(re.compile(r"/edit$"))
    await expect(his.get_by_role("heading", level=1)).to_have_text("Edit your offshoot")
    await his.get_by_label("Title").fill(f"A yellow circle {suffix}")
    await his.get_by_label("Prompt", exact=True).first.fill("a yellow circle on a blue background")
    await his.get_by_label("Who can see it").select_option("public")
    await his.locator("button[name=do][value=run]:visible").first.click()
    await his.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await watch_until_done(his)
    await his.get_by_role("button", name="Publish").click()
    await expect(his.get_by_text("Published").first).to_be_visible()

    # both sides of the lineage show
    await his.goto(pipeline)
    await expect(his.get_by_text(f"A yellow circle {suffix}").first).to_be_visible()

    # Ben rates Ada's; Ada cannot rate her own
    four = his.get_by_role("radio", name="4 stars")
    await four.check(force=True)
    if not javascript:
        await his.get_by_role("button", name="Save rating").click()
    await expect(his.get_by_text("4 of 5, saved")).to_be_visible()
    await hers.goto(pipeline)
    await expect(hers.get_by_text("from 1 rating")).to_be_visible()
    assert await hers.get_by_role("radio", name="4 stars").count() == 0

    # and everybody can follow
    async with httpx.AsyncClient(base_url=site) as reader:
        for path in ("/gallery/feed", f"/@{ada}/feed", "/tags/journey/feed"):
            for ending in ("rss", "atom"):
                feed = feedparser.parse((await reader.get(f"{path}.{ending}")).text)
                assert not feed.bozo
                assert title in [entry.title for entry in feed.entries], f"{path}.{ending}"
        lineage = (await reader.get(f"{pipeline}/lineage.json")).json()
        assert any(f"A yellow circle {suffix}" in item["title"] for item in lineage["items"])


async def test_a_double_clicked_run_is_one_run(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "twice")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("Pressed twice")
    await page.get_by_label("Prompt", exact=True).first.fill("a white ring on a black background")
    await page.locator("button[name=do][value=run]:visible").first.dblclick()
    # the second click ends the navigation of the first
    await expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}$"), timeout=30_000)
    await page.goto("/runs")
    await expect(page.get_by_role("article")).to_have_count(1)


async def test_stop_ends_a_run(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "stopper")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("Never to be finished")
    await page.get_by_label("Prompt", exact=True).first.fill("a green hill")
    await page.get_by_label("Sampling steps").fill("150")
    await page.get_by_text("More", exact=True).first.click()
    await page.get_by_label("Pictures").fill("8")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await expect(page.locator("progress").first).to_be_visible(timeout=30_000)
    await page.get_by_role("link", name="Stop", exact=True).click()
    await page.get_by_role("button", name="Stop the run").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Stopped", timeout=30_000)


async def test_a_run_opened_on_another_device_shows_the_same(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "wanderer")
    await compose_and_run(page, "On two devices", "a white ring on a black background")
    await watch_until_done(page)
    elsewhere = await open_page(javascript=False, viewport=PHONE)
    await elsewhere.goto("/login")
    await elsewhere.get_by_label("Handle or e-mail").fill("wanderer")
    await elsewhere.get_by_label("Password").fill(PASSWORD)
    await elsewhere.get_by_role("button", name="Log in").click()
    await elsewhere.goto(page.url)
    await expect(elsewhere.get_by_role("heading", level=1)).to_have_text(
        await page.get_by_role("heading", level=1).inner_text()
    )


async def test_errors_keep_what_was_typed(open_page: OpenPage) -> None:
    page = await open_page(javascript=False)
    await sign_up(page, "slips")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("Guidance of forty")
    await page.get_by_label("Prompt", exact=True).first.fill("a red star")
    await page.get_by_label("Guidance").fill("40")
    await page.get_by_label("Width").fill("129")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_role("alert")).to_contain_text("2 things to mend")
    await expect(page.get_by_text("From 0 to 30").first).to_be_visible()
    await expect(page.get_by_text("a multiple of 8").first).to_be_visible()
    await expect(page.get_by_label("Guidance")).to_have_value("40")
    await expect(page.get_by_label("Title")).to_have_value("Guidance of forty")


async def test_drafts_save_themselves(open_page: OpenPage) -> None:
    page = await open_page()
    await sign_up(page, "drafter")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").press_sequentially("Half a thought")
    await expect(page.locator("#draft")).to_contain_text("Draft saved", timeout=10_000)
    await page.goto("/")
    await page.goto("/pipelines/new")
    await expect(page.get_by_label("Title")).to_have_value("Half a thought")


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_a_prompt_is_copied_and_a_pipeline_deleted(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript)
    await sign_up(page, f"copier.{javascript}".lower())
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("To be copied")
    await page.get_by_label("Prompt", exact=True).first.fill("a boat on the sea")
    await page.locator("button[name=do][value=save]:visible").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("To be copied")

    copy = page.locator(".copy").first
    if javascript:
        await copy.click()
        await expect(copy).to_have_text("Copied")
        assert await page.evaluate("getSelection().toString()") == "a boat on the sea"
    else:
        await expect(copy).to_be_hidden()

    await page.get_by_role("link", name="Delete").click()
    await expect(page.get_by_role("heading", name="Delete “To be copied”?")).to_be_visible()
    await page.get_by_role("button", name="Delete it").click()
    await page.wait_for_url(re.compile(r"/@copier"))
    await expect(page.get_by_text("To be copied")).to_have_count(0)


async def test_a_private_pipeline_is_published_with_one_press(open_page: OpenPage) -> None:
    page = await open_page(javascript=False)
    await sign_up(page, "opener")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("Private until now")
    await page.get_by_label("Prompt", exact=True).first.fill("a red circle on a blue background")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await watch_until_done(page)
    await page.get_by_role("button", name="Publish and show the pipeline to everyone").click()
    await expect(page.get_by_text("Everyone can see this result")).to_be_visible()
    visitor = await open_page(javascript=False)
    await visitor.goto("/")
    await expect(visitor.get_by_role("link", name="Private until now")).to_be_visible()
