"""A crowd that watches runs: what an unchanged poll costs, and how long a thousand pollers wait for their answers."""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from deploy.embedded import Services
from deploy.migrations import migrate
from domain import accounts, db
from tests.bench.load import Target, ask, ratio
from tests.bench.processes import free_port, running
from tests.make import Make

PEOPLE = 50
POLLERS = 1_000
ROUNDS = 20
"""Polls of each poller, one a second."""
SETTLE = 3
"""Its first polls do not count: the first brings the page's inside."""


class Poller(NamedTuple):
    """Somebody's page of a run that is being drawn, all the time the same."""

    run_id: UUID
    cookie: str


async def measure(data_dir: Path) -> dict[str, Any]:
    """The web process alone on real services: no worker changes these runs."""
    with Services(data_dir, durable=False) as services:
        urls = services.urls
        await asyncio.to_thread(migrate, urls.database)
        await db.bind(urls.database, max_size=2)
        site, floor = free_port(), free_port()
        ours, bare = f"http://127.0.0.1:{site}", f"http://127.0.0.1:{floor}"
        env = {
            "DATABASE_URL": urls.database,
            "REDIS_URL": urls.redis,
            "S3_URL": urls.s3,
            "SECRET_KEY": "only for measuring, on this machine alone",
            "PORT": str(site),
            "SITE_URL": ours,
        }
        pollers = await _pollers(site)
        await db.unbind()
        with running(["-m", "web"], env, f"{ours}/health"):
            async with httpx.AsyncClient(base_url=ours) as client:
                targets = [await _unchanged(client, poller) for poller in pollers]
            waits = await _crowd(targets)
            with running(["-m", "tests.bench.floor", str(floor)], env, f"{bare}/plain"):
                found = await ratio(targets[0], Target(f"{bare}/plain"))
    return {
        f"{POLLERS:,} pollers, median": {"seconds": statistics.median(waits)},
        f"{POLLERS:,} pollers, p99": {"seconds": statistics.quantiles(waits, n=100)[98], "worst": max(waits)},
        "unchanged poll / plain text": found,
    }


async def _pollers(port: int) -> list[Poller]:
    made: list[Poller] = []
    make = Make(lambda: None)
    for _ in range(PEOPLE):
        person = await make.person()
        cookie = f"session-{port}={await accounts.open_session(person.id)}"
        pipeline = await make.pipeline(person)
        made += [Poller((await make.run(pipeline, state="running")).id, cookie) for _ in range(POLLERS // PEOPLE)]
    await db.execute("UPDATE step_runs SET lease_until = now() + interval '1 hour' WHERE state = 'running'")
    return made


async def _unchanged(client: httpx.AsyncClient, poller: Poller) -> Target:
    """The poll of a page that has just been loaded."""
    url = f"/runs/{poller.run_id}/progress"
    headers = {"Cookie": poller.cookie, "HX-Request": "true"}
    answer = await client.get(url, headers=headers)
    return Target(str(answer.url), {**headers, "HX-PTag": answer.headers["HX-PTag"]}, status=304)


async def _crowd(targets: list[Target]) -> list[float]:
    """Seconds that each poll waited, after the first few; all of them spread over every second."""
    waits: list[float] = []
    began = time.perf_counter() + 1

    async def watch(number: int, target: Target) -> None:
        parts = urlsplit(target.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for turn in range(ROUNDS):
            await asyncio.sleep(max(0, began + turn + number / len(targets) - time.perf_counter()))
            asked = time.perf_counter()
            if await ask(reader, writer, target) != target.status:
                raise RuntimeError("a run changed that nobody runs")
            if turn >= SETTLE:
                waits.append(time.perf_counter() - asked)
        writer.close()

    await asyncio.gather(*(watch(number, target) for number, target in enumerate(targets)))
    return waits
