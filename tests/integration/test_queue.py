"""The worker's transitions: claims, leases, fences, ends. Every invariant of the state machine."""

import asyncio
import contextlib
import random
from typing import Any
from uuid import UUID

import pytest

from domain import queue, runs, steps
from domain.queue import Beat, Claim, Lost, Made
from tests import worker as w
from tests.make import Make, Pipeline

RECIPE = (
    steps.PromptTemplate(template="a {subject}"),
    steps.TextToImage(prompt="{text}"),
    steps.Upscale(),
)


@pytest.fixture
async def pipeline(make: Make) -> Pipeline:
    return await make.pipeline(
        steps=RECIPE, inputs=[steps.Input(name="subject", default="boat")], lists={"colors": ["red"]}
    )


@pytest.fixture
async def run_id(pipeline: Pipeline) -> UUID:
    return await w.accept(pipeline, seed=7, inputs={"subject": "moth"})


async def _rows(db: Any, run_id: UUID) -> list[Any]:
    rows: list[Any] = await db.fetch("SELECT * FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run_id)
    return rows


async def _states(db: Any, run_id: UUID) -> tuple[str, list[str]]:
    state = await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id)
    return state, [row["state"] for row in await _rows(db, run_id)]


async def _claim(db: Any, run_id: UUID, ordinal: int = 1, owner: str = "ann") -> Claim:
    step = (await _rows(db, run_id))[ordinal - 1]
    (held,) = await queue.claim(step["queue"], owner)
    assert held.step_run_id == step["id"]
    return held


async def _expire(db: Any, held: Claim) -> None:
    await db.execute("UPDATE step_runs SET lease_until = now() - interval '1 s' WHERE id = $1", held.step_run_id)


async def _finish(held: Claim, outputs: list[Made] | None = None, text: str | None = None) -> UUID | None:
    return await queue.finish(held, outputs or [], text, {"kind": held.kind}, {"run": 0.1})


# due


async def test_due_counts_a_queued_step_once(db: Any, run_id: UUID) -> None:
    assert await queue.due("image") == 0
    assert await queue.due("light") == 1
    assert await queue.due("light") == 0
    await db.execute("UPDATE step_runs SET nudge_at = now() - interval '1 s' WHERE run_id = $1", run_id)
    assert await queue.due("light") == 1


async def test_due_rolls_back_with_the_dispatcher_that_dies(db: Any, run_id: UUID) -> None:
    async def dies() -> None:
        async with db.transaction():
            assert await queue.due("light") == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await dies()
    assert await queue.due("light") == 1


async def test_two_dispatchers_share_the_work(db: Any, pipeline: Pipeline) -> None:
    for seed in range(6):
        await w.accept(pipeline, seed)

    async def one() -> int:
        async with db.transaction():
            found: int = await queue.due("light", 3)
            await asyncio.sleep(0.05)
        return found

    assert await asyncio.gather(one(), one()) == [3, 3]
    assert await queue.due("light") == 0


# claim


async def test_claim_goes_by_priority_then_by_turn(db: Any, pipeline: Pipeline) -> None:
    ids = [await w.accept(pipeline, seed) for seed in range(3)]
    await db.execute("UPDATE step_runs SET priority = 5 WHERE run_id = $1", ids[2])
    claimed = [(await queue.claim("light", "ann"))[0].run_id for _ in range(3)]
    assert claimed == [ids[2], ids[0], ids[1]]


