"""Reuse: what is known is not run again, and what others keep to themselves is no help to anybody."""

import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain import forks, models, pipelines, queue, runs, steps
from domain.queue import Made
from tests import worker as w
from tests.make import Make, Pipeline
from tests.queries import Queries

CHAIN = (
    steps.PromptTemplate(template="a {subject}"),
    steps.TextToImage(prompt="{text}, by night"),
    steps.Upscale(factor=2),
)
SUBJECT = [steps.Input(name="subject", default="boat")]


@pytest.fixture
async def pipeline(make: Make) -> Pipeline:
    await models.register_all({})
    return await make.pipeline(steps=CHAIN, inputs=SUBJECT, visibility="public")


async def _states(db: Any, run_id: UUID) -> list[str]:
    rows = await db.fetch("SELECT state FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run_id)
    return [row["state"] for row in rows]


async def _work(make: Make) -> int:
    """Do everything that is queued, as a worker would; how many steps that were."""
    done = 0
    while True:
        held = [each for name in ("light", "image") for each in await queue.claim(name, "ann", room=4)]
        for each in held:
            pictures = [] if each.kind == "prompt_template" else [Made((await make.artifact()).sha256, 5)]
            text = each.parameters["template"] if each.kind == "prompt_template" else None
            await queue.finish(each, pictures, text, {"kind": each.kind}, {"run": 0.0 if text else 1.0})
            done += 1
        if not held:
            return done


async def _run(make: Make, pipeline: Pipeline, seed: int = 5, **inputs: str) -> UUID:
    """A run of the pipeline by its owner, done."""
    run_id = await w.accept(pipeline, seed, inputs, afresh=False)
    await _work(make)
    return run_id


async def _asked_by(pipeline: Pipeline, person: UUID, seed: int = 5, *, afresh: bool = False) -> UUID:
    key = secrets.token_hex(8)
    return (await runs.accept(pipeline.version_id, person, {}, seed, key, afresh=afresh)).run_id


async def test_the_same_again_is_done_when_it_is_accepted(db: Any, make: Make, pipeline: Pipeline) -> None:
    first = await _run(make, pipeline)
    again = await w.accept(pipeline, 5, afresh=False)
    assert await _states(db, again) == ["reused"] * 3
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", again) == "succeeded"
    assert await w.event_names(again) == ["accepted", "reused", "reused", "reused", "run_succeeded"]
    outputs = """SELECT s.ordinal, o.position, o.sha256, o.seed, s.receipt, s.resolved, s.output_text
        FROM step_runs s LEFT JOIN outputs o ON o.step_run_id = s.id WHERE run_id = $1 ORDER BY 1, 2"""
    assert await db.fetch(outputs, again) == await db.fetch(outputs, first)


async def test_only_what_changed_is_run(db: Any, make: Make, pipeline: Pipeline) -> None:
    await _run(make, pipeline)
    changed = await make.pipeline(steps=(*CHAIN[:2], steps.Upscale(factor=4)), inputs=SUBJECT)
    await db.execute("UPDATE pipelines SET owner_id = $2 WHERE id = $1", changed.id, pipeline.owner_id)
    run_id = await _asked_by(changed, pipeline.owner_id)
    assert await _states(db, run_id) == ["reused", "reused", "queued"]
    assert await _work(make) == 1
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id) == "succeeded"


async def test_what_a_step_makes_equal_saves_the_steps_behind_it(db: Any, make: Make, pipeline: Pipeline) -> None:
    await _run(make, pipeline, subject="moth")
    other = await make.pipeline(steps=(steps.PromptTemplate(template="{a|a} moth"), *CHAIN[1:]))
    await db.execute("UPDATE pipelines SET owner_id = $2 WHERE id = $1", other.id, pipeline.owner_id)
    run_id = await _asked_by(other, pipeline.owner_id)
    assert await _states(db, run_id) == ["reused"] * 3


@pytest.mark.parametrize(("seed", "subject"), [(6, "boat"), (5, "moth")], ids=["another seed", "another input"])
async def test_what_matters_is_run(db: Any, make: Make, pipeline: Pipeline, seed: int, subject: str) -> None:
    await _run(make, pipeline)
    run_id = await w.accept(pipeline, seed, {"subject": subject}, afresh=False)
    assert "reused" not in (await _states(db, run_id))[1:]


async def test_afresh_runs_everything(db: Any, make: Make, pipeline: Pipeline) -> None:
    await _run(make, pipeline)
    run_id = await w.accept(pipeline, 5, afresh=True)
    assert await _states(db, run_id) == ["queued", "waiting", "waiting"]
    assert await _work(make) == 3


async def test_two_equal_runs_at_once_are_run_once(db: Any, make: Make, pipeline: Pipeline) -> None:
    ids = [await w.accept(pipeline, 5, afresh=False) for _ in range(3)]
    assert await _work(make) == 3
    assert sorted([await _states(db, run_id) for run_id in ids]) == [["reused"] * 3, ["reused"] * 3, ["succeeded"] * 3]


async def test_another_model_behind_the_same_name_is_another_result(db: Any, make: Make, pipeline: Pipeline) -> None:
    await _run(make, pipeline)
    await db.execute("UPDATE models SET revision = 'other files' WHERE name = $1", models.STARTER)
    assert await _states(db, await w.accept(pipeline, 5, afresh=False)) == ["reused", "queued", "waiting"]
    await db.execute("UPDATE models SET removed_at = now() WHERE name = $1", models.STARTER)
    assert await _states(db, await w.accept(pipeline, 5, afresh=False)) == ["reused", "queued", "waiting"]


