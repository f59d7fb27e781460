"""What reuse and batches save: a run whose result is known, a fork's last step, and many alike runs at once."""

import json
import re
import secrets
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from domain import accounts, db, pipelines, runs
from domain.pipelines import Details, PipelineRef
from domain.steps import ImageToImage, PromptTemplate, Recipe, Step, TextToImage
from tasks.runner import ROOM
from tests.bench import bare
from tests.bench.processes import free_port, running
from tests.bench.watch import Watch, watching

ROUNDS = 10
ALIKE = 32
DRAW = TextToImage(prompt="a red circle on a blue background", num_inference_steps=20, seed=1)


async def measure(data_dir: Path) -> dict[str, Any]:
    """A whole site of its own, with one worker; its runs and the bare calls in turn."""
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    env = {"DATA_DIR": str(data_dir), "PORT": str(port), "SITE_URL": site, "SEED_EXAMPLES": "0"}
    with running(["-m", "deploy.cli", "run"], env, f"{site}/"):
        database = json.loads((data_dir / "run" / "urls.json").read_text())["database"]
        await db.bind(database, max_size=4)
        person = await accounts.sign_up("bench@example.org", "bench", "a long enough password")
        async with watching(database) as watch, httpx.AsyncClient(base_url=site, timeout=60) as client:
            client.cookies.set(f"session-{port}", await accounts.open_session(person.id))
            desk = Desk(client, person.id, watch)
            results = await _known(desk) | await _last_step(desk) | await _alike(desk)
        await db.unbind()
    return results


class Desk:
    """Somebody at work: makes pipelines, sends the form that runs them, waits for the end."""

    def __init__(self, client: httpx.AsyncClient, person: UUID, watch: Watch) -> None:
        self.client = client
        self.person = person
        self.watch = watch

    async def pipeline(self, *steps: Step) -> PipelineRef:
        """A private pipeline of these steps."""
        return await pipelines.create(self.person, Details(title="Bench"), Recipe(steps=list(steps)))  # type: ignore[arg-type]

    async def run(self, pipeline: PipelineRef, seed: int, **fields: str) -> float:
        """Seconds from sending the form to having read the page with the finished result."""
        path = f"/pipelines/{pipeline.id}/versions/{pipeline.number}/runs"
        sent = dict(re.findall(r'name="(_csrf|key)" value="([^"]+)"', (await self.client.get(path)).text))
        began = time.perf_counter()
        answer = await self.client.post(path, data={**sent, "seed": str(seed), **fields})
        where = answer.headers["location"]
        await self.watch.ended([UUID(where.rsplit("/", 1)[1])])
        shown = await self.client.get(where)
        seconds = time.perf_counter() - began
        if "Done" not in shown.text:
            raise RuntimeError("the run did not succeed")
        return seconds


async def _known(desk: Desk) -> dict[str, Any]:
    """The same run again and again."""
    pipeline = await desk.pipeline(DRAW)
    await desk.run(pipeline, 1)
    return {
        "reused run, POST to result": {"seconds": statistics.median([await desk.run(pipeline, 1) for _ in range(20)])}
    }


async def _last_step(desk: Desk) -> dict[str, Any]:
    """A chain whose last step has another seed each time, against that step alone on an uploaded picture."""
    head = (PromptTemplate(template="a boat"), DRAW)
    await desk.run(await desk.pipeline(*head), 1)
    sha256: str = await db.fetchval("SELECT sha256 FROM outputs LIMIT 1")
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", desk.person, sha256)

    def redraw(seed: int, **given: Any) -> ImageToImage:
        return ImageToImage(prompt="a boat", strength=1.0, num_inference_steps=20, seed=seed, **given)

    pairs = []
    for number in range(ROUNDS):
        fork = await desk.pipeline(*head, redraw(2 * number))
        alone = await desk.pipeline(redraw(2 * number + 1, upload=sha256))
        pairs.append((await desk.run(fork, 1), await desk.run(alone, 1)))
    return {"fork with its last step changed / that step": {"ratio": statistics.median(a / b for a, b in pairs)}}


async def _alike(desk: Desk) -> dict[str, Any]:
    """Pictures a second of runs that are queued at once, of a loop with batches by hand, and of one by one."""
    pipeline = await desk.pipeline(TextToImage(prompt=DRAW.prompt, num_inference_steps=DRAW.num_inference_steps))
    by_hand = _bare(ROOM[bare.device()])
    one_by_one = _bare(1)
    await _queued(desk, pipeline, 4)
    by_hand()
    one_by_one()
    trios = [(await _queued(desk, pipeline, ALIKE), by_hand(), one_by_one()) for _ in range(5)]
    return {
        f"{ALIKE} alike runs": {"pictures": statistics.median(ALIKE / ours for ours, _, _ in trios)},
        f"{ALIKE} alike runs / batches by hand": {"ratio": statistics.median(hand / ours for ours, hand, _ in trios)},
        f"{ALIKE} alike runs / one by one": {"ratio": statistics.median(single / ours for ours, _, single in trios)},
    }


async def _queued(desk: Desk, pipeline: PipelineRef, count: int) -> float:
    """Seconds until runs that were accepted at once have all ended."""
    version: UUID = await db.fetchval("SELECT id FROM versions WHERE pipeline_id = $1", pipeline.id)
    began = time.perf_counter()
    async with db.transaction():
        ids = [(await runs.accept(version, desk.person, {}, None, secrets.token_hex(8))).run_id for _ in range(count)]
    await desk.watch.ended(ids)
    return time.perf_counter() - began


def _bare(size: int) -> Callable[[], float]:
    """A warm loop of diffusers calls that draws `ALIKE` pictures, `size` a call; it returns its seconds."""
    import torch

    pipe = bare.pipeline()

    def loop() -> float:
        began = time.perf_counter()
        for first in range(0, ALIKE, size):
            pipe(
                prompt=[DRAW.prompt] * size,
                width=DRAW.width,
                height=DRAW.height,
                num_inference_steps=DRAW.num_inference_steps,
                guidance_scale=DRAW.guidance_scale,
                generator=[torch.Generator().manual_seed(first + number) for number in range(size)],
            )
        return time.perf_counter() - began

    return loop
