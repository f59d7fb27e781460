"""Grids: accepting all cells or none, reuse between them, stopping, publishing, their pages and files."""

import io
import json
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import feedparser
import httpx
import msgspec
import pytest
from PIL import Image

from domain import (
    contact_sheet,
    estimates,
    feeds,
    forks,
    grid_axes,
    grid_pages,
    grids,
    models,
    pipelines,
    queue,
    run_pages,
    runs,
    steps,
)
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.grid_axes import Axis
from domain.people import Person
from domain.queue import Made
from tests.make import Make, Pipeline
from web import text_starts

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
POLL = {"HX-Request": "true", "HX-Request-Type": "partial"}
CHAIN = (
    steps.PromptTemplate(template="a {subject}"),
    steps.TextToImage(prompt="{text}, by night"),
    steps.Upscale(factor=2),
)
SUBJECT = [steps.Input(name="subject", default="boat")]


@pytest.fixture
async def ada(client: httpx.AsyncClient, make: Make, log_in: LogIn) -> Person:
    person = await make.person("ada")
    await log_in(client, person)
    return person


@pytest.fixture
async def pipeline(make: Make, ada: Person) -> Pipeline:
    await models.register_all({})
    return await make.pipeline(ada, steps=CHAIN, inputs=SUBJECT, title="Night boats")


async def plan(pipeline: Pipeline, seed: int | None = 5, **axes: Any) -> grids.Plan:
    """A plan over the pipeline's first version: `await plan(pipeline, s2_guidance_scale="1, 2")`."""
    form = await run_pages.form(pipeline.id, 1, pipeline.owner_id)
    targets = grid_axes.targets(form.recipe, {"text_to_image": ["starter"]})
    read: list[Axis] = []
    for name, typed in axes.items():
        target = targets[re.sub(r"^(s\d+|input)_", r"\1-", name).removesuffix("_")]
        ticked = typed.split(",") if target.listed else ()
        read.append(grid_axes.axis(target, typed, ticked))
    return grids.plan(pipeline.version_id, form.recipe, read, {}, seed)


async def start(pipeline: Pipeline, person: UUID | None = None, limit: int | None = None, **axes: Any) -> UUID:
    asked = await plan(pipeline, **axes)
    return (await grids.create(asked, person or pipeline.owner_id, secrets.token_hex(8), limit)).grid_id


async def work(make: Make, *, stored: bool = False) -> list[queue.Claim]:
    """Do what is queued, as a worker would."""
    done: list[queue.Claim] = []
    while held := [each for name in ("light", "image") for each in await queue.claim(name, "ann", room=4)]:
        for each in held:
            made = [] if each.kind == "prompt_template" else [Made((await make.artifact(stored=stored)).sha256, 5)]
            text = each.parameters["template"] if each.kind == "prompt_template" else None
            passes = each.parameters.get("num_inference_steps", 1)
            await queue.finish(each, made, text, {"kind": each.kind}, {"run": 0.1 * passes})
            done.append(each)
    return done


async def finished(make: Make, pipeline: Pipeline, *, stored: bool = False, **axes: Any) -> UUID:
    grid_id = await start(pipeline, **axes)
    await work(make, stored=stored)
    return grid_id


async def cells(db: Any, grid_id: UUID) -> list[Any]:
    return await db.fetch(
        "SELECT r.* FROM grid_cells c JOIN runs r ON r.id = c.run_id WHERE grid_id = $1 ORDER BY cell", grid_id
    )


# accepting


async def test_every_cell_is_a_run_with_its_own_change(db: Any, pipeline: Pipeline) -> None:
    grid_id = await start(pipeline, s2_guidance_scale="1, 2.5", input_subject="moth\nfern")
    rows = await cells(db, grid_id)
    assert [row["changes"] for row in rows] == [
        {"2": {"guidance_scale": 1.0}},
        {"2": {"guidance_scale": 2.5}},
    ] * 2
    assert [row["inputs"]["subject"] for row in rows] == ["moth", "moth", "fern", "fern"]
    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    turns = await db.fetch(
        "SELECT turn FROM step_runs WHERE run_id = ANY($1) ORDER BY turn", [row["id"] for row in rows]
    )
    assert sorted({row["turn"] for row in turns}) == [0, 1, 2, 3]
    assert {row["seed"] for row in rows} == {5}
    assert await db.fetchval("SELECT run_count FROM pipelines") == 4
    stored = "SELECT step -> 'guidance_scale' AS g FROM step_runs WHERE run_id = $1 AND ordinal = 2"
    assert [(await db.fetchrow(stored, row["id"]))["g"] for row in rows] == [1, 2.5, 1, 2.5]
    assert (await db.fetchval("SELECT recipe FROM versions"))["steps"][1]["guidance_scale"] == 3.0


async def test_the_runs_own_seed_can_vary(db: Any, pipeline: Pipeline) -> None:
    rows = await cells(db, await start(pipeline, seed_="1..3"))
    assert [row["seed"] for row in rows] == [1, 2, 3]
    assert [row["changes"] for row in rows] == [{}, {}, {}]


async def test_a_drawn_seed_is_one_for_all(db: Any, pipeline: Pipeline) -> None:
    asked = await plan(pipeline, seed=None, s3_factor="2,4")
    rows = await cells(db, (await grids.create(asked, pipeline.owner_id, "key")).grid_id)
    assert len({row["seed"] for row in rows}) == 1


async def test_the_same_request_twice_is_one_grid(db: Any, pipeline: Pipeline) -> None:
    asked = await plan(pipeline, s2_guidance_scale="1, 2")
    first = await grids.create(asked, pipeline.owner_id, "key")
    again = await grids.create(asked, pipeline.owner_id, "key")
    assert (again.grid_id, first.repeated, again.repeated) == (first.grid_id, False, True)
    with pytest.raises(Conflict):
        await grids.create(await plan(pipeline, s2_guidance_scale="1, 3"), pipeline.owner_id, "key")
    assert await db.fetchval("SELECT count(*) FROM runs") == 2


async def test_all_cells_fit_or_none_is_accepted(db: Any, pipeline: Pipeline) -> None:
    await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 1, "one")
    asked = await plan(pipeline, s2_guidance_scale="1..4")
    with pytest.raises(TooMany, match="These are 4 runs"):
        await grids.create(asked, pipeline.owner_id, "key", limit=4)
    assert await db.fetchval("SELECT count(*) FROM runs") == 1
    assert await db.fetchval("SELECT count(*) FROM grids") == 0
    assert await db.fetchval("SELECT run_count FROM pipelines") == 1
    await grids.create(asked, pipeline.owner_id, "key", limit=5)
    assert await db.fetchval("SELECT count(*) FROM runs") == 5


