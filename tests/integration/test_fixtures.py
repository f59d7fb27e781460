"""The factories make rows that the schema takes, and the recorder counts."""

from typing import Any

import pytest

from domain import steps
from tests.make import Make
from tests.queries import Queries


async def test_a_fork_of_a_published_pipeline(make: Make, db: Any) -> None:
    parent = await make.pipeline(published=True)
    child = await make.pipeline(parent=parent, steps=[steps.TextToImage(prompt="a sun"), steps.Upscale()])
    row = await db.fetchrow("SELECT generation, root_id FROM pipelines WHERE id = $1", child.id)
    assert (row["generation"], row["root_id"]) == (2, parent.id)
    assert await db.fetchval("SELECT published_at IS NOT NULL FROM pipelines WHERE id = $1", parent.id)


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed", "cancelled"])
async def test_a_run_in_every_state(make: Make, db: Any, state: str) -> None:
    pipeline = await make.pipeline(steps=[steps.PromptTemplate(template="a {red|blue} circle"), steps.TextToImage()])
    run = await make.run(pipeline, state=state)
    assert await db.fetchval("SELECT count(*) FROM step_runs WHERE run_id = $1", run.id) == 2


async def test_every_test_starts_empty(db: Any) -> None:
    assert await db.fetchval("SELECT count(*) FROM people") == 0


async def test_the_recorder_counts_statements_and_not_transactions(db: Any, queries: Queries) -> None:
    await db.fetchval("SELECT 1")
    with queries:
        async with db.transaction():
            await db.fetchval("SELECT 1")
            await db.execute("SELECT 2")
    assert queries.count == 2, queries


async def test_a_browser_logs_in(client: Any, make: Make, log_in: Any) -> None:
    await log_in(client, await make.person("ada"))
    answer = await client.get("/settings/profile")
    assert answer.status_code == 200
    answer = await client.post("/logout")
    assert answer.status_code == 303
