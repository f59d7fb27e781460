"""The beat of a step that runs: it must end when its step has."""

import asyncio
from typing import Any

import pytest

from domain import queue
from tasks.engine import Engine, Limits
from tasks.runner import Attempt
from tests.make import Make


@pytest.mark.parametrize("ticks", range(3))
async def test_a_beat_ends_though_something_is_told_at_the_same_moment(db: Any, make: Make, ticks: int) -> None:
    await make.run(await make.pipeline(), state="queued")
    held = await queue.claim("image", "worker")
    attempt = Attempt(held, Engine("cpu"), Limits(), None, asyncio.Event(), None, None)  # type: ignore[arg-type]
    beat = asyncio.create_task(attempt._beat())
    for _ in range(5):
        await asyncio.sleep(0)
    attempt._tell(1, 20, "running")
    for _ in range(ticks):
        await asyncio.sleep(0)
    beat.cancel()
    _, waiting = await asyncio.wait([beat], timeout=5)
    assert not waiting, "the worker would wait for it for ever"