async def test_a_thousand_cells_are_refused_with_the_limit(pipeline: Pipeline) -> None:
    with pytest.raises(Invalid) as raised:
        await plan(pipeline, s2_guidance_scale="0..24 by 1", s2_num_inference_steps="10..49")
    assert raised.value.fields == {
        "y-values": "25 × 40 cells. These are 1,000, and a grid has at most 100 cells. Give fewer values"
    }


async def test_one_parameter_cannot_be_both_axes(pipeline: Pipeline) -> None:
    form = await run_pages.form(pipeline.id, 1, pipeline.owner_id)
    axis = (await plan(pipeline, s2_guidance_scale="1, 2")).axes[0]
    with pytest.raises(Invalid) as raised:
        grids.plan(pipeline.version_id, form.recipe, [axis, axis], {}, 5)
    assert "y" in raised.value.fields


async def test_a_cell_that_could_not_run_is_refused_beside_its_axis(make: Make, ada: Person) -> None:
    redraw = steps.ImageToImage(prompt="night", strength=0.5, num_inference_steps=20)
    pipeline = await make.pipeline(ada, steps=(steps.TextToImage(prompt="a boat"), redraw))
    with pytest.raises(Invalid) as raised:
        await plan(pipeline, s2_num_inference_steps="10, 20", s2_strength="0.01, 0.5")
    assert raised.value.fields == {"y-values": "0.01: 0.1 or more with 10 sampling steps: less changes nothing"}
    with pytest.raises(Invalid) as raised:
        await plan(pipeline, s1_prompt="a {boat\na boat")
    assert "never closed" in raised.value.fields["x-values"]


async def test_somebody_elses_private_version_makes_no_grid(db: Any, make: Make, pipeline: Pipeline) -> None:
    asked = await plan(pipeline, s2_guidance_scale="1, 2")
    await db.execute("UPDATE pipelines SET visibility = 'private'")
    with pytest.raises(NotFound):
        await grids.create(asked, (await make.person()).id, "key")
    assert await db.fetchval("SELECT count(*) FROM grids") == 0


# reuse and the estimate


async def test_only_the_step_that_varies_is_run_for_every_cell(db: Any, make: Make, pipeline: Pipeline) -> None:
    grid_id = await start(pipeline, s3_method="lanczos,bicubic", s3_factor="2,4")
    done = [claim.kind for claim in await work(make)]
    assert sorted(done) == ["prompt_template", "text_to_image", "upscale", "upscale", "upscale", "upscale"]
    assert {row["state"] for row in await cells(db, grid_id)} == {"succeeded"}
    assert not await start_and_work(make, pipeline, s3_method="lanczos,bicubic", s3_factor="2,4")


async def start_and_work(make: Make, pipeline: Pipeline, **axes: Any) -> list[queue.Claim]:
    await start(pipeline, **axes)
    return await work(make)


async def test_cells_that_differ_in_words_are_drawn_together(make: Make, ada: Person) -> None:
    await models.register_all({})
    pipeline = await make.pipeline(ada, steps=(steps.TextToImage(prompt="a {subject}"),), inputs=SUBJECT)
    await start(pipeline, input_subject="moth\nfern\nboat")
    assert [claim.parameters["prompt"] for claim in await queue.claim("image", "ann", room=4)] == [
        "a moth",
        "a fern",
        "a boat",
    ]


@pytest.mark.parametrize(
    ("axes", "to_run"),
    [
        ({"s3_factor": "2,4"}, 1 + 1 + 2),
        ({"s2_guidance_scale": "1..5"}, 1 + 5 + 5),
        ({"input_subject": "moth\nfern"}, 2 + 2 + 2),
        ({"s2_guidance_scale": "2, 3", "s3_factor": "2,4"}, 1 + 2 + 4),
    ],
)
async def test_the_estimate_counts_what_really_runs(
    db: Any, make: Make, pipeline: Pipeline, axes: dict[str, str], to_run: int
) -> None:
    asked = await plan(pipeline, **axes)
    form = await run_pages.form(pipeline.id, 1, pipeline.owner_id)
    before = await estimates.estimate(asked.asks(form.recipe), pipeline.owner_id, beyond=True)
    assert (before.runs, before.known_runs, before.to_run) == (len(asked.cells), 0, to_run)
    assert before.seconds is None, "nothing alike ran yet"
    await grids.create(asked, pipeline.owner_id, "key")
    assert len(await work(make)) == to_run
    after = await estimates.estimate(asked.asks(form.recipe), pipeline.owner_id, beyond=True)
    assert (after.known_runs, after.to_run, after.seconds) == (len(asked.cells), 0, 0)
    elsewhere = (await plan(pipeline, seed=6, **axes)).asks(form.recipe)
    other = await estimates.estimate(elsewhere, pipeline.owner_id, beyond=True)
    written = 2 if "input_subject" in axes else 1
    assert other.to_run == to_run - written, "without alternatives in it, the words are the same by any seed"
    assert other.seconds is not None


async def test_what_others_keep_private_is_no_help(make: Make, pipeline: Pipeline) -> None:
    await finished(make, pipeline, s3_factor="2,4")
    other = await make.person()
    asked = await plan(pipeline, s3_factor="2,4")
    form = await run_pages.form(pipeline.id, 1, other.id)
    assert (await estimates.estimate(asked.asks(form.recipe), other.id, beyond=True)).to_run == 4


# stopping, running again


async def test_stop_ends_what_has_not_ended(db: Any, make: Make, pipeline: Pipeline) -> None:
    grid_id = await start(pipeline, s2_guidance_scale="1..4")
    held = await queue.claim("light", "ann")
    await grids.stop(grid_id, pipeline.owner_id)
    states = [row["state"] for row in await cells(db, grid_id)]
    assert sorted(states) == ["cancelled", "cancelled", "cancelled", "running"]
    await queue.cancelled(held[0])
    await grids.stop(grid_id, pipeline.owner_id)
    assert {row["state"] for row in await cells(db, grid_id)} == {"cancelled"}
    assert await db.fetchval("SELECT count(*) FROM step_runs WHERE state IN ('queued', 'waiting', 'running')") == 0
    with pytest.raises(Conflict):
        await grids.publish(grid_id, pipeline.owner_id)
    with pytest.raises(TooMany):
        await grids.retry(grid_id, pipeline.owner_id, limit=3)
    await grids.retry(grid_id, pipeline.owner_id, limit=4)
    await work(make)
    rows = await cells(db, grid_id)
    assert {row["state"] for row in rows} == {"succeeded"}
    steps_run = await db.fetch("SELECT resolved -> 'guidance_scale' AS g FROM step_runs WHERE ordinal = 2")
    assert sorted(row["g"] for row in steps_run) == [1, 2, 3, 4], "a cell that is run again keeps what it changes"


