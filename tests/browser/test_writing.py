"""A text that a language model writes: composed from a starting point, watched as it comes, read and copied."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests import languages
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def writer(site: str, place: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A language model that the host added to the running site, slow enough to be watched."""
    folder = languages.language(tmp_path_factory.mktemp("models") / "writer", layers=150)
    command = [sys.executable, "-m", "deploy.cli", "models", "add", "writer", str(folder)]
    subprocess.run(command, cwd=root, env={**os.environ, "DATA_DIR": str(place)}, check=True)
    return "writer"


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_text_is_written_read_and_published(open_page: OpenPage, writer: str, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"teller{javascript}".lower())
    await page.goto("/pipelines/new")
    await page.get_by_role("link", name="Explain", exact=True).click()
    await expect(page.locator("[name=s1-model]")).to_have_value(writer)
    await page.get_by_label("Title").fill(f"Explain it {javascript}")
    await page.locator("[name=s1-max_new_tokens]").fill("9000")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_text("From 1 to 8,000").first).to_be_visible()
    await expect(page.locator("[name=s1-max_new_tokens]")).to_have_value("9000")
    await page.locator("[name=s1-max_new_tokens]").fill("60")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _comes(page, javascript)
    await _ended(page, javascript)

    written = (await page.locator("#preview .prose").inner_text()).strip()
    await page.get_by_text("As it was written, to copy").click()
    await expect(page.locator("#written .prompttext")).to_be_visible()
    await page.get_by_role("button", name="Publish and show the pipeline to everyone").click()
    await page.get_by_role("link", name="its page").click()
    assert (await page.locator("figure .prose").inner_text()).strip() == written


async def _comes(page: Page, javascript: bool) -> None:
    """What is written so far can be read before the rest is there."""
    coming = page.get_by_text(re.compile("It is being written: [1-9][0-9]? of at most 60 tokens"))
    for _ in range(150):
        if await coming.is_visible():
            return
        await page.wait_for_timeout(200)
        if not javascript:
            await page.reload()
    raise AssertionError(await page.locator("#preview").inner_text())
