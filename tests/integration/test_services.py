"""Workers say that they are there; pages say what nobody runs, before and after somebody asks for it."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import models, queue, run_pages, runs, services, steps
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


async def test_a_kind_that_no_worker_knows_is_named_and_waits(db: Any, make: Make) -> None:
    """A worker on another machine may be older than the site."""
    recipe = steps.Recipe(steps=[DRAW, steps.ImageToAnimation()])
    await services.announce("old:1", ["image"], "cpu", None, ["text_to_image", "gan_image"])
    assert await services.missing(recipe) == services.Missing(["Set in motion"], [])
    served = next(one for one in await services.services() if one.queue == "image")
    assert "Set in motion" in served.unknown
    assert "Draw" not in served.unknown
    pipeline = await make.pipeline(steps=[DRAW])
    asked = await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 7, "key")
    other = ["gan_image"]
    assert await queue.claim("image", "older:2", kinds=other) == []
    assert await queue.pass_on("image", [], other), "the other one can"
    (held,) = await queue.claim("image", "old:1", kinds=["text_to_image"])
    assert held.run_id == asked.run_id
    await services.announce("new:3", ["image"], "cpu", None, services.kinds_of(["image"], steps.KINDS))
    assert not await services.missing(recipe)


def test_a_worker_runs_the_kinds_of_its_queues() -> None:
    known = ["prompt_template", "text_to_image", "upscale", "join"]
    assert services.kinds_of(["light"], known) == ["join", "prompt_template", "upscale"]
    assert services.kinds_of(["image"], known) == ["text_to_image", "upscale"], (
        "with a model, pictures are enlarged there"
    )
    assert services.kinds_of(["audio"], known) == []


async def test_one_run_goes_through_the_workers_of_several_queues(
    config: Config, make: Make, db: Any, tmp_path: Path
) -> None:
    await models.register_all({})
    chain = [
        steps.PromptTemplate(template="a red circle"),
        steps.TextToImage(num_inference_steps=2),
        steps.Upscale(factor=2),
    ]
    with (
        w.dispatcher(config, tmp_path),
        w.worker(config, tmp_path, QUEUES="light"),
        w.worker(config, tmp_path, QUEUES="image"),
    ):
        run_id = await w.accept(await make.pipeline(steps=chain))
        state, rows = await w.ended(run_id)
        assert state == "succeeded", [row["error_message"] for row in rows]
        said = {tuple(row["queues"]): row["kinds"] for row in await db.fetch("SELECT queues, kinds FROM workers")}
    assert said[("light",)] == ["join", "prompt_template", "upscale"]
    assert "text_to_image" in said[("image",)]
    assert "prompt_template" not in said[("image",)]
    assert [row["queue"] for row in rows] == ["light", "image", "light"]


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
    second = await make.version(pipeline, steps=[steps.TextToImage(prompt="a ship")])
    sides = f"left={pipeline.version_id}&right={second.id}"
    for compared in (f"/comparisons?{sides}", f"/comparisons/runs?{sides}&seeds=1"):
        assert "No worker is there for “Draw” just now." in (await client.get(compared)).text
    varied = {"x": "s1-guidance_scale", "x-for": "s1-guidance_scale", "x-values": "1..3", "key": "k", "do": "estimate"}
    grid = await client.post(f"/pipelines/{pipeline.id}/versions/1/grids", data=varied)
    assert "No worker is there for “Draw” just now." in grid.text
    stopped = await make.run(pipeline, state="cancelled")
    assert "No worker is there for “Draw” just now." in (await client.get(f"/runs/{stopped.id}")).text
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


@pytest.fixture
async def far(db: Any, tmp_path: Path) -> models.Model:
    """A model that the workers of these tests may have."""
    return await models.register("far", Path(shutil.copytree(models.STARTER_PATH, tmp_path / "far")))


async def test_a_model_that_no_worker_has_is_named(far: models.Model) -> None:
    await models.register_all({})
    starter = await models.read("starter")
    step = steps.TextToImage(prompt="a boat <lora:fish:1>", model="far")
    recipe = steps.Recipe(steps=[DRAW, step, step])
    assert await services.missing(recipe) == services.Missing(["Draw"], [])
    await services.announce("a:1", ["image"], "cpu", [starter])
    assert await services.missing(recipe) == services.Missing([], ["far with fish"])
    await services.announce("b:2", ["image"], "cuda", [far])
    assert (await services.missing(recipe)).models == ["far with fish"], "no worker has both"
    await services.announce("c:3", ["text"], "cpu", [far, await models.read("fish")])
    assert (await services.missing(recipe)).models == ["far with fish"], "it serves another queue"
    await services.announce("b:2", ["image"], "cuda", [far, await models.read("fish")])
    assert not await services.missing(recipe)
    await services.announce("b:2", ["image"], "cuda", [far])
    await services.announce("old:4", ["image"], "cpu")
    assert not await services.missing(recipe), "a worker of before does not say what it has"


async def test_a_model_registered_anew_is_another(far: models.Model, db: Any) -> None:
    await services.announce("a:1", ["image"], "cpu", [far])
    recipe = steps.Recipe(steps=[steps.TextToImage(prompt="a boat", model="far")])
    assert not await services.missing(recipe)
    (Path(far.path) / "scheduler" / "scheduler_config.json").write_text("{}")
    await models.register("far", far.path)
    assert (await services.missing(recipe)).models == ["far"]
    await models.remove("far")
    assert not await services.missing(recipe), "any worker says that it is gone"


async def test_a_worker_leaves_steps_to_those_that_have_their_models(far: models.Model, make: Make, db: Any) -> None:
    await models.register_all({})
    starter = await models.read("starter")
    pipeline = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", model="far")])
    asked = await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 7, "key")
    later = await make.pipeline(steps=[DRAW])
    other = await runs.accept(later.version_id, later.owner_id, {}, 7, "key")
    await services.announce("a:1", ["image"], "cpu", [starter])
    (held,) = await queue.claim("image", "a:1", lacks=["far"])
    assert held.run_id == other.run_id, "what it can run comes although it was asked for later"
    assert await queue.claim("image", "a:1", lacks=["far"]) == []
    assert await queue.due("image") == 1
    assert not await queue.pass_on("image", ["far"]), "nobody has it"
    await services.announce("b:2", ["image"], "cpu", [far])

    async def told() -> None:
        """A dispatcher that has rung and not committed yet."""
        async with db.transaction():
            await db.execute("UPDATE step_runs SET nudge_at = now() WHERE run_id = $1", asked.run_id)
            assert await queue.due("image") == 1
            rung.set()
            await asyncio.sleep(0.2)

    rung = asyncio.Event()
    dispatcher = asyncio.create_task(told())
    await rung.wait()
    assert await queue.pass_on("image", ["far"])
    await dispatcher
    assert await db.fetchval(
        "SELECT extract(epoch FROM nudge_at - now())::float8 FROM step_runs WHERE run_id = $1", asked.run_id
    ) == pytest.approx(queue.PASSED_ON, abs=1.5), "and not half a minute, as the dispatcher wrote meanwhile"
    (held,) = await queue.claim("image", "b:2", lacks=["starter"])
    assert held.run_id == asked.run_id


async def test_loras_belong_to_what_a_step_needs(db: Any, make: Make) -> None:
    await models.register_all({})
    pipeline = await make.pipeline(
        steps=[steps.TextToImage(prompt="a boat <lora:{which}:1>")], inputs=[steps.Input(name="which", default="fish")]
    )
    await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 7, "key")
    assert await db.fetchval("SELECT needs FROM step_runs") == ["starter", "fish"]
    assert await queue.claim("image", "a:1", lacks=["fish"]) == []
    await db.execute("UPDATE step_runs SET needs = '{}'")
    (held,) = await queue.claim("image", "a:1", lacks=["fish"])
    await queue.hand_back(held, 0, "this worker does not have its model")
    assert await queue.claim("image", "a:1", lacks=["fish"]) == [], "one that was queued before this was written down"


async def test_a_machine_has_what_lies_there_as_it_was_registered(far: models.Model, tmp_path: Path) -> None:
    assert models.here(far, {}, {})
    assert not models.here(far, {"far": tmp_path / "nowhere"}, {})
    (tmp_path / "far" / "notes.txt").write_text("whatever lies beside is judged when it is opened")
    assert models.here(far, {}, {})
    (tmp_path / "far" / "scheduler" / "scheduler_config.json").write_text("{}")
    assert not models.here(far, {}, {})
    lora = await models.register("mine", models.SHIPPED["fish"].path)
    assert models.here(lora, {}, {})
    renamed = shutil.copy(models.SHIPPED["fish"].path, tmp_path / "other.safetensors")
    assert not models.here(lora, {"mine": Path(renamed)}, {})
    remote = await models.register_endpoint("there", "http://127.0.0.1:9/v1#small")
    assert models.here(remote, {}, {"there": remote.path})
    assert not models.here(remote, {}, {})
    assert not models.here(remote, {}, {"there": "http://127.0.0.1:9/v1#large"})


async def test_pages_say_which_model_a_run_waits_for(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, far: models.Model
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    pipeline = await make.pipeline(ada, steps=[steps.TextToImage(prompt="a boat", model="far")])
    await services.announce("a:1", ["image"], "cpu", [])
    form = await client.get(f"/pipelines/{pipeline.id}/versions/1/runs")
    assert "No worker has the model “far” just now. A run waits, and goes on as soon as one is there." in form.text
    assert "<dt>No worker now for</dt><dd>far</dd>" in (await client.get(f"/pipelines/{pipeline.id}/edit")).text
    run_id = (await runs.accept(pipeline.version_id, ada.id, {}, 7, "key")).run_id
    assert "Waiting for a worker that has the model “far”</h1>" in (await client.get(f"/runs/{run_id}")).text
    tag = (await run_pages.progress(run_id, ada.id)).tag
    await services.announce("a:1", ["image"], "cpu", [far])
    assert "No worker has" not in (await client.get(f"/pipelines/{pipeline.id}/versions/1/runs")).text
    assert "Waiting, first in the queue</h1>" in (await client.get(f"/runs/{run_id}")).text
    assert (await run_pages.progress(run_id, ada.id)).tag != tag


@pytest.mark.slow
async def test_a_worker_announces_itself_and_takes_its_leave(config: Config, db: Any, tmp_path: Path) -> None:
    with w.worker(config, tmp_path, QUEUES="light,text") as process:
        rows: list[Any] = []
        while not rows:
            rows = await db.fetch("SELECT queues, device, models FROM workers")
        assert [tuple(row) for row in rows] == [(["light", "text"], "cpu", [])]
        process.end()
    assert not await db.fetchval("SELECT count(*) FROM workers")