@pytest.mark.parametrize("act", [grids.stop, grids.retry, grids.publish, grids.unpublish])
async def test_other_peoples_grids_do_not_exist(make: Make, pipeline: Pipeline, act: Any) -> None:
    grid_id = await finished(make, pipeline, s3_factor="2,4")
    await grids.publish(grid_id, pipeline.owner_id)
    with pytest.raises(NotFound):
        await act(grid_id, (await make.person()).id)
    with pytest.raises(NotFound):
        await act(uuid4(), pipeline.owner_id)


# publishing


async def test_publishing_shows_the_results_and_leaves_the_card_alone(
    db: Any, make: Make, pipeline: Pipeline, clients: Any
) -> None:
    cover = (await make.run(pipeline, state="succeeded", published=True)).id
    grid_id = await finished(make, pipeline, s3_factor="2,4")
    visitor = clients()
    cell = (await cells(db, grid_id))[0]
    for path in (f"/grids/{grid_id}", f"/runs/{cell['id']}"):
        assert (await visitor.get(path)).status_code == 404
    await grids.publish(grid_id, pipeline.owner_id)
    await grids.publish(grid_id, pipeline.owner_id)
    for path in (f"/grids/{grid_id}", f"/runs/{cell['id']}"):
        assert (await visitor.get(path)).status_code == 200
    assert await db.fetchval("SELECT cover_run_id FROM pipelines") == cover
    assert len((await feeds.of_results(pipeline.id)).entries) == 1
    assert len((await feeds.of_grid(grid_id)).entries) == 2
    assert len((await pipelines.read(pipeline.id, None)).shots) == 1
    events = await db.fetchval("SELECT count(*) FROM events WHERE name = 'published'")
    assert events == 2

    await runs.publish(cell["id"], pipeline.owner_id)
    assert await db.fetchval("SELECT cover_run_id FROM pipelines") == cell["id"], "published by itself it counts"
    await grids.unpublish(grid_id, pipeline.owner_id)
    assert [row["visibility"] for row in await cells(db, grid_id)] == ["published", "private"]
    assert (await visitor.get(f"/grids/{grid_id}")).status_code == 404


async def test_a_grid_is_the_card_of_a_pipeline_that_has_nothing_else(db: Any, make: Make, pipeline: Pipeline) -> None:
    grid_id = await finished(make, pipeline, s3_factor="2,4")
    await grids.publish(grid_id, pipeline.owner_id)
    run_ids = [row["id"] for row in await cells(db, grid_id)]
    assert await db.fetchval("SELECT cover_run_id FROM pipelines") in run_ids
    await grids.unpublish(grid_id, pipeline.owner_id)
    assert await db.fetchval("SELECT cover_run_id FROM pipelines") is None


async def test_a_private_pipeline_is_opened_only_when_asked(db: Any, make: Make, pipeline: Pipeline) -> None:
    await db.execute("UPDATE pipelines SET visibility = 'private'")
    grid_id = await finished(make, pipeline, s3_factor="2,4")
    with pytest.raises(Conflict):
        await grids.publish(grid_id, pipeline.owner_id)
    await grids.publish(grid_id, pipeline.owner_id, to_everyone=True)
    assert await db.fetchval("SELECT visibility FROM pipelines") == "public"


async def test_a_grid_that_runs_is_not_published(make: Make, pipeline: Pipeline) -> None:
    grid_id = await start(pipeline, s3_factor="2,4")
    with pytest.raises(Conflict):
        await grids.publish(grid_id, pipeline.owner_id)


async def test_a_deleted_pipeline_leaves_the_grid_to_its_maker(
    client: httpx.AsyncClient, clients: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s3_factor="2,4")
    await grids.publish(grid_id, pipeline.owner_id)
    await pipelines.delete(pipeline.id, pipeline.owner_id)
    page = await client.get(f"/grids/{grid_id}")
    assert page.status_code == 200
    assert "a pipeline that is removed or private" in page.text
    assert "Night boats" not in page.text
    visitor = clients()
    for path in ("", "/progress", "/sheet.png", "/feed.rss", "/feed.json"):
        assert (await visitor.get(f"/grids/{grid_id}{path}")).status_code == 404
    assert "A pipeline that is removed or private" in (await client.get("/grids")).text


# what a cell's run says and passes on


async def test_a_cells_page_says_what_it_changed_and_passes_it_on(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s2_guidance_scale="4.5, 7")
    cell = (await cells(db, grid_id))[1]
    text = (await client.get(f"/runs/{cell['id']}")).text
    assert 'Run with guidance of step 2: <b dir="auto">7</b>' in text
    assert f'href="/grids/{grid_id}"' in text

    form = await client.get(f"/pipelines/{pipeline.id}/versions/1/runs?run={cell['id']}")
    assert f'name="from" value="{cell["id"]}" checked' in form.text
    sent = {"key": "again", "seed": "5", "input-subject": "boat", "from": str(cell["id"])}
    answer = await client.post(f"/pipelines/{pipeline.id}/versions/1/runs", data=sent)
    again = UUID(answer.headers["location"].rsplit("/", 1)[1])
    row = await db.fetchrow("SELECT changes, state FROM runs WHERE id = $1", again)
    assert (row["changes"], row["state"]) == ({"2": {"guidance_scale": 7.0}}, "succeeded")
    del sent["from"]
    assert (await client.post(f"/pipelines/{pipeline.id}/versions/1/runs", data=sent)).status_code == 409

    answer = await client.post(f"/pipelines/{pipeline.id}/forks", data={"version": "1", "run": str(cell["id"])})
    fork = UUID(answer.headers["location"].split("/")[2])
    recipe = await db.fetchval("SELECT recipe FROM versions WHERE pipeline_id = $1", fork)
    assert recipe["steps"][1]["guidance_scale"] == 7.0


async def test_cells_of_inputs_and_seeds_are_forked_too(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, seed_="1, 2", input_subject="moth\nfern")
    last = (await cells(db, grid_id))[3]
    assert "Make an offshoot of it" in (await client.get(f"/runs/{last['id']}")).text
    answer = await client.post(f"/pipelines/{pipeline.id}/forks", data={"version": "1", "run": str(last["id"])})
    recipe = await db.fetchval(
        "SELECT recipe FROM versions WHERE pipeline_id = $1", UUID(answer.headers["location"].split("/")[2])
    )
    assert recipe["inputs"][0]["default"] == "fern"


