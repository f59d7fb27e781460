"""A step that hangs, grows or leaks ends the engine, never the worker, and says why it failed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from domain import models, steps
from domain.config import Config
from tasks.engine import Engine, EngineSilent, Limits
from tasks.messages import Ended, Job, Member
from tests import worker as w
from tests.make import Make

pytestmark = pytest.mark.faults

UNRULY = """
import ctypes, threading, time
from tasks import steps

obeys = steps.RUNNERS["prompt_template"].run
kept = []

def grow(by):
    kept.append(b"x" * by)

def run(step, ctx):
    if step.template == "hang":
        time.sleep(3600)
    while step.template == "grow":
        grow(50_000_000)
        time.sleep(0.05)
    if step.template == "leak":
        threading.Timer(1, grow, [600_000_000]).start()
    if step.template == "crash":
        ctypes.string_at(0)
    return obeys(step, ctx)

steps.RUNNERS["prompt_template"] = steps.Runner(run)
"""
"""A sitecustomize.py for the worker's processes: the words of a template decide what the step does."""


@pytest.fixture(scope="module")
def worker(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[w.Process]:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "sitecustomize.py").write_text(UNRULY)
    extra = {"QUEUES": "light", "ENGINE_SILENCE": "6", "ENGINE_MEMORY": "500", "PYTHONPATH": f"{folder}:{w.ROOT}"}
    with w.dispatcher(config, folder), w.worker(config, folder, **extra) as process:
        yield process


@pytest.fixture
async def ready(db: Any, worker: w.Process) -> None:
    await models.register_all({})


async def _run(make: Make, template: str) -> tuple[str, Any]:
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[steps.PromptTemplate(template=template)])))
    return state, row


def _largest(worker: w.Process) -> int:
    return max(process.memory_info().rss for process in worker.family())


async def _works(make: Make) -> None:
    state, row = await _run(make, "a boat")
    assert (state, row["output_text"], row["attempt"]) == ("succeeded", "a boat", 1), row["error_message"]


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
async def test_a_step_that_hangs_is_tried_three_times_and_named(make: Make, worker: w.Process) -> None:
    before = worker.family()[0]
    state, row = await _run(make, "hang")
    assert (state, row["error_code"], row["attempt"], row["crash_count"]) == ("failed", "crashed", 3, 3)
    assert row["error_message"] == "The model gave no sign of life for 6 seconds. The step was tried three times."
    assert worker.family()[0] == before
    await _works(make)


@pytest.mark.usefixtures("ready")
async def test_a_step_that_grows_fails_at_once_and_the_next_gets_a_fresh_engine(make: Make) -> None:
    state, row = await _run(make, "grow")
    assert (state, row["error_code"], row["attempt"]) == ("failed", "memory", 1)
    assert row["error_message"] == "This step needed more memory than this machine gives (0.524 GB)."
    await _works(make)


@pytest.mark.usefixtures("ready")
async def test_an_engine_that_leaks_between_steps_is_started_anew_before_the_next(
    make: Make, worker: w.Process
) -> None:
    state, row = await _run(make, "leak")
    assert state == "succeeded", row["error_message"]
    while not _largest(worker) > 600_000_000:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await _works(make)
    assert _largest(worker) < 500_000_000
    worker.says("MB after its job and is started anew")


async def test_an_engine_that_does_not_even_read_is_ended_too() -> None:
    def job(name: str, size: int) -> Job:
        step = {"kind": "prompt_template", "template": "a boat"}
        return Job(id=name, members=[Member(step=step, pictures=[b"x" * size])], model=None)

    engine = Engine("cpu", limits=Limits(silence=10))
    try:
        assert isinstance([message async for message in engine.run(job("first", 1))][-1], Ended)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGSTOP)
        with pytest.raises(EngineSilent):
            [message async for message in engine.run(job("more than a pipe holds", 10_000_000))]
        assert isinstance([message async for message in engine.run(job("next", 1))][-1], Ended)
    finally:
        engine.close()


@pytest.mark.usefixtures("ready")
async def test_a_segmentation_fault_is_a_crash_of_the_engine_alone(make: Make, worker: w.Process) -> None:
    before = worker.family()[0]
    state, row = await _run(make, "crash")
    assert (state, row["error_code"], row["attempt"]) == ("failed", "crashed", 3)
    assert row["error_message"] == "The step crashed the worker three times"
    assert worker.family()[0] == before
    await _works(make)
