"""kill -9 and SIGTERM in the middle of a step: the run ends all the same, its result published once."""

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from domain import models, queue, steps
from domain.config import Config
from tests import worker as w
from tests.make import Make

pytestmark = pytest.mark.faults

LONG = steps.TextToImage(prompt="a boat", num_inference_steps=60, num_images_per_prompt=2)


@pytest.fixture
async def ready(db: Any, redis: Any) -> None:
    await models.register_all({})


async def _drawing(run_id: Any) -> None:
    await w.until(run_id, lambda now: now["steps"][0]["progress"] > 2)


async def _published_once(db: Any, run_id: Any, attempt: int) -> None:
    state, (row,) = await w.ended(run_id, 120)
    assert (state, row["attempt"]) == ("succeeded", attempt), row["error_message"]
    assert len(await w.pictures(row["id"])) == 2
    assert (await w.event_names(run_id)).count("succeeded") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
async def test_a_killed_worker_loses_no_run(make: Make, db: Any, config: Config, tmp_path: Path) -> None:
    pipeline = await make.pipeline(steps=[LONG])
    with w.dispatcher(config, tmp_path):
        with w.worker(config, tmp_path) as first:
            run_id = await w.accept(pipeline)
            await _drawing(run_id)
            family = first.family()
            for process in family:
                process.kill()
            psutil.wait_procs(family, 10)
        with w.worker(config, tmp_path):
            await w.until(run_id, lambda now: now["steps"][0]["attempt"] == 2, queue.LEASE + 15)
            assert "crashed" in await w.event_names(run_id)
            await _published_once(db, run_id, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
async def test_a_killed_engine_is_started_again(make: Make, db: Any, config: Config, tmp_path: Path) -> None:
    pipeline = await make.pipeline(steps=[LONG])
    with w.dispatcher(config, tmp_path), w.worker(config, tmp_path) as worker:
        run_id = await w.accept(pipeline)
        await _drawing(run_id)
        engine = max(worker.family(), key=lambda process: process.memory_info().rss)
        engine.kill()
        await _published_once(db, run_id, 2)
        assert "crashed" in await w.event_names(run_id)


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
async def test_nothing_outlives_the_master(make: Make, db: Any, config: Config, tmp_path: Path) -> None:
    with w.worker(config, tmp_path) as worker:
        family = worker.family()
        assert len(family) >= 3
        family[0].kill()
        assert not psutil.wait_procs(family, 20)[1]


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
async def test_a_worker_told_to_leave_hands_its_step_back(make: Make, db: Any, config: Config, tmp_path: Path) -> None:
    step = steps.TextToImage(prompt="a boat", num_inference_steps=150, num_images_per_prompt=8, width=256, height=256)
    pipeline = await make.pipeline(steps=[step])
    with w.dispatcher(config, tmp_path):
        with w.worker(config, tmp_path) as first:
            run_id = await w.accept(pipeline)
            await _drawing(run_id)
            assert await asyncio.to_thread(first.end) == 0
        (row,) = await w.until(run_id, lambda now: True)
        assert (row["state"], row["crash_count"], row["attempt"]) == ("queued", 0, 1)
        assert "handed_back" in await w.event_names(run_id)