@pytest.mark.parametrize("license", ["CC-BY-4.0", "CC-BY-ND-4.0"])
async def test_cells_link_rate_and_fork(
    client: httpx.AsyncClient, clients: Any, db: Any, make: Make, log_in: LogIn, pipeline: Pipeline, license: str
) -> None:
    await db.execute("UPDATE pipelines SET license = $1", license)
    grid_id = await finished(make, pipeline, s2_guidance_scale="1, 2", s3_factor="2,4")
    await grids.publish(grid_id, pipeline.owner_id)
    ids = [str(row["id"]) for row in await cells(db, grid_id)]
    other = await log_in(clients(), await make.person())
    for browser, rates, forks_ in ((client, False, True), (other, True, "ND" not in license)):
        page = (await browser.get(f"/grids/{grid_id}")).text.partition("<main")[2]
        assert re.findall(r'<a class="plain" href="/runs/([^"]+)"', page) == ids
        assert re.findall(r'href="/runs/([^"]+)#rating"', page) == (ids if rates else [])
        assert re.findall(r'form="fork" name="run" value="([^"]+)"', page) == (ids if forks_ else [])
        assert ('<form id="fork"' in page) is forks_
        assert ('aria-label="Make an offshoot of Guidance 2, Factor 4"' in page) is forks_
    waiting = await start(pipeline, s2_guidance_scale="7, 8")
    assert 'form="fork"' not in (await client.get(f"/grids/{waiting}")).text


async def test_two_cells_forked_in_one_breath_are_two_offshoots(db: Any, make: Make, pipeline: Pipeline) -> None:
    grid_id = await finished(make, pipeline, s2_guidance_scale="4, 7")
    first, second = await cells(db, grid_id)
    made = [
        await forks.fork(pipeline.version_id, pipeline.owner_id, one["changes"], once=str(one["id"]))
        for one in (first, second, second)
    ]
    assert made[0] != made[1] == made[2]


@pytest.mark.parametrize("run", ["nonsense", "0198f2a0-0000-7000-8000-000000000000"])
async def test_changes_of_a_run_that_is_not_there(client: httpx.AsyncClient, pipeline: Pipeline, run: str) -> None:
    forked = await client.post(f"/pipelines/{pipeline.id}/forks", data={"version": "1", "run": run})
    asked = await client.post(f"/pipelines/{pipeline.id}/versions/1/runs", data={"key": "k", "from": run})
    assert (forked.status_code, asked.status_code) == (404, 404)


async def test_changes_belong_to_their_version(
    client: httpx.AsyncClient, db: Any, make: Make, ada: Person, pipeline: Pipeline
) -> None:
    cell = (await cells(db, await finished(make, pipeline, s2_guidance_scale="4, 7")))[0]
    other = await make.pipeline(ada, steps=(steps.TextToImage(prompt="a moth"),))
    asked = await client.post(f"/pipelines/{other.id}/versions/1/runs", data={"key": "k", "from": str(cell["id"])})
    assert asked.status_code == 404


async def test_the_pipelines_page_shows_a_cell_as_it_was_run(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    cell = (await cells(db, await finished(make, pipeline, s2_prompt="a red moth\na blue fern")))[0]
    shown = await pipelines.read(pipeline.id, pipeline.owner_id, run_id=cell["id"])
    assert shown.steps[1].prompts == [("Prompt", "a red moth", "")]
    page = (await client.get(f"/pipelines/{pipeline.id}?run={cell['id']}")).text
    assert f'name="run" value="{cell["id"]}"' in page


async def test_cells_stay_out_of_your_runs(client: httpx.AsyncClient, make: Make, pipeline: Pipeline) -> None:
    await start(pipeline, s3_factor="2,4")
    assert "No runs yet" in (await client.get("/runs")).text
    assert "Factor" in (await client.get("/grids")).text
    assert not (await pipelines.read(pipeline.id, pipeline.owner_id)).shots


# the form


FORM = "/pipelines/{}/versions/1/grids"


async def test_the_form_estimates_then_runs(client: httpx.AsyncClient, db: Any, pipeline: Pipeline) -> None:
    path = FORM.format(pipeline.id)
    page = (await client.get(path)).text
    assert '<option value="s2-guidance_scale" selected>Guidance</option>' in page
    assert "The version has 3." in page
    sent = {"x": "s2-guidance_scale", "x-for": "s2-guidance_scale", "x-values": "1..3", "seed": "5", "key": "k"}
    answer = await client.post(path, data=sent | {"do": "estimate"})
    assert answer.status_code == 200
    assert "7 of 9" in answer.text
    assert "Run 3 cells" in answer.text
    assert await db.fetchval("SELECT count(*) FROM grids") == 0
    seen = re.search(r'name="seen" value="(\w+)"', answer.text)
    assert seen
    answer = await client.post(path, data=sent | {"do": "run", "seen": seen[1]})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/grids/{await db.fetchval('SELECT id FROM grids')}"
    again = await client.post(path, data=sent | {"do": "run", "seen": seen[1]})
    assert again.headers["location"] == answer.headers["location"]


async def test_a_pasted_text_is_translated_into_several_languages(
    client: httpx.AsyncClient, make: Make, ada: Person
) -> None:
    await models.register_endpoint("writer", "http://127.0.0.1:9/v1#small")
    recipe = text_starts.STARTS["translate"][1]
    step = msgspec.structs.replace(recipe.steps[0], model="writer")
    pipeline = await make.pipeline(ada, steps=[step], inputs=recipe.inputs)
    path = FORM.format(pipeline.id)
    page = (await client.get(path)).text
    assert re.search(r'<textarea[^>]*name="input-original"', page)
    sent = {"x": "input-language", "x-for": "input-language", "x-1": "Ukrainian", "x-2": "German", "do": "estimate"}
    missing = await client.post(path, data=sent)
    assert missing.status_code == 422
    assert "Write or paste a text" in missing.text
    text = "A boat on the sea. " * 200
    estimated = await client.post(path, data=sent | {"input-original": text})
    assert "Run 2 cells" in estimated.text
    both = await client.get(path + "?x=input-original")
    assert "One value a line." in both.text


async def test_a_grid_over_the_seed_runs_as_it_was_estimated(
    client: httpx.AsyncClient, db: Any, pipeline: Pipeline
) -> None:
    path = FORM.format(pipeline.id)
    sent = {"x": "seed", "x-for": "seed", "x-values": "1..3", "key": "k"}
    page = (await client.post(path, data=sent | {"do": "estimate"})).text
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert seen
    answer = await client.post(path, data=sent | {"do": "run", "seen": seen[1]})
    assert answer.status_code == 303
    assert [row["seed"] for row in await db.fetch("SELECT seed FROM runs ORDER BY seed")] == [1, 2, 3]


async def test_nothing_runs_that_was_not_estimated(client: httpx.AsyncClient, db: Any, pipeline: Pipeline) -> None:
    sent = {"x": "s2-guidance_scale", "x-values": "1..3", "seed": "5", "do": "run"}
    for seen in ({}, {"seen": "0" * 64}):
        answer = await client.post(FORM.format(pipeline.id), data=sent | seen)
        assert answer.status_code == 200
        assert ("changed since the last estimate" in answer.text) is bool(seen)
    assert await db.fetchval("SELECT count(*) FROM grids") == 0


async def test_a_thousand_cells_are_refused_beside_the_field_and_words_stay(
    client: httpx.AsyncClient, db: Any, pipeline: Pipeline
) -> None:
    sent = {"x": "s2-guidance_scale", "x-values": "1..10", "y": "seed", "y-values": "1..100", "do": "run"}
    answer = await client.post(FORM.format(pipeline.id), data=sent)
    assert answer.status_code == 422
    error = re.search(r'<p class="err" id="y-values-e">.*?</svg>([^<]*)', answer.text)
    assert error
    assert error[1] == "10 × 100 cells. These are 1,000, and a grid has at most 100 cells. Give fewer values"
    assert 'value="1..100"' in answer.text
    assert 'value="1..10"' in answer.text
    assert await db.fetchval("SELECT count(*) FROM grids") == 0


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"x-values": "<wbr>"}, "Write numbers such as"),
        ({"x-values": "1, 99"}, "99: from 0 to 30"),
        ({"x-values": "1, 2", "seed": "x"}, "From 0 to 4,294,967,295"),
        ({"x-values": "1, 2", "y": "s2-guidance_scale", "y-values": "1, 2"}, "Choose another parameter"),
        ({"x": "s2-scheduler", "x-0": "DDIMScheduler"}, "Tick at least two"),
        ({"x": "s2-scheduler", "x-0": "DDIMScheduler", "x-1": "made up"}, "Tick at least two"),
        ({"x-values": "1, 2", "input-subject": "b" * 2_001}, "At most 2,000 characters"),
        ({"x-values": "1\x00, 2"}, "A character that cannot be stored"),
    ],
)
async def test_errors_stand_beside_their_field(
    client: httpx.AsyncClient, pipeline: Pipeline, sent: dict[str, str], words: str
) -> None:
    answer = await client.post(FORM.format(pipeline.id), data={"x": "s2-guidance_scale", **sent, "do": "estimate"})
    assert answer.status_code == 422
    assert words in answer.text
    assert "<wbr>" not in answer.text


