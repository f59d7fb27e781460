"""The run page in every state, its polls, and the forms around it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from litestar import Request

from domain import events, services, steps
from domain.people import Person
from tests.make import Make, Pipeline, Run, png
from tests.queries import Queries
from web import unchanged

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
POLL = {"HX-Request": "true", "HX-Request-Type": "partial"}
TWO = (
    steps.PromptTemplate(template="a {subject}", title="Write it"),
    steps.TextToImage(prompt="{text} at <b>dawn</b>", width=192, height=128),
)
INPUTS = (
    steps.Input(name="subject", default="boat"),
    steps.Input(name="light", kind="choice", default="fog", choices=["fog", "snow"]),
)


@pytest.fixture
async def ada(client: httpx.AsyncClient, make: Make, log_in: LogIn) -> Person:
    person = await make.person("ada")
    await log_in(client, person)
    return person


@pytest.fixture
async def pipeline(make: Make, ada: Person) -> Pipeline:
    await services.announce("worker:1", ["light", "image"], "cpu")
    return await make.pipeline(ada, steps=TWO, inputs=INPUTS, title="Fog & boats")


async def _set(db: Any, step_run_id: UUID, **columns: Any) -> None:
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
    await db.execute(f"UPDATE step_runs SET {sets} WHERE id = $1", step_run_id, *columns.values())


async def _get(client: httpx.AsyncClient, path: str, **headers: str) -> str:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


def _headline(page: str) -> str:
    found = re.search(r'<h1 id="headline">([^<]*)</h1>', page)
    assert found
    return found[1]


# states


async def test_queued_says_the_place_and_reloads_without_javascript(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    await make.run(pipeline)
    run = await make.run(pipeline)
    page = await _get(client, f"/runs/{run.id}")
    assert _headline(page) == "Waiting, second in the queue"
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in page
    assert 'hx-trigger="every 1s"' in page
    assert f'action="/runs/{run.id}/cancellation"' in page
    assert "waits for step 1" in page
    assert "Fog &amp; boats" in page


async def test_running_shows_passes_preview_and_time(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="running")
    await db.execute(
        """UPDATE step_runs SET state = 'succeeded', lease_until = NULL, finished_at = now(), output_text = 'a boat'
           WHERE id = $1""",
        run.step_runs[0],
    )
    await db.execute(
        """UPDATE step_runs SET state = 'running', attempt = 1, phase = 'running', progress = 12, progress_total = 20,
           started_at = now() - interval '6 s', progress_at = now(), lease_until = now() + interval '30 s'
           WHERE id = $1""",
        run.step_runs[1],
    )
    await db.execute(
        "INSERT INTO previews (step_run_id, done, media_type, data) VALUES ($1, 12, 'image/png', $2)",
        run.step_runs[1],
        png(),
    )
    page = await _get(client, f"/runs/{run.id}")
    assert _headline(page) == "Drawing, 60 %"
    assert 'value="60"' in page
    assert "12 of 20" in page
    assert "about 4 s left" in page
    assert "The finished picture will be 192 × 128." in page
    assert "a boat" in page
    assert "Step 2 of 2, draw, has started" in page
    source = f"/runs/{run.id}/previews/{run.step_runs[1]}"
    assert f'src="{source}?pass=12"' in page
    picture = await client.get(source)
    assert picture.content == png()
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("phase", "attempt", "words"),
    [("loading", 1, "Writing the prompt: loading the model"), ("saving", 2, "Writing the prompt: saving the result")],
)
async def test_phases_are_named(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline, phase: str, attempt: int, words: str
) -> None:
    run = await make.run(pipeline, state="running")
    await _set(db, run.step_runs[0], phase=phase, attempt=attempt)
    page = await _get(client, f"/runs/{run.id}")
    assert _headline(page) == words
    assert (f"attempt {attempt}" in page) == (attempt > 1)


async def test_failed_says_where_why_and_what_to_do(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="failed")
    await _set(db, run.step_runs[0], error_message="The <list> is gone")
    page = await _get(client, f"/runs/{run.id}")
    assert _headline(page) == "Failed in step 1"
    assert "The &lt;list&gt; is gone" in page
    assert "Run again from step 1" in page
    assert "every 1s" not in page
    assert "http-equiv" not in page
    answer = await client.post(f"/runs/{run.id}/retry")
    assert answer.headers["location"] == f"/runs/{run.id}"
    assert _headline(await _get(client, f"/runs/{run.id}")).startswith("Trying again")


async def test_stopped_and_stopping(client: httpx.AsyncClient, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="running")
    question = await _get(client, f"/runs/{run.id}/cancellation")
    assert "Stop this run?" in question
    answer = await client.post(f"/runs/{run.id}/cancellation")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.id}")
    page = await _get(client, f"/runs/{run.id}")
    assert _headline(page) == "Stopping"
    assert 'data-dialog="stop"' not in page
    assert _headline(await _get(client, f"/runs/{(await make.run(pipeline, state='cancelled')).id}")) == "Stopped"


async def test_a_stop_that_comes_late_shows_what_became_of_the_run(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="succeeded")
    answer = await client.post(f"/runs/{run.id}/cancellation")
    page = await _get(client, answer.headers["location"])
    assert "ended before it could be stopped" in page
    assert (await client.get(f"/runs/{run.id}/cancellation")).status_code == 303


async def test_done_shows_the_result_and_how_it_was_made(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="succeeded", seed=90210774, inputs={"subject": "moth"})
    await _set(db, run.step_runs[1], resolved={"prompt": "a moth at <b>dawn</b>", "seed": 90210774})
    page = await _get(client, f"/runs/{run.id}")
    await _set(
        db,
        run.step_runs[1],
        receipt={"model_revision": "6c94" * 16, "versions": {"torch": "2.13"}, "device": "cpu", "dtype": "float32"},
        timings={"run": 2.04, "load": 0.0},
    )
    page = await _get(client, f"/runs/{run.id}")
    for words in ("sha256 6c946c946c946c94…", "torch 2.13", "cpu float32", "2.0 s running"):
        assert words in page
    assert "loading" not in page
    sha256 = await db.fetchval("SELECT sha256 FROM outputs WHERE step_run_id = $1", run.step_runs[1])
    assert _headline(page) == "Done in 2.0 s"
    assert f"/artifacts/{sha256}/320" in page
    assert f"/artifacts/{sha256}?download=fog-boats-run-1" in page
    assert "a moth at &lt;b&gt;dawn&lt;/b&gt;" in page
    assert "90\u202f210\u202f774" in page
    assert "moth" in page
    assert "every 1s" not in page


async def test_a_text_is_a_result_too(client: httpx.AsyncClient, make: Make, ada: Person) -> None:
    pipeline = await make.pipeline(ada, steps=[steps.PromptTemplate(template="three lines of fog")])
    run = await make.run(pipeline, state="succeeded")
    page = await _get(client, f"/runs/{run.id}")
    assert page.count("three lines of fog") == 2, "what was asked and what came of it"
    assert "The text of step 1." in page


# polls


async def test_an_unchanged_poll_is_304_by_tag_and_by_etag(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="running")
    path = f"/runs/{run.id}/progress"
    page = await _get(client, f"/runs/{run.id}")
    tag = re.search(r'hx-ptag="([0-9a-f]+)"', page)
    assert tag
    assert (await client.get(path, headers={**POLL, "HX-PTag": tag[1]})).status_code == 304
    first = await client.get(path, headers=POLL)
    assert first.headers["hx-ptag"] == tag[1]
    again = await client.get(path, headers={**POLL, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    await _set(db, run.step_runs[0], progress=1, progress_total=2)
    changed = await client.get(path, headers={**POLL, "HX-PTag": tag[1]})
    assert changed.status_code == 200
    assert changed.headers["hx-ptag"] != tag[1]


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unchanged polls are answered from memory, as on a site."""
    monkeypatch.setattr(unchanged, "AGE", 30.0)


