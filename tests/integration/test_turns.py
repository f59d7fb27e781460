"""Fairness: people take turns, limits hold, and alike steps are claimed together."""

import asyncio
import functools
import secrets
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain import models, queue, runs, steps
from domain.errors import TooMany
from domain.queue import Made
from tests import worker as w
from tests.make import Make, Pipeline, png

DRAW = steps.TextToImage(prompt="a boat")
SIZED: list[tuple[str, tuple[int, int]]] = [("red", (96, 64)), ("blue", (96, 64)), ("red", (64, 96))]


@pytest.fixture
async def pipeline(make: Make) -> Pipeline:
    await models.register_all({})
    return await make.pipeline(steps=[DRAW], visibility="public")


async def _ask(pipeline: Pipeline, person: UUID, **options: Any) -> UUID:
    key = secrets.token_hex(8)
    return (await runs.accept(pipeline.version_id, person, {}, None, key, **options)).run_id


async def _serve_all(db: Any) -> list[UUID]:
    """The owners of the runs, in the order in which one worker serves them."""
    order: list[UUID] = []
    while held := await queue.claim("image", "ann"):
        order.append(await db.fetchval("SELECT owner_id FROM runs WHERE id = $1", held[0].run_id))
        await queue.finish(held[0], [], None, {}, {})
    return order


