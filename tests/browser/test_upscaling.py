"""Enlarging with a model: the form shows what the chosen one takes, with and without JavaScript."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests import enlargers
from tests.browser.conftest import DESK, PHONE, OpenPage
from tests.browser.test_join import _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def ready(site: str, place: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The host added a network that looks at the picture alone, and a pipeline that is told more."""
    folder = tmp_path_factory.mktemp("enlargers")
    made = {"plus": enlargers.esrgan(folder / "plus.safetensors"), "worded": enlargers.diffusion(folder / "worded")}
    for name, path in made.items():
        command = [sys.executable, "-m", "deploy.cli", "models", "add", name, str(path)]
        subprocess.run(command, cwd=root, env={**os.environ, "DATA_DIR": str(place)}, check=True)


async def _shown(page: Page, *names: str) -> None:
    """Of the fields that only some models take, these are seen and no others."""
    for name in ("prompt", "seed", "num_inference_steps", "noise_level"):
        field = page.locator(f"[name=s2-{name}]")
        await (expect(field).to_be_visible() if name in names else expect(field).to_be_hidden())


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("javascript", [True, False])
async def test_the_form_shows_what_the_model_takes(open_page: OpenPage, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=DESK if javascript else PHONE)
    await sign_up(page, f"enlarger{javascript}".lower())
    await page.goto("/pipelines/new?start=generate")
    await page.get_by_label("Title").fill("Larger")
    await page.locator("[name=s1-num_images]").fill("1")
    await page.locator("[name=add-1-kind]").select_option("upscale")
    await page.locator("button[value=add-1]").click()
    await _shown(page)
    model = page.locator("[name=s2-model]")
    await model.select_option("worded")
    await _shown(page, "prompt", "seed", "num_inference_steps", "noise_level")
    await page.locator("[name=s2-noise_level]").fill("999")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.get_by_text("From 0 to 350").first).to_be_visible()
    await expect(page.locator("[name=s2-noise_level]")).to_have_value("999")
    await model.select_option("plus")
    await _shown(page)
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, javascript)
    await expect(page.locator("#preview img").first).to_have_attribute("width", "512")
