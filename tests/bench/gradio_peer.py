"""A run beside a Gradio app with its queue that calls the same pipeline, both asked over HTTP on loopback.

Each is asked as its documents say: Gradio by POST /gradio_api/call/draw and the stream of its events, this
site by the form and the polls of the run's page. Both are done when the client holds the picture.
"""

import asyncio
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from domain import accounts, db, pipelines
from domain.steps import Recipe
from tests.bench.overhead import STEP
from tests.bench.processes import free_port, running

ROUNDS, WARM = 20, 3
POLL = 0.02
"""Seconds between two looks at a run; its page looks once a second."""
PACKAGES = Path(os.environ.get("GRADIO_PACKAGES") or Path(sys.prefix) / "gradio")
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


async def measure(data_dir: Path) -> dict[str, Any]:
    """Both in turn, everything warm. Empty, with a word, where Gradio is not installed."""
    if not (PACKAGES / "gradio").is_dir():
        print("gradio: skipped, it is not installed. To install it for this alone: make bench GRADIO=1")
        return {}
    ports = free_port(), free_port()
    site, app = (f"http://127.0.0.1:{port}" for port in ports)
    ours = {"DATA_DIR": str(data_dir), "PORT": str(ports[0]), "SITE_URL": site, "SEED_EXAMPLES": "0"}
    theirs = {**QUIET, "PYTHONPATH": str(PACKAGES), "GRADIO_TEMP_DIR": str(data_dir / "gradio")}
    with (
        running(["-m", "deploy.cli", "run"], ours, f"{site}/"),
        running(["-m", "tests.bench.gradio_app", str(ports[1])], theirs, f"{app}/gradio_api/info", 180),
    ):
        async with httpx.AsyncClient(base_url=site, timeout=60) as here, httpx.AsyncClient(base_url=app) as there:
            path = await _prepare(here, data_dir, f"session-{ports[0]}")
            for number in range(WARM):
                await _run(here, path)
                await _call(there, number)
            pairs = [(await _run(here, path), await _call(there, WARM + number)) for number in range(ROUNDS)]
    return {
        "Gradio, call to result": {"seconds": statistics.median(pair[1] for pair in pairs)},
        "ours, POST to result": {"seconds": statistics.median(pair[0] for pair in pairs)},
        "ours / Gradio": {"ratio": statistics.median(ours / gradio for ours, gradio in pairs)},
    }


async def _prepare(client: httpx.AsyncClient, data_dir: Path, cookie: str) -> str:
    """A logged-in person with a pipeline of one step; the address that starts its runs."""
    await db.bind(json.loads((data_dir / "run" / "urls.json").read_text())["database"], max_size=1)
    person = await accounts.sign_up("bench@example.org", "bench", "a long enough password")
    client.cookies.set(cookie, await accounts.open_session(person.id))
    made = await pipelines.create(person.id, pipelines.Details(title="Bench"), Recipe(steps=[STEP]))
    await db.unbind()
    return f"/pipelines/{made.id}/versions/{made.number}/runs"


async def _run(client: httpx.AsyncClient, path: str) -> float:
    """Seconds from sending the form to having the picture; the form itself was read before, as by a person."""
    sent = dict(re.findall(r'name="(_csrf|key)" value="([^"]+)"', (await client.get(path)).text))
    began = time.perf_counter()
    where = (await client.post(path, data={**sent, "seed": ""})).headers["location"]
    seen = ""
    while True:
        page = await client.get(f"{where}/progress", headers={"HX-Request": "true", "HX-PTag": seen})
        if "hx-retarget" in page.headers:
            break
        seen = page.headers["hx-ptag"]
        await asyncio.sleep(POLL)
    picture = re.search(r'href="([^"]*/artifacts/[0-9a-f]{64}[^"]*)"', page.text)
    if picture is None:
        raise RuntimeError("the run did not succeed")
    await _fetched(client, picture[1].replace("&amp;", "&"))
    return time.perf_counter() - began


async def _call(client: httpx.AsyncClient, seed: int) -> float:
    """Seconds from sending the call to having the picture."""
    began = time.perf_counter()
    answer = await client.post("/gradio_api/call/draw", json={"data": [STEP.prompt, seed]})
    event = answer.raise_for_status().json()["event_id"]
    said = ""
    async with client.stream("GET", f"/gradio_api/call/draw/{event}", timeout=60) as stream:
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                said = value
            elif name == "data" and said == "complete":
                await _fetched(client, json.loads(value)[0]["url"])
                return time.perf_counter() - began
            elif name == "data" and said == "error":
                raise RuntimeError(f"Gradio failed: {value}")
    raise RuntimeError("Gradio's stream ended without a result")


async def _fetched(client: httpx.AsyncClient, url: str) -> None:
    if not (await client.get(url)).raise_for_status().content.startswith(b"\x89PNG"):
        raise RuntimeError(f"{url} is no picture")