async def test_one_run_is_not_behind_two_hundred_of_somebody_else(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    for _ in range(200):
        await _ask(pipeline, ada.id)
    (first,) = await queue.claim("image", "ann")
    await _ask(pipeline, bo.id)
    await queue.finish(first, [], None, {}, {})
    assert bo.id in (await _serve_all(db))[:2]


async def test_people_take_turns(db: Any, make: Make, pipeline: Pipeline) -> None:
    people = [await make.person() for _ in range(3)]
    for person, count in zip(people, (9, 3, 3), strict=True):
        for _ in range(count):
            await _ask(pipeline, person.id)
    order = await _serve_all(db)
    assert len(order) == 15
    for turn in range(3):
        assert set(order[3 * turn : 3 * turn + 3]) == {person.id for person in people}


async def test_who_comes_later_gets_no_more_than_a_turn(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    for _ in range(10):
        await _ask(pipeline, ada.id)
    for _ in range(5):
        (held,) = await queue.claim("image", "ann")
        await queue.finish(held, [], None, {}, {})
    (held,) = await queue.claim("image", "ann")
    for _ in range(10):
        await _ask(pipeline, bo.id)
    await queue.finish(held, [], None, {}, {})
    order = await _serve_all(db)
    assert 3 <= order[:8].count(ada.id) <= 5


async def test_a_run_that_began_goes_on_before_later_ones(db: Any, make: Make) -> None:
    await models.register_all({})
    chain = await make.pipeline(steps=[DRAW, steps.ImageToImage(prompt="a moth")])
    first, second = [await w.accept(chain, seed) for seed in (1, 2)]
    (held,) = await queue.claim("image", "ann")
    await queue.finish(held, [Made((await make.artifact()).sha256)], None, {}, {})
    (held,) = await queue.claim("image", "ann")
    assert (held.run_id, held.ordinal) == (first, 2)
    del second


# limits


async def test_a_person_has_so_many_runs_and_no_more(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    asked = [_ask(pipeline, ada.id, limit=3) for _ in range(8)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, TooMany)]
    assert (len(refused), len(answers) - len(refused)) == (5, 3)
    assert "3 is the most" in refused[0].message
    await _ask(pipeline, bo.id, limit=3)
    await runs.cancel(next(answer for answer in answers if isinstance(answer, UUID)), ada.id)
    await _ask(pipeline, ada.id, limit=3)


async def test_the_form_says_that_it_is_enough_and_keeps_what_was_typed(
    db: Any, make: Make, app: Any, client: httpx.AsyncClient, log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    few = dataclasses.replace(app.state.config, runs_per_person=1)
    monkeypatch.setattr(app.state, "config", few)
    await models.register_all({})
    pipeline = await make.pipeline(steps=[DRAW], inputs=[steps.Input(name="subject")], visibility="public")
    person = await make.person()
    browser = await log_in(client, person)
    url = f"/pipelines/{pipeline.id}/versions/1/runs"
    assert "is the most" not in (await browser.get(url)).text
    await _ask(pipeline, person.id)
    assert "You have 1 runs that have not ended" in (await browser.get(url)).text
    sent = {"key": "k", "seed": "77", "input-subject": "a rare moth", "afresh": "1"}
    answer = await browser.post(url, data=sent)
    assert answer.status_code == 429
    assert 'value="a rare moth"' in answer.text
    assert 'value="77"' in answer.text
    assert 'name="afresh" value="1" checked' in answer.text
    assert await db.fetchval("SELECT count(*) FROM runs") == 1


async def test_nobody_holds_more_workers_than_allowed(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    for person in (ada, ada, ada, bo):
        await _ask(pipeline, person.id)
    claims = [await queue.claim("image", f"worker {number}", workers_each=2) for number in range(4)]
    owners = [await db.fetchval("SELECT owner_id FROM runs WHERE id = $1", held[0].run_id) for held in claims if held]
    assert sorted(map(str, owners)) == sorted(map(str, [ada.id, ada.id, bo.id]))
    assert await queue.claim("image", "worker 0", workers_each=2) != []  # the same worker goes on


# alike steps


async def test_alike_steps_are_claimed_together(db: Any, make: Make, pipeline: Pipeline) -> None:
    other_words = await make.pipeline(steps=[steps.TextToImage(prompt="a moth", seed=4)])
    other_size = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", width=64)])
    two = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", num_images_per_prompt=2)])
    for each in (pipeline, other_size, other_words, two, pipeline):
        await w.accept(each, seed=secrets.randbelow(1000))
    held = await queue.claim("image", "ann", room=4)
    assert [each.parameters["num_images_per_prompt"] for each in held] == [1, 1, 2]
    assert {each.parameters["width"] for each in held} == {256}
    assert [len(await queue.claim("image", "ann", room=4)) for _ in range(3)] == [1, 1, 0]


async def test_pictures_of_one_size_are_redrawn_together(db: Any, make: Make) -> None:
    await models.register_all({})
    wide, other_wide, tall = [(await make.artifact(png(*each))).sha256 for each in SIZED]
    redraw = functools.partial(steps.ImageToImage, prompt="a moth", strength=0.5)
    alike = [redraw(upload=wide), redraw(upload=other_wide, prompt="a bee"), redraw(upload=wide, seed=3)]
    others = [redraw(upload=tall), redraw(upload=wide, strength=0.6), redraw(upload=wide, num_inference_steps=30)]
    others += [redraw(upload=wide, scheduler="DDPMScheduler"), redraw(upload=wide, negative_prompt="dogs")]
    others += [redraw(upload="0" * 64), redraw(upload="0" * 64, seed=3)]  # nobody knows how large these are
    for step in [*alike, *others]:
        await w.accept(await make.pipeline(steps=[step]))
    claims = [await queue.claim("image", "ann", room=8) for _ in range(8)]
    assert [len(held) for held in claims] == [len(alike), 1, 1, 1, 1, 1, 1, 1]
    assert {held.pictures[0] for held in claims[0]} == {wide, other_wide}


async def test_what_was_drawn_is_redrawn_together_and_several_pictures_alone(db: Any, make: Make) -> None:
    await models.register_all({})
    redraw = steps.ImageToImage(prompt="a moth")
    single = await make.pipeline(steps=[DRAW, redraw])
    pair = await make.pipeline(steps=[steps.TextToImage(prompt="two", num_images_per_prompt=2), redraw])
    for pipeline in (single, pair, single, pair):
        await w.accept(pipeline, secrets.randbelow(2**20))
    second = []
    while held := await queue.claim("image", "ann"):
        count = held[0].parameters["num_images_per_prompt"]
        if held[0].ordinal == 1:
            await queue.finish(held[0], [Made((await make.artifact()).sha256) for _ in range(count)], None, {}, {})
        else:
            second.append(held[0])
    for each in second:
        await queue.hand_back(each, 0, "")
    claims = [await queue.claim("image", "ann", room=8) for _ in range(4)]
    assert sorted([len(each.pictures) for each in held] for held in claims) == [[], [1, 1], [2], [2]]


async def test_a_step_that_met_trouble_runs_alone(db: Any, pipeline: Pipeline) -> None:
    for seed in range(3):
        await w.accept(pipeline, seed)
    held = await queue.claim("image", "ann", room=4)
    assert len(held) == 3
    for each in held:
        await queue.hand_back(each, 0, "", crashed=True)
    assert [len(await queue.claim("image", "ann", room=4)) for _ in range(4)] == [1, 1, 1, 0]


async def test_a_guided_step_with_a_negative_prompt_is_not_alike_one_without(db: Any, make: Make) -> None:
    await models.register_all({})
    for negative in ("", "dogs", "cats"):
        step = steps.TextToImage(prompt="a boat", negative_prompt=negative)
        await w.accept(await make.pipeline(steps=[step]))
    assert [len(await queue.claim("image", "ann", room=4)) for _ in range(3)] == [1, 2, 0]


async def test_equal_steps_of_one_person_are_not_drawn_twice_at_once(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    for person in (ada, ada, bo):
        await runs.accept(pipeline.version_id, person.id, {}, 7, secrets.token_hex(8))
    held = await queue.claim("image", "ann", room=4)
    owners = [await db.fetchval("SELECT owner_id FROM runs WHERE id = $1", each.run_id) for each in held]
    assert sorted(map(str, owners)) == sorted(map(str, [ada.id, bo.id]))


async def test_two_workers_never_share_a_step(db: Any, pipeline: Pipeline) -> None:
    for seed in range(20):
        await w.accept(pipeline, seed)
    claims = await asyncio.gather(*(queue.claim("image", f"worker {number}", room=4) for number in range(8)))
    taken = [each.step_run_id for held in claims for each in held]
    assert len(taken) == len(set(taken)) <= 20


async def test_nobody_waits_behind_those_who_ask_again_and_again(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo, cy = [await make.person() for _ in range(3)]
    for _ in range(10):
        await _ask(pipeline, ada.id)
    await _ask(pipeline, bo.id)
    order: list[UUID] = []
    before = cy.id
    for _ in range(9):
        (held,) = await queue.claim("image", "ann")
        if before != ada.id:  # somebody's run has ended, and while the next one's runs they ask again
            await _ask(pipeline, before)
        before = await db.fetchval("SELECT owner_id FROM runs WHERE id = $1", held.run_id)
        order.append(before)
        await queue.finish(held, [], None, {}, {})
    assert order.count(ada.id) >= 3


async def test_a_queue_that_is_far_ahead_does_not_hold_another_up(db: Any, make: Make) -> None:
    await models.register_all({})
    ada, bo = await make.person(), await make.person()
    chain = await make.pipeline(steps=[steps.PromptTemplate(template="{a|b} boat"), DRAW], visibility="public")
    for _ in range(20):
        await _ask(chain, ada.id)
    while held := await queue.claim("light", "quick"):
        await queue.finish(held[0], [], "words", {}, {})
    await _ask(chain, bo.id)
    (held,) = await queue.claim("light", "quick")
    await queue.finish(held, [], "words", {}, {})
    assert bo.id in (await _serve_all(db))[:2]


async def test_runs_that_were_stopped_before_they_began_cost_no_turns(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    for run_id in [await _ask(pipeline, ada.id) for _ in range(20)]:
        await runs.cancel(run_id, ada.id)
    for _ in range(3):
        await _ask(pipeline, bo.id)
    await _ask(pipeline, ada.id)
    assert ada.id in (await _serve_all(db))[:2]


async def test_a_claim_looks_again_whether_steps_are_alike(db: Any, make: Make) -> None:
    """What makes steps alike may have changed since they were queued."""
    await models.register_all({})
    for width in (64, 128):
        await w.accept(await make.pipeline(steps=[steps.TextToImage(prompt="a boat", width=width)]))
    await db.execute("UPDATE step_runs SET batch_key = 'the same'")
    assert [len(await queue.claim("image", "ann", room=4)) for _ in range(3)] == [1, 1, 0]


async def test_who_comes_after_a_batch_waits_no_longer_for_it(db: Any, make: Make, pipeline: Pipeline) -> None:
    ada, bo = await make.person(), await make.person()
    wide = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", width=64)], visibility="public")
    for place in range(40):  # alike ones lie ten turns apart, as the cells of a table do
        await _ask(pipeline if place % 10 == 0 else wide, ada.id)
    held = await queue.claim("image", "ann", room=8)
    assert len(held) == 4
    await _ask(pipeline, bo.id)
    for each in held:
        await queue.finish(each, [], None, {}, {})
    assert bo.id in (await _serve_all(db))[:2]
