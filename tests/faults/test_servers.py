"""Web, dispatcher, Redis and PostgreSQL that die at the worst moment, and messages that come too often."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from domain import accounts, db, steps
from domain.db import fetchval
from tasks import broker as bell
from tests import worker as w
from tests.faults.stand import Stand, drawing, kept, within
from tests.make import Make

pytestmark = [pytest.mark.faults, pytest.mark.slow]

WORDS = steps.PromptTemplate(template="a boat")


@asynccontextmanager
async def site(stand: Stand, port: int, *faults: str) -> AsyncIterator[w.Process]:
    """A web process that answers on the port."""
    address = f"http://127.0.0.1:{port}"
    process = stand.start("web", *faults, PORT=str(port), SITE_URL=address)
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                try:
                    await client.get(f"{address}/login")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield process
    finally:
        process.kill()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def browser(port: int, person_id: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in which the person is logged in."""
    cookies = {f"session-{port}": await accounts.open_session(person_id)}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", cookies=cookies, timeout=20) as client:
        yield client


async def test_a_web_that_dies_after_its_commit_has_accepted_the_run_once(make: Make, stand: Stand) -> None:
    pipeline = await make.pipeline(steps=[WORDS])
    port = free_port()
    path = f"/pipelines/{pipeline.id}/versions/1/runs"
    async with browser(port, pipeline.owner_id) as client:
        async with site(stand, port, "web_dies_after_commit"):
            form = dict(re.findall(r'name="(_csrf|key)" value="([^"]+)"', (await client.get(path)).text))
            with pytest.raises(httpx.TransportError):
                await client.post(path, data=form)
        run_id = await fetchval("SELECT id FROM runs WHERE owner_id = $1", pipeline.owner_id)
        async with site(stand, port):
            async with asyncio.timeout(5):
                answers = [await client.post(path, data=form) for _ in range(2)]
    assert [answer.headers["location"] for answer in answers] == [f"/runs/{run_id}"] * 2
    assert await fetchval("SELECT count(*) FROM runs") == 1
    await stand.crew(1)
    await within(60, run_id)


async def test_a_dispatcher_that_dies_after_sending_leaves_the_step_due(make: Make, stand: Stand) -> None:
    await stand.crew(0)
    stand.dispatchers.pop().kill()
    stand.flush_redis()
    run_id = await w.accept(await make.pipeline(steps=[WORDS]))
    broken = stand.start("tasks.dispatcher", "dispatcher_dies_after_send")
    await broken.gone()
    assert bell.waiting(bell.connect(stand.config), "light") == 1
    assert await fetchval("SELECT nudge_at <= clock_timestamp() FROM step_runs")
    await stand.crew(1)
    await stand.dispatch()
    await w.until(run_id, lambda now: now["steps"][0]["state"] != "queued", 10)
    await within(45, run_id)


async def test_redis_flushed_and_killed_and_away_delays_but_loses_nothing(make: Make, stand: Stand) -> None:
    await stand.crew(0)
    early = await w.accept(await make.pipeline(steps=[WORDS]))
    await w.until(early, lambda now: now["steps"][0]["nudge_at"] > now["steps"][0]["not_before"])
    stand.flush_redis()  # its message is gone, and its next one due in half a minute
    await stand.stop_redis()
    late = await w.accept(await make.pipeline(steps=[WORDS]))
    stand.hire()
    await asyncio.sleep(6)
    assert await fetchval("SELECT count(*) FROM step_runs WHERE state = 'queued'") == 2
    stand.start_redis()
    await asyncio.gather(within(35, early), within(35, late))


async def test_postgresql_restarted_answers_503_and_goes_on(make: Make, stand: Stand) -> None:
    await stand.crew(1)
    port = free_port()
    pipeline = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", num_inference_steps=100)])
    async with site(stand, port), browser(port, pipeline.owner_id) as client:
        run_id = await w.accept(pipeline)
        await drawing(run_id)
        await stand.stop_postgres()
        answers = [await client.get(f"/runs/{run_id}{more}") for more in ("", "/progress")]
        await asyncio.sleep(2)
        stand.start_postgres()
        assert [answer.status_code for answer in answers] == [503, 503]
        assert [answer.headers["retry-after"] for answer in answers] == ["5", "5"]
        await within(30, run_id)
        back = await kept(lambda: client.get(f"/runs/{run_id}"))
        assert back.status_code == 200
    assert (await w.event_names(run_id)).count("succeeded") == 1


async def test_a_message_five_times_changes_nothing(make: Make, stand: Stand) -> None:
    await stand.crew(2)
    pipeline = await make.pipeline(
        steps=[WORDS, steps.TextToImage(prompt="{text}", num_inference_steps=2), steps.Upscale()]
    )
    accepted = [await w.accept(pipeline, seed) for seed in range(4)]
    ringing = bell.connect(stand.config)
    for _ in range(5):
        for name in ("light", "image"):
            for _ in accepted:
                bell.nudge(ringing, name)
        await asyncio.sleep(0.2)
    for run_id in accepted:
        assert [row["attempt"] for row in await within(60, run_id)] == [1, 1, 1]
    for name in ("light", "image"):
        bell.nudge(ringing, name)
    await asyncio.sleep(1)
    assert await db.fetchval("SELECT count(*) FROM events WHERE name = 'succeeded'") == 12
