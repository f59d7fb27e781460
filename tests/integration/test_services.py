"""Workers say that they are there; pages say what nobody runs, before and after somebody asks for it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import models, run_pages, runs, services, steps
from domain.config import Config
from domain.people import Person
from tests import worker as w
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
DRAW = steps.TextToImage(prompt="a boat")
OTHERS = {"audio": 0, "mesh": 0}


async def counted() -> dict[str, int]:
    return {one.queue: one.workers for one in await services.services()}


async def test_a_worker_that_falls_silent_is_gone(db: Any) -> None:
    assert await counted() == {"light": 0, "text": 0, "image": 0, **OTHERS}
    await services.announce("a:1", ["light", "image"], "cuda")
    await services.announce("b:2", ["image"], "cpu")
    assert await counted() == {"light": 1, "text": 0, "image": 2, **OTHERS}
    assert next(one.devices for one in await services.services() if one.queue == "image") == ["cpu", "cuda"]
    await db.execute("UPDATE workers SET seen_at = now() - make_interval(secs => $1) WHERE owner = 'a:1'", 46)
    assert await counted() == {"light": 0, "text": 0, "image": 1, **OTHERS}
    await services.announce("a:1", ["light"], "cuda")
    assert await counted() == {"light": 1, "text": 0, "image": 1, **OTHERS}
    await services.leave("a:1")
    assert await counted() == {"light": 0, "text": 0, "image": 1, **OTHERS}
    await db.execute("UPDATE workers SET seen_at = now() - interval '2 days'")
    await services.announce("c:3", ["light"], "cpu")
    assert await db.fetchval("SELECT array_agg(owner) FROM workers") == ["c:3"]


async def test_what_nobody_runs_is_named_once(db: Any) -> None:
    recipe = steps.Recipe(steps=[DRAW, steps.Pick(), DRAW, steps.Upscale()])
    assert (await services.missing(recipe)).kinds == ["Draw", "Enlarge"]
    await services.announce("a:1", ["light"], "cpu")
    assert (await services.missing(recipe)).kinds == ["Draw"]


async def test_steps_that_run_and_wait_are_counted(db: Any, make: Make) -> None:
    pipeline = await make.pipeline(steps=[DRAW])
    await make.run(pipeline)
    await make.run(pipeline, state="running")
    busy = next(one for one in await services.services() if one.queue == "image")
    assert (busy.running, busy.waiting) == (1, 1)


async def test_pages_say_so_before_and_while_a_run_waits(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    await models.register_all({})
    pipeline = await make.pipeline(ada, steps=[DRAW])
    form, new = f"/pipelines/{pipeline.id}/versions/1/runs", "/pipelines/new"
    assert "No worker is there for “Draw” just now." in (await client.get(form)).text
    assert "<dt>No worker now for</dt><dd>Draw</dd>" in (await client.get(new)).text
    run_id = (await runs.accept(pipeline.version_id, ada.id, {}, 7, "key")).run_id
    assert '<h1 id="headline">Waiting for a worker</h1>' in (await client.get(f"/runs/{run_id}")).text
    tag = (await run_pages.progress(run_id, ada.id)).tag

    await services.announce("a:1", ["image"], "cpu")
    assert "No worker is there" not in (await client.get(form)).text
    assert "No worker now for" not in (await client.get(new)).text
    assert '<h1 id="headline">Waiting, first in the queue</h1>' in (await client.get(f"/runs/{run_id}")).text
    assert (await run_pages.progress(run_id, ada.id)).tag != tag
    page = (await client.get("/models")).text
    assert "What runs now" in page
    assert "none now" in page


@pytest.mark.slow
async def test_a_worker_announces_itself_and_takes_its_leave(config: Config, db: Any, tmp_path: Path) -> None:
    with w.worker(config, tmp_path, QUEUES="light,text") as process:
        rows: list[Any] = []
        while not rows:
            rows = await db.fetch("SELECT queues, device FROM workers")
        assert [tuple(row) for row in rows] == [(["light", "text"], "cpu")]
        process.end()
    assert not await db.fetchval("SELECT count(*) FROM workers")
