"""A worker and the models it is told of: those at fault are left out, and never opened."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain import models, queue, services, steps
from domain.config import Config
from tests import worker as w
from tests.make import Make


@pytest.fixture(scope="module")
def site(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[w.Process]:
    """A dispatcher, and a worker with a model that is not there."""
    folder = tmp_path_factory.mktemp("worker")
    with w.dispatcher(config, folder), w.worker(config, folder, MODELS="gone=/nowhere") as process:
        yield process


async def test_a_model_that_is_gone_does_not_keep_the_worker_from_working(make: Make, site: w.Process) -> None:
    assert "ERROR MODELS: gone: /nowhere is neither a diffusers folder" in site.log.read_text()
    await models.register_all({})
    step = steps.TextToImage(prompt="a boat", num_inference_steps=2)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "succeeded", row["error_message"]


async def test_pickled_weights_put_in_later_are_refused(make: Make, db: Any, site: w.Process, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models.STARTER_PATH, tmp_path / "mine"))
    await models.register("mine", folder)
    (folder / "unet" / "more.ckpt").write_bytes(b"\x80\x04.")
    step = steps.TextToImage(prompt="a boat", model="mine", num_inference_steps=2)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "failed"
    assert "more.ckpt is refused" in row["error_message"]
    assert row["attempt"] == 1
    assert not await db.fetchval("SELECT count(*) FROM outputs")


async def test_a_step_waits_for_a_worker_that_has_its_model(
    make: Make, db: Any, site: w.Process, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models.STARTER_PATH, tmp_path / "mine"))
    found = await models.register("away", folder)
    away = shutil.move(folder, tmp_path / "elsewhere")
    step = steps.TextToImage(prompt="a boat", model="away", num_inference_steps=2)
    run_id = await w.accept(await make.pipeline(steps=[step]))
    stamp = models.stamp(found.name, found.revision)

    async def announced(there: bool) -> None:
        having: list[str] | None = None
        while having is None or (stamp in having) != there:
            await asyncio.sleep(0.2)
            having = await db.fetchval("SELECT models FROM workers")

    await db.execute("DELETE FROM workers")  # what it said before
    await announced(False)
    (left,) = await w.until(run_id, lambda now: now["steps"][0]["state"] == "queued")
    assert left["error_message"] is None
    assert ("handed_back" in await w.event_names(run_id)) == left["attempt"], "unless it had looked before"
    shutil.move(away, folder)
    await announced(True)
    await db.execute("UPDATE step_runs SET nudge_at = now()")
    state, (row,) = await w.ended(run_id)
    assert (state, row["attempt"]) == ("succeeded", left["attempt"] + 1), row["error_message"]


async def test_a_step_goes_to_the_worker_that_has_the_right_files(
    make: Make, db: Any, site: w.Process, tmp_path: Path
) -> None:
    """Files of the same size are told apart when they are opened. Where nobody has the right ones, the step fails."""
    folder = Path(shutil.copytree(models.STARTER_PATH, tmp_path / "mine"))
    found = await models.register("older", folder)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_bytes(config.read_bytes().replace(b"\n", b" "))
    pipeline = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", model="older", num_inference_steps=2)])
    state, (row,) = await w.ended(await w.accept(pipeline))
    assert (state, row["attempt"]) == ("failed", 1)
    assert "its files changed since it was registered" in row["error_message"]

    await services.announce("other:1", ["image"], "cpu", [found])
    run_id = await w.accept(pipeline)
    (row,) = await w.until(run_id, lambda now: now["steps"][0]["attempt"] == 1 and now["steps"][0]["state"] == "queued")
    (held,) = await queue.claim("image", "other:1")
    assert held.run_id == run_id
    stamp = models.stamp(found.name, found.revision)
    assert await db.fetchval("SELECT array_agg(owner) FROM workers WHERE $1 = ANY (models)", stamp) == ["other:1"]
    await services.leave("other:1")
    await queue.fail(held, "refused", "It has run for long enough")