async def test_a_field_that_the_form_has_not(client: httpx.AsyncClient, pipeline: Pipeline) -> None:
    assert (await client.post(FORM.format(pipeline.id), data={"z-values": "1"})).status_code == 422


async def test_classes_are_ticked_and_judged_by_the_model_of_their_cell(
    client: httpx.AsyncClient, make: Make, ada: Person, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models.SHIPPED["shapes-gan"].path, tmp_path / "small"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "classes": ["star", "barn owl"]}))
    await models.register_all({"small": folder})
    step = steps.GanImage(model="small", class_label="star")
    path = FORM.format((await make.pipeline(ada, steps=[step])).id)
    page = (await client.get(path, params={"x": "s1-class_label"})).text
    assert 'name="x-0" value="star"' in page
    assert 'name="x-1" value="barn owl"' in page
    sent = {"x": "s1-class_label", "x-for": "s1-class_label", "x-0": "star", "x-1": "barn owl", "do": "estimate"}
    assert "Run 2 cells" in (await client.post(path, data=sent)).text
    both = {"y": "s1-model", "y-for": "s1-model", "y-0": "shapes-gan", "y-1": "small"}
    answer = await client.post(path, data=sent | both)
    assert answer.status_code == 422
    assert "barn owl: shapes-gan has no such class. It has: circle, crescent" in answer.text


async def test_loras_are_judged_before_their_cells_run(client: httpx.AsyncClient, make: Make, ada: Person) -> None:
    await models.register_all({})
    path = FORM.format((await make.pipeline(ada, steps=[steps.TextToImage(prompt="a sea")])).id)
    sent = {"x": "s1-prompt", "x-for": "s1-prompt", "do": "estimate"}
    there = await client.post(path, data=sent | {"x-values": "a sea <lora:fish:1>\na sea"})
    assert "Run 2 cells" in there.text
    gone = await client.post(path, data=sent | {"x-values": "a sea <lora:fish:1>\na sea <lora:whale:1>"})
    assert gone.status_code == 422
    assert "This site has no LoRA called “whale”. It has: cyanotype, fish" in gone.text


async def test_another_parameter_brings_its_own_values(client: httpx.AsyncClient, pipeline: Pipeline) -> None:
    sent = {"x": "s2-scheduler", "x-for": "s2-guidance_scale", "x-values": "1, 2", "y": "s2-prompt", "do": "choose"}
    text = (await client.post(FORM.format(pipeline.id), data=sent, headers=POLL)).text
    assert "<html" not in text
    assert 'name="x-0" value="DDIMScheduler"' in text
    assert "{text}, by night</textarea>" in text.replace("\n", "")


@pytest.mark.parametrize(
    ("x", "first", "typed", "read"),
    [
        ("s2-num_inference_steps", "s2-guidance_scale", {"x-values": "20, 30"}, "Sampling steps 20, 30"),
        ("s2-negative_prompt", "s2-prompt", {"x-values": "blurry\nugly"}, "Negative prompt blurry, ugly"),
        ("s3-method", "s2-scheduler", {"x-0": "lanczos", "x-1": "bicubic"}, "Method lanczos, bicubic"),
    ],
)
async def test_values_stay_when_another_parameter_of_their_kind_is_chosen(
    client: httpx.AsyncClient, pipeline: Pipeline, x: str, first: str, typed: dict[str, str], read: str
) -> None:
    """Without JavaScript the field on the page is still that of the parameter chosen before."""
    sent = {"x": x, "x-for": first, "seed": "5", "do": "estimate", **typed}
    answer = await client.post(FORM.format(pipeline.id), data=sent)
    assert answer.status_code == 200
    assert read in " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


async def test_the_first_parameters_own_words_do_not_stay(client: httpx.AsyncClient, pipeline: Pipeline) -> None:
    sent = {"x": "s2-negative_prompt", "x-for": "s2-prompt", "x-values": "{text}, by night", "do": "choose"}
    page = (await client.post(FORM.format(pipeline.id), data=sent)).text
    field = re.search(r'<textarea id="x-values"[^>]*>\s*([^<]*)</textarea>', page)
    assert field
    assert field[1] == ""


