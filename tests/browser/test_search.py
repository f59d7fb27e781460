"""Finding something, with and without JavaScript."""

import json
import re
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, OpenPage

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PIPELINES = """
WITH ada AS (
    INSERT INTO people (email, handle, password_hash) VALUES ('finder@example.org', 'finder', '!')
    ON CONFLICT DO NOTHING RETURNING id
), made AS (
    INSERT INTO pipelines (owner_id, title, prompt, tags, visibility, latest_version, model, medium, published_at)
    SELECT ada.id, format('Lantern harbor %s', n), 'A small harbor at dusk, paper lanterns between the houses',
        ARRAY['night'], 'public', 1, CASE WHEN n % 3 = 0 THEN 'flux' ELSE 'sdxl' END,
        CASE WHEN n % 5 = 0 THEN 'text' ELSE 'image' END, now() - make_interval(mins => n)
    FROM ada, generate_series(1, 30) n RETURNING id
)
INSERT INTO search_stale SELECT id FROM made
"""


@pytest.fixture(scope="module")
def asked(site: str, place: Path) -> str:
    """The database's address, with thirty pipelines to find."""
    return str(json.loads((place / "run" / "urls.json").read_text())["database"])


async def planted(database: str) -> None:
    """Thirty pipelines that search knows."""
    connection = await asyncpg.connect(database)
    await connection.execute(PIPELINES)
    for _ in range(100):
        if not await connection.fetchval(
            "SELECT EXISTS (SELECT FROM search_stale UNION ALL SELECT FROM search_changes)"
        ):
            break
        await connection.execute("SELECT pg_sleep(0.1)")
    await connection.close()


async def test_finding_with_filters_slips_and_suggestions(open_page: OpenPage, asked: str) -> None:
    await planted(asked)
    page = await open_page()
    await page.goto("/")
    await page.get_by_label("Search prompts, models and people").fill("lanterns")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/search\?q=lanterns$"))
    await expect(page.get_by_role("heading", name="30 results for “lanterns”")).to_be_visible()
    await expect(page.locator("mark").first).to_be_visible()

    box = page.get_by_label("Words to find")
    await page.get_by_role("checkbox", name="flux").check()
    await expect(page.get_by_role("heading", name="10 results")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"model%3Aflux"))
    await expect(page.get_by_role("checkbox", name="flux")).to_be_focused()

    # what cannot be read is said beside the box, and the results stay
    await box.fill("lanterns steps:many")
    await box.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("steps: wants a number")
    await expect(page.get_by_role("heading", name="10 results")).to_be_visible()
    await expect(box).to_be_focused()
    await box.fill("lanterns kind:text")
    await box.press("Enter")
    await expect(page.get_by_role("heading", name="2 results")).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(box).to_have_value("lanterns")
    await expect(page.get_by_role("checkbox", name="Text")).to_be_checked()

    await page.get_by_role("link", name="Remove filter: Text").click()
    await expect(page.get_by_role("heading", name="10 results")).to_be_visible()
    await page.get_by_role("link", name="Remove filter: Model flux").click()
    await expect(page.get_by_role("heading", name="30 results")).to_be_visible()
    await page.get_by_role("link", name="Show more").click()
    await expect(page.get_by_role("article")).to_have_count(30)
    await page.get_by_label("Order", exact=True).select_option("newest")
    await expect(page).to_have_url(re.compile("order=newest"))
    await expect(page.get_by_role("article").first).to_contain_text("Lantern harbor 1")

    await page.get_by_label("Another tag").fill("night, nowhere")
    await page.get_by_label("Another tag").press("Enter")
    await expect(page.get_by_role("heading", name="0 results")).to_be_visible()
    await expect(page.get_by_label("Another tag")).to_have_value("")
    await page.get_by_role("checkbox", name="nowhere").click()  # after which it is gone: there is no such tag
    await expect(page.get_by_role("heading", name="30 results")).to_be_visible()
    await expect(page.get_by_role("checkbox", name="night")).to_be_checked()
    await page.get_by_label("Another model").press_sequentially("sd", delay=20)
    await expect(page.locator("#model-names option[value=sdxl]")).to_have_count(1)
    await page.get_by_label("Another model").fill("")
    await page.get_by_label("From", exact=True).fill("2020-02-01")
    await expect(page.get_by_role("link", name="Remove filter: Made from 2020-02-01")).to_be_visible()
    await page.get_by_label("From", exact=True).fill("")
    await expect(page.get_by_role("link", name=re.compile("Remove filter: Made"))).to_have_count(0)
    await page.evaluate("document.getElementById('results').setAttribute('aria-busy', true)")
    await expect(page.locator("#results")).to_have_css("opacity", "0.6")

    await box.fill("harbur")
    await box.press("Enter")
    await expect(page.get_by_text("Showing results for “harbor”")).to_be_visible()
    await box.press_sequentially("x", delay=20)
    async with page.expect_response(re.compile("/search/suggestions")):
        await box.fill("lant")
        await box.press("e")
    await expect(page.locator("#goes-on option[value=lantern]")).to_have_count(1)


async def test_finding_without_javascript(open_page: OpenPage, asked: str) -> None:
    await planted(asked)
    page = await open_page(javascript=False, viewport=PHONE)
    await page.goto("/")
    await page.get_by_role("link", name="Search", exact=True).first.click()
    await page.get_by_label("Words to find").fill("lanterns rating:9")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("alert")).to_contain_text("rating: wants a number from 1 to 5")
    await expect(page.get_by_role("article").first).to_contain_text("Lantern harbor")
    await page.get_by_label("Words to find").fill("lanterns")
    await page.get_by_text("Filters", exact=True).click()
    await page.get_by_role("checkbox", name="sdxl").check()
    await page.get_by_role("button", name="Use filters").click()
    await expect(page.get_by_role("heading", name="20 results for “lanterns”")).to_be_visible()
    await page.get_by_role("link", name="Remove filter: Model sdxl").click()
    await page.get_by_role("link", name="Show more").click()
    await expect(page.get_by_text("25 to 30 of 30")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