async def test_a_failed_run_goes_on_with_what_is_known(db: Any, make: Make, pipeline: Pipeline) -> None:
    failed = await w.accept(pipeline, 5, afresh=False)
    (held,) = await queue.claim("light", "ann")
    await queue.fail(held, "x", "y")
    await db.execute("UPDATE people SET name = 'x'")
    await _run(make, pipeline)
    await runs.retry(failed, pipeline.owner_id)
    assert await _states(db, failed) == ["reused"] * 3


# what the person may see


@pytest.mark.parametrize(
    ("published", "visibility", "seen"),
    [(True, "public", True), (True, "unlisted", False), (False, "public", False)],
    ids=["published", "by link only", "private run"],
)
async def test_others_results_are_reused_only_when_public(
    db: Any, make: Make, pipeline: Pipeline, published: bool, visibility: str, seen: bool
) -> None:
    theirs = await _run(make, pipeline)
    if published:
        await runs.publish(theirs, pipeline.owner_id)
    await db.execute("UPDATE pipelines SET visibility = $2 WHERE id = $1", pipeline.id, visibility)
    bo = await make.person()
    states = await _states(db, await _asked_by(pipeline, bo.id))
    assert states == (["reused"] * 3 if seen else ["queued", "waiting", "waiting"])


async def test_a_private_result_costs_the_same_questions_as_none(
    make: Make, pipeline: Pipeline, queries: Queries
) -> None:
    bo, cyd = await make.person(), await make.person()
    with queries:
        await _asked_by(pipeline, bo.id)
    without = list(queries.statements)
    await _run(make, pipeline)
    with queries:
        await _asked_by(pipeline, cyd.id)
    assert queries.statements == without


async def test_made_private_again_it_helps_nobody_else(db: Any, make: Make, pipeline: Pipeline) -> None:
    theirs = await _run(make, pipeline)
    await runs.publish(theirs, pipeline.owner_id)
    await runs.unpublish(theirs, pipeline.owner_id)
    assert "reused" not in await _states(db, await _asked_by(pipeline, (await make.person()).id))


# the page


async def test_the_page_says_whose_result_it_is(
    db: Any, make: Make, pipeline: Pipeline, clients: Callable[[], httpx.AsyncClient], log_in: Any
) -> None:
    theirs = await _run(make, pipeline)
    await runs.publish(theirs, pipeline.owner_id)
    bo = await make.person()
    browser = await log_in(clients(), bo)
    mine = await _asked_by(pipeline, bo.id)
    text = (await browser.get(f"/runs/{mine}")).text
    assert text.count(f'Reused from <a href="/runs/{theirs}">') == 3
    assert "Step 2 reused an earlier result" in text
    await runs.unpublish(theirs, pipeline.owner_id)
    text = (await browser.get(f"/runs/{mine}")).text
    assert str(theirs) not in text
    assert text.count("Reused an earlier result") == 3


async def test_a_published_run_does_not_tell_that_it_was_there_before(
    db: Any, make: Make, pipeline: Pipeline, client: httpx.AsyncClient
) -> None:
    await _run(make, pipeline)
    again = await w.accept(pipeline, 5, afresh=False)
    await runs.publish(again, pipeline.owner_id)
    text = (await client.get(f"/runs/{again}")).text
    assert "eused" not in text
    assert "Done in 2.0 s" in text, "as long as its steps took when they were made, one second each with a model"
    text = (await client.get(f"/pipelines/{pipeline.id}?run={again}")).text
    assert "<dt>Time</dt><dd>2.0 s</dd>" in text
    assert text.count('end">1.0 s') == 2


async def test_the_form_offers_to_run_afresh(
    db: Any, make: Make, pipeline: Pipeline, client: httpx.AsyncClient, log_in: Any
) -> None:
    person = await make.person()
    await _asked_by(pipeline, person.id)
    await _work(make)
    browser = await log_in(client, person)
    page = f"/pipelines/{pipeline.id}/versions/1/runs"
    assert 'name="afresh" value="1"' in (await browser.get(page)).text
    for sent, state in (({}, "succeeded"), ({"afresh": "1"}, "queued")):
        answer = await browser.post(
            page, data={"key": secrets.token_hex(8), "seed": "5", "input-subject": "boat", **sent}
        )
        run_id = UUID(answer.headers["location"].rsplit("/", 1)[1])
        assert await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id) == state


async def test_a_fork_with_its_last_step_changed_runs_that_step(db: Any, make: Make, pipeline: Pipeline) -> None:
    theirs = await _run(make, pipeline)
    await runs.publish(theirs, pipeline.owner_id)
    bo = await make.person()
    fork = await forks.fork(pipeline.version_id, bo.id)
    recipe = steps.Recipe(steps=[*CHAIN[:2], steps.Upscale(factor=4)], inputs=SUBJECT)
    details = await db.fetchrow("SELECT title, visibility FROM pipelines WHERE id = $1", fork.id)
    saved = await pipelines.save(fork.id, bo.id, pipelines.Details(**details), recipe, "")
    version = await db.fetchval("SELECT id FROM versions WHERE pipeline_id = $1 AND number = $2", fork.id, saved.number)
    run_id = (await runs.accept(version, bo.id, {}, 5, "key")).run_id
    assert await _states(db, run_id) == ["reused", "reused", "queued"]
