"""Stars with words, and a tree that loads in parts: with and without JavaScript."""

import json
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINE = """
WITH owner AS (INSERT INTO people (email, handle, password_hash) VALUES ($1 || '@example.org', $1, '!') RETURNING id),
root AS (INSERT INTO pipelines (owner_id, title, visibility, latest_version, published_at)
    SELECT id, $2, 'public', 1, now() FROM owner RETURNING id, owner_id),
grown AS (INSERT INTO pipelines (owner_id, title, visibility, parent_id, root_id, generation, latest_version)
    SELECT owner_id, 'Twig ' || n, CASE WHEN n = 30 THEN 'private' ELSE 'public' END, id, id, 2, 1
    FROM root, generate_series(1, 60) n RETURNING id),
saved AS (INSERT INTO versions (pipeline_id, number, digest, recipe)
    SELECT id, 1, 'x', '{"steps": [{"kind": "text_to_image", "prompt": "a boat"}]}'
    FROM (SELECT id FROM root UNION ALL SELECT id FROM grown) every RETURNING id)
SELECT id FROM root
"""


async def line(place: Path, handle: str, title: str) -> UUID:
    """A pipeline with sixty offshoots, one of them private, by somebody who never logs in."""
    urls = json.loads((place / "run" / "urls.json").read_text())
    connection = await asyncpg.connect(urls["database"])
    try:
        found: UUID = await connection.fetchval(LINE, handle, title)
        return found
    finally:
        await connection.close()


@pytest.mark.parametrize(("javascript", "phone"), [(True, False), (False, True)], ids=["script", "no-script-phone"])
async def test_a_review_is_written_edited_and_withdrawn(
    open_page: OpenPage, place: Path, javascript: bool, phone: bool
) -> None:
    name = "js" if javascript else "plain"
    pipeline = f"/pipelines/{await line(place, f'harbor.{name}', f'Harbor {name}')}"
    page = await open_page(javascript=javascript, **({"viewport": PHONE} if phone else {}))
    await sign_up(page, f"critic.{name}")
    await page.goto(pipeline)
    await expect(page.get_by_text("No reviews yet.")).to_be_visible()
    await page.get_by_role("radio", name="4 stars").press("Space")
    if not javascript:
        await page.get_by_role("button", name="Save rating").click()
    await expect(page.get_by_text("4 of 5, saved")).to_be_visible()
    await expect(page.get_by_role("row", name="4 stars").get_by_role("cell").last).to_have_text("1")

    # the words: first too many, then fewer
    await page.get_by_role("link", name="Write a review").click()
    await expect(page.get_by_role("radio", name="4 stars")).to_be_checked()
    words = page.get_by_label("In words, if you like")
    await words.fill("Calm **water**" + "!" * 2_000)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("At most 2,000 characters; this has 2,014")).to_be_visible()
    await expect(words).to_have_value("Calm **water**" + "!" * 2_000)
    await words.fill("Calm **water**")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("article").get_by_text("Calm water")).to_be_visible()

    # seen by a visitor, on the pipeline's page too
    visitor = await open_page(javascript=javascript)
    await visitor.goto(pipeline)
    await expect(visitor.get_by_role("article").get_by_text("Calm water")).to_be_visible()
    await visitor.get_by_role("link", name="How ratings count").click()
    await expect(visitor.get_by_role("heading", level=1)).to_have_text("How ratings count")

    await page.get_by_role("button", name="Withdraw stars and words").click()
    await expect(page.get_by_text("Not rated yet")).to_be_visible()
    await expect(page.get_by_text("No reviews yet.")).to_be_visible()


@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no-script"])
async def test_a_large_tree_loads_in_parts(open_page: OpenPage, place: Path, javascript: bool) -> None:
    name = "tree.js" if javascript else "tree.plain"
    root = await line(place, name, f"Grown {name}")
    page = await open_page(javascript=javascript, viewport=PHONE)
    await page.goto(f"/pipelines/{root}/lineage")
    await expect(page.get_by_text("Twig 24", exact=True)).to_be_visible()
    await expect(page.get_by_text("Twig 25", exact=True)).to_be_hidden()
    await page.get_by_role("link", name="36 more offshoots").click()
    await expect(page.get_by_text("Twig 25", exact=True)).to_be_visible()
    await expect(page.get_by_text("Twig 24", exact=True)).to_have_count(1 if javascript else 0)
    await page.get_by_role("link", name="12 more offshoots").click()
    await expect(page.get_by_text("Twig 60", exact=True)).to_be_visible()
    await expect(page.get_by_text("Private offshoot")).to_be_visible()
    await expect(page.get_by_text("more offshoots", exact=False).filter(has_not_text="More")).to_have_count(0)
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"] if javascript else True
