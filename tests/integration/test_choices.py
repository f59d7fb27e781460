"""Steps at which a run waits for its owner to choose among pictures."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain import (
    choices,
    comparisons,
    estimates,
    forecast,
    grid_axes,
    grids,
    models,
    own_feeds,
    queue,
    run_pages,
    runs,
    steps,
)
from domain.errors import Conflict, Invalid, NotFound
from domain.people import Person
from domain.queue import Made
from tests.make import Make, Pipeline, png

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
POLL = {"HX-Request": "true", "HX-Request-Type": "partial"}
DRAWN = 4


def recipe(most: int = 1, drawn: int = DRAWN) -> tuple[steps.AnyStep, ...]:
    return (
        steps.TextToImage(prompt="a boat", num_images_per_prompt=drawn),
        steps.Pick(most=most),
        steps.Upscale(factor=2),
    )


@pytest.fixture
async def ada(client: httpx.AsyncClient, make: Make, log_in: LogIn) -> Person:
    person = await make.person("ada")
    await log_in(client, person)
    return person


@pytest.fixture
async def pipeline(make: Make, ada: Person) -> Pipeline:
    await models.register_all({})
    return await make.pipeline(ada, steps=recipe(), title="One of four")


async def drawn(make: Make, pipeline: Pipeline, key: str = "key", count: int = DRAWN) -> tuple[UUID, list[str]]:
    """A run whose first step has drawn `count` pictures, and what they are."""
    run_id = (await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 7, key)).run_id
    (held,) = await queue.claim("image", "worker")
    pictures = [(await make.artifact(png(number * 4_000_037 + 1))).sha256 for number in range(count)]
    await queue.finish(held, [Made(one, 7 + number) for number, one in enumerate(pictures)], None, {}, {})
    return run_id, pictures


async def states(db: Any, run_id: UUID) -> list[str]:
    rows = await db.fetch("SELECT state FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run_id)
    return [row["state"] for row in rows]


async def test_a_run_waits_for_its_owner_and_keeps_no_worker(db: Any, make: Make, pipeline: Pipeline) -> None:
    run_id, _ = await drawn(make, pipeline)
    assert await states(db, run_id) == ["succeeded", "choosing", "waiting"]
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id) == "running"
    for name in ("light", "image"):
        assert await queue.claim(name, "worker") == []
    assert await queue.due_queues() == set()
    assert await queue.reap() == 0
    assert (await forecast.waiting()).runs == 0


async def test_what_was_chosen_goes_on_in_order(db: Any, make: Make, ada: Person) -> None:
    pipeline = await make.pipeline(ada, steps=recipe(most=3))
    run_id, pictures = await drawn(make, pipeline)
    await choices.choose(run_id, ada.id, 2, [4, 2, 2])
    assert await states(db, run_id) == ["succeeded", "succeeded", "queued"]
    (held,) = await queue.claim("light", "worker")
    assert held.pictures == [pictures[1], pictures[3]]

    page = await run_pages.read(run_id, ada.id)
    chosen = page.steps[1]
    assert [(one.sha256, one.seed) for one in chosen.pictures] == [(pictures[1], 8), (pictures[3], 10)]
    assert chosen.receipt["parameters"] == {"most": 3, "chosen": [2, 4], "of": 4}
    assert chosen.receipt["inputs"] == pictures
    assert chosen.receipt["outputs"] == [pictures[1], pictures[3]]
    assert "Chosen in step 2: 2, 4 of 4" in [event.words for event in page.events]


async def test_one_picture_alone_goes_on_by_itself(db: Any, make: Make, ada: Person) -> None:
    pipeline = await make.pipeline(ada, steps=recipe(drawn=1))
    run_id, pictures = await drawn(make, pipeline, count=1)
    assert await states(db, run_id) == ["succeeded", "succeeded", "queued"]
    (held,) = await queue.claim("light", "worker")
    assert held.pictures == pictures


async def test_the_last_step_may_ask(db: Any, make: Make, ada: Person) -> None:
    pipeline = await make.pipeline(ada, steps=recipe()[:2])
    run_id, pictures = await drawn(make, pipeline)
    await choices.choose(run_id, ada.id, 2, [3])
    run = await run_pages.read(run_id, ada.id)
    assert (run.state, run.steps[1].pictures[0].sha256) == ("succeeded", pictures[2])
    await runs.publish(run_id, ada.id)


async def test_the_same_choice_again_changes_nothing_and_another_comes_too_late(
    make: Make, ada: Person, pipeline: Pipeline
) -> None:
    run_id, _ = await drawn(make, pipeline)
    await choices.choose(run_id, ada.id, 2, [2])
    await choices.choose(run_id, ada.id, 2, [2])
    with pytest.raises(Conflict, match="chosen already"):
        await choices.choose(run_id, ada.id, 2, [3])


@pytest.mark.parametrize("places", [[], [0], [5], [1, 2], [2, 9]])
async def test_what_cannot_be_chosen_is_refused(
    db: Any, make: Make, ada: Person, pipeline: Pipeline, places: list[int]
) -> None:
    run_id, _ = await drawn(make, pipeline)
    with pytest.raises(Invalid, match="Choose one picture"):
        await choices.choose(run_id, ada.id, 2, places)
    assert await states(db, run_id) == ["succeeded", "choosing", "waiting"]


async def test_only_the_owner_chooses_and_only_where_it_is_asked(make: Make, ada: Person, pipeline: Pipeline) -> None:
    stranger = await make.person()
    early = (await runs.accept(pipeline.version_id, ada.id, {}, 7, "early")).run_id
    with pytest.raises(Conflict, match="nothing to choose yet"):
        await choices.choose(early, ada.id, 2, [1])
    await runs.cancel(early, ada.id)
    with pytest.raises(Conflict, match="has ended"):
        await choices.choose(early, ada.id, 2, [1])
    run_id, _ = await drawn(make, pipeline)
    with pytest.raises(NotFound):
        await choices.choose(run_id, stranger.id, 2, [1])
    for ordinal in (1, 3, 21):
        with pytest.raises(Conflict, match="asks nothing"):
            await choices.choose(run_id, ada.id, ordinal, [1])


async def test_a_waiting_run_stops_at_once_and_asks_again_when_it_is_run_again(
    db: Any, make: Make, ada: Person, pipeline: Pipeline
) -> None:
    run_id, _ = await drawn(make, pipeline)
    await runs.cancel(run_id, ada.id)
    assert await states(db, run_id) == ["succeeded", "cancelled", "cancelled"]
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id) == "cancelled"
    await runs.retry(run_id, ada.id)
    assert await states(db, run_id) == ["succeeded", "choosing", "waiting"]


async def test_a_choice_is_never_reused_but_what_was_made_is(
    db: Any, make: Make, ada: Person, pipeline: Pipeline
) -> None:
    first, _ = await drawn(make, pipeline)
    await choices.choose(first, ada.id, 2, [2])
    (held,) = await queue.claim("light", "worker")
    await queue.finish(held, [Made((await make.artifact()).sha256)], None, {}, {})

    second = (await runs.accept(pipeline.version_id, ada.id, {}, 7, "second")).run_id
    assert await states(db, second) == ["reused", "choosing", "waiting"]
    await choices.choose(second, ada.id, 2, [2])
    assert await states(db, second) == ["reused", "succeeded", "reused"]
    third = (await runs.accept(pipeline.version_id, ada.id, {}, 7, "third")).run_id
    await choices.choose(third, ada.id, 2, [1])
    assert await states(db, third) == ["reused", "succeeded", "queued"]


async def test_the_time_to_choose_is_not_the_time_it_took(db: Any, make: Make, ada: Person, pipeline: Pipeline) -> None:
    run_id, _ = await drawn(make, pipeline)
    await db.execute(
        "UPDATE step_runs SET queued_at = queued_at - interval '1 h' WHERE run_id = $1 AND kind = 'pick'", run_id
    )
    await db.execute("UPDATE runs SET started_at = started_at - interval '1 h' WHERE id = $1", run_id)
    assert (await run_pages.read(run_id, ada.id)).seconds == pytest.approx(0, abs=60)
    await choices.choose(run_id, ada.id, 2, [1])
    (held,) = await queue.claim("light", "worker")
    await queue.finish(held, [Made((await make.artifact()).sha256)], None, {}, {})
    assert (await run_pages.read(run_id, ada.id)).seconds == pytest.approx(0, abs=60)
    assert (await run_pages.mine(ada.id)).runs[0].seconds == pytest.approx(0, abs=60)


async def test_a_run_again_counts_from_its_own_start(db: Any, make: Make, ada: Person, pipeline: Pipeline) -> None:
    run_id, _ = await drawn(make, pipeline)
    await db.execute(
        "UPDATE step_runs SET queued_at = queued_at - interval '1 h' WHERE run_id = $1 AND kind = 'pick'", run_id
    )
    await choices.choose(run_id, ada.id, 2, [1])
    (held,) = await queue.claim("light", "worker")
    await queue.fail(held, "refused", "no")
    await runs.retry(run_id, ada.id)
    (held,) = await queue.claim("light", "worker")
    await db.execute("UPDATE runs SET started_at = started_at - interval '10 min' WHERE id = $1", run_id)
    await queue.finish(held, [Made((await make.artifact()).sha256)], None, {}, {})
    assert (await run_pages.read(run_id, ada.id)).seconds == pytest.approx(600, abs=60)
    assert (await run_pages.mine(ada.id)).runs[0].seconds == pytest.approx(600, abs=60)


async def test_one_that_an_older_worker_queued_asks_all_the_same(db: Any, make: Make, pipeline: Pipeline) -> None:
    run_id, _ = await drawn(make, pipeline)
    await db.execute("UPDATE step_runs SET state = 'queued' WHERE run_id = $1 AND kind = 'pick'", run_id)
    assert await queue.claim("light", "worker") == []
    assert await states(db, run_id) == ["succeeded", "choosing", "waiting"]


async def test_a_comparison_starts_nothing_that_asks(make: Make, ada: Person, pipeline: Pipeline) -> None:
    other = await make.version(pipeline, steps=recipe(most=2))
    with pytest.raises(NotFound):
        await comparisons.run(pipeline.version_id, other.id, ada.id, [7], "key")


async def test_what_a_person_does_is_no_work(ada: Person, pipeline: Pipeline) -> None:
    step = steps.Pick()
    assert forecast.seconds({"kind": "pick", "most": 1}, {}) == 0
    asks = [estimates.Ask(recipe=steps.Recipe(steps=[*recipe()[:1], step]), inputs={}, seed=7)]
    assert (await estimates.estimate(asks, ada.id)).steps == 2


async def test_a_grid_takes_no_pipeline_that_asks(pipeline: Pipeline) -> None:
    made = steps.Recipe(steps=list(recipe()))
    axis = grid_axes.Axis(key="seed", title="Seed", step=0, field="seed", values=[1, 2])
    with pytest.raises(Invalid) as refused:
        grids.plan(pipeline.version_id, made, [axis], {}, 7)
    assert "Step 2 waits for a choice" in refused.value.fields["x"]


# pages


async def test_the_page_asks_its_owner_alone(
    client: httpx.AsyncClient, make: Make, ada: Person, pipeline: Pipeline
) -> None:
    run_id, pictures = await drawn(make, pipeline)
    page = (await client.get(f"/runs/{run_id}")).text
    assert "Choose how it goes on</h1>" in page
    assert "Which picture goes on?" in page
    assert page.count('type="radio" name="picture"') == DRAWN
    assert all(one in page for one in pictures)
    assert 'http-equiv="refresh"' not in page  # what is ticked would be lost
    assert "waits for a choice" in page
    part = (await client.get(f"/runs/{run_id}/progress", headers=POLL)).text
    assert "Which picture goes on?" in part

    for ordinal in ("0", "21", "-99999999999999"):
        assert (await client.post(f"/runs/{run_id}/choices/{ordinal}", data={"picture": "3"})).status_code == 404
    answer = await client.post(f"/runs/{run_id}/choices/2", data={"picture": "3"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run_id}")
    page = (await client.get(f"/runs/{run_id}")).text
    assert "Which picture" not in page
    assert "<dt>Chosen</dt><dd>3 of 4</dd>" in page


@pytest.mark.parametrize("ticked", [{}, {"picture-1": "1", "picture-2": "2", "picture-4": "4"}, {"picture-1": "x"}])
async def test_a_wrong_choice_is_said_beside_the_pictures_and_stays_ticked(
    client: httpx.AsyncClient, make: Make, ada: Person, ticked: dict[str, str]
) -> None:
    pipeline = await make.pipeline(ada, steps=recipe(most=2))
    run_id, _ = await drawn(make, pipeline)
    answer = await client.post(f"/runs/{run_id}/choices/2", data=ticked)
    assert answer.status_code == 422
    assert "Choose 1 to 2 pictures" in answer.text
    assert answer.text.count('type="checkbox" name="picture-') == DRAWN
    for name, value in ticked.items():
        assert (f'name="{name}" value="{value}" checked' in answer.text) == (value != "x")


async def test_lists_and_feeds_say_that_a_run_waits(
    client: httpx.AsyncClient, make: Make, ada: Person, pipeline: Pipeline
) -> None:
    await drawn(make, pipeline)
    assert "waits for your choice" in (await client.get("/runs")).text
    (entry,) = (await own_feeds.of_runs(ada.id)).entries
    assert "It waits for your choice." in str(entry)


async def test_a_choice_that_waited_for_days_is_still_asked(
    db: Any, client: httpx.AsyncClient, make: Make, ada: Person, pipeline: Pipeline
) -> None:
    run_id, _ = await drawn(make, pipeline)
    await db.execute(
        "UPDATE step_runs SET queued_at = queued_at - $2::interval WHERE run_id = $1", run_id, timedelta(days=90)
    )
    assert await queue.reap() == 0
    assert "Which picture goes on?" in (await client.get(f"/runs/{run_id}")).text