async def test_a_prompt_of_two_lines_and_an_empty_one(
    client: httpx.AsyncClient, db: Any, make: Make, ada: Person
) -> None:
    await models.register_all({})
    draw = steps.TextToImage(prompt="a boat\nby night", negative_prompt="blurry")
    pipeline = await make.pipeline(ada, steps=[draw])
    page = (await client.get(FORM.format(pipeline.id) + "?x=s1-prompt")).text
    assert "---\na boat\nby night</textarea>" in page, "as it is, kept in one"
    assert "a line of --- before each" in page
    sent = {"x": "s1-prompt", "x-values": "---\na boat\nby night\n---\na moth", "seed": "5"}
    sent |= {"y": "s1-negative_prompt", "y-values": "blurry\n---\n"}
    first = (await client.post(FORM.format(pipeline.id), data=sent | {"do": "estimate"})).text
    assert "blurry, (empty)" in first
    seen = re.search(r'name="seen" value="(\w+)"', first)
    assert seen
    answer = await client.post(FORM.format(pipeline.id), data=sent | {"do": "run", "seen": seen[1], "key": "k"})
    grid_id = UUID(answer.headers["location"].rsplit("/", 1)[1])
    changes = [row["changes"]["1"] for row in await cells(db, grid_id)]
    assert [one["prompt"] for one in changes] == ["a boat\nby night", "a moth"] * 2
    assert [one["negative_prompt"] for one in changes] == ["blurry", "blurry", "", ""]
    await work(make)
    page = (await client.get(f"/grids/{grid_id}")).text
    assert ">(empty)</span></th>" in page
    assert 'alt="Prompt a boat by night, Negative prompt (empty)"' in page
    assert (
        'negative prompt: <b dir="auto">(empty)</b>'
        in (await client.get(f"/runs/{(await cells(db, grid_id))[3]['id']}")).text
    )
    refused = await client.post(FORM.format(pipeline.id), data={"x": "s1-prompt", "x-values": "a\n---\n"})
    assert "(empty): Write what to draw" in refused.text


async def test_what_was_read_is_said_before_it_runs(client: httpx.AsyncClient, pipeline: Pipeline) -> None:
    page = (await client.get(FORM.format(pipeline.id))).text
    assert "A comma stands between two numbers: write 7.5 with a point." in page
    sent = {"x": "s2-guidance_scale", "x-values": "7,5", "seed": "5", "do": "estimate"}
    assert "<dt>Guidance</dt><dd><bdi>7, 5</bdi></dd>" in (await client.post(FORM.format(pipeline.id), data=sent)).text
    refused = await client.post(FORM.format(pipeline.id), data=sent | {"x-values": "7,5 8"})
    assert "7,5 may be one number or two. Write 7.5, or 7, 5" in refused.text
    whole = (await client.get(FORM.format(pipeline.id) + "?x=s2-num_inference_steps")).text
    assert "write 7.5 with a point" not in whole


