"""A grid from the pipeline's page to its published table, with real runs."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import FloatRect, Locator, Page, Route, expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_vary_estimate_run_publish(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript)
    await sign_up(page, "griddler" if javascript else "plain.griddler")
    await page.goto("/pipelines/new")
    await page.get_by_label("Title").fill("To be varied")
    await page.get_by_label("Prompt", exact=True).first.fill("a red circle on a blue background")
    await page.get_by_label("Who can see it").select_option("public")
    await page.locator("button[name=do][value=save]:visible").first.click()
    pipeline = page.url
    await page.get_by_role("link", name="Grid", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Make a grid")

    # too many, then few enough; what was typed stays
    if javascript:
        await page.wait_for_load_state()  # before that no script hears what is chosen
        async with _first_answer_last(page):
            await _choose_both(page)
            await expect(page.get_by_label("DDIM", exact=True)).to_be_visible()
    else:
        await _choose_both(page)
        await page.get_by_role("button", name="Show the values of these").click()
    await page.get_by_label("DDIM", exact=True).check()
    await page.get_by_label("EulerDiscrete", exact=True).check()
    await page.get_by_label("Values of sampling steps").fill("1..150")
    await page.get_by_role("button", name="Estimate").last.click()
    await expect(page.locator(".err")).to_contain_text("at most 100")
    await expect(page.get_by_label("Values of sampling steps")).to_have_value("1..150")
    await page.get_by_label("Values of sampling steps").fill("2, 4")
    await page.get_by_role("button", name="Estimate").last.click()
    await expect(page.get_by_role("heading", name="4 cells")).to_be_visible()
    await expect(page.get_by_label("EulerDiscrete", exact=True)).to_be_checked()
    await page.get_by_role("button", name="Run 4 cells").click()

    # it ends by itself
    await page.wait_for_url(re.compile(r"/grids/[0-9a-f-]{36}$"))
    await expect(page.get_by_text("Done, 4 cells")).to_be_visible(timeout=120_000)
    await expect(page.locator("#cells td img")).to_have_count(4)
    await expect(page.get_by_role("img", name=re.compile("Time by sampling steps"))).to_be_visible()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Contact sheet").click()
    assert (await download.value).suggested_filename == "to-be-varied-sampling-steps-scheduler-grid.png"
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("Everyone can see this grid")).to_be_visible()

    # a visitor finds it on the pipeline's page and opens a cell; the table scrolls, the page does not
    visitor = await open_page(javascript=javascript, viewport=PHONE)
    await visitor.goto(pipeline)
    await visitor.get_by_role("link", name="Sampling steps × Scheduler").click()
    await expect(visitor.get_by_role("columnheader", name="4")).to_be_visible()
    assert await visitor.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    await visitor.get_by_role("link", name=re.compile("^Sampling steps 4, Scheduler Euler")).click()
    await expect(visitor.get_by_text("Run with sampling steps: 4, scheduler: EulerDiscrete")).to_be_visible()
    await expect(visitor.get_by_role("link", name="The grid it is a cell of")).to_be_visible()

    await _heads_stay_in_sight(page)
    await sign_up(visitor, "looker" if javascript else "plain.looker")
    await visitor.goto(page.url)
    await _rate_and_fork_from_a_cell(visitor, javascript)


async def _choose_both(page: Page) -> None:
    await page.get_by_label("What varies across").select_option("s1-num_inference_steps")
    await page.get_by_label("What varies down").select_option("s1-scheduler")


@asynccontextmanager
async def _first_answer_last(page: Page) -> AsyncIterator[None]:
    """Within, the first request waits; its answer comes at the end, if anyone still wants it."""
    released, ended = asyncio.Event(), asyncio.Event()
    holds = iter([True])

    async def handle(route: Route) -> None:
        first = next(holds, False)
        if first:
            await released.wait()
        await route.continue_()
        if first:
            ended.set()

    await page.route("**/grids", handle)
    yield
    released.set()
    await ended.wait()
    await page.wait_for_timeout(300)
    await page.unroute("**/grids")


async def _heads_stay_in_sight(page: Page) -> None:
    """The cells scroll under the heads, both ways."""
    await page.set_viewport_size({"width": 320, "height": 240})
    table = page.locator(".cells")
    moved = await table.evaluate("table => { table.scrollTo(999, 999); return [table.scrollLeft, table.scrollTop] }")
    assert min(moved) > 20, moved
    frame, corner = await _box(table), await _box(page.locator(".cells thead td"))
    above, beside = await _box(page.locator(".cells thead th").last), await _box(page.locator(".cells tbody th").last)
    for head in (corner, above):
        assert abs(head["y"] - frame["y"]) < 2
    for head in (corner, beside):
        assert abs(head["x"] - frame["x"]) < 2


async def _rate_and_fork_from_a_cell(visitor: Page, javascript: bool) -> None:
    """On a phone, by somebody who did not make the pipeline."""
    grid, name = visitor.url, "Sampling steps 4, Scheduler Euler"
    assert await visitor.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    await visitor.get_by_role("link", name=re.compile(f"^Rate {name}")).click()
    await expect(visitor.get_by_text("How do you like the pipeline that it came from?")).to_be_in_viewport()
    await visitor.get_by_role("radio", name="4 stars").press("Space")
    if not javascript:
        await visitor.get_by_role("button", name="Save rating").click()
    await expect(visitor.get_by_text("4 of 5, saved")).to_be_visible()
    await visitor.goto(grid)
    await visitor.get_by_role("button", name=re.compile(f"^Make an offshoot of {name}")).click()
    await visitor.wait_for_url(re.compile(r"/edit$"))
    await expect(visitor.get_by_label("Sampling steps")).to_have_value("4")


async def _box(found: Locator) -> FloatRect:
    box = await found.bounding_box()
    assert box is not None
    return box
