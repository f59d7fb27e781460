"""Texts from a server that speaks OpenAI's protocol: ours, on loopback, asked by a real worker and the real client."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.response import Stream

from domain import models, runs, steps
from domain.config import Config, ConfigError, endpoint_key
from domain.errors import Invalid
from tasks.context import Away, Context
from tasks.loading import Models
from tasks.messages import FromEngine, Job, Member, ModelRef
from tests import worker as w
from tests.bench.processes import free_port
from tests.make import Make

KEY = "a-key-that-nobody-else-may-see"
ASKED = steps.TextToText(prompt="a boat", model="there", max_new_tokens=50)
SLOW = 600
"""Pieces of an answer that takes a minute."""


class There:
    """What the server was asked, and with which key."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.answers: list[int] = []
        """Statuses of the next answers; 200 when none is left."""
        self.url = ""


def _part(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    part = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "small-1", "choices": [choice]}
    return b"data: " + msgspec.json.encode(part) + b"\n\n"


async def _spoken(asked: dict[str, Any]) -> AsyncIterator[bytes]:
    prompt = asked["messages"][-1]["content"]
    if prompt == "only think":
        for _ in range(5):
            yield _part("")
        return
    for number in range(SLOW if prompt == "slowly" else 4):
        yield _part(f"piece {number} ")
        await asyncio.sleep(0.1 if prompt == "slowly" else 0)
    yield _part(f"of {prompt}\0")
    yield b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def there() -> Iterator[There]:
    """The server, in a thread of its own."""
    told = There()
    port = free_port()

    @post("/v1/chat/completions")
    async def complete(request: Request[Any, Any, Any]) -> Response[Any]:
        told.asked.append(await request.json())
        told.keys.append(request.headers.get("authorization", ""))
        status = told.answers.pop(0) if told.answers else 200
        if status == 307:
            return Response(None, status_code=307, headers={"Location": f"http://localhost:{port}/v1/chat/completions"})
        if status != 200:
            words = f"no, {KEY}" if status in (401, 402) else "too long"
            return Response({"error": {"message": words}}, status_code=status)
        return Stream(_spoken(told.asked[-1]), media_type="text/event-stream", status_code=200)

    server = uvicorn.Server(uvicorn.Config(Litestar([complete]), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    told.url = f"http://127.0.0.1:{port}/v1#small-1"
    yield told
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def site(config: Config, there: There, tmp_path_factory: pytest.TempPathFactory) -> Iterator[w.Process]:
    """A dispatcher, and a worker that has the key."""
    folder = tmp_path_factory.mktemp("worker")
    extra = {"ENDPOINTS": f"there={there.url}", "ENDPOINT_KEYS": f"other=x, there={KEY}"}
    with w.dispatcher(config, folder), w.worker(config, folder, **extra) as process:
        yield process


@pytest.fixture
async def ready(db: Any, site: w.Process, there: There) -> None:
    """Tables are empty again; the model is in the registry."""
    there.asked.clear()
    there.keys.clear()
    there.answers.clear()
    await models.register_endpoint("there", there.url)


@pytest.mark.usefixtures("ready")
async def test_it_asks_as_the_step_says_and_keeps_the_answer(make: Make, there: There, site: w.Process) -> None:
    step = steps.TextToText(
        system="be kind", prompt="a {thing}", model="there", temperature=0.5, top_p=0.9, stop="end | stop", seed=8,
        max_new_tokens=60,
    )  # fmt: skip
    pipeline = await make.pipeline(steps=[step], inputs=[steps.Input(name="thing", default="boat")])
    state, (row,) = await w.ended(await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert row["output_text"] == "piece 0 piece 1 piece 2 piece 3 of a boat"
    (asked,) = there.asked
    assert asked.pop("messages") == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "a boat"}]
    assert asked == {
        "model": "small-1", "max_tokens": 60, "temperature": 0.5, "top_p": 0.9, "stop": ["end", "stop"], "seed": 8,
        "stream": True,
    }  # fmt: skip
    assert there.keys == [f"Bearer {KEY}"]
    assert row["receipt"]["device"] == there.url.split("/")[2]
    assert "openai" in row["receipt"]["versions"]
    assert KEY not in str(dict(row))
    assert KEY not in site.log.read_text()


@pytest.mark.usefixtures("ready")
async def test_a_known_answer_is_asked_for_once(make: Make, there: There) -> None:
    pipeline = await make.pipeline(steps=[ASKED])
    await w.ended(await w.accept(pipeline))
    _, (row,) = await w.ended(await w.accept(pipeline, afresh=False))
    assert (row["state"], len(there.asked)) == ("reused", 1)


@pytest.mark.usefixtures("ready")
async def test_a_server_that_is_busy_is_asked_again(make: Make, there: There) -> None:
    there.answers[:] = [429]
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[ASKED])))
    assert (state, row["retry_count"], len(there.asked)) == ("succeeded", 1, 2)


@pytest.mark.usefixtures("ready")
async def test_what_it_refuses_is_told_and_not_tried_again(make: Make, there: There) -> None:
    there.answers[:] = [400]
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[ASKED])))
    assert (state, row["error_message"]) == ("failed", "The model “there” refused: too long")
    assert len(there.asked) == 1


