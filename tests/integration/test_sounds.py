"""Texts that are spoken and sounds that are written down, through Redis and dramatiq into a worker, with small models
of random weights."""

import io
import json
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import domain.sounds
from domain import artifacts, models, runs, steps, uploads
from domain.config import Config
from domain.errors import DomainError, Invalid, TooLarge
from domain.means import Means
from domain.people import Person
from domain.receipts import Receipt
from domain.storage import Storage, key_of
from tasks import sounds
from tasks.context import Context, Sound, Stopped
from tasks.hearing import Said
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tasks.steps.speech_to_text import _LAYOUTS
from tests import speakers
from tests import worker as w
from tests.make import Make, png

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
SAID = steps.TextToSpeech(prompt="Hello there. How are you?", model="small", seed=3)
PLAIN = Receipt(kind="text_to_speech", code=1, parameters={})


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


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Whisper of random weights."""
    return speakers.whisper(tmp_path_factory.mktemp("listener") / "model")


def tone(seconds: int, rate: int = 16_000) -> Sound:
    import numpy as np

    return Sound(np.sin(np.arange(rate * seconds, dtype=np.float32) / 20) * 0.3, rate, None)


def video(*, silent: bool = False) -> bytes:
    """Two seconds of MP4, with AAC unless it is silent."""
    import av
    from PIL import Image

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        shown: Any = file.add_stream("libx264", rate=5)
        shown.width = shown.height = 32
        shown.pix_fmt = "yuv420p"
        sound: Any = None if silent else file.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(10):
            file.mux(shown.encode(av.VideoFrame.from_image(Image.new("RGB", (32, 32), "teal"))))
        file.mux(shown.encode(None))
        if sound:
            with av.open(io.BytesIO(sounds._written(tone(2), PLAIN, "wav"))) as spoken:
                for frame in spoken.decode(audio=0):
                    file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return buffer.getvalue()


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

    assert list(await artifacts.renditions(made["sha256"])) == [320, 640, 1280]

    _, (_, known) = await w.ended(await w.accept(pipeline, afresh=False))
    assert known["state"] == "reused"

    await log_in(client, ada)
    page = (await client.get(f"/runs/{run_id}")).text
    assert '<svg viewBox="0 0 384 60"' in page
    assert f'<source src="/artifacts/{made["sha256"]}?form=opus" type="audio/ogg; codecs=opus">' in page
    assert "I say: a boat" in page
    opus = await client.get(f"/artifacts/{made['sha256']}?form=opus&download=boat")
    codec, rate, _, inside = heard(opus.content)
    assert (codec, rate, "I say: a boat" in inside["comment"]) == ("opus", 48_000, True)
    assert opus.headers["content-type"] == "audio/ogg"
    assert opus.headers["content-disposition"] == 'attachment; filename="boat.opus"'

    sent = await client.post(f"/runs/{run_id}/publication", data={"published": "1", "everyone": "1"})
    assert sent.status_code == 303
    page = (await client.get(f"/pipelines/{pipeline.id}")).text
    assert '<svg viewBox="0 0 384 60"' in page
    assert f'<meta property="og:audio" content="http://127.0.0.1:8000/artifacts/{made["sha256"]}?form=opus">' in page
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


@pytest.mark.usefixtures("site")
async def test_what_is_said_is_written_down_from_a_step_and_from_a_video(
    make: Make, storage: Storage, small: Path, listener: Path, db: Any
) -> None:
    await models.register("small", small)
    await models.register("whisper", listener)
    ada = await make.person("ada")
    then = steps.PromptTemplate(template="It said: {text}")
    pipeline = await make.pipeline(ada, steps=[SAID, steps.SpeechToText(layout="srt"), then])
    state, (spoken, row, last) = await w.ended(await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert re.match(r"1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n\w", row["output_text"])
    assert last["output_text"] == f"It said: {row['output_text']}"
    assert row["receipt"]["inputs"] == [one["sha256"] for one in await w.pictures(spoken["id"])]
    assert row["receipt"]["parameters"]["language"] in ("en", "uk")

    kept = await uploads.add(storage, ada.id, video(), "talk.mp4", "audio")
    step = steps.SpeechToText(upload=kept.sha256, language="Ukrainian", task="translate")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(ada, steps=[step])))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert (row["receipt"]["parameters"]["language"], row["receipt"]["inputs"]) == ("uk", [kept.sha256])
    assert row["receipt"]["parameters"]["seconds"] == pytest.approx(2, abs=0.1)

    step = steps.SpeechToText(upload=kept.sha256, language="klingon")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(ada, steps=[step])))
    assert (state, row["error_message"]) == ("failed", "This model does not know the language “klingon”.")


# models


def context(folder: Path, wanted: Callable[[int], bool] = lambda _: True) -> Context:
    ref = ModelRef("small", str(folder), models.inspect("small", folder, "", ()).revision)
    return Context(Job(id="x", members=[Member(step={})], model=ref), Models("cpu"), lambda _: None, wanted)


def said(folder: Path, **values: Any) -> list[float]:
    step = steps.TextToSpeech(**{**{field: getattr(SAID, field) for field in SAID.__struct_fields__}, **values})
    ctx = context(folder)
    made: list[float] = ctx.model().pipe.speak(step, ctx).samples.tolist()
    return made


def test_seed_voice_and_speed_count(small: Path) -> None:
    first = said(small)
    assert said(small, voice="0") == first
    assert said(small, seed=4) != first
    assert said(small, voice="2") != first
    assert len(said(small, speed=0.5)) > 1.3 * len(first)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"voice": "3"}, "the voices 0 to 2, and no “3”"),
        ({"voice": "anna"}, "the voices 0 to 2, and no “anna”"),
        ({"prompt": "човен"}, "knows none of the letters"),
        ({"prompt": "a " * 3000}, "has 6,000 characters; at most 5,000"),
    ],
)
def test_what_cannot_be_said_fails_in_words(small: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(DomainError, match=words):
        said(small, **values)


def test_a_tokenizer_that_wants_a_phonemizer_is_refused(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "phonemize": True}))
    with pytest.raises(DomainError, match="wants a phonemizer"):
        said(folder)


def test_writing_down_stops_in_the_middle_of_a_half_minute(listener: Path) -> None:
    asked = iter([True, True])
    ctx = context(listener, lambda _: next(asked, False))
    with pytest.raises(Stopped):
        ctx.model().pipe.write_down(steps.SpeechToText(), tone(3), ctx)


def test_subtitles_have_their_times() -> None:
    pieces = [Said(0, 1.5, "Hello."), Said(3661.25, 3662, "Bye.")]
    assert _LAYOUTS["srt"](pieces).endswith("\n\n2\n01:01:01,250 --> 01:01:02,000\nBye.")
    assert _LAYOUTS["vtt"](pieces).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello.")
    assert _LAYOUTS["text"](pieces) == "Hello. Bye."


async def test_the_registry_knows_them_by_their_files(db: Any, small: Path, listener: Path) -> None:
    assert (await models.register("small", small)).kinds == ["text_to_speech"]
    assert (await models.register("whisper", listener)).family == "WhisperForConditionalGeneration"
    assert [one.name for one in await models.names("speech_to_text")] == ["whisper"]
    with pytest.raises(Invalid, match="none can be chosen"):
        models.inspect("small", small, "", (), means=Means(dtype="bf16"))


# uploads


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The file is empty"),
        (b"#EXTM3U\nfile:///etc/passwd", "no sound we can read"),
        (b"fLaC" + b"x" * 200, "cut off or damaged"),
        (png(), "no sound we can read"),
    ],
)
async def test_what_is_no_sound_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Invalid) as error:
        await domain.sounds.remade(data)
    assert words in error.value.fields["file"]


def test_any_layout_becomes_flac_of_one_channel() -> None:
    for data in (video(), *(sounds._written(tone(1, 48_000), PLAIN, layout) for layout in ("wav", "ogg"))):
        wrong, made = domain.sounds.convert(data, domain.sounds.sniff(data))
        assert (wrong, heard(made)[:2]) == (0, ("flac", 16_000))
    assert domain.sounds.convert(video(silent=True), "mov")[0] != domain.sounds.convert(b"fLaC", "flac")[0] != 0


async def test_silent_videos_and_long_sounds_are_refused() -> None:
    with pytest.raises(Invalid) as error:
        await domain.sounds.remade(video(silent=True))
    assert error.value.fields["file"] == "There is no sound in this file"
    with pytest.raises(TooLarge, match="longer than 10 minutes"):
        await domain.sounds.remade(sounds._written(tone(601, 8_000), PLAIN, "wav"))


async def test_who_was_recorded_where_stays_with_the_person(make: Make, storage: Storage, db: Any) -> None:
    ada = await make.person("ada")
    data = sounds._written(tone(1), PLAIN, "wav")
    assert b"offshoot" in data
    kept = await uploads.add(storage, ada.id, data, "me.wav", "audio")
    stored = await storage.get(key_of(kept.sha256))
    assert (heard(stored)[:2], b"offshoot" in stored) == (("flac", 16_000), False)


async def test_the_composer_takes_a_sound_and_plays_it(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, listener: Path
) -> None:
    await models.register("whisper", listener)
    await log_in(client, await make.person("ada"))
    form = {"title": "Minutes", "s1-kind": "speech_to_text", "s1-model": "whisper", "s1-language": "uk"}
    for data, words in ((video(), "<audio controls"), (png(), "no sound we can read")):
        sent = await client.post(
            "/uploads?field=s1-upload-file",
            data=form,
            files={"s1-upload-file": ("talk.mp4", data)},
            headers={"HX-Request": "true", "HX-Request-Type": "partial"},
        )
        assert (sent.status_code, words in sent.text) == (200 if words.startswith("<") else 422, True)
    sent = await client.post(
        "/pipelines", data={**form, "do": "save", "visibility": "private"}, files={"s1-upload-file": ("a", png())}
    )
    assert sent.status_code == 422
    assert "no sound we can read" in sent.text
    assert 'value="uk"' in sent.text
