"""Two workers against one: independent light steps that wait in the queue, drained as fast as they can.

Each step enlarges a picture of its own, so that nothing is reused and nothing waits for anything else. The
database, the file store and the dispatcher run on the same cores; what they take is lost to the workers.
"""

import asyncio
import io
import json
import secrets
import statistics
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from domain import accounts, artifacts, db, models, pipelines, queue, runs
from domain.config import Config
from domain.errors import DomainError
from domain.pipelines import Details
from domain.queue import Made
from domain.steps import Recipe, TextToImage, Upscale
from domain.storage import Storage
from tests import worker
from tests.bench.processes import free_port, running
from tests.bench.watch import Watch, watching

PICTURES = 32
SIDE = 512
"""Pixels; what comes out is four times as wide and high."""
ROUNDS = 3
DRAW = TextToImage(prompt="a cloud", width=SIDE, height=SIDE)


async def measure(data_dir: Path) -> dict[str, Any]:
    """A site whose worker serves `light` alone; a second one comes and goes. Steps a second, in turn."""
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    env = {"DATA_DIR": str(data_dir), "PORT": str(port), "SITE_URL": site, "SEED_EXAMPLES": "0", "QUEUES": "light"}
    with running(["-m", "deploy.cli", "run"], env, f"{site}/"):
        urls = json.loads((data_dir / "run" / "urls.json").read_text())
        await db.bind(urls["database"], max_size=2)
        person = (await accounts.sign_up("bench@example.org", "bench", "a long enough password")).id
        await _draw(person, Storage(urls["s3"]))
        async with watching(urls["database"]) as watch:
            config = _config(urls, data_dir)
            pairs = [await _pair(watch, person, number, config, data_dir) for number in range(ROUNDS)]
        await db.unbind()
    return {
        "light steps, one worker": {"pictures": statistics.median(PICTURES / one for one, _ in pairs)},
        "light steps, two workers": {"pictures": statistics.median(PICTURES / two for _, two in pairs)},
        "two workers / one": {"ratio": statistics.median(one / two for one, two in pairs)},
    }


def _config(urls: dict[str, str], data_dir: Path) -> Config:
    places = {f"{name.upper()}_URL": urls[name] for name in ("database", "redis", "s3")}
    return Config.from_env({**places, "SECRET_KEY": secrets.token_hex(32), "DATA_DIR": str(data_dir)})


async def _draw(person: UUID, storage: Storage) -> None:
    """Succeeded runs with a picture each, whose seeds count up from 0: the runs to measure reuse them."""
    version = await _version(person, Recipe(steps=[DRAW]))
    for seed in range(PICTURES):
        await _registered()
        await runs.accept(version, person, {}, seed, secrets.token_hex(8))
        (held,) = await queue.claim("image", "bench")
        sha256 = await artifacts.record(storage, _clouds(seed), "image/png", SIDE, SIDE)
        await queue.finish(held, [Made(sha256, seed)], None, {}, {})


async def _registered() -> None:
    """Wait until the site has put its model into the registry: before that nothing can be drawn or reused."""
    while True:
        try:
            await models.require(models.STARTER, DRAW.__struct_config__.tag)
        except DomainError:
            await asyncio.sleep(0.1)
        else:
            return


def _clouds(seed: int) -> bytes:
    """A picture as a model draws it: soft forms with some grain."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(seed)
    forms = Image.fromarray(chance.integers(0, 255, (24, 24, 3), np.uint8)).resize(
        (SIDE, SIDE), Image.Resampling.BICUBIC
    )
    grain = chance.normal(0, 2, (SIDE, SIDE, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(forms) + grain, 0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


async def _pair(watch: Watch, person: UUID, number: int, config: Config, folder: Path) -> tuple[float, float]:
    """Seconds that one worker takes, and two."""
    await _drained(watch, person, 4, 4 * number)
    one = await _drained(watch, person, PICTURES, 4 * number + 1)
    with worker.worker(config, folder, QUEUES="light"):
        await _drained(watch, person, 8, 4 * number + 2)  # its first step starts its engine
        two = await _drained(watch, person, PICTURES, 4 * number + 3)
    return one, two


async def _drained(watch: Watch, person: UUID, count: int, turn: int) -> float:
    """Seconds until so many runs that were accepted at once have all succeeded. Every turn makes other pictures."""
    version = await _version(person, Recipe(steps=[DRAW, Upscale(factor=4, sharpen=(1 + turn) / 100)]))
    began = time.perf_counter()
    async with db.transaction():
        ids = [(await runs.accept(version, person, {}, seed, secrets.token_hex(8))).run_id for seed in range(count)]
    await watch.ended(ids)
    seconds = time.perf_counter() - began
    drawn = "SELECT count(*) FROM step_runs WHERE run_id = ANY ($1) AND kind = 'upscale' AND state = 'succeeded'"
    if await db.fetchval(drawn, ids) != count:
        raise RuntimeError("a run did not succeed, or reused what it should have made")
    return seconds


async def _version(person: UUID, recipe: Recipe) -> UUID:
    made = await pipelines.create(person, Details(title="Bench"), recipe)
    version: UUID = await db.fetchval("SELECT id FROM versions WHERE pipeline_id = $1", made.id)
    return version