async def test_claim_carries_what_the_step_needs(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    assert (held.kind, held.attempt, held.ordinal, held.queue) == ("prompt_template", 1, 1, "light")
    assert held.parameters == {"template": "a moth"}
    assert (held.pictures, held.refused) == ([], "")
    assert held.step["template"] == "a {subject}"
    assert 0 <= held.waited < 30
    run = await db.fetchrow("SELECT * FROM runs WHERE id = $1", run_id)
    assert run["state"] == "running"
    assert run["started_at"] is not None
    row = (await _rows(db, run_id))[0]
    assert row["resolved"] == held.parameters
    assert len(row["input_hash"]) == 64


async def test_a_template_that_cannot_be_filled_is_told_to_whoever_claims_it(db: Any, make: Make) -> None:
    run_id = await w.accept(await make.pipeline(steps=[steps.PromptTemplate(template="a {moth}")]))
    held = await _claim(db, run_id)
    assert held.refused.startswith("Template: There is no input called {moth}")


async def test_many_claims_at_once_take_a_step_once(db: Any, run_id: UUID) -> None:
    claims = await asyncio.gather(*(queue.claim("light", f"worker {number}") for number in range(5)))
    assert sum(len(held) for held in claims) == 1
    assert (await _rows(db, run_id))[0]["attempt"] == 1


async def test_claim_leaves_alone_what_waits_or_is_not_due(db: Any, run_id: UUID) -> None:
    rows = await _rows(db, run_id)
    assert await queue.claim("image", "ann") == []
    await db.execute("UPDATE step_runs SET not_before = now() + interval '1 min' WHERE id = $1", rows[0]["id"])
    assert await queue.claim("light", "ann") == []


async def test_claim_takes_text_and_pictures_from_the_source(db: Any, make: Make, run_id: UUID) -> None:
    await _finish(await _claim(db, run_id), text="a moth")
    drawing = await _claim(db, run_id, 2)
    assert (drawing.parameters["prompt"], drawing.pictures) == ("a moth", [])
    made = [(await make.artifact()).sha256 for _ in range(2)]
    await _finish(drawing, [Made(sha256, 7 + number) for number, sha256 in enumerate(made)])
    enlarging = await _claim(db, run_id, 3)
    assert enlarging.pictures == made


# beat


async def test_progress_only_rises_within_an_attempt(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    assert await queue.beat([held], 5, 20, "running") == {held.step_run_id: Beat(cancelled=False)}
    await queue.beat([held], 3, 20, "running")
    row = (await _rows(db, run_id))[0]
    assert (row["progress"], row["progress_total"], row["phase"]) == (5, 20, "running")


async def test_a_beat_renews_the_lease_and_learns_of_a_stop(db: Any, pipeline: Pipeline, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    await db.execute("UPDATE step_runs SET lease_until = now() + interval '1 s' WHERE id = $1", held.step_run_id)
    await runs.cancel(run_id, pipeline.owner_id)
    assert await queue.beat([held], 0, 0, "running") == {held.step_run_id: Beat(cancelled=True)}
    assert await db.fetchval("SELECT lease_until > now() + interval '20 s' FROM step_runs WHERE state = 'running'")


async def test_previews_are_fenced_and_go_with_the_step(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    await queue.preview(held, 1, "image/webp", b"one")
    await queue.preview(held, 2, "image/webp", b"two")
    assert [row["data"] for row in await db.fetch("SELECT data FROM previews")] == [b"two"]
    await _finish(held, text="x")
    await queue.preview(held, 3, "image/webp", b"late")
    assert await db.fetch("SELECT data FROM previews") == []


# finish


async def test_finish_publishes_once_and_queues_the_next_step(db: Any, make: Make, run_id: UUID) -> None:
    following = await _finish(await _claim(db, run_id), text="a moth")
    rows = await _rows(db, run_id)
    assert following == rows[1]["id"]
    assert await _states(db, run_id) == ("running", ["succeeded", "queued", "waiting"])
    assert rows[0]["output_text"] == "a moth"
    assert await queue.due("image") == 1
    drawing = await _claim(db, run_id, 2)
    sha256 = (await make.artifact()).sha256
    await queue.finish(drawing, [Made(sha256, 7)], None, {"kind": "x"}, {"run": 1.5}, passes=20)
    assert await _finish(await _claim(db, run_id, 3), [Made(sha256)]) is None
    assert await _states(db, run_id) == ("succeeded", ["succeeded"] * 3)
    row = (await _rows(db, run_id))[1]
    assert (row["resolved"]["prompt"], row["resolved"]["seed"]) == ("a moth", 7)
    assert (row["progress"], row["progress_total"], row["timings"]) == (20, 20, {"run": 1.5})
    outputs = await db.fetch("SELECT * FROM outputs ORDER BY step_run_id, position")
    assert [(output["position"], output["seed"]) for output in outputs] == [(1, 7), (1, None)]
    assert (await w.event_names(run_id))[-1] == "run_succeeded"


async def test_the_next_step_is_kept_for_a_worker_that_goes_on(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    following = await queue.finish(held, [], "x", {}, {}, serves={"image"})
    assert await queue.due("image") == 0
    assert [each.step_run_id for each in await queue.claim("image", "ann")] == [following]


async def test_a_worker_of_the_past_changes_nothing(db: Any, make: Make, run_id: UUID) -> None:
    old = await _claim(db, run_id)
    await _expire(db, old)
    assert await queue.reap() == 1
    new = await _claim(db, run_id, owner="bob")
    assert (old.attempt, new.attempt) == (1, 2)
    assert await queue.beat([old], 9, 20, "running") == {}
    with pytest.raises(Lost):
        await _finish(old, [Made((await make.artifact()).sha256)])
    with pytest.raises(Lost):
        await queue.fail(old, "x", "y")
    with pytest.raises(Lost):
        await queue.hand_back(old, 0, "x")
    with pytest.raises(Lost):
        await queue.cancelled(old)
    await queue.preview(old, 1, "image/webp", b"old")
    assert await db.fetchval("SELECT count(*) FROM outputs") == 0
    assert await db.fetchval("SELECT count(*) FROM previews") == 0
    await _finish(new, text="new")
    with pytest.raises(Lost):
        await _finish(new, text="twice")
    assert (await _rows(db, run_id))[0]["output_text"] == "new"


async def test_a_stop_wins_over_every_end(db: Any, make: Make, pipeline: Pipeline) -> None:
    sha256 = (await make.artifact()).sha256
    ends: list[Any] = [
        lambda held: _finish(held, [Made(sha256)], "x"),
        lambda held: queue.fail(held, "x", "y"),
        lambda held: queue.hand_back(held, 5, "x", retried=True),
        lambda held: queue.hand_back(held, 0, "x", crashed=True),
        lambda held: queue.cancelled(held),
    ]
    for seed, end in enumerate(ends):
        run_id = await w.accept(pipeline, seed)
        held = await _claim(db, run_id)
        await runs.cancel(run_id, pipeline.owner_id)
        await end(held)
        assert await _states(db, run_id) == ("cancelled", ["cancelled"] * 3)
        assert (await w.event_names(run_id))[-1] == "cancelled"
    assert await db.fetchval("SELECT count(*) FROM outputs") == 0


async def test_a_stop_and_a_finish_at_once_end_in_one_of_both(db: Any, make: Make, pipeline: Pipeline) -> None:
    sha256 = (await make.artifact()).sha256
    for seed in range(8):
        run_id = await w.accept(pipeline, seed)
        held = await _claim(db, run_id)
        await asyncio.gather(_finish(held, [Made(sha256)], "x"), runs.cancel(run_id, pipeline.owner_id))
        state, states = await _states(db, run_id)
        assert state == "cancelled"
        assert states in (["cancelled"] * 3, ["succeeded", "cancelled", "cancelled"])
        count = await db.fetchval("SELECT count(*) FROM outputs WHERE step_run_id = $1", held.step_run_id)
        assert count == (states[0] == "succeeded")


# fail and hand back


async def test_fail_ends_the_run_and_cancels_what_waits(db: Any, run_id: UUID) -> None:
    await queue.fail(await _claim(db, run_id), "refused", "The model will not")
    assert await _states(db, run_id) == ("failed", ["failed", "cancelled", "cancelled"])
    row = (await _rows(db, run_id))[0]
    assert (row["error_code"], row["error_message"]) == ("refused", "The model will not")
    assert await db.fetchval("SELECT finished_at IS NOT NULL FROM runs WHERE id = $1", run_id)
    assert await queue.due("light") == 0


async def test_hand_back_waits_before_the_step_is_due_again(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    await queue.beat([held], 5, 20, "running")
    await queue.hand_back(held, 60, "the file store is away", retried=True)
    row = (await _rows(db, run_id))[0]
    assert (row["state"], row["progress"], row["retry_count"], row["crash_count"]) == ("queued", 0, 1, 0)
    assert await queue.due("light") == 0
    assert await queue.claim("light", "ann") == []
    await db.execute("UPDATE step_runs SET not_before = now(), nudge_at = now() WHERE id = $1", row["id"])
    assert await queue.due("light") == 1
    assert (await _claim(db, run_id)).retry_count == 1
    assert "retrying" in await w.event_names(run_id)


async def test_a_worker_that_leaves_hands_back_at_once(db: Any, run_id: UUID) -> None:
    await queue.hand_back(await _claim(db, run_id), 0, "the worker is leaving")
    row = (await _rows(db, run_id))[0]
    assert (row["state"], row["retry_count"], row["crash_count"]) == ("queued", 0, 0)
    assert await queue.due("light") == 1


# reap


async def test_reap_takes_only_expired_leases(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    assert await queue.reap() == 0
    await _expire(db, held)
    assert await queue.reap() == 1
    assert await _states(db, run_id) == ("running", ["queued", "waiting", "waiting"])
    assert await queue.due("light") == 1


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "handed back"])
async def test_the_third_crash_fails_the_step(db: Any, run_id: UUID, reaped: bool) -> None:
    for crash in (1, 2, 3):
        held = await _claim(db, run_id)
        assert held.attempt == crash
        if reaped:
            await _expire(db, held)
            assert await queue.reap() == 1
        else:
            await queue.hand_back(held, 0, "", crashed=True)
    assert await _states(db, run_id) == ("failed", ["failed", "cancelled", "cancelled"])
    row = (await _rows(db, run_id))[0]
    assert (row["crash_count"], row["error_message"]) == (3, "The step crashed the worker three times")
    assert (await w.event_names(run_id)).count("crashed") == 3


async def test_reap_ends_a_run_that_should_stop(db: Any, pipeline: Pipeline, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    await runs.cancel(run_id, pipeline.owner_id)
    await _expire(db, held)
    assert await queue.reap() == 1
    assert await _states(db, run_id) == ("cancelled", ["cancelled"] * 3)


async def test_two_reapers_reap_once(db: Any, run_id: UUID) -> None:
    held = await _claim(db, run_id)
    await _expire(db, held)
    assert sum(await asyncio.gather(queue.reap(), queue.reap(), queue.reap())) == 1
    assert (await _rows(db, run_id))[0]["crash_count"] == 1


async def test_a_retried_run_fences_off_its_past(db: Any, pipeline: Pipeline, run_id: UUID) -> None:
    old = await _claim(db, run_id)
    await queue.fail(old, "x", "y")
    await runs.retry(run_id, pipeline.owner_id)
    assert await _states(db, run_id) == ("queued", ["queued", "waiting", "waiting"])
    new = await _claim(db, run_id)
    with pytest.raises(Lost):
        await _finish(old, text="old")
    await _finish(new, text="new")
    assert (await _rows(db, run_id))[0]["output_text"] == "new"


# the invariant over many ways of going on


async def test_whatever_happens_every_run_ends_or_lives(db: Any, make: Make, pipeline: Pipeline) -> None:
    """Four workers, two reapers and impatient people at once; leases expire at random."""
    chance = random.Random(4)
    sha256 = (await make.artifact()).sha256
    accepted = [await w.accept(pipeline, seed) for seed in range(12)]

    async def worker(name: str) -> None:
        for _ in range(40):
            for held in [each for kind in ("light", "image") for each in await queue.claim(kind, name)]:
                roll = chance.random()
                if roll < 0.15:
                    await _expire(db, held)
                    continue
                ends: Any = (
                    queue.hand_back(held, 0, "x", retried=True)
                    if roll < 0.25
                    else queue.fail(held, "x", "y")
                    if roll < 0.3
                    else _finish(held, [Made(sha256)], "t")
                )
                with contextlib.suppress(Lost):
                    await ends
            await asyncio.sleep(0.001)

    async def other() -> None:
        for number in range(30):
            await queue.reap()
            if number % 10 == 5:
                run_id = chance.choice(accepted)
                if (await _states(db, run_id))[0] in ("queued", "running"):
                    await asyncio.gather(runs.cancel(run_id, pipeline.owner_id), return_exceptions=True)
            await asyncio.sleep(0.005)

    await asyncio.gather(*(worker(str(number)) for number in range(4)), other(), other())
    for run_id in accepted:
        state, states = await _states(db, run_id)
        ends = state in ("succeeded", "failed", "cancelled")
        alive = [each for each in states if each in ("queued", "running")]
        assert ends != bool(alive), (state, states)
        assert state != "succeeded" or states == ["succeeded"] * 3
    assert not await db.fetchval(
        "SELECT count(*) FROM outputs o JOIN step_runs s ON s.id = o.step_run_id WHERE s.state <> 'succeeded'"
    )
    doubled = "SELECT count(*) FROM events WHERE name = 'succeeded' GROUP BY run_id, ordinal HAVING count(*) > 1"
    assert await db.fetch(doubled) == []
