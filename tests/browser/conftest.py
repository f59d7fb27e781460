"""The whole of Offshoot, as its one command starts it, and a real Chromium in front of it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What deploy/chromium.sh takes for Chromium."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU, for 3D objects
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the running Offshoot."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="package")
def site(place: Path, root: Path) -> Iterator[str]:
    """The address of a running Offshoot with an empty gallery and a warm worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "DATA_DIR": str(place),
        "PORT": str(port),
        "SITE_URL": address,
        "SEED_EXAMPLES": "0",
    }
    command = subprocess.Popen([sys.executable, "-m", "deploy.cli", "run"], cwd=root, env=env)
    try:
        _wait(f"{address}/", command)
        yield address
    finally:
        command.send_signal(signal.SIGINT)
        command.wait(30)


def _wait(url: str, command: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert command.poll() is None, "offshoot run ended early"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium, headless. It and the site end with the tests of this folder, and take nothing from
    those that follow."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"none of {', '.join(NAMES)} is installed; make test BROWSER=0 leaves these tests out"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(chromium: Browser, site: str) -> AsyncIterator[OpenPage]:
    """`await open_page()` is a new person's browser; `javascript=False`, `viewport=PHONE`, `touch=True` as asked.

    Errors on a page's console fail the test: a broken script or a policy that blocks our own files.
    """
    contexts = []
    troubles: list[str] = []

    async def another(*, javascript: bool = True, viewport: dict[str, int] = DESK, touch: bool = False) -> Page:
        context = await chromium.new_context(
            base_url=site,
            java_script_enabled=javascript,
            viewport=viewport,  # type: ignore[arg-type]
            has_touch=touch,
        )
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)) if _is_trouble("error", str(error)) else None)
        page.on("console", lambda line: troubles.append(line.text) if _is_trouble(line.type, line.text) else None)
        return page

    yield another
    for context in contexts:
        await context.close()
    assert not troubles, "\n".join(troubles)


def _is_trouble(kind: str, text: str) -> bool:
    # the browser reports every 4xx answer as an error; those are what a test of bad input asks for; and it tells of an
    # animation between pages that was cut short, by a change of the window or a slow machine
    harmless = ("Failed to load resource", "Transition was aborted", "Transition was skipped")
    return kind == "error" and not any(words in text for words in harmless)
