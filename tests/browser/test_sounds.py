"""A text that is spoken, heard and saved, and an uploaded sound that is written down."""

import io
import os
import re
import struct
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests import speakers
from tests.browser.conftest import PHONE, OpenPage
from tests.browser.test_join import _ended
from tests.browser.test_journey import sign_up

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def models(site: str, place: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Models that speak, one of them like samples too, and one that listens, which the host added to the running
    site."""
    folder = tmp_path_factory.mktemp("models")
    for name, made in {
        "speech": speakers.vits(folder / "speech"),
        "voices": speakers.speech_t5(folder / "voices", voices=["Ann", "Bo"], speaker=True),
        "whisper": speakers.whisper(folder / "whisper"),
    }.items():
        command = [sys.executable, "-m", "deploy.cli", "models", "add", name, str(made)]
        subprocess.run(command, cwd=root, env={**os.environ, "DATA_DIR": str(place)}, check=True)


async def only(page: Page, kind: str, title: str) -> None:
    """A new pipeline with one step of this kind."""
    await page.goto("/pipelines/new")
    await page.locator("[name=add-1-kind]").select_option(kind)
    await page.locator("button[name=do][value=add-1]").click()
    await expect(page.locator("[name=s2-kind]")).to_have_value(kind)
    await page.locator("button[name=do][value=drop-1]").click()
    await expect(page.locator("[name=s1-kind]")).to_have_value(kind)
    await page.get_by_label("Title").fill(title)


async def run(page: Page, javascript: bool) -> None:
    await page.locator("button[name=do][value=run]:visible").first.click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await _ended(page, javascript)


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("javascript", [True, False])
async def test_a_text_is_heard_and_written_down_again(open_page: OpenPage, tmp_path: Path, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"speaker{javascript}".lower())
    await only(page, "text_to_speech", "Say it")
    await page.locator("[name=s1-prompt]").fill("boats lift from the sand")
    await page.locator("[name=s1-speed]").fill("0.25")
    await run(page, javascript)

    player = page.locator("#preview audio")
    await expect(page.locator("#preview .pic.sound svg")).to_be_visible()
    await expect(player).to_be_visible()
    await expect(page.locator("#preview .prompttext")).to_have_text("boats lift from the sand")
    moved = "new Promise((done) => { one.ontimeupdate = () => one.currentTime > 0.1 && done(true); })"
    if javascript:
        assert await player.evaluate(f"(one) => {{ one.muted = true; one.play(); return {moved}; }}")
        assert (await player.evaluate("one => one.currentSrc")).endswith("?form=opus"), "Opus is what is played"
    links = page.locator("#preview figcaption").get_by_role("link")
    saved = [await page.request.get(await link.get_attribute("href") or "") for link in await links.all()]
    assert [answer.headers["content-type"] for answer in saved] == ["audio/wav", "audio/ogg"]

    sound = tmp_path / "said.wav"
    sound.write_bytes(await saved[0].body())
    await only(page, "speech_to_text", "Write it down")
    await page.locator("[name=s1-upload-file]").set_input_files(sound)
    if javascript:
        await expect(page.get_by_label("The sound chosen for step 1")).to_be_visible()
    await page.locator("[name=s1-layout]").select_option("vtt")
    await page.locator("[name=s1-end]").fill("59:30")
    await page.locator("button[name=do][value=run]:visible").first.click()
    await expect(page.locator("#s1-end-e")).to_contain_text("The sound ends at 0:")
    await expect(page.locator("[name=s1-end]")).to_have_value("59:30")
    await page.locator("[name=s1-end]").fill("")
    await run(page, javascript)
    await expect(page.locator("#preview .prompttext")).to_contain_text("WEBVTT")
    heard = page.get_by_label("The sound that step 1 wrote down")
    await expect(page.locator("#preview .pic.sound svg")).to_be_visible()
    cue = page.locator("#preview .cues a").last
    moment = (await cue.get_attribute("href") or "").partition("?at=")[2].partition("#")[0]
    await cue.click()
    await expect(heard).to_be_visible()
    if javascript:
        await page.wait_for_function("at => document.querySelector('#heard-1').currentTime >= at", arg=float(moment))
        assert "?at=" not in page.url, "the page stays, its player moves"
    else:
        await expect(page).to_have_url(re.compile(rf"\?at={re.escape(moment)}#heard-1$"))
        assert (await heard.locator("source").get_attribute("src") or "").endswith(f"#t={moment}")
    written = page.get_by_role("link", name="Download as VTT")
    answer = await page.request.get(await written.get_attribute("href") or "")
    assert (answer.headers["content-type"], (await answer.text())[:6]) == ("text/vtt; charset=utf-8", "WEBVTT")
    await page.get_by_role("button", name="Publish and show the pipeline to everyone").click()
    await page.get_by_role("link", name="its page").click()
    await expect(page.get_by_label("The sound that step 1 writes down")).to_be_visible()


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("javascript", [True, False])
async def test_a_sample_of_a_voice_needs_a_tick(open_page: OpenPage, tmp_path: Path, javascript: bool) -> None:
    page = await open_page(javascript=javascript, viewport=PHONE)
    await sign_up(page, f"voice{javascript}".lower())
    await only(page, "text_to_speech", "A voice")
    await page.locator("[name=s1-prompt]").fill("boats lift from the sand")
    await page.locator("[name=s1-model]").select_option("voices")
    await expect(page.locator("[name=s1-voice] option")).to_have_text(["The first", "Ann", "Bo"])
    sample = tmp_path / "me.wav"
    sample.write_bytes(tone(2))
    await page.locator("[name=s1-upload-file]").set_input_files(sample)
    if javascript:
        await expect(page.get_by_label("The sound chosen for step 1")).to_be_visible()
    await page.locator("button[name=do][value=run]:visible").first.click()
    tick = page.get_by_role("checkbox", name="This is my own voice")
    await expect(tick).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("#s1-consent-e")).to_contain_text("Tick this first")
    await expect(page.locator("[name=s1-prompt]")).to_have_value("boats lift from the sand")
    await expect(page.get_by_label("The sound chosen for step 1")).to_be_visible()
    await tick.check()
    await run(page, javascript)
    await expect(page.locator("#steps")).to_contain_text("of a sample")
    await page.locator("#steps summary").click()
    await expect(page.locator("#r1")).to_contain_text("This is my own voice")
    await page.get_by_role("link", name="Run again").click()
    await expect(page.get_by_role("heading", name="Run it")).to_be_visible()
    await expect(page.get_by_role("checkbox", name="This is my own voice")).to_have_count(0)


def tone(seconds: int) -> bytes:
    """A WAV of a hum."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", at % 80 * 200 - 8_000) for at in range(seconds * 16_000)))
    return buffer.getvalue()
