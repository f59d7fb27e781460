"""Accepting, stopping, publishing and repeating runs: what the database holds afterwards."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import drafts, forecast, run_pages, runs, steps
from domain.errors import Conflict, Invalid, NotFound
from tests.make import Make, Pipeline

THREE = (
    steps.PromptTemplate(template="a {subject}"),
    steps.TextToImage(prompt="{text}", num_inference_steps=10),
    steps.Upscale(),
)
INPUTS = (
    steps.Input(name="subject", default="boat"),
    steps.Input(name="count", kind="number", default="3"),
    steps.Input(name="light", kind="choice", default="fog", choices=["fog", "snow"]),
)


@pytest.fixture
async def pipeline(make: Make) -> Pipeline:
    return await make.pipeline(steps=THREE, inputs=INPUTS)


async def _states(db: Any, run_id: UUID) -> list[str]:
    rows = await db.fetch("SELECT state FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run_id)
    return [row["state"] for row in rows]


async def _events(db: Any, run_id: UUID) -> list[str]:
    rows = await db.fetch("SELECT name FROM events WHERE run_id = $1 ORDER BY id", run_id)
    return [row["name"] for row in rows]


# accept


async def test_accept_queues_the_first_step_and_lets_the_rest_wait(db: Any, pipeline: Pipeline) -> None:
    accepted = await runs.accept(pipeline.version_id, pipeline.owner_id, {"subject": "moth"}, 7, "key")
    assert not accepted.repeated
    assert await _states(db, accepted.run_id) == ["queued", "waiting", "waiting"]
    rows = await db.fetch("SELECT * FROM step_runs WHERE run_id = $1 ORDER BY ordinal", accepted.run_id)
    assert [row["queue"] for row in rows] == ["light", "image", "light"]
    assert [row["model"] for row in rows] == ["", "starter", ""]
    assert [row["queued_at"] is not None for row in rows] == [True, False, False]
    assert rows[1]["step"]["num_inference_steps"] == 10
    run = await db.fetchrow("SELECT * FROM runs WHERE id = $1", accepted.run_id)
    assert run["inputs"] == {"subject": "moth", "count": "3", "light": "fog"}
    assert (run["seed"], run["number"], run["state"], run["visibility"]) == (7, 1, "queued", "private")
    assert await _events(db, accepted.run_id) == ["accepted"]


async def test_accept_draws_a_seed_when_none_is_given(db: Any, pipeline: Pipeline) -> None:
    drawn = set()
    for number in range(4):
        accepted = await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, f"key{number}")
        drawn.add(await db.fetchval("SELECT seed FROM runs WHERE id = $1", accepted.run_id))
    assert len(drawn) > 1
    assert all(0 <= seed <= steps.MAX_SEED for seed in drawn)


async def test_accept_notifies_dispatchers_after_commit(db: Any, pipeline: Pipeline, config: Any) -> None:
    import asyncpg

    heard = asyncio.Event()
    listener = await asyncpg.connect(config.database_url)
    await listener.add_listener("steps", lambda *_: heard.set())
    try:
        await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 1, "key")
        await asyncio.wait_for(heard.wait(), 5)
    finally:
        await listener.close()


async def test_the_same_request_twice_is_one_run(db: Any, pipeline: Pipeline) -> None:
    first = await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")
    again = await runs.accept(pipeline.version_id, pipeline.owner_id, {"subject": "boat"}, None, "key")
    assert (again.run_id, again.repeated) == (first.run_id, True)
    assert await db.fetchval("SELECT count(*) FROM runs") == 1


@pytest.mark.parametrize(("inputs", "seed"), [({"subject": "moth"}, None), ({}, 5)])
async def test_the_same_key_for_another_request_is_a_conflict(
    db: Any, pipeline: Pipeline, inputs: dict[str, str], seed: int | None
) -> None:
    await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")
    with pytest.raises(Conflict):
        await runs.accept(pipeline.version_id, pipeline.owner_id, inputs, seed, "key")
    assert await db.fetchval("SELECT count(*) FROM runs") == 1


async def test_the_same_key_for_another_version_is_a_conflict(make: Make, pipeline: Pipeline) -> None:
    other = await make.pipeline(steps=THREE, inputs=INPUTS)
    await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")
    with pytest.raises(Conflict):
        await runs.accept(other.version_id, pipeline.owner_id, {}, None, "key")


async def test_a_key_is_each_persons_own(make: Make, pipeline: Pipeline) -> None:
    other = await make.person()
    mine = await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")
    theirs = await runs.accept(pipeline.version_id, other.id, {}, None, "key")
    assert mine.run_id != theirs.run_id


async def test_a_known_key_says_nothing_of_a_private_version(make: Make, pipeline: Pipeline) -> None:
    private = await make.pipeline(steps=THREE, inputs=INPUTS, visibility="private")
    await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")
    with pytest.raises(NotFound):
        await runs.accept(private.version_id, pipeline.owner_id, {"nonsense": ""}, None, "key")


async def test_a_repeated_request_is_answered_after_the_pipeline_was_closed(
    db: Any, make: Make, pipeline: Pipeline
) -> None:
    visitor = await make.person()
    first = await runs.accept(pipeline.version_id, visitor.id, {}, 1, "key")
    await db.execute("UPDATE pipelines SET visibility = 'private'")
    assert (await runs.accept(pipeline.version_id, visitor.id, {}, 1, "key")).run_id == first.run_id
    with pytest.raises(NotFound):
        await runs.accept(pipeline.version_id, visitor.id, {}, 1, "another")


async def test_ten_clicks_at_once_are_one_run(db: Any, pipeline: Pipeline) -> None:
    accepted = await asyncio.gather(
        *(runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key") for _ in range(10))
    )
    assert len({each.run_id for each in accepted}) == 1
    assert [each.repeated for each in accepted].count(False) == 1
    assert await db.fetchval("SELECT count(*) FROM step_runs") == 3


async def test_one_key_at_once_for_two_pipelines_is_one_run_and_conflicts(
    db: Any, make: Make, pipeline: Pipeline
) -> None:
    other = await make.pipeline(steps=THREE, inputs=INPUTS)
    answers = await asyncio.gather(
        *(runs.accept(one.version_id, pipeline.owner_id, {}, None, "key") for one in (pipeline, other) * 4),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Conflict) for answer in answers) == 4, answers
    assert await db.fetchval("SELECT count(*) FROM runs") == 1


async def test_runs_of_a_pipeline_are_numbered_without_gaps(db: Any, pipeline: Pipeline) -> None:
    await asyncio.gather(
        *(runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, f"key{number}") for number in range(8))
    )
    rows = await db.fetch("SELECT number FROM runs ORDER BY number")
    assert [row["number"] for row in rows] == list(range(1, 9))


@pytest.mark.parametrize(
    ("inputs", "seed", "field"),
    [
        ({"nothing": "x"}, None, "input-nothing"),
        ({"count": "many"}, None, "input-count"),
        ({"light": "rain"}, None, "input-light"),
        ({"subject": "x" * 2_001}, None, "input-subject"),
        ({"subject": "a\x00b"}, None, "input-subject"),
        ({"subject": "a\ud800b"}, None, "input-subject"),
        ({}, -1, "seed"),
        ({}, 2**32, "seed"),
    ],
)
async def test_bad_values_are_refused_by_field(
    db: Any, pipeline: Pipeline, inputs: dict[str, str], seed: int | None, field: str
) -> None:
    with pytest.raises(Invalid) as error:
        await runs.accept(pipeline.version_id, pipeline.owner_id, inputs, seed, "key")
    assert list(error.value.fields) == [field]
    assert await db.fetchval("SELECT count(*) FROM runs") == 0


@pytest.mark.parametrize("key", ["", "x" * 201, "ключ", "a\nb"])
async def test_a_key_that_no_form_makes_is_refused(pipeline: Pipeline, key: str) -> None:
    with pytest.raises(Invalid):
        await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, key)


@pytest.mark.parametrize("visibility", ["public", "unlisted"])
async def test_anybody_runs_what_they_may_see(make: Make, visibility: str) -> None:
    pipeline = await make.pipeline(visibility=visibility)
    assert await runs.accept(pipeline.version_id, (await make.person()).id, {}, None, "key")


async def test_nobody_runs_what_they_may_not_see(db: Any, make: Make) -> None:
    private = await make.pipeline(visibility="private")
    visitor = await make.person()
    for version_id in (private.version_id, uuid4()):
        with pytest.raises(NotFound):
            await runs.accept(version_id, visitor.id, {}, None, "key")
    assert await runs.accept(private.version_id, private.owner_id, {}, None, "key")
    await db.execute("UPDATE pipelines SET deleted_at = now()")
    with pytest.raises(NotFound):
        await runs.accept(private.version_id, private.owner_id, {}, None, "later")


# cancel


async def test_a_queued_run_is_stopped_at_once(db: Any, pipeline: Pipeline) -> None:
    run_id = (await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")).run_id
    await runs.cancel(run_id, pipeline.owner_id)
    await runs.cancel(run_id, pipeline.owner_id)
    assert await _states(db, run_id) == ["cancelled"] * 3
    row = await db.fetchrow("SELECT state, finished_at FROM runs WHERE id = $1", run_id)
    assert row["state"] == "cancelled"
    assert row["finished_at"] is not None
    assert await _events(db, run_id) == ["accepted", "cancel_requested", "cancelled"]


async def test_a_running_step_is_asked_to_stop(db: Any, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="running")
    await runs.cancel(run.id, run.owner_id)
    await runs.cancel(run.id, run.owner_id)
    assert await _states(db, run.id) == ["running", "cancelled", "cancelled"]
    page = await runs.read(run.id, run.owner_id)
    assert (page.state, page.cancelling, page.over) == ("running", True, False)
    assert await _events(db, run.id) == ["cancel_requested"]


@pytest.mark.parametrize("state", ["succeeded", "failed"])
async def test_an_ended_run_cannot_be_stopped(make: Make, pipeline: Pipeline, state: str) -> None:
    run = await make.run(pipeline, state=state)
    with pytest.raises(Conflict):
        await runs.cancel(run.id, run.owner_id)


async def test_stop_and_claim_at_once_never_leave_a_run_half_stopped(db: Any, make: Make, pipeline: Pipeline) -> None:
    from domain import queue

    for number in range(12):
        run_id = (await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, f"key{number}")).run_id
        name = await db.fetchval("SELECT queue FROM step_runs WHERE run_id = $1 AND ordinal = 1", run_id)
        held, _ = await asyncio.gather(queue.claim(name, "worker"), runs.cancel(run_id, pipeline.owner_id))
        state = await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id)
        assert state == ("running" if held else "cancelled")
        assert all(said.cancelled for said in (await queue.beat(held, 0, 1, "running")).values())


async def test_others_cannot_stop_publish_or_repeat_a_run(make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded", published=True)
    other = await make.person()
    for verb in (runs.cancel, runs.publish, runs.unpublish, runs.retry):
        with pytest.raises(NotFound):
            await verb(run.id, other.id)
        with pytest.raises(NotFound):
            await verb(uuid4(), run.owner_id)


# publish


async def test_publishing_shows_the_run_and_lists_the_pipeline(db: Any, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded")
    visitor = await make.person()
    with pytest.raises(NotFound):
        await runs.read(run.id, visitor.id)
    await runs.publish(run.id, run.owner_id)
    await runs.publish(run.id, run.owner_id)
    assert (await runs.read(run.id, None)).published
    row = await db.fetchrow("SELECT published_at, cover_run_id FROM pipelines WHERE id = $1", pipeline.id)
    assert row["published_at"] is not None
    assert row["cover_run_id"] == run.id
    await runs.unpublish(run.id, run.owner_id)
    await runs.unpublish(run.id, run.owner_id)
    with pytest.raises(NotFound):
        await runs.read(run.id, visitor.id)
    assert await db.fetchval("SELECT cover_run_id FROM pipelines WHERE id = $1", pipeline.id) is None
    assert await _events(db, run.id) == ["published", "unpublished"]


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled"])
async def test_only_a_run_that_is_done_is_published(make: Make, pipeline: Pipeline, state: str) -> None:
    run = await make.run(pipeline, state=state)
    with pytest.raises(Conflict):
        await runs.publish(run.id, run.owner_id)


async def test_a_private_pipeline_shows_no_results(make: Make) -> None:
    pipeline = await make.pipeline(visibility="private")
    run = await make.run(pipeline, state="succeeded")
    with pytest.raises(Conflict, match="private"):
        await runs.publish(run.id, run.owner_id)


async def test_a_run_and_its_private_pipeline_are_published_at_once(db: Any, make: Make) -> None:
    pipeline = await make.pipeline(visibility="private")
    run = await make.run(pipeline, state="succeeded")
    await drafts.save(run.owner_id, pipeline.id, {"title": "Half a thought", "visibility": "private"})
    await runs.publish(run.id, run.owner_id, to_everyone=True)
    row = await db.fetchrow("SELECT visibility, published_at IS NOT NULL AS listed FROM pipelines")
    assert (row["visibility"], row["listed"]) == ("public", True)
    draft = await drafts.read(run.owner_id, pipeline.id)
    assert draft is not None
    assert draft.form == {"title": "Half a thought", "visibility": "public"}


async def test_nobody_opens_the_pipeline_of_another(db: Any, make: Make) -> None:
    pipeline = await make.pipeline(visibility="private")
    run = await make.run(pipeline, await make.person("ben"), state="succeeded")
    with pytest.raises(Conflict, match="private"):
        await runs.publish(run.id, run.owner_id, to_everyone=True)
    assert await db.fetchval("SELECT visibility FROM pipelines") == "private"


async def test_an_unlisted_pipeline_stays_unlisted(db: Any, make: Make) -> None:
    pipeline = await make.pipeline(visibility="unlisted")
    run = await make.run(pipeline, state="succeeded")
    await runs.publish(run.id, run.owner_id, to_everyone=True)
    assert await db.fetchval("SELECT visibility FROM pipelines") == "unlisted"


# retry


async def test_a_failed_run_goes_on_from_the_failed_step(db: Any, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded")
    await db.execute(
        "UPDATE step_runs SET state = 'failed', error_message = 'no memory', attempt = 2 WHERE id = $1",
        run.step_runs[1],
    )
    await db.execute("UPDATE step_runs SET state = 'cancelled', output_text = NULL WHERE id = $1", run.step_runs[2])
    await db.execute("UPDATE runs SET state = 'failed' WHERE id = $1", run.id)
    await runs.retry(run.id, run.owner_id)
    await runs.retry(run.id, run.owner_id)
    assert await _states(db, run.id) == ["succeeded", "queued", "waiting"]
    rows = await db.fetch("SELECT * FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run.id)
    assert rows[0]["output_text"] == "a {subject}"
    assert (rows[1]["attempt"], rows[1]["error_message"], rows[1]["queued_at"] is not None) == (2, None, True)
    assert await db.fetchval("SELECT count(*) FROM outputs WHERE step_run_id = ANY ($1)", list(run.step_runs[1:])) == 0
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", run.id) == "queued"
    assert await _events(db, run.id) == ["retried"]


async def test_a_stopped_run_can_go_on(db: Any, pipeline: Pipeline) -> None:
    run_id = (await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")).run_id
    await runs.cancel(run_id, pipeline.owner_id)
    await runs.retry(run_id, pipeline.owner_id)
    assert await _states(db, run_id) == ["queued", "waiting", "waiting"]
    page = await runs.read(run_id, pipeline.owner_id)
    assert (page.state, page.cancelling, page.finished_at) == ("queued", False, None)


async def test_one_end_is_gone_on_from_once(db: Any, pipeline: Pipeline) -> None:
    run_id = (await runs.accept(pipeline.version_id, pipeline.owner_id, {}, None, "key")).run_id
    await runs.cancel(run_id, pipeline.owner_id)
    ended = (await runs.read(run_id, pipeline.owner_id)).finished_at
    await runs.retry(run_id, pipeline.owner_id, ended=ended)
    await runs.cancel(run_id, pipeline.owner_id)
    await runs.retry(run_id, pipeline.owner_id, ended=ended)
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id) == "cancelled"
    await runs.retry(run_id, pipeline.owner_id, ended=(await runs.read(run_id, pipeline.owner_id)).finished_at)
    assert await _states(db, run_id) == ["queued", "waiting", "waiting"]


async def test_a_run_that_is_done_is_not_repeated_in_place(make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded")
    with pytest.raises(Conflict):
        await runs.retry(run.id, run.owner_id)


# read


async def test_only_the_owner_reads_a_run_until_it_is_published(make: Make) -> None:
    pipeline = await make.pipeline(visibility="public")
    runner = await make.person()
    run = await make.run(pipeline, runner, state="succeeded")
    assert (await runs.read(run.id, runner.id)).mine
    for viewer in (None, pipeline.owner_id, (await make.person()).id):
        with pytest.raises(NotFound):
            await runs.read(run.id, viewer)
        with pytest.raises(NotFound):
            await runs.progress(run.id, viewer)


async def test_a_published_run_hides_with_its_pipeline(db: Any, make: Make) -> None:
    pipeline = await make.pipeline(visibility="unlisted")
    runner = await make.person()
    run = await make.run(pipeline, runner, state="succeeded", published=True)
    assert not (await runs.read(run.id, None)).mine
    await db.execute("UPDATE pipelines SET visibility = 'private'")
    with pytest.raises(NotFound):
        await runs.read(run.id, None)
    assert (await runs.read(run.id, pipeline.owner_id)).pipeline_title
    page = await runs.read(run.id, runner.id)
    assert page.mine
    assert page.pipeline_title == ""
    await db.execute("UPDATE pipelines SET deleted_at = now()")
    with pytest.raises(NotFound):
        await runs.read(run.id, pipeline.owner_id)


async def test_the_place_in_the_queue_counts_those_before(make: Make) -> None:
    pipeline = await make.pipeline()
    waiting = [await make.run(pipeline) for _ in range(3)]
    places = [(await runs.read(run.id, run.owner_id)).steps[0].place for run in waiting]
    assert places == [1, 2, 3]


async def test_the_tag_changes_with_what_a_poll_shows_and_with_nothing_else(db: Any, make: Make) -> None:
    run = await make.run(await make.pipeline(), state="running")
    first = (await runs.progress(run.id, run.owner_id)).tag
    await db.execute("UPDATE step_runs SET lease_until = lease_until + interval '30 s'")
    assert (await runs.progress(run.id, run.owner_id)).tag == first
    await db.execute("UPDATE step_runs SET progress = 1, progress_total = 20")
    assert (await runs.progress(run.id, run.owner_id)).tag != first


async def test_expected_time_grows_with_the_work(db: Any, make: Make) -> None:
    small = steps.Recipe(steps=[steps.TextToImage(prompt="x", num_inference_steps=10)])
    large = steps.Recipe(steps=[steps.TextToImage(prompt="x", num_inference_steps=40)])
    assert await runs.expected_seconds(small) is None
    await make.run(await make.pipeline(steps=small.steps), state="succeeded")
    assert await runs.expected_seconds(small) == pytest.approx(1, abs=0.2)
    assert await runs.expected_seconds(large) == pytest.approx(4, abs=0.8)


async def test_waiting_counts_runs_that_have_not_ended(make: Make) -> None:
    assert await forecast.waiting() == forecast.Waiting(0, 0.0)
    pipeline = await make.pipeline()
    await make.run(pipeline)
    assert (await forecast.waiting()).runs == 1
    assert (await forecast.waiting()).seconds is None
    await make.run(pipeline, state="succeeded")
    assert (await forecast.waiting()).seconds == pytest.approx(1, abs=0.2)


async def test_a_persons_list_pages_without_skipping_or_repeating(make: Make) -> None:
    pipeline = await make.pipeline()
    made = [await make.run(pipeline, state="succeeded") for _ in range(5)]
    await make.run(pipeline, await make.person())
    first = await runs.mine(pipeline.owner_id, limit=2)
    await make.run(pipeline)
    second = await runs.mine(pipeline.owner_id, first.next, limit=2)
    third = await runs.mine(pipeline.owner_id, second.next, limit=2)
    listed = [line.id for page in (first, second, third) for line in page.runs]
    assert listed == [run.id for run in reversed(made)]
    assert third.next is None
    assert first.runs[0].sha256 is not None


async def test_polls_take_two_queries(make: Make, pipeline: Pipeline, queries: Any) -> None:
    run = await make.run(pipeline, state="running")
    ended = await make.run(pipeline, state="succeeded")
    with queries:
        await runs.progress(run.id, run.owner_id)
    assert queries.count <= 2, queries
    with queries:
        await runs.progress(ended.id, ended.owner_id)
    assert queries.count == 1, queries


@pytest.mark.parametrize(
    ("name", "ordinal", "data", "words"),
    [
        ("accepted", None, {}, "Joined the queue"),
        ("claimed", 2, {"attempt": 1}, "Step 2 started"),
        ("claimed", 2, {"attempt": 2}, "Step 2 started, attempt 2"),
        ("failed", 1, {"message": "No memory"}, "Step 1 failed: No memory"),
        ("handed_back", 1, {"reason": "shutting down"}, "Step 1 went back to the queue: shutting down"),
        ("crashed", 3, {"count": 2}, "Step 3 lost its worker, time 2"),
        ("something_new", None, {}, "Something new"),
    ],
)
def test_events_read_as_sentences(name: str, ordinal: int | None, data: dict[str, Any], words: str) -> None:
    assert run_pages.event_words(name, ordinal, data) == words
