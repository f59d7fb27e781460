"""The models of a site: what everybody sees, and how an admin verifies and adds them, with and without JavaScript."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from domain.models import STARTER_PATH
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def _until_read(page: Page, words: str, javascript: bool) -> None:
    """A list that is alive fills by itself, or by loading it again."""
    for _ in range(60):
        if await page.get_by_text(words).count():
            return
        await page.wait_for_timeout(500)
        if not javascript:
            await page.reload()
    raise AssertionError(await page.locator("#models").inner_text())


@pytest.mark.parametrize("javascript", [True, False])
async def test_models_are_seen_verified_added_and_removed(
    open_page: OpenPage, site: str, place: Path, root: Path, tmp_path: Path, javascript: bool
) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    handle = f"keeper{javascript}".lower()
    await sign_up(page, handle)
    await page.goto("/models")
    row = page.get_by_role("row", name="Draw, Redraw")
    for _ in range(60):  # a worker that has just started says so in a moment
        if "none now" not in await row.inner_text():
            break
        await page.wait_for_timeout(500)
        await page.reload()
    await expect(row.get_by_role("cell").first).to_have_text("1")
    await page.get_by_role("link", name="starter", exact=True).first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("starter")
    await expect(page.locator("main")).to_contain_text("hexagon")

    await page.goto("/admin/models")
    await expect(page.get_by_role("heading", name="The site’s models")).to_have_count(0)
    command = [sys.executable, "-m", "deploy.cli", "admin", "grant", handle]
    granting = await asyncio.create_subprocess_exec(*command, cwd=root, env={**os.environ, "DATA_DIR": str(place)})
    assert await granting.wait() == 0
    await page.goto("/models")
    await page.get_by_role("link", name="Look after the models").click()
    await page.get_by_role("button", name="Verify starter").click()
    await _until_read(page, "its files are those that were registered", javascript)

    # a folder that is none is told beside its field, and what was typed stays
    await page.get_by_role("link", name="Add a model").click()
    await page.get_by_label("Name").fill(handle)
    await page.get_by_label("Path").fill("/nowhere")
    await page.get_by_role("button", name="Add it").click()
    await expect(page.locator("#path-e")).to_be_visible()
    await expect(page.get_by_label("Name")).to_have_value(handle)
    await page.get_by_label("Path").fill(str(shutil.copytree(STARTER_PATH, tmp_path / "mine")))
    await page.get_by_role("button", name="Add it").click()
    await _until_read(page, f"Verify {handle}", javascript)
    await page.get_by_role("link", name=f"Remove {handle}").click()
    await page.get_by_role("button", name="Remove it").click()
    await expect(page.get_by_role("button", name="Verify starter")).to_be_visible()
    await expect(page.get_by_text(f"Verify {handle}")).to_have_count(0)