async def _poll(client: httpx.AsyncClient, run: Run, tag: str = "") -> httpx.Response:
    return await client.get(f"/runs/{run.id}/progress", headers={**POLL, "HX-PTag": tag} if tag else POLL)


async def _changed(client: httpx.AsyncClient, run: Run, tag: str) -> httpx.Response:
    """The first poll that is not 304 any more."""
    for _ in range(250):
        answer = await _poll(client, run, tag)
        if answer.status_code != 304:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError("the poll never learned of the change")


@pytest.mark.usefixtures("remembering")
async def test_an_unchanged_poll_asks_the_database_nothing_until_the_run_changes(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline, queries: Queries
) -> None:
    run = await make.run(pipeline, state="running")
    tag = (await _poll(client, run)).headers["hx-ptag"]
    assert (await _poll(client, run, tag)).status_code == 304
    with queries:
        again = await _poll(client, run, tag)
    assert (again.status_code, again.headers["hx-ptag"], queries.count) == (304, tag, 0)
    assert "content-security-policy" in again.headers
    await _set(db, run.step_runs[0], progress=1, progress_total=2)
    changed = await _changed(client, run, tag)
    tag = changed.headers["hx-ptag"]
    assert (await _poll(client, run, tag)).status_code == 304
    await db.execute(
        "INSERT INTO previews (step_run_id, done, media_type, data) VALUES ($1, 1, 'image/webp', 'a')", run.step_runs[0]
    )
    assert (await _changed(client, run, tag)).status_code == 200


