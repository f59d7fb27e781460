"""What stands round every page: the theme, the login form, polls that rest, no inline code."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import msgspec
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import PHONE
from tests.browser.test_journey import compose_and_run, sign_up, watch_until_done

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Awaitable[Page]]
POLL = """
const poll = document.createElement("div");
poll.setAttribute("hx-get", "/health");
poll.setAttribute("hx-trigger", "every 1s");
document.querySelector("main").append(poll);
htmx.process(poll);
"""
HIDE = "hidden => Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden})"


async def background(page: Page) -> str:
    """The page's color as computed."""
    color: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


async def test_the_theme_changes_at_once_and_stays(open_page: OpenPage) -> None:
    page = await open_page()
    await page.goto("/login")
    light = await background(page)
    async with page.expect_response("**/settings/theme") as answer:
        await page.locator("label", has_text="Dark").click()
    assert (await answer.value).status == 204
    dark = await background(page)
    assert dark != light
    await page.reload()
    assert await background(page) == dark
    async with page.expect_response("**/settings/theme"):
        await page.locator("label", has_text="Auto").click()
    assert await background(page) == light


async def test_the_theme_stays_without_javascript(open_page: OpenPage) -> None:
    page = await open_page(javascript=False)
    await page.goto("/signup")
    await page.locator("label", has_text="Dark").click()
    await page.get_by_role("button", name="Keep").click()
    await expect(page).to_have_url(re.compile("/signup$"))
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_wrong_password_keeps_what_was_typed(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript)
    await page.goto("/login")
    await page.get_by_label("Handle or e-mail").fill("nobody")
    await page.get_by_label("Password").fill("not the right one")
    await page.get_by_role("main").get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("do not match")
    await expect(page.get_by_label("Handle or e-mail")).to_have_value("nobody")
    await expect(page.get_by_label("Password")).to_have_value("")
    if javascript:
        await expect(page.get_by_label("Password")).to_be_focused()


async def test_polls_rest_in_a_hidden_tab(open_page: OpenPage) -> None:
    page = await open_page()
    await page.goto("/login")
    await page.evaluate(POLL)
    async with page.expect_response("**/health"):
        pass
    await page.evaluate(HIDE, True)
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url) if "/health" in request.url else None)
    await page.wait_for_timeout(2500)
    assert polls == []
    await page.evaluate(HIDE, False)
    async with page.expect_response("**/health"):
        pass


async def test_polls_back_off_and_come_back(open_page: OpenPage) -> None:
    page = await open_page()
    await page.goto("/login")
    tries: list[str] = []

    async def away(route: Route) -> None:
        tries.append(route.request.url)
        await route.fulfill(status=503, body="<b>away</b>")

    await page.route("**/health", away)
    await page.evaluate(POLL)
    await page.wait_for_timeout(6500)
    assert 2 <= len(tries) <= 4, "after 1, 2 and 5 s, not every second"
    assert "away" not in await page.content()
    await page.unroute("**/health", away)
    async with page.expect_response("**/health", timeout=8000) as answer:
        pass
    assert (await answer.value).status == 200


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
async def test_nothing_runs_over_the_edge(open_page: OpenPage, width: int) -> None:
    page = await open_page(viewport={"width": width, "height": 800})
    for path in ("/", "/?order=top", "/search", "/search?q=lanterns+steps:many", "/login", "/signup", "/nowhere"):
        await page.goto(path)
        for folded in await page.locator("details.side").all():
            await folded.evaluate("details => details.open = true")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path


WORD = "Donaudampfschifffahrt" * 6
LONG = WORD[:120]
ARABIC = "سماء زرقاء فوق البحر وقارب أبيض صغير"
FAIL = """
WITH step AS (UPDATE step_runs SET state = 'failed', error_code = 'refused', error_message = $2, receipt = NULL
    WHERE run_id = $1)
UPDATE runs SET state = 'failed', visibility = 'private', published_at = NULL WHERE id = $1
"""


async def inside(page: Page, path: str) -> None:
    """Nothing of the page at `path` is wider than the phone."""
    await page.goto(path)
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


@pytest.mark.slow
async def test_long_words_and_failures_stay_inside_a_phone(open_page: OpenPage, place: Path) -> None:
    page = await open_page(viewport=PHONE)
    handle = "edge" + "w" * 28
    await sign_up(page, handle)
    await page.goto("/settings/profile")
    await page.get_by_label("Name").fill(WORD[:60])
    await page.get_by_label("About").fill(f"{LONG} {ARABIC}")
    await page.get_by_role("main").get_by_role("button", name="Save").click()
    await page.wait_for_url(re.compile(r"/@edge"))
    await compose_and_run(page, LONG, f"{LONG} {ARABIC}")
    run = page.url
    await watch_until_done(page)
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("Published").first).to_be_visible()
    pipeline = await page.get_by_role("main").locator("a[href^='/pipelines/']").first.get_attribute("href")
    assert pipeline
    pipeline = "/".join(pipeline.split("/")[:3])
    await page.goto(f"{pipeline}/collections")
    await page.get_by_label("Title of the new one").fill(LONG[:80])
    await page.get_by_label("Note").fill(f"{LONG} {ARABIC}")
    await page.get_by_role("button", name="Add", exact=True).click()
    await page.wait_for_url(re.compile(r"/collections/[0-9a-f-]{36}"))
    places = [page.url.split("#")[0], f"/search?q={WORD[:60]}", f"/search?q={ARABIC}+by:{handle}&all=tag"]
    places += ["/following", "/follows", "/notifications", f"/@{handle}?tab=collections"]
    places += [run, pipeline, f"{pipeline}/edit", f"{pipeline}/versions/1/runs", f"{pipeline}/deletion"]
    places += [f"/@{handle}", "/runs", "/pipelines/new", "/settings/profile", "/", "/tags/journey"]
    for path in places:
        await inside(page, path)
    database = msgspec.json.decode((place / "run" / "urls.json").read_bytes())["database"]
    connection = await asyncpg.connect(database)
    await connection.execute(FAIL, run.rsplit("/", 1)[1], f"{LONG}: {ARABIC}")
    await connection.close()
    for path in (run, "/runs", pipeline):
        await inside(page, path)
        if path != pipeline:
            await expect(page.get_by_text("Failed").first).to_be_visible()