@pytest.mark.parametrize(("status", "words"), [(401, "is not accepted"), (402, "refused: 402")])
@pytest.mark.usefixtures("ready")
async def test_a_reason_is_told_without_the_key(
    make: Make, there: There, site: w.Process, status: int, words: str
) -> None:
    there.answers[:] = [status]
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[ASKED])))
    assert state == "failed"
    assert words in row["error_message"]
    assert KEY not in row["error_message"]
    assert KEY not in site.log.read_text()


@pytest.mark.usefixtures("ready")
async def test_it_shows_what_comes_and_stops_in_the_middle(make: Make) -> None:
    pipeline = await make.pipeline(steps=[steps.TextToText(prompt="slowly", model="there", max_new_tokens=SLOW)])
    run_id = await w.accept(pipeline)
    seen = await w.shown(run_id, pipeline.owner_id)
    assert (seen.preview_text or "").startswith("piece 0 piece 1")
    await runs.cancel(run_id, pipeline.owner_id)
    state, (row,) = await w.ended(run_id)
    assert (state, row["output_text"]) == ("cancelled", None)


@pytest.mark.usefixtures("ready")
async def test_it_goes_to_no_other_host_and_takes_no_more_than_was_asked_for(make: Make, there: There) -> None:
    there.answers[:] = [307]
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[ASKED])))
    assert (state, len(there.asked)) == ("failed", 1)
    assert "refused" in row["error_message"]
    short = steps.TextToText(prompt="slowly", model="there", max_new_tokens=3)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[short])))
    assert (state, row["output_text"]) == ("succeeded", "piece 0 piece 1 piece 2")
    assert row["receipt"]["parameters"]["tokens"] == 3


@pytest.mark.usefixtures("ready")
async def test_an_answer_without_words_is_no_result(make: Make) -> None:
    step = steps.TextToText(prompt="only think", model="there")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "failed"
    assert row["error_message"] == "The model wrote nothing. Try another seed, or let it write more."


def test_a_worker_without_the_key_leaves_it_to_others(there: There) -> None:
    there.answers[:] = [401]
    ref = ModelRef("keyless", there.url, "r")
    ctx = Context(Job(id="x", members=[Member(step={})], model=ref), Models("cpu"), lambda _: None, lambda _: True)
    with pytest.raises(Away):
        ctx.model().pipe.write(ASKED, ctx)


def test_nobody_there_is_worth_another_try() -> None:
    ref = ModelRef("there", f"http://127.0.0.1:{free_port()}/v1#small-1", "r")
    said: list[FromEngine] = []
    ctx = Context(Job(id="x", members=[Member(step={})], model=ref), Models("cpu"), said.append, lambda _: True)
    with pytest.raises(Away, match="there did not answer"):
        ctx.model().pipe.write(ASKED, ctx)


async def test_it_is_registered_by_its_address(db: Any, client: httpx.AsyncClient) -> None:
    found = await models.register_endpoint("there", "https://api.example/v1#small-1")
    assert (found.family, found.kinds, found.host) == ("endpoint", ["text_to_text"], "api.example")
    other = await models.register_endpoint("there", "https://api.example/v1#small-2")
    assert other.revision != found.revision
    assert models.fault(other, {}) == ""
    page = (await client.get("/models")).text
    assert "<dt>Runs at</dt><dd>api.example</dd>" in page
    assert "leaves this site" in page
    with pytest.raises(Invalid):
        await models.register_endpoint("no spaces", "https://api.example/v1#small-1")


async def test_forms_say_where_the_words_go(
    client: httpx.AsyncClient, make: Make, log_in: Callable[..., Awaitable[Any]], db: Any
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    await models.register_endpoint("there", "https://api.example/v1#small-1")
    pipeline = await make.pipeline(ada, steps=[ASKED])
    form = (await client.get(f"/pipelines/{pipeline.id}/versions/1/runs")).text
    assert "is sent to <bdi>api.example</bdi>, outside this site" in form
    assert (
        "<dt>Prompts go to</dt><dd><bdi>api.example</bdi></dd>"
        in (await client.get(f"/pipelines/{pipeline.id}/edit")).text
    )
    plain = await make.pipeline(ada, steps=[steps.PromptTemplate(template="a boat")])
    assert "outside this site" not in (await client.get(f"/pipelines/{plain.id}/versions/1/runs")).text


ENV = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x", "S3_URL": "http://k:s@h/b", "SECRET_KEY": "s" * 32}


def test_endpoints_are_read_from_the_environment() -> None:
    given = "text=https://api.example/v1#small-1, here=http://127.0.0.1:8080/v1#a/b"
    found = Config.from_env({**ENV, "ENDPOINTS": given}).endpoints
    assert found == {"text": "https://api.example/v1#small-1", "here": "http://127.0.0.1:8080/v1#a/b"}
    assert endpoint_key("here", {"ENDPOINT_KEYS": "text=a=b, here=c"}) == "c"
    assert endpoint_key("text", {"ENDPOINT_KEYS": "text=a=b, here=c"}) == "a=b"
    assert endpoint_key("other", {}) == ""


@pytest.mark.parametrize(
    "given",
    [
        "text",
        "starter=https://x/v1#m",
        "text=ftp://x/v1#m",
        "text=https://x/v1",
        "te xt=https://x/v1#m",
        "text=https://k:s@x/v1#m",
    ],
)
def test_a_wrong_endpoint_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(ConfigError, match="ENDPOINTS") as refused:
        Config.from_env({**ENV, "ENDPOINTS": given})
    assert "k:s" not in str(refused.value)