@pytest.mark.usefixtures("remembering")
async def test_a_place_in_the_queue_is_told_when_another_run_moves(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    first, second = await make.run(pipeline), await make.run(pipeline)
    tag = (await _poll(client, second)).headers["hx-ptag"]
    assert (await _poll(client, second, tag)).status_code == 304
    await _set(db, first.step_runs[0], state="cancelled")
    await events.note(first.id, "cancelled")
    assert "first in the queue" in (await _changed(client, second, tag)).text


@pytest.mark.usefixtures("remembering")
async def test_what_is_remembered_is_for_one_session_alone(
    client: httpx.AsyncClient, clients: Any, app: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="running")
    tag = (await _poll(client, run)).headers["hx-ptag"]
    assert (await _poll(client, run, tag)).status_code == 304
    assert (await _poll(clients(), run, tag)).status_code == 404
    assert app.state.unchanged.answer(_request(app, client, run, tag)) is not None
    assert app.state.unchanged.answer(_request(app, client, run, "another tag")) is None


@pytest.mark.usefixtures("remembering")
async def test_who_cannot_hear_of_changes_remembers_nothing(
    client: httpx.AsyncClient, app: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="running")
    tag = (await _poll(client, run)).headers["hx-ptag"]
    memory = app.state.unchanged
    try:
        memory._ended()
        assert (await _poll(client, run, tag)).status_code == 304
        assert memory.answer(_request(app, client, run, tag)) is None
        memory._began()
        look = memory.look(str(run.id))
        memory._hear(str(run.id))
        memory.remember(look, str(run.id), "a token", tag, queued=False)
        assert not memory._answers.get(str(run.id)), "it changed while it was read"
    finally:
        memory._began()


def _request(app: Any, client: httpx.AsyncClient, run: Run, tag: str) -> Request[Any, Any, Any]:
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    return Request(
        {
            "type": "http", "method": "GET", "path": f"/runs/{run.id}/progress", "litestar_app": app, "state": {},
            "headers": [(b"cookie", cookie.encode()), (b"hx-ptag", tag.encode())], "query_string": b"",
        }  # type: ignore[arg-type]
    )  # fmt: skip


async def test_a_poll_swaps_the_steps_and_the_parts_beside_them(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="running")
    answer = await client.get(f"/runs/{run.id}/progress", headers=POLL)
    assert "<html" not in answer.text
    assert answer.text.count('id="steps"') == 1
    for target in ("#headline", "#announcement", "#preview"):
        assert f'hx-target="{target}"' in answer.text
    assert 'hx-trigger="every 1s"' in answer.text
    assert "hx-retarget" not in answer.headers
    assert len(answer.content) < 8_000
    assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
async def test_the_last_poll_brings_the_result_and_no_trigger(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline, state: str
) -> None:
    run = await make.run(pipeline, state=state)
    answer = await client.get(f"/runs/{run.id}/progress", headers=POLL)
    assert (answer.status_code, answer.headers["hx-retarget"]) == (200, "#run")
    assert 'id="run"' in answer.text
    assert "hx-trigger" not in answer.text
    assert "hx-get" not in answer.text


async def test_a_poll_is_private(client: httpx.AsyncClient, clients: Any, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="running")
    await make.pipeline()
    stranger = clients()
    for path in (
        f"/runs/{run.id}",
        f"/runs/{run.id}/progress",
        f"/runs/{run.id}/previews/{run.step_runs[0]}",
        f"/runs/{uuid4()}",
    ):
        answer = await stranger.get(path)
        assert answer.status_code == 404, path
    gone = await stranger.get(f"/runs/{uuid4()}")
    private = await stranger.get(f"/runs/{run.id}")
    plain = re.compile(r"request [0-9a-f]+|value=\"[0-9a-f-]+\"|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{64}")
    assert plain.sub("", gone.text) == plain.sub("", private.text)


async def test_a_poll_for_a_run_that_is_gone_loads_the_page_again(
    client: httpx.AsyncClient, clients: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="running")
    answer = await clients().get(f"/runs/{run.id}/progress", headers=POLL)
    assert (answer.status_code, answer.headers["hx-refresh"]) == (404, "true")


async def test_a_published_run_is_for_everybody_but_its_forms_are_not(
    client: httpx.AsyncClient, clients: Any, make: Make, pipeline: Pipeline
) -> None:
    run = await make.run(pipeline, state="succeeded", published=True)
    page = await _get(clients(), f"/runs/{run.id}")
    assert "Run it yourself" in page
    assert "/publication" not in page
    assert "What happened" not in page
    assert "Make private" in await _get(client, f"/runs/{run.id}")


async def test_publish_shows_a_private_pipeline_along_with_its_run(
    client: httpx.AsyncClient, make: Make, ada: Person
) -> None:
    private = await make.pipeline(ada, visibility="private")
    run = await make.run(private, ada, state="succeeded")
    page = await _get(client, f"/runs/{run.id}")
    assert "Publish and show the pipeline to everyone" in page
    answer = await client.post(f"/runs/{run.id}/publication", data={"published": "1", "everyone": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.id}")
    assert "Everyone can see this result" in await _get(client, f"/runs/{run.id}")


@pytest.mark.parametrize(("asked", "shown"), [("2", 2), ("9", 1), ("-1", 1)])
async def test_any_picture_of_a_run_stands_large(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline, asked: str, shown: int
) -> None:
    run = await make.run(pipeline, state="succeeded")
    step = run.step_runs[-1]
    await db.execute("INSERT INTO artifacts VALUES ($1, 'image/png', 5, NULL, NULL, NULL, 'stored', now())", "e" * 64)
    await db.execute("INSERT INTO outputs (step_run_id, position, sha256) VALUES ($1, 7, $2)", step, "e" * 64)
    page = await _get(client, f"/runs/{run.id}?output={asked}")
    assert f"Picture {shown} of 2" in page
    assert f'href="/runs/{run.id}?output={shown}" aria-current="true"' in page


# forms


async def test_run_leads_to_the_run_and_a_double_click_to_the_same(
    client: httpx.AsyncClient, db: Any, pipeline: Pipeline
) -> None:
    path = f"/pipelines/{pipeline.id}/versions/1/runs"
    answer = await client.get(path)
    assert answer.headers["cache-control"] == "no-store"
    key = re.search(r'name="key" value="([^"]+)"', answer.text)
    assert key
    form = {"key": key[1], "input-subject": "moth", "input-light": "snow", "seed": "90 210 774"}
    first = await client.post(path, data=form)
    again = await client.post(path, data=form)
    assert first.status_code == again.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    row = await db.fetchrow("SELECT inputs, seed FROM runs")
    assert (row["inputs"], row["seed"]) == ({"subject": "moth", "light": "snow"}, 90210774)
    changed = await client.post(path, data={**form, "input-subject": "fern"})
    assert changed.status_code == 409
    assert 'value="fern"' in changed.text
    assert key[1] not in changed.text
    assert await db.fetchval("SELECT count(*) FROM runs") == 1


async def test_a_repeated_form_leads_to_its_run_though_the_pipeline_was_closed(
    client: httpx.AsyncClient, db: Any, make: Make, ada: Person
) -> None:
    theirs = await make.pipeline(visibility="public")
    path = f"/pipelines/{theirs.id}/versions/1/runs"
    first = await client.post(path, data={"key": "a-key"})
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", theirs.id)
    again = await client.post(path, data={"key": "a-key"})
    assert again.headers["location"] == first.headers["location"]
    assert (await client.post(path, data={"key": "another"})).status_code == 404


async def test_go_on_by_form_once_for_each_end(client: httpx.AsyncClient, db: Any, pipeline: Pipeline) -> None:
    answer = await client.post(f"/pipelines/{pipeline.id}/versions/1/runs", data={})
    run = answer.headers["location"]
    await client.post(f"{run}/cancellation", data={})
    ended = re.search(r'name="ended" value="([^"]+)"', (await client.get(run)).text)
    assert ended
    for state in ("queued", "cancelled"):
        await client.post(f"{run}/retry", data={"ended": ended[1]})
        assert await db.fetchval("SELECT state FROM runs") == state
        if state == "queued":
            await client.post(f"{run}/cancellation", data={})
    assert (await client.post(f"{run}/retry", data={"ended": "yesterday"})).status_code == 422


async def test_run_as_is_needs_no_fields(client: httpx.AsyncClient, db: Any, pipeline: Pipeline) -> None:
    answer = await client.post(f"/pipelines/{pipeline.id}/versions/1/runs", data={})
    assert answer.status_code == 303
    assert await db.fetchval("SELECT inputs FROM runs") == {"subject": "boat", "light": "fog"}


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.5", "red", "9" * 30, "٣"])
async def test_a_seed_out_of_range_keeps_what_was_typed(
    client: httpx.AsyncClient, db: Any, pipeline: Pipeline, seed: str
) -> None:
    form = {"seed": seed, "input-subject": "a <moth>", "key": "k1"}
    answer = await client.post(f"/pipelines/{pipeline.id}/versions/1/runs", data=form)
    assert answer.status_code == 422
    assert "From 0 to 4,294,967,295" in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert f'value="{seed}"' in answer.text
    assert 'value="a &lt;moth&gt;"' in answer.text
    assert 'value="k1"' in answer.text
    assert await db.fetchval("SELECT count(*) FROM runs") == 0


async def test_input_errors_stand_beside_their_fields(client: httpx.AsyncClient, pipeline: Pipeline) -> None:
    path = f"/pipelines/{pipeline.id}/versions/1/runs"
    answer = await client.post(path, data={"input-light": "rain", "input-subject": "x" * 2_001})
    assert answer.status_code == 422
    assert "At most 2,000 characters" in answer.text
    assert "Choose one of: fog, snow" in answer.text
    unknown = await client.post(path, data={"input-nothing": "x"})
    assert unknown.status_code == 422
    assert "nothing: This pipeline has no such input" in unknown.text
    assert (await client.post(path, data={"surprise": "x"})).status_code == 422


@pytest.mark.parametrize("body", [b"input-subject=a%00b", b"input-subject=%ED%A0%80", b"seed=%00"])
async def test_text_that_cannot_be_stored_is_refused(
    client: httpx.AsyncClient, pipeline: Pipeline, body: bytes
) -> None:
    answer = await client.post(
        f"/pipelines/{pipeline.id}/versions/1/runs",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 422


async def test_running_again_fills_the_form_in(client: httpx.AsyncClient, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded", seed=77, inputs={"subject": "moth", "light": "snow"})
    page = await _get(client, f"/pipelines/{pipeline.id}/versions/1/runs?run={run.id}")
    assert 'value="moth"' in page
    assert '<option value="snow" selected>' in page
    assert 'value="77"' in page


async def test_unknown_and_private_versions_are_not_found(
    client: httpx.AsyncClient, make: Make, pipeline: Pipeline
) -> None:
    private = await make.pipeline(visibility="private")
    for path in (
        f"/pipelines/{uuid4()}/versions/1/runs",
        f"/pipelines/{private.id}/versions/1/runs",
        f"/pipelines/{pipeline.id}/versions/2/runs",
        f"/pipelines/{pipeline.id}/versions/99999999999999/runs",
        f"/pipelines/{pipeline.id}/versions/one/runs",
        "/pipelines/none/versions/1/runs",
        f"/pipelines/{pipeline.id}/versions/1/runs?run={uuid4()}",
    ):
        assert (await client.get(path)).status_code == 404, path
        assert (await client.post(path, data={})).status_code in (404, 303), path


async def test_a_visitor_is_asked_to_log_in(clients: Any, pipeline: Pipeline) -> None:
    for path in ("/runs", f"/pipelines/{pipeline.id}/versions/1/runs"):
        answer = await clients().get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=")


async def test_publishing_by_form(client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline) -> None:
    run = await make.run(pipeline, state="succeeded")
    path = f"/runs/{run.id}/publication"
    assert (await client.post(path, data={"published": "1"})).status_code == 303
    assert await db.fetchval("SELECT visibility FROM runs") == "published"
    assert (await client.post(path, data={"published": "0"})).status_code == 303
    assert await db.fetchval("SELECT visibility FROM runs") == "private"
    assert (await client.post(path, data={"published": "2"})).status_code == 422
    assert (await client.post(path, data={})).status_code == 422
    await db.execute("UPDATE pipelines SET visibility = 'private'")
    assert "Only you see this result and its pipeline" in await _get(client, f"/runs/{run.id}")
    answer = await client.post(path, data={"published": "1"})
    assert answer.status_code == 409
    assert "nobody could see this result" in answer.text


async def test_your_runs_are_listed_with_a_link_to_older_ones(
    client: httpx.AsyncClient, db: Any, make: Make, pipeline: Pipeline
) -> None:
    assert "No runs yet" in await _get(client, "/runs")
    for state in ("succeeded", "failed", "queued"):
        await make.run(pipeline, state=state)
    await make.run(pipeline, await make.person())
    page = await _get(client, "/runs")
    assert page.count('class="line"') == 3
    for _ in range(24):
        await make.run(pipeline)
    page = await _get(client, "/runs")
    older = re.search(r'href="(/runs\?after=[^"]+)" rel="next"', page)
    assert older
    assert (await _get(client, older[1])).count('class="line"') == 3
    assert (await client.get("/runs?after=7")).status_code == 404
