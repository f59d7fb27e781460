"""How an attempt ends when something beside the model goes wrong."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from domain import models, queue, steps
from domain.config import Config
from domain.queue import Claim
from domain.storage import Storage
from tasks import dispatcher
from tasks.engine import Engine, Limits
from tasks.messages import ModelRef
from tasks.runner import MAX_DELAY, MAX_RETRIES, Attempt
from tests import worker as w
from tests.make import Make

AWAY = Storage("http://key:secret@127.0.0.1:1/bucket")


def _ref(model: models.Model) -> ModelRef:
    return ModelRef(model.name, model.path, model.revision, model.means)


async def _leave(revision: str, needs: Sequence[str]) -> bool:
    return False


async def _attempted(held: Sequence[Claim], storage: Storage) -> None:
    """The attempt from its claim to its end, with an engine that is never asked."""
    attempt = Attempt(held, Engine("cpu"), Limits(), storage, asyncio.Event(), _ref, _leave)
    await attempt.run(())
    await attempt.settle()


async def test_a_file_store_that_stays_away_fails_no_step(db: Any, make: Make) -> None:
    await models.register_all({})
    redraw = steps.ImageToImage(prompt="a moth", upload=(await make.artifact()).sha256)
    await w.accept(await make.pipeline(steps=[redraw]))
    await db.execute("UPDATE step_runs SET retry_count = $1", MAX_RETRIES + 9)
    await _attempted(await queue.claim("image", "ann"), AWAY)
    row = await db.fetchrow(
        """SELECT state, crash_count, not_before > now() AS later,
           not_before <= now() + make_interval(secs => $1) AS soon FROM step_runs""",
        MAX_DELAY,
    )
    assert tuple(row) == ("queued", 0, True, True)


async def test_a_model_registered_anew_after_the_claim_is_claimed_again(db: Any, make: Make) -> None:
    await models.register_all({})
    run_id = await w.accept(await make.pipeline(steps=[steps.TextToImage(prompt="a boat")]))
    held = await queue.claim("image", "ann")
    await db.execute("UPDATE models SET revision = repeat('0', 64) WHERE name = $1", models.STARTER)
    await _attempted(held, AWAY)
    assert await db.fetchval("SELECT state FROM step_runs") == "queued"
    assert "handed_back" in await w.event_names(run_id)
    (again,) = await queue.claim("image", "ann")
    assert again.model[0] == "0" * 64


async def test_leases_are_taken_back_though_redis_is_away(db: Any, make: Make, config: Config) -> None:
    await models.register_all({})
    pipeline = await make.pipeline(steps=[steps.TextToImage(prompt="a boat")])
    for seed in (1, 2):
        await w.accept(pipeline, seed)
    (held,) = await queue.claim("image", "ann", lease_s=0)
    working = dispatcher.Dispatcher(replace(config, redis_url="redis://127.0.0.1:1/0"))
    at_work = asyncio.create_task(working.work())
    await w.until(held.run_id, lambda now: now["steps"][0]["state"] == "queued", 20)
    working.stop()
    await asyncio.wait_for(at_work, 20)
