"""Workers that are killed, frozen, orphaned and told to leave in the middle of a step."""

import asyncio
import os
import signal
import time
from typing import Any
from uuid import UUID

import psutil
import pytest

from domain import run_pages, runs, steps
from tests import worker as w
from tests.faults.stand import Stand, drawing, freeze, kill, within
from tests.make import Make
from web import run_words

pytestmark = [pytest.mark.faults, pytest.mark.slow]

RECOVERED = 45
"""Seconds within which a lost worker's step is under way again."""


def drawn(passes: int) -> steps.TextToImage:
    """A step that draws for a while. Another number of passes keeps steps out of each other's calls."""
    return steps.TextToImage(prompt="a boat", num_inference_steps=passes, width=64, height=64)


async def held(run_id: UUID, stand: Stand) -> w.Process:
    """The worker that draws the run now."""
    return stand.worker_of((await drawing(run_id))["lease_owner"])


async def _killed(run_id: UUID, stand: Stand) -> None:
    """Kill the worker in the middle of the run's step."""
    kill(await held(run_id, stand))


async def _frozen(run_id: UUID, stand: Stand) -> tuple[w.Process, list[psutil.Process]]:
    """Freeze the worker in the middle of the run's step."""
    worker = await held(run_id, stand)
    return worker, freeze(worker)


async def test_killed_and_frozen_workers_lose_nothing_and_publish_once(make: Make, db: Any, stand: Stand) -> None:
    await stand.crew(2)
    killed, frozen = [await w.accept(await make.pipeline(steps=[drawn(passes)])) for passes in (149, 150)]
    _, (cold, family) = await asyncio.gather(_killed(killed, stand), _frozen(frozen, stand))
    since = time.monotonic()
    for _ in range(2):
        stand.hire()
    for run_id in (killed, frozen):
        left = RECOVERED - (time.monotonic() - since)
        (row,) = await w.until(run_id, lambda now: now["steps"][0]["attempt"] == 2, left)
        assert row["crash_count"] == 1
        page = await run_pages.progress(run_id, await db.fetchval("SELECT owner_id FROM runs WHERE id = $1", run_id))
        assert "attempt 2" in run_words.mark(page.steps[0]) or page.over
    for one in family:
        one.resume()
    for run_id in (killed, frozen):
        (row,) = await within(60, run_id)
        assert row["attempt"] == 2
    for worker in await stand.crew(3):
        if worker is not cold:
            kill(worker)
    await within(60, await w.accept(await make.pipeline(steps=[steps.PromptTemplate(template="thawed")])))
    for run_id in (killed, frozen):
        names = await w.event_names(run_id)
        assert (names.count("crashed"), names.count("succeeded")) == (1, 1)


async def test_a_master_that_is_killed_takes_its_worker_along_but_not_the_step(make: Make, stand: Stand) -> None:
    await stand.crew(2)
    run_id = await w.accept(await make.pipeline(steps=[drawn(100)]))
    worker = await held(run_id, stand)
    family = worker.family()
    assert len(family) >= 3
    os.kill(worker.pid, signal.SIGKILL)
    await w.until(run_id, lambda now: now["run"]["finished_at"] or now["steps"][0]["attempt"] == 2, RECOVERED)
    _, left = await asyncio.to_thread(psutil.wait_procs, family, 20)
    assert not left
    await within(60, run_id)


async def test_a_deploy_in_mid_run_hands_the_step_over(make: Make, stand: Stand) -> None:
    await stand.crew(2)
    step = steps.TextToImage(prompt="a boat", num_inference_steps=150, num_images_per_prompt=8, width=256, height=256)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    worker = await held(run_id, stand)
    assert await asyncio.to_thread(worker.end) == 0
    (row,) = await w.until(run_id, lambda now: now["steps"][0]["attempt"] == 2, 10)
    assert row["crash_count"] == 0
    assert "handed_back" in await w.event_names(run_id)
    await runs.cancel(run_id, pipeline.owner_id)
    await within(25, run_id, "cancelled")


async def test_an_engine_that_is_killed_is_started_again(make: Make, stand: Stand) -> None:
    (worker,) = await stand.crew(1)
    run_id = await w.accept(await make.pipeline(steps=[drawn(100)]))
    await drawing(run_id)
    engine = max(worker.family(), key=lambda process: process.memory_info().rss)
    engine.kill()
    (row,) = await within(60, run_id)
    assert (row["attempt"], row["crash_count"]) == (2, 1)
