"""Texts that are spoken and sounds that are written down, through Redis and dramatiq into a worker, with small models
of random weights."""

import io
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import artifacts, models, runs, steps
from domain.config import Config
from domain.people import Person
from domain.storage import Storage, key_of
from tests import speakers
from tests import worker as w
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
SAID = steps.TextToSpeech(prompt="Hello there. How are you?", model="small", seed=3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights, with three voices."""
    return speakers.vits(tmp_path_factory.mktemp("small") / "model", voices=3)


@pytest.fixture(scope="module")
def site(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[w.Process]:
    """A dispatcher and a worker for this module."""
    folder = tmp_path_factory.mktemp("worker")
    with w.dispatcher(config, folder), w.worker(config, folder, QUEUES="audio,light") as process:
        yield process


def heard(data: bytes) -> tuple[str, int, int, dict[str, str]]:
    """A file's codec, samples a second, samples, and what it says of itself."""
    import av

    with av.open(io.BytesIO(data)) as file:
        stream = file.streams.audio[0]
        count = sum(frame.samples for frame in file.decode(audio=0))
        return stream.codec_context.name, stream.rate, count, {**file.metadata, **stream.metadata}


# through the queue


@pytest.mark.usefixtures("site")
async def test_a_text_is_spoken_into_a_file_that_tells_how(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, small: Path, db: Any
) -> None:
    await models.register("small", small, "Apache-2.0")
    ada = await make.person("ada")
    said = steps.TextToSpeech(prompt="I say: {text}", model="small", voice="1", speed=2.0)
    pipeline = await make.pipeline(ada, steps=[steps.PromptTemplate(template="a boat"), said])
    state, (_, row) = await w.ended(run_id := await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert row["resolved"]["prompt"] == "I say: a boat"
    told = row["receipt"]["parameters"]
    assert (told["sampling_rate"], len(told["peaks"]), told["voice"]) == (16_000, 192, "1")

    (made,) = await w.pictures(row["id"])
    codec, rate, count, inside = heard(await storage.get(key_of(made["sha256"])))
    assert (made["media_type"], made["width"], made["seed"]) == ("audio/wav", None, 5)
    assert (codec, rate, count) == ("pcm_s16le", 16_000, round(told["seconds"] * 16_000))
    receipt = json.loads(inside["comment"].removeprefix("offshoot "))
    assert (receipt["parameters"]["prompt"], receipt["model_revision"]) == (
        "I say: a boat",
        row["receipt"]["model_revision"],
    )

    smaller = await artifacts.renditions(made["sha256"])
    assert list(smaller) == [1, 320, 640, 1280]
    codec, rate, _, inside = heard(await storage.get(key_of(smaller[artifacts.HEARD])))
    assert (codec, rate, "I say: a boat" in inside["comment"]) == ("opus", 48_000, True)

    _, (_, known) = await w.ended(await w.accept(pipeline, afresh=False))
    assert known["state"] == "reused"

    await log_in(client, ada)
    page = (await client.get(f"/runs/{run_id}")).text
    assert '<svg viewBox="0 0 384 60"' in page
    assert f'<source src="/artifacts/{made["sha256"]}/1" type="audio/ogg; codecs=opus">' in page
    assert "I say: a boat" in page
    opus = await client.get(f"/artifacts/{made['sha256']}/1?download=boat")
    assert opus.headers["content-type"] == "audio/ogg"
    assert opus.headers["content-disposition"] == 'attachment; filename="boat.opus"'

    sent = await client.post(f"/runs/{run_id}/publication", data={"published": "1", "everyone": "1"})
    assert sent.status_code == 303
    page = (await client.get(f"/pipelines/{pipeline.id}")).text
    assert '<svg viewBox="0 0 384 60"' in page
    assert f'<meta property="og:audio" content="http://127.0.0.1:8000/artifacts/{made["sha256"]}/1">' in page
    feed = (await client.get("/gallery/feed.rss?kind=audio")).text
    assert 'type="audio/wav"' in feed
    assert 'medium="audio"' in feed
    assert "Speech" in (await client.get("/?kind=audio")).text


@pytest.mark.usefixtures("site")
async def test_it_stops_in_the_middle(make: Make, db: Any, small: Path) -> None:
    await models.register("small", small)
    step = steps.TextToSpeech(prompt="a boat. " * 600, model="small", speed=0.25)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][0]["progress"] > 0)
    await runs.cancel(run_id, pipeline.owner_id)
    state, (row,) = await w.ended(run_id)
    assert state == "cancelled"
    assert 0 < row["progress"] < row["progress_total"]
    assert not await w.pictures(row["id"])
