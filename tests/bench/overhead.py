"""What a run costs beyond the bare diffusers call: from POST to a page that shows the result."""

import json
import re
import statistics
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from domain import accounts, db, pipelines
from domain.steps import Recipe, TextToImage
from tests.bench import bare
from tests.bench.processes import free_port, running
from tests.bench.watch import Watch, watching

ROUNDS = 40
STEP = TextToImage(prompt="a red circle on a blue background", num_inference_steps=20)
LARGER = msgspec.structs.replace(STEP, width=256, height=256, num_images_per_prompt=4)
"""Some seconds of work, as a picture of a larger model is."""
LARGER_ROUNDS = 10


async def measure(data_dir: Path) -> dict[str, Any]:
    """Both in turn, `ROUNDS` times: the same prompt, size, steps, guidance and scheduler, everything warm."""
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    env = {"DATA_DIR": str(data_dir), "PORT": str(port), "SITE_URL": site, "SEED_EXAMPLES": "0"}
    with running(["-m", "deploy.cli", "run"], env, f"{site}/"):
        database = json.loads((data_dir / "run" / "urls.json").read_text())["database"]
        await db.bind(database, max_size=2)
        async with watching(database) as watch, httpx.AsyncClient(base_url=site, timeout=60) as client:
            client.cookies.set(f"session-{port}", await _log_in())
            rounds = await _rounds(client, watch, STEP, ROUNDS)
            larger = await _rounds(client, watch, LARGER, LARGER_ROUNDS)
        await db.unbind()
    waits = [ours - bare for ours, _, bare in rounds]
    return {
        "run, POST to result": {"seconds": statistics.median(ours for ours, _, _ in rounds)},
        "bare diffusers call": {"seconds": statistics.median(bare for _, _, bare in rounds)},
        "wait a run adds": {"seconds": statistics.median(waits), "worst": max(waits), "best": min(waits)},
        "model call in a run / bare call, 20 steps": _spread([engine / bare for _, engine, bare in rounds]),
        "bare diffusers call, 4 of 256 px": {"seconds": statistics.median(bare for _, _, bare in larger)},
        "whole run / bare call, 4 of 256 px, 20 steps": _spread([ours / bare for ours, _, bare in larger]),
    }


def _spread(ratios: list[float]) -> dict[str, float]:
    return {"ratio": statistics.median(ratios), "worst": max(ratios), "best": min(ratios)}


async def _rounds(
    client: httpx.AsyncClient, watch: Watch, step: TextToImage, count: int
) -> list[tuple[float, float, float]]:
    """Seconds of a run, of its model call and of the bare call, in turn."""
    path = await _prepare(step)
    draw = _bare(step)
    for _ in range(3):
        await _run(client, path, watch)
        draw()
    return [(*await _run(client, path, watch), draw()) for _ in range(count)]


async def _log_in() -> str:
    """The session of a new person."""
    person = await accounts.sign_up("bench@example.org", "bench", "a long enough password")
    return await accounts.open_session(person.id)


async def _prepare(step: TextToImage) -> str:
    """A pipeline of one step; the address that starts its runs."""
    person_id: UUID = await db.fetchval("SELECT id FROM people WHERE handle = 'bench'")
    details = pipelines.Details(title="Bench", visibility="private")
    made = await pipelines.create(person_id, details, Recipe(steps=[step]))
    return f"/pipelines/{made.id}/versions/{made.number}/runs"


async def _run(client: httpx.AsyncClient, path: str, watch: Watch) -> tuple[float, float]:
    """Seconds from sending the form to having read a page with the finished result, and the engine's of these:
    its time grows with the passes, what comes before and after does not."""
    form = (await client.get(path)).text
    sent = dict(re.findall(r'name="(_csrf|key)" value="([^"]+)"', form))
    began = time.perf_counter()
    answer = await client.post(path, data={**sent, "seed": ""})
    where = answer.headers["location"]
    run_id = UUID(where.rsplit("/", 1)[1])
    await watch.ended([run_id])
    shown = await client.get(where)
    seconds = time.perf_counter() - began
    if "/artifacts/" not in shown.text:
        raise RuntimeError("the page shows no result")
    engine = await db.fetchval("SELECT (timings ->> 'run')::float8 FROM step_runs WHERE run_id = $1", run_id)
    return seconds, engine


def _bare(step: TextToImage) -> Any:
    """A warm diffusers call with the step's parameters, as a function that returns its seconds."""
    import torch

    pipe = bare.pipeline()

    def call() -> float:
        began = time.perf_counter()
        pipe(
            prompt=step.prompt,
            negative_prompt=step.negative_prompt,
            width=step.width,
            height=step.height,
            num_inference_steps=step.num_inference_steps,
            guidance_scale=step.guidance_scale,
            num_images_per_prompt=step.num_images_per_prompt,
            generator=[torch.Generator().manual_seed(seed) for seed in range(step.num_images_per_prompt)],
        )
        return time.perf_counter() - began

    return call