async def test_the_form_starts_from_a_run(client: httpx.AsyncClient, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded", seed=77, inputs={"subject": "owl"})
    text = (await client.get(f"{FORM.format(pipeline.id)}?run={run.id}&x=s3-factor")).text
    assert 'value="77"' in text
    assert 'value="owl"' in text
    assert '<option value="s3-factor" selected>' in text


async def test_too_many_runs_are_said_on_the_form(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    await db.execute(
        """INSERT INTO runs (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, seed)
           SELECT $1, $2, $3, n, 'k' || n, '', 1 FROM generate_series(1, 499) n""",
        pipeline.id,
        pipeline.version_id,
        pipeline.owner_id,
    )
    asked = await plan(pipeline, s2_guidance_scale="1, 2")
    sent = {"x": "s2-guidance_scale", "x-values": "1, 2", "seed": "5", "do": "run", "seen": asked.digest}
    answer = await client.post(FORM.format(pipeline.id), data=sent)
    assert answer.status_code == 429
    assert "These are 2 runs. You have 499 runs that have not ended, and 500 is the most." in answer.text


# the page


async def test_the_page_shows_every_cell_with_its_heads(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s2_num_inference_steps="10, 20, 30", s3_factor="2,4")
    text = (await client.get(f"/grids/{grid_id}")).text
    assert "<h1>Sampling steps × Factor</h1>" in text
    assert "Done, 6 cells" in text
    assert re.findall(r'<th scope="col" dir="auto"><span class="clamp">(\d+)', text) == ["10", "20", "30"]
    assert re.findall(r'<th scope="row" dir="auto"><span class="clamp">(\d+)', text) == ["2", "4"]
    for row in await cells(db, grid_id):
        assert f'href="/runs/{row["id"]}"' in text
    assert 'alt="Sampling steps 30, Factor 4"' in text
    assert "hx-trigger" not in text.split("<main")[1].split("</main")[0]
    # the chart: each step took 0.1 s a pass
    assert 'aria-label="Time by sampling steps: 1.00 seconds at 10 sampling steps, 3.00 at 30 sampling steps"' in text
    assert '<path class="curve" d="M0.0 66.67L50.0 33.33L100.0 0.0"/>' in text


async def test_two_parameters_of_one_name_say_their_step(
    client: httpx.AsyncClient, db: Any, make: Make, ada: Person
) -> None:
    await models.register_all({})
    chain = (steps.TextToImage(prompt="a boat"), steps.Upscale(), steps.Upscale())
    pipeline = await make.pipeline(ada, steps=chain, title="Boats")
    grid_id = await finished(make, pipeline, s2_factor="2,4", s3_factor="2,4")
    await grids.publish(grid_id, ada.id)
    page = (await client.get(f"/grids/{grid_id}")).text
    assert "<h1>Factor, step 2 × Factor, step 3</h1>" in page
    assert "Factor, step 2 across,<br>factor, step 3 down" in page
    assert 'alt="Factor, step 2: 4, Factor, step 3: 2"' in page
    assert "Factor, step 2 × Factor, step 3" in (await client.get("/grids")).text
    [entry] = (await feeds.of_grids(pipeline.id)).entries
    assert entry.title == "Boats: Factor, step 2 × Factor, step 3"
    sheet = await client.get(f"/grids/{grid_id}/sheet.png")
    assert "factor-step-2-factor-step-3-grid.png" in sheet.headers["content-disposition"]
    grid = await grid_pages.read(grid_id, ada.id)
    assert contact_sheet.heads_of(grid)[0][1] == ["Factor, step 3: 2", "Factor, step 3: 4"]


async def test_times_by_size_are_drawn_over_pixels(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s2_width="64, 128")
    text = (await client.get(f"/grids/{grid_id}")).text
    assert "Time by size: 2.00 seconds at 16.4 thousand pixels, 2.00 at 32.8 thousand pixels" in text
    together = """UPDATE step_runs SET receipt = '{"batch": {"size": 4, "position": 0}}'
                  WHERE ordinal = 2 AND (step ->> 'width')::int = 128"""
    await db.execute(together)
    assert "0.50 at 32.8" in (await client.get(f"/grids/{grid_id}")).text, "its share of the call"
    again = await finished(make, pipeline, s2_width="64, 128")
    assert "Time by size: 2.00" in (await client.get(f"/grids/{again}")).text, "as the reused step was measured"


async def test_what_remains_is_told_by_the_pace_so_far(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await start(pipeline, s2_guidance_scale="1..4")
    assert (await grid_pages.read(grid_id, pipeline.owner_id)).left is None
    for name in ("light", "image", "light"):
        [held] = await queue.claim(name, "ann")
        made = [] if name == "light" and held.ordinal == 1 else [Made((await make.artifact()).sha256, 5)]
        await queue.finish(held, made, "a boat" if not made else None, {}, {"run": 1.0})
    await db.execute("UPDATE runs SET started_at = now() - interval '10 s' WHERE state = 'succeeded'")
    left = (await grid_pages.read(grid_id, pipeline.owner_id)).left
    assert left == pytest.approx(30, abs=3)
    assert " s left" in (await client.get(f"/grids/{grid_id}")).text


async def test_a_version_without_guidance_varies_something_else(
    client: httpx.AsyncClient, make: Make, ada: Person
) -> None:
    pipeline = await make.pipeline(ada, steps=(steps.PromptTemplate(template="a {subject}"),), inputs=SUBJECT)
    text = (await client.get(FORM.format(pipeline.id))).text
    assert '<option value="input-subject" selected>' in text
    assert "boat</textarea>" in text.replace("\n", "")


async def test_one_axis_is_a_list_and_texts_are_results(client: httpx.AsyncClient, make: Make, ada: Person) -> None:
    pipeline = await make.pipeline(ada, steps=(steps.PromptTemplate(template="a <b> {subject}"),), inputs=SUBJECT)
    grid_id = await finished(make, pipeline, input_subject="moth\nשלום")
    text = (await client.get(f"/grids/{grid_id}")).text
    assert text.count("a &lt;b&gt; ") == 2
    assert 'dir="auto">שלום</span>' in text
    assert "<table" not in text.split("<main")[1]


async def test_polls_are_304_until_something_changes_and_end_by_themselves(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await start(pipeline, s2_guidance_scale="1, 2")
    page = (await client.get(f"/grids/{grid_id}")).text
    assert 'hx-trigger="every 2s"' in page
    assert '<noscript><meta http-equiv="refresh" content="4"></noscript>' in page
    first = await client.get(f"/grids/{grid_id}/progress", headers=POLL)
    assert first.status_code == 200
    tag = first.headers["hx-ptag"]
    for headers in ({"hx-ptag": tag}, {"if-none-match": f'"{tag}"'}):
        assert (await client.get(f"/grids/{grid_id}/progress", headers=POLL | headers)).status_code == 304
    await queue.claim("light", "ann")
    moved = await client.get(f"/grids/{grid_id}/progress", headers=POLL | {"hx-ptag": tag})
    assert moved.status_code == 200
    assert "Running, 0 %" in moved.text


async def test_the_last_poll_brings_the_whole_without_a_trigger(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s2_guidance_scale="1, 2")
    last = await client.get(f"/grids/{grid_id}/progress", headers=POLL)
    assert last.headers["hx-retarget"] == "#grid"
    assert "Publish" in last.text
    assert "hx-trigger" not in last.text
    gone = await client.get(f"/grids/{uuid4()}/progress", headers=POLL)
    assert (gone.status_code, gone.headers["hx-refresh"]) == (404, "true")


async def test_stopped_and_failed_cells_say_so(client: httpx.AsyncClient, make: Make, pipeline: Pipeline) -> None:
    grid_id = await start(pipeline, s2_guidance_scale="1, 2, 3")
    [held] = await queue.claim("light", "ann")
    await queue.fail(held, "broken", "The <model> is gone")
    question = (await client.get(f"/grids/{grid_id}/cancellation")).text
    assert "Stop this grid?" in question
    answer = await client.post(f"/grids/{grid_id}/cancellation")
    assert answer.headers["location"] == f"/grids/{grid_id}"
    text = (await client.get(f"/grids/{grid_id}")).text
    assert "0 of 3 done, 1 failed, 2 stopped" in text
    assert "The &lt;model&gt; is gone" in text
    assert "Run 3 cells again" in text
    assert "Contact sheet" not in text
    assert (await client.get(f"/grids/{grid_id}/sheet.png")).status_code == 404
    assert (await client.get(f"/grids/{grid_id}/cancellation")).status_code == 303
    await client.post(f"/grids/{grid_id}/retry")
    assert "Waiting" in (await client.get(f"/grids/{grid_id}")).text


async def test_others_see_published_cells_only(
    client: httpx.AsyncClient, clients: Any, db: Any, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s2_guidance_scale="1, 2")
    await client.post(f"/grids/{grid_id}/publication", data={"published": "1"})
    hidden = (await cells(db, grid_id))[0]["id"]
    await runs.unpublish(hidden, pipeline.owner_id)
    text = (await clients().get(f"/grids/{grid_id}")).text
    assert str(hidden) not in text
    assert "Not published" in text
    assert "1 of 2 done" in text
    for words in ("Make private", "again", 'id="stop"'):
        assert words not in text.split("<main")[1]


async def test_the_page_takes_two_queries_however_many_cells(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline, queries: Any
) -> None:
    grid_id = await finished(make, pipeline, s2_num_inference_steps="1..8", s3_factor="2,4")
    with queries:
        await grid_pages.read(grid_id, pipeline.owner_id)
    assert queries.count == 2, queries
    with queries:
        await client.get(f"/grids/{grid_id}")
    assert queries.count <= 3, queries


async def test_a_list_of_grids_is_one_query_and_pages_meet(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline, queries: Any
) -> None:
    made = [await finished(make, pipeline, s3_factor="2,4") for _ in range(3)]
    for grid_id in made[:2]:
        await grids.publish(grid_id, pipeline.owner_id)
    with queries:
        first = await grid_pages.of_pipeline(pipeline.id, pipeline.owner_id, limit=2)
    assert queries.count == 1, queries
    second = await grid_pages.of_pipeline(pipeline.id, pipeline.owner_id, first.next, limit=2)
    assert {line.id for line in (*first.grids, *second.grids)} == set(made)
    assert second.next is None
    assert [line.id for line in (await grid_pages.of_pipeline(pipeline.id, None)).grids] == [made[1], made[0]]
    assert (await client.get("/grids?after=nonsense")).status_code == 404
    assert (await client.get(f"/pipelines/{pipeline.id}/grids?after=x")).status_code == 404


async def test_the_pipelines_page_lists_its_grids(
    clients: Any, client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, s3_factor="2,4")
    visitor = clients()
    for path in (f"/pipelines/{pipeline.id}", f"/pipelines/{pipeline.id}/grids"):
        assert f"/grids/{grid_id}" in (await client.get(path)).text
        assert f"/grids/{grid_id}" not in (await visitor.get(path)).text
    await grids.publish(grid_id, pipeline.owner_id)
    for path in (f"/pipelines/{pipeline.id}", f"/pipelines/{pipeline.id}/grids"):
        assert f"/grids/{grid_id}" in (await visitor.get(path)).text


# what can be taken along


async def test_the_contact_sheet_is_a_labeled_picture(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    grid_id = await finished(make, pipeline, stored=True, s2_num_inference_steps="10, 20, 30", s3_factor="2,4")
    answer = await client.get(f"/grids/{grid_id}/sheet.png")
    assert answer.headers["content-type"] == "image/png"
    assert 'filename="night-boats-sampling-steps-factor-grid.png"' in answer.headers["content-disposition"]
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.size == (140 + 3 * 136, 72 + 2 * 136)
        assert sheet.text["Source"].endswith(f"/grids/{grid_id}")  # type: ignore[attr-defined]
        assert "trainedAlgorithmicMedia" in sheet.text["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
        assert sheet.getpixel((140 + 64, 72 + 64)) != sheet.getpixel((140 + 132, 72 + 64)), "a picture on paper"
        heads = sheet.crop((140, 50, sheet.width, 70)).getcolors()
        assert heads is not None
        assert len(heads) > 1, "letters above the columns"
    same = await client.get(f"/grids/{grid_id}/sheet.png", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    "words", ["東京の夜\n東京の朝", "سماء زرقاء\nبحر", "a cat \U0001f408\na dog \U0001f415", "owl\nmoth"]
)
async def test_heads_are_drawn_in_letters_that_there_are(
    client: httpx.AsyncClient, make: Make, ada: Person, words: str
) -> None:
    """Whatever fonts the machine has: no box stands for a letter, and what is left out is in the file."""
    await models.register_all({})
    pipeline = await make.pipeline(ada, steps=(steps.TextToImage(prompt="x"),), title="東京", inputs=SUBJECT)
    grid_id = await finished(make, pipeline, input_subject=words, s1_guidance_scale="1, 2")
    grid = await grid_pages.read(grid_id, pipeline.owner_id)
    heads, lacking = contact_sheet.heads_of(grid)
    assert len(set(heads[0])) == 2, "told apart"
    for head in (*heads[0], *heads[1]):
        assert contact_sheet.drawable(head) == head
    with Image.open(io.BytesIO((await client.get(f"/grids/{grid_id}/sheet.png")).content)) as sheet:
        told = sheet.text.get("Description", "")  # type: ignore[attr-defined]
    assert told == "\n".join(lacking)
    for place, word in enumerate(words.split("\n"), 1):
        if f"subject ({place})" in heads[0][place - 1]:
            assert f"subject ({place}): {word}" in lacking


async def test_long_heads_of_low_rows_stay_beside_their_row(
    client: httpx.AsyncClient, db: Any, make: Make, ada: Person
) -> None:
    await models.register_all({})
    pipeline = await make.pipeline(ada, steps=(steps.TextToImage(prompt="x"),), inputs=SUBJECT)
    words = "\n".join("word " * 60 + str(n) for n in range(2))
    grid_id = await finished(make, pipeline, s1_guidance_scale="1, 2", input_subject=words)
    await db.execute("UPDATE artifacts SET height = 64")
    with Image.open(io.BytesIO((await client.get(f"/grids/{grid_id}/sheet.png")).content)) as sheet:
        assert sheet.size == (140 + 2 * 136, 72 + 2 * 72)
        beside = sheet.crop((0, 72, 132, 72 + 64)).getcolors()
        between = sheet.crop((0, 72 + 64, 132, 72 + 71)).getcolors()
    assert beside is not None
    assert len(beside) > 1
    assert between == [(132 * 7, (253, 251, 245))], "paper alone between the heads of two rows"


@pytest.mark.parametrize("lost", ["object", "text"])
async def test_a_sheet_holds_what_there_is(
    client: httpx.AsyncClient, db: Any, make: Make, ada: Person, pipeline: Pipeline, lost: str
) -> None:
    if lost == "text":
        words = "\n".join("word " * 200 + str(n) for n in range(5))
        pipeline = await make.pipeline(ada, steps=(steps.PromptTemplate(template="{subject}"),), inputs=SUBJECT)
        grid_id = await finished(make, pipeline, input_subject=words)
    else:
        grid_id = await finished(make, pipeline, s2_guidance_scale="1..5")
        await db.execute("UPDATE runs SET state = 'failed' WHERE number = 2")
    answer = await client.get(f"/grids/{grid_id}/sheet.png")
    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.content)) as sheet:
        assert sheet.width > 3 * 96


async def test_a_grids_feeds_have_its_results(clients: Any, make: Make, pipeline: Pipeline) -> None:
    grid_id = await finished(make, pipeline, s2_guidance_scale="1, 2, 3")
    visitor = clients()
    assert (await visitor.get(f"/grids/{grid_id}/feed.atom")).status_code == 404
    await grids.publish(grid_id, pipeline.owner_id)
    for kind in ("rss", "atom"):
        feed = feedparser.parse((await visitor.get(f"/grids/{grid_id}/feed.{kind}")).text)
        assert not feed.bozo
        assert len(feed.entries) == 3
        assert feed.feed.title == "Night boats · Grid"
    items = (await visitor.get(f"/grids/{grid_id}/feed.json")).json()["items"]
    assert {item["url"].split("/")[-2] for item in items} == {"runs"}
    page = (await visitor.get(f"/grids/{grid_id}")).text
    assert f'href="/grids/{grid_id}/feed.rss"' in page


async def test_a_pipelines_grids_are_a_feed_too(clients: Any, make: Make, pipeline: Pipeline) -> None:
    made = [await finished(make, pipeline, s2_guidance_scale="1, 2", s3_factor="2,4") for _ in range(2)]
    for grid_id in made:
        await grids.publish(grid_id, pipeline.owner_id)
    await finished(make, pipeline, s2_guidance_scale="3, 4")
    visitor = clients()
    for kind in ("rss", "atom"):
        feed = feedparser.parse((await visitor.get(f"/pipelines/{pipeline.id}/grids.{kind}")).text)
        assert not feed.bozo
        assert [entry.link.rsplit("/", 1)[1] for entry in feed.entries] == [str(made[1]), str(made[0])]
    items = (await visitor.get(f"/pipelines/{pipeline.id}/grids.json")).json()["items"]
    assert [item["title"] for item in items] == ["Night boats: Guidance × Factor"] * 2
    assert f'href="/pipelines/{pipeline.id}/grids.rss"' in (await visitor.get(f"/pipelines/{pipeline.id}")).text
    first = await feeds.of_grids(pipeline.id, limit=1)
    second = await feeds.of_grids(pipeline.id, first.next, limit=1)
    assert [page.entries[0].id for page in (first, second)] == [made[1], made[0]]
