"""Texts that are spoken and sounds that are written down, through Redis and dramatiq into a worker, with small models
of random weights."""

import asyncio
import io
import json
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

import domain.sounds
from domain import artifacts, models, pipelines, runs, steps, uploads
from domain.errors import DomainError, Invalid, TooLarge, TooMany, Unavailable
from domain.means import Means
from domain.people import Person
from domain.receipts import Receipt
from domain.storage import Storage, key_of
from domain.transcripts import LAYOUTS, Said
from tasks import hearing, sounds, speech
from tasks.context import Context, Sound, Stopped
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
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
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Whisper of random weights."""
    return speakers.whisper(tmp_path_factory.mktemp("listener") / "model")


def tone(seconds: int, rate: int = 16_000) -> Sound:
    import numpy as np

    return Sound(np.sin(np.arange(rate * seconds, dtype=np.float32) / 20) * 0.3, rate, None)


def video(*, silent: bool = False, late: int = 0) -> bytes:
    """Two seconds of MP4, with AAC unless it is silent, which begins so many seconds late."""
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
                    frame.pts += late * frame.sample_rate
                    file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return buffer.getvalue()


def tones(*starts: int) -> bytes:
    """Matroska with a second of sound from each of these seconds on."""
    import av
    import numpy as np

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start in starts:
            whole = (tone(1).samples * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(whole[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), start * 16_000
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def mp3() -> bytes:
    """Four seconds."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=16_000, layout="mono")
        with av.open(io.BytesIO(sounds._written(tone(4), PLAIN, "wav"))) as made:
            for frame in made.decode(audio=0):
                file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def plain(seconds: float, rate: int = 8_000, channels: int = 1) -> bytes:
    """A WAV of silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(bytes(round(seconds * rate) * channels * 2))
    return buffer.getvalue()


def loud(data: bytes) -> list[bool]:
    """Of each second of a file whether there is sound in most of it."""
    import numpy as np

    samples = abs(sounds.opened(data, 16_000).samples)
    return [float(np.median(samples[at : at + 16_000])) > 0.01 for at in range(0, len(samples) - 8_000, 16_000)]


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
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, small: Path, listener: Path, db: Any
) -> None:
    await models.register("small", small)
    await models.register("whisper", listener)
    ada = await make.person("ada")
    then = steps.PromptTemplate(template="It said: {text}")
    slowly = steps.TextToSpeech(prompt=SAID.prompt, model="small", speed=0.25)
    pipeline = await make.pipeline(ada, steps=[slowly, steps.SpeechToText(layout="srt"), then])
    state, (spoken, row, last) = await w.ended(run_id := await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert re.match(r"1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n\w", row["output_text"])
    assert last["output_text"] == f"It said: {row['output_text']}"
    assert row["receipt"]["inputs"] == [one["sha256"] for one in await w.pictures(spoken["id"])]
    found = row["receipt"]["parameters"]["language"]
    assert found in ("en", "uk")

    await log_in(client, ada)
    page = (await client.get(f"/runs/{run_id}")).text
    assert f'<source src="/artifacts/{row["receipt"]["inputs"][0]}?form=opus"' in page
    assert '<svg viewBox="0 0 384 60"' in page
    assert f"<dt>Language</dt><dd>{found}, found out</dd>" in page
    assert f'href="/runs/{run_id}/texts/2">' in page
    assert f'href="/runs/{run_id}/texts/3">' in page
    saved = await client.get(f"/runs/{run_id}/texts/2")
    assert (saved.status_code, saved.text) == (200, row["output_text"] + "\n")
    assert saved.headers["content-type"] == "application/x-subrip; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="[a-z0-9-]+-run-1-step-2\.srt"', saved.headers["content-disposition"])
    assert (await client.get(f"/runs/{run_id}/texts/1")).status_code == 404
    said = [Said(*piece) for piece in row["receipt"]["parameters"]["said"]]
    assert LAYOUTS["srt"](said) == row["output_text"]
    assert page.count('data-player="heard-2"') == len(said)
    cue = f"/runs/{run_id}?at={said[-1].start}"
    assert f'<a class="num" href="{cue}#heard-2" data-player="heard-2">' in page
    assert f'?form=opus#t={said[-1].start}"' in (await client.get(cue)).text
    assert "#t=" not in (await client.get(f"/runs/{run_id}?at=soon")).text
    for layout, kind, content in (("text", "plain", LAYOUTS["text"](said)), ("vtt", "vtt", "WEBVTT\n\nNOTE offshoot ")):
        saved = await client.get(f"/runs/{run_id}/texts/2?layout={layout}")
        assert (saved.status_code, saved.headers["content-type"]) == (200, f"text/{kind}; charset=utf-8")
        assert saved.text.startswith(content)
    for address in ("texts/2?layout=srt", "texts/2?layout=doc", "texts/3?layout=vtt"):
        assert (await client.get(f"/runs/{run_id}/{address}")).status_code == 404
    beside = await client.get(f"/runs/{run_id}/texts/2/receipt")
    assert beside.json() == row["receipt"]
    assert beside.headers["content-disposition"].endswith('-run-1-step-2.receipt.json"')

    kept = await uploads.add(storage, ada.id, video(), "talk.mp4", "audio")
    step = steps.SpeechToText(upload=kept.sha256, language="Ukrainian", task="translate")
    written = await make.pipeline(ada, steps=[step], visibility="public")
    state, (row,) = await w.ended(run_id := await w.accept(written))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert (row["receipt"]["parameters"]["language"], row["receipt"]["inputs"]) == ("uk", [kept.sha256])
    page = (await client.get(f"/runs/{run_id}")).text
    player = 'id="heard-1" aria-label="The sound that step 1 wrote down"'
    assert f'{player}><source src="/artifacts/{kept.sha256}" type="audio/flac">' in page
    assert (page.count(player), page.count('<svg viewBox="0 0 384 60"')) == (1, 1)
    assert "When it was said" in page
    assert f'href="/runs/{run_id}/texts/1?layout=srt"' in page
    assert row["receipt"]["parameters"]["seconds"] == pytest.approx(2, abs=0.1)

    long = await uploads.add(storage, ada.id, sounds._written(tone(12), PLAIN, "wav"), "long.wav", "audio")
    step = steps.SpeechToText(upload=long.sha256, layout="vtt", start=5, end=9.5)
    state, (row,) = await w.ended(run_id := await w.accept(await make.pipeline(ada, steps=[step])))
    assert (state, row["error_message"]) == ("succeeded", None)
    told = row["receipt"]["parameters"]
    assert (told["start"], told["end"], told["seconds"]) == (5, 9.5, 4.5)
    assert all(5 < start < end <= 9.5 for start, end, _ in told["said"])
    assert row["output_text"].startswith("WEBVTT\n\n00:00:0")
    assert LAYOUTS["vtt"]([Said(*piece) for piece in told["said"]]) == row["output_text"]
    page = (await client.get(f"/runs/{run_id}")).text
    assert "<dt>Part</dt><dd>0:05 to 0:09.5</dd>" in page
    assert f'<source src="/artifacts/{long.sha256}#t=5.0" type="audio/flac">' in page

    step = steps.SpeechToText(source=1, start=500)
    state, (_, row) = await w.ended(await w.accept(await make.pipeline(ada, steps=[slowly, step])))
    assert state == "failed"
    assert re.fullmatch(r"The sound ends at 0:\d\d\S*, and was to be heard from 8:20\.", row["error_message"])

    step = steps.SpeechToText(upload=kept.sha256, language="klingon")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(ada, steps=[step])))
    assert (state, row["error_message"]) == ("failed", "This model does not know the language “klingon”.")


# models


@cache
def opened() -> Models:
    """The models of this module, each opened once."""
    return Models("cpu")


def context(folder: Path, wanted: Callable[[int], bool] = lambda _: True) -> Context:
    ref = ModelRef("small", str(folder), models.inspect("small", folder, "", ()).revision)
    return Context(Job(id="x", members=[Member(step={})], model=ref), opened(), lambda _: None, wanted)


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
        ({"prompt": "12 34"}, "knows none of the letters"),
        ({"prompt": "🎉 🎉"}, "knows none of the letters"),
        ({"prompt": "a " * 3000}, "has 6,000 characters; at most 5,000"),
    ],
)
def test_what_cannot_be_said_fails_in_words(small: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(DomainError, match=words):
        said(small, **values)


def test_sentences_without_letters_are_left_out(small: Path) -> None:
    assert said(small, prompt="A boat. 12 34. 🎉 🎉") == said(small, prompt="A boat.")


def test_typographic_marks_are_no_foreign_letters(tmp_path: Path) -> None:
    pipe = speech.open_folder(speakers.vits(tmp_path / "model", is_uroman=True))
    assert pipe._readable("“Don’t” – he said…") == ['"Don\'t" - he said...']
    with pytest.raises(DomainError, match="reads Latin letters alone"):
        pipe._readable("Її")


def test_a_tokenizer_that_wants_a_phonemizer_is_refused(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "phonemize": True}))
    with pytest.raises(DomainError, match="wants a phonemizer"):
        said(folder)


@pytest.mark.usefixtures("site")
async def test_writing_down_stops_in_the_middle(make: Make, storage: Storage, listener: Path, db: Any) -> None:
    await models.register("listener", listener)
    ada = await make.person("ada")
    kept = await uploads.add(storage, ada.id, sounds._written(tone(590), PLAIN, "wav"), "long.wav", "audio")
    pipeline = await make.pipeline(ada, steps=[steps.SpeechToText(upload=kept.sha256, model="listener")])
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][0]["progress"] > 0)
    await runs.cancel(run_id, ada.id)
    state, (row,) = await w.ended(run_id)
    assert (state, row["output_text"]) == ("cancelled", None)
    assert 0 < row["progress"] < row["progress_total"] == 590


def test_writing_down_stops_in_the_middle_of_a_half_minute(listener: Path) -> None:
    asked = iter([True, True])
    ctx = context(listener, lambda _: next(asked, False))
    with pytest.raises(Stopped):
        ctx.model().pipe.write_down(steps.SpeechToText(), tone(3), ctx)


def write_down(folder: Path, heard: Sound) -> list[Said]:
    ctx = context(folder)
    found: list[Said] = ctx.model().pipe.write_down(steps.SpeechToText(), heard, ctx)[0]
    return found


def test_a_long_sound_is_written_down_to_its_end(listener: Path) -> None:
    found = write_down(listener, tone(33))
    assert 30 < found[-1].start < found[-1].end <= 33
    assert found == sorted(found)


def test_what_is_heard_behind_the_end_is_left_out(listener: Path) -> None:
    assert all(
        piece.start < 1.9 and piece.end == 1.9
        for piece in write_down(listener, Sound(tone(2).samples[:30_400], 16_000, None))
    )
    assert write_down(listener, tone(1)) == []


def test_where_nobody_speaks_nothing_is_written(listener: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "NO_SPEECH", 0.0)
    assert write_down(listener, tone(3)) == []


def test_a_model_that_does_not_tell_its_languages_fails_in_words(
    listener: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context(listener).model().pipe.model.generation_config, "lang_to_id", None)
    with pytest.raises(DomainError, match="has no lang_to_id"):
        write_down(listener, tone(3))


def test_subtitles_have_their_times() -> None:
    pieces = [Said(0, 1.5, "Hello."), Said(3661.25, 3662, "Bye.")]
    assert LAYOUTS["srt"](pieces).endswith("\n\n2\n01:01:01,250 --> 01:01:02,000\nBye.")
    assert LAYOUTS["vtt"](pieces).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello.")
    assert LAYOUTS["text"](pieces) == "Hello. Bye."
    odd = [Said(0, 1, "a\n\nb --> c & <i>")]
    assert LAYOUTS["srt"](odd).endswith("\na b -> c & <i>")
    assert LAYOUTS["vtt"](odd).endswith("\na b -> c &amp; &lt;i>")


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
        ("A text".encode("utf-16"), "no sound we can read"),
    ],
)
async def test_what_is_no_sound_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Invalid) as error:
        await domain.sounds.remade(data, uuid4())
    assert words in error.value.fields["file"]


def test_any_layout_becomes_flac_of_one_channel() -> None:
    for data in (video(), *(sounds._written(tone(1, 48_000), PLAIN, layout) for layout in ("wav", "ogg"))):
        wrong, _, made = domain.sounds.convert(data, domain.sounds.sniff(data))
        assert (wrong, heard(made)[:2]) == (0, ("flac", 16_000))
    assert domain.sounds.sniff(b"\0\0\0\x08wide\0\0\0\x08mdat") == "mov"


def test_what_is_wrong_with_a_file_is_told_apart() -> None:
    wrong = {
        domain.sounds._BROKEN: (b"fLaC", "flac"),
        domain.sounds._SILENT: (video(silent=True), "mov"),
        domain.sounds._LONG: (tones(0, 700), "matroska"),
        domain.sounds._RICH: (plain(0.1, rate=200_000), "wav"),
    }
    assert {code: domain.sounds.convert(*given) for code, given in wrong.items()} == {
        code: (code, "", b"") for code in wrong
    }
    assert domain.sounds.convert(plain(0.1, channels=9), "wav")[0] == domain.sounds._RICH


def test_it_tells_how_long_and_how_loud_a_sound_is() -> None:
    wrong, told, _ = domain.sounds.convert(tones(1, 3), "matroska")
    seconds, peaks = told.split()
    assert (wrong, seconds) == (0, "3.0000")
    drawn = bytes.fromhex(peaks)
    assert len(drawn) == domain.sounds.PEAKS
    assert [min(drawn[:32]) > 200, max(drawn[33:63]), min(drawn[64:]) > 200] == [True, 0, True], "a pause in the middle"


@pytest.mark.parametrize("layout", ["wav", "flac"])
@pytest.mark.parametrize(("start", "end", "ends"), [(0, 1.5, 1.5), (1.25, 2.5, 2.5), (3.75, 9, 4), (2, None, 4)])
def test_a_part_is_cut_to_the_sample(layout: str, start: float, end: float | None, ends: float) -> None:
    import numpy as np

    ramp = np.arange(64_000, dtype=np.float32) / 64_000
    data = sounds._written(Sound(ramp, 16_000, None), PLAIN, "wav")
    if layout == "flac":
        *_, data = domain.sounds.convert(data, "wav")
    found = sounds.opened(data, 16_000, start, end).samples
    assert len(found) == (ends - start) * 16_000
    assert np.allclose(found, ramp[int(start * 16_000) : int(ends * 16_000)], atol=1e-3)


def test_what_comes_late_and_what_pauses_keeps_its_time() -> None:
    *_, late = domain.sounds.convert(video(late=1), "mov")
    *_, paused = domain.sounds.convert(tones(2, 3, 6), "matroska")
    assert (loud(late), loud(paused)) == ([False, True, True], [True, True, False, False, True])


def test_a_little_damage_is_passed_over() -> None:
    whole = mp3()
    wrong, _, made = domain.sounds.convert(whole + b"\xff\xfb" + b"x" * 3_000, "mp3")
    assert (wrong, loud(made)) == (0, [True] * 4)
    torn = b"".join(whole[at : at + 400] + b"\xff\xfb" + b"x" * 400 for at in range(0, len(whole), 800))
    assert domain.sounds.convert(torn, "mp3")[0] == domain.sounds._BROKEN


@pytest.mark.parametrize(
    ("words", "layout"), [("#EXTM3U\n#EXTINF:1,\n{}\n", "hls"), ("ffconcat version 1.0\nfile {}\n", "concat")]
)
def test_a_list_of_files_opens_none_of_them(tmp_path: Path, words: str, layout: str) -> None:
    (tmp_path / "secret.wav").write_bytes(plain(1))
    given = words.format(tmp_path / "secret.wav").encode()
    assert domain.sounds.convert(given, layout) == (domain.sounds._BROKEN, "", b"")


@pytest.mark.parametrize(
    ("does", "ended", "told"),
    [
        ("open('/etc/passwd')", 1, "Too many open files"),
        ("import socket; socket.socket()", 1, "Too many open files"),
        ("bytearray(3 << 30)", 1, "MemoryError"),
        ("print(sorted(os.environ))", 0, ""),
        ("sum(1 for _ in iter(int, 1))", -9, ""),
    ],
)
def test_the_process_gives_up_what_it_does_not_need(does: str, ended: int, told: str) -> None:
    code = f"import os; from domain import sounds; sounds.SECONDS_OF_WORK = 1; sounds.confine(); {does}"
    process = subprocess.run([sys.executable, "-c", code], cwd=w.ROOT, env={}, capture_output=True, timeout=30)
    assert (process.returncode, told in process.stderr.decode()) == (ended, True)
    assert process.stdout in (b"", b"['LC_CTYPE']\n")


async def test_silent_videos_and_long_sounds_are_refused() -> None:
    with pytest.raises(Invalid) as error:
        await domain.sounds.remade(video(silent=True), uuid4())
    assert error.value.fields["file"] == "There is no sound in this file"
    with pytest.raises(TooLarge, match="longer than 10 minutes"):
        await domain.sounds.remade(plain(601), uuid4())


async def test_nobody_waits_long_for_the_sounds_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain.sounds, "SECONDS_OF_WAIT", 0.05)
    ada, bo = uuid4(), uuid4()
    async with domain.sounds._turn(ada):
        with pytest.raises(TooMany, match="Your last sound is still being read"):
            await domain.sounds.remade(plain(1), ada)
        with pytest.raises(TooMany, match="Other sounds are being read"):
            await domain.sounds.remade(plain(1), bo)
    assert heard((await domain.sounds.remade(plain(1), bo)).flac)[0] == "flac"


async def test_a_cancelled_upload_leaves_no_process() -> None:
    upload = asyncio.create_task(domain.sounds.remade(plain(60), uuid4()))
    await asyncio.sleep(0.1)
    found = [one for one in psutil.Process().children() if "domain.sounds" in one.cmdline()]
    assert found
    upload.cancel()
    with suppress(asyncio.CancelledError):
        await upload
    assert not any(one.is_running() for one in found)


async def test_a_failure_of_ours_is_no_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "domain").mkdir()
    program = tmp_path / "domain" / "sounds.py"
    monkeypatch.setattr(domain.sounds, "ROOT", tmp_path)
    program.write_text("raise ImportError('PyAV is away')")
    with pytest.raises(Unavailable):
        await domain.sounds.remade(plain(1), uuid4())
    assert "ended with 1" in caplog.text
    assert "PyAV is away" in caplog.text
    program.write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(Invalid, match="cut off or damaged"):
        await domain.sounds.remade(plain(1), uuid4())


async def test_a_step_takes_an_upload_of_its_medium_alone(make: Make, storage: Storage) -> None:
    ada = await make.person("ada")
    sound = (await uploads.add(storage, ada.id, plain(1), "a.wav", "audio")).sha256
    picture = (await uploads.add(storage, ada.id, png(), "a.png")).sha256
    fitting = steps.Recipe(steps=[steps.SpeechToText(upload=sound), steps.Inpaint(upload=picture, mask=picture)])
    wrong = steps.Recipe(steps=[steps.SpeechToText(upload=picture), steps.Inpaint(upload=sound, mask=sound)])
    details = pipelines.Details("Minutes")
    made = await pipelines.create(ada.id, details, fitting)
    for parent in (None, made.version_id):
        with pytest.raises(Invalid) as error:
            await pipelines.create(ada.id, details, wrong, parent)
        assert error.value.fields == {
            "s1-upload": "Choose the sound again",
            "s2-upload": "Choose the picture again",
            "s2-mask": "Choose the picture again",
        }


async def test_an_uploaded_sound_is_drawn_wherever_it_is_played(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, listener: Path
) -> None:
    await models.register("whisper", listener)
    ada = await make.person("ada")
    first, second = [(await uploads.add(storage, ada.id, data, "a", "audio")).sha256 for data in (video(), tones(0, 2))]
    pipeline = await make.pipeline(ada, steps=[steps.SpeechToText(upload=first)])
    then = await make.version(pipeline, steps=[steps.SpeechToText(upload=second)])
    drawn = '<svg viewBox="0 0 384 60"'
    for address, times in (
        (f"/pipelines/{pipeline.id}", 1),
        (f"/comparisons?left={pipeline.version_id}&right={then.id}", 2),
    ):
        page = (await client.get(address)).text
        assert (page.count(drawn), page.count('type="audio/flac"')) == (times, times)
    await log_in(client, ada)
    page = (await client.get(f"/pipelines/{pipeline.id}/edit")).text
    assert (page.count(drawn), page.count("The sound chosen for step 1")) == (1, 1)
    await artifacts.tell_sound(second, 1.0, "")
    page = (await client.get(f"/pipelines/{pipeline.id}/edit")).text
    assert (page.count(drawn), page.count("The sound chosen for step 1")) == (0, 1), "one uploaded before it was drawn"


async def test_what_was_heard_goes_with_its_pipeline(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, db: Any
) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    kept = await uploads.add(storage, ada.id, plain(1), "a.wav", "audio")
    pipeline = await make.pipeline(ada, steps=[steps.SpeechToText(upload=kept.sha256)])
    run = await make.run(pipeline, bo, state="succeeded")
    told = {"inputs": [kept.sha256], "parameters": {"said": [[0.5, 1.0, "A boat"]]}}
    await db.execute("UPDATE step_runs SET output_text = 'A boat', receipt = $2 WHERE run_id = $1", run.id, told)
    await log_in(client, bo)
    page = (await client.get(f"/runs/{run.id}")).text
    assert f'<a class="num" href="/runs/{run.id}?at=0.5#heard-1" data-player="heard-1">' in page
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", pipeline.id)
    page = (await client.get(f"/runs/{run.id}")).text
    assert kept.sha256 not in page
    assert "<audio" not in page
    assert '<span class="num muted">0:00.5</span><span dir="auto">A boat</span>' in page
    assert (await client.get(f"/artifacts/{kept.sha256}")).status_code == 404


async def test_who_was_recorded_where_stays_with_the_person(make: Make, storage: Storage, db: Any) -> None:
    ada = await make.person("ada")
    data = sounds._written(tone(1), PLAIN, "wav")
    assert b"offshoot" in data
    kept = await uploads.add(storage, ada.id, data, "me.wav", "audio")
    stored = await storage.get(key_of(kept.sha256))
    assert (heard(stored)[:2], b"offshoot" in stored) == (("flac", 16_000), False)


async def test_a_part_lies_within_the_upload(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, listener: Path
) -> None:
    await models.register("whisper", listener)
    await log_in(client, ada := await make.person("ada"))
    kept = await uploads.add(storage, ada.id, plain(90.5), "a.wav", "audio")
    form = {"title": "A part", "s1-kind": "speech_to_text", "s1-model": "whisper", "s1-upload": kept.sha256}
    form |= {"do": "save", "visibility": "private", "license": "CC0-1.0"}
    for start, end, field, words in (
        ("1:31", "", "start", "The sound ends at 1:30.5"),
        ("1:00", "95", "end", "The sound ends at 1:30.5"),
        ("1:00", "0:30", "end", "Later than 1:00, where it begins"),
        ("a while", "1:30", "start", "Seconds, or minutes and seconds such as 1:30"),
    ):
        sent = await client.post("/pipelines", data={**form, "s1-start": start, "s1-end": end})
        assert sent.status_code == 422
        shown = re.search(rf'<p class="err" id="s1-{field}-e">.*?</svg>(.*?)</p>', sent.text)
        assert shown, re.findall(r"class=\"err\".*", sent.text)
        assert shown[1].startswith(words)
        assert re.search(rf'name="s1-start"[^>]* value="{start}"', sent.text)
        assert re.search(rf'name="s1-end"[^>]* value="{end}"', sent.text)
    sent = await client.post("/pipelines", data={**form, "s1-start": "1:00", "s1-end": "1:30.5"})
    assert sent.status_code == 303
    page = (await client.get(sent.headers["location"].partition("?")[0])).text
    assert "<dt>Hear from</dt><dd><bdi>1:00</bdi></dd>" in page
    assert "<dt>Hear up to</dt><dd><bdi>1:30.5</bdi></dd>" in page


async def test_the_composer_takes_a_sound_and_plays_it(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, listener: Path, monkeypatch: pytest.MonkeyPatch
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
        assert ('<svg viewBox="0 0 384 60"' in sent.text) == (sent.status_code == 200)
    sent = await client.post("/uploads?field=s1-upload-file", data=form, files={"s1-upload-file": ("a.wav", plain(1))})
    assert (sent.status_code, sent.json()["width"]) == (201, None)
    async with domain.sounds._turn((await make.person("bo")).id):
        monkeypatch.setattr(domain.sounds, "SECONDS_OF_WAIT", 0.05)
        sent = await client.post("/pipelines", data=form, files={"s1-upload-file": ("a.wav", plain(1))})
    assert (sent.status_code, "Upload it again in a minute" in sent.text) == (422, True)
    sent = await client.post(
        "/pipelines", data={**form, "do": "save", "visibility": "private"}, files={"s1-upload-file": ("a", png())}
    )
    assert sent.status_code == 422
    assert "no sound we can read" in sent.text
    assert 'value="uk"' in sent.text
