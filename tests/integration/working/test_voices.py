"""Texts that are spoken with a voice of the model or with that of a sample, and who agreed to it."""

import io
import json
import pickle
import re
import shutil
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

import domain.sounds
from domain import consents, forks, grids, models, pipelines, runs, steps, uploads, weights
from domain import db as database
from domain.errors import DomainError, Invalid
from domain.grid_axes import SEED, Axis
from domain.people import Person
from domain.pipelines import Details
from domain.receipts import Receipt
from domain.storage import Storage, key_of
from tasks import sounds, speech_t5
from tasks.context import Context, Sound, Stopped
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tests import speakers
from tests import worker as w
from tests.make import Make
from web import composer

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
SAYS = "boats lift from the sand and sail away over the quiet sea"
TICK = consents.field(1)
PLAIN = Receipt(kind="text_to_speech", code=1, parameters={})
PART = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights, with two voices, which takes samples."""
    return speakers.speech_t5(tmp_path_factory.mktemp("small") / "model", voices=["Ann", "Bo"], speaker=True)


def hum(seconds: float = 2, pitch: int = 200, loud: float = 0.3) -> Sound:
    """A voice, as far as a small model of random weights can tell."""
    at = np.arange(round(16_000 * seconds), dtype=np.float32) / 16_000
    return Sound((np.sin(2 * np.pi * pitch * at) * loud).astype(np.float32), 16_000, None)


def wav(made: Sound) -> bytes:
    return sounds._written(made, PLAIN, "wav")


def typed(**more: str) -> dict[str, str]:
    return {
        "title": "Boats",
        "visibility": "public",
        "license": "CC-BY-4.0",
        "s1-kind": "text_to_speech",
        "s1-prompt": SAYS,
        "s1-model": "small",
        **more,
    }


async def agreed(storage: Storage, person: Person, *more: steps.AnyStep, **values: Any) -> pipelines.PipelineRef:
    """A pipeline of the person's that speaks with a sample which they agreed to."""
    sample = (await uploads.add(storage, person.id, wav(hum()), "me.wav", "audio", sample=True)).sha256
    recipe = steps.Recipe(steps=[steps.TextToSpeech(prompt=SAYS, model="small", upload=sample, **values), *more])
    return await pipelines.create(person.id, Details("Boats", visibility="public"), recipe, agreed=[sample])


# through the queue


@pytest.mark.usefixtures("site")
async def test_a_text_is_spoken_with_a_sample_and_the_file_tells_that_somebody_agreed(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, small: Path, db: Any
) -> None:
    await models.register("small", small, "MIT")
    await log_in(client, ada := await make.person("ada"))
    form = typed(**{"s1-speed": "0.5", TICK: "new", "do": "run"})
    form |= {"s2-kind": "text_to_speech", "s2-prompt": "a boat", "s2-model": "small", "s2-voice_of": "1"}
    sent = await client.post("/pipelines", data=form, files={"s1-upload-file": ("me.wav", wav(hum()))})
    assert sent.status_code == 303, re.findall(r'class="err"[^>]*>.*?</p>', sent.text)
    run_id = sent.headers["location"].removeprefix("/runs/")
    state, (row, then) = await w.ended(run_id)
    assert (state, row["error_message"], then["error_message"]) == ("succeeded", None, None)

    (said,) = await database.fetch("SELECT * FROM consents")
    assert (said["person_id"], said["sha256"], said["words"]) == (ada.id, row["step"]["upload"], consents.WORDS)
    told = row["receipt"]["consent"]
    assert (told["sample"], told["words"], told["at"][:10]) == (
        said["sha256"],
        consents.WORDS,
        said["given_at"].date().isoformat(),
    )
    assert "voice" not in {name for name, value in row["receipt"]["parameters"].items() if value}
    assert row["receipt"]["inputs"] == [said["sha256"]]
    (made,) = await w.pictures(row["id"])
    data = await storage.get(key_of(made["sha256"]))
    with av.open(io.BytesIO(data)) as file:
        inside = json.loads(file.metadata["comment"].removeprefix("offshoot "))
    assert inside["consent"] == told
    assert b"ada" not in data[: data.index(b"data")], "who it was is not told outside"
    assert then["receipt"]["inputs"] == [made["sha256"]]
    assert then["receipt"]["consent"] == told, "what speaks like a sample through another step tells so too"

    page = (await client.get(f"/runs/{run_id}")).text
    assert "<dt>Voice</dt><dd>of a sample</dd>" in page
    assert "<dt>Voice</dt><dd>of step 1</dd>" in page
    assert "<dt>Consent</dt>" in page

    again = await client.post(f"{await last_version(ada)}/runs", data={"key": "again", "seed": str(5)})
    state, (known, _) = await w.ended(again.headers["location"].removeprefix("/runs/"))
    assert (again.status_code, state) == (303, "succeeded"), "the same person is not asked again"
    assert known["receipt"]["consent"] == told


async def last_version(person: Person) -> str:
    row = await database.fetchrow(
        "SELECT id, latest_version FROM pipelines WHERE owner_id = $1 ORDER BY id DESC", person.id
    )
    assert row is not None
    return f"/pipelines/{row['id']}/versions/{row['latest_version']}"


@pytest.mark.usefixtures("site")
async def test_a_text_is_spoken_with_a_voice_of_the_model_and_stops_in_the_middle(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, small: Path, db: Any
) -> None:
    await models.register("small", small)
    await log_in(client, ada := await make.person("ada"))
    pipeline = await make.pipeline(ada, steps=[steps.TextToSpeech(prompt=SAYS, model="small")])
    state, (row,) = await w.ended(run_id := await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert (row["receipt"]["parameters"]["voice"], row["receipt"]["consent"]) == ("Ann", None)
    assert "<dt>Voice</dt><dd>Ann, the first</dd>" in (await client.get(f"/runs/{run_id}")).text

    long = steps.TextToSpeech(prompt=f"{SAYS} " * 80, model="small", voice="Bo")
    run_id = await w.accept(await make.pipeline(ada, steps=[long]))
    await w.until(run_id, lambda now: now["steps"][0]["progress_total"] > 0)
    await runs.cancel(run_id, ada.id)
    state, (row,) = await w.ended(run_id)
    assert (state, await w.pictures(row["id"])) == ("cancelled", [])
    assert row["progress"] < row["progress_total"]


# who agreed


async def test_without_the_tick_nothing_is_kept_but_what_was_typed(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, small: Path, db: Any
) -> None:
    await models.register("small", small)
    await log_in(client, await make.person("ada"))
    for do in ("run", "save"):
        sent = await client.post("/pipelines", data=typed(do=do), files={"s1-upload-file": ("me.wav", wav(hum()))})
        assert sent.status_code == 422
        assert f'id="{TICK}-e"' in sent.text
        assert consents.MISSING in sent.text
        assert SAYS in sent.text
    (sample,) = set(re.findall(r'name="s1-upload" value="([0-9a-f]{64})"', sent.text))
    assert f'name="{TICK}" value="{sample}" aria-invalid="true"' in sent.text
    assert not await database.fetch("SELECT FROM versions")
    assert not await database.fetch("SELECT FROM consents")

    stale = await client.post("/pipelines", data=typed(**{"s1-upload": sample, TICK: "a" * 64, "do": "run"}))
    assert stale.status_code == 422, "a tick counts for the sample that it stood beside"
    sent = await client.post("/pipelines", data=typed(**{"s1-upload": sample, TICK: sample, "do": "run"}))
    assert sent.status_code == 303
    (row,) = await database.fetch("SELECT * FROM consents")
    assert row["sha256"] == sample
    edit = (await client.get(f"/pipelines/{(await database.fetchval('SELECT id FROM pipelines'))}/edit")).text
    assert "You agreed" in edit
    assert f'name="{TICK}"' not in edit


async def test_a_tick_does_not_pass_to_another_sample(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, small: Path
) -> None:
    await models.register("small", small)
    await log_in(client, await make.person("ada"))

    async def choose(form: dict[str, str], pitch: int) -> tuple[str, bool]:
        answer = await client.post(
            "/uploads?field=s1-upload-file",
            data=form,
            files={"s1-upload-file": ("me.wav", wav(hum(pitch=pitch)))},
            headers=PART,
        )
        assert answer.status_code == 200
        box = re.search(rf'name="{TICK}" value="([0-9a-f]{{64}})"( checked)?', answer.text)
        assert box
        return box[1], bool(box[2])

    first, ticked = await choose(typed(**{TICK: "new"}), 200)
    assert ticked, "ticked before the file was chosen"
    other, ticked = await choose(typed(**{"s1-upload": first, TICK: first}), 300)
    assert (ticked, other != first) == (False, True)
    out = composer.rearranged(typed(**{"s1-upload": first, TICK: first}), "clear-upload-1")
    assert (out["s1-upload"], TICK in out) == ("", False)
    moved = composer.rearranged(typed(**{TICK: first, "s2-kind": "upscale"}), "down-1")
    assert moved[consents.field(2)] == first


async def test_whoever_makes_an_offshoot_agrees_anew(
    clients: Callable[[], httpx.AsyncClient], make: Make, log_in: LogIn, storage: Storage, small: Path, db: Any
) -> None:
    await models.register("small", small)
    ada, bo = await make.person("ada"), await make.person("bo")
    made = await agreed(storage, ada)
    fork = await forks.fork(made.version_id, bo.id)
    for version in (made.version_id, fork.version_id):
        with pytest.raises(Invalid) as error:
            await runs.accept(version, bo.id, {}, 5, uuid4().hex)
        assert error.value.fields == {TICK: consents.MISSING}
    asked = grids.plan(
        fork.version_id,
        steps.convert(await database.fetchval("SELECT recipe FROM versions WHERE id = $1", fork.version_id)),
        [Axis(key=SEED, title="Seed", step=0, field=SEED, values=[1, 2])],
        {},
        None,
    )
    with pytest.raises(Invalid, match="Run the version by itself first"):
        await grids.create(asked, bo.id, "grid")
    assert not await database.fetch("SELECT FROM runs")

    browser = await log_in(clients(), bo)
    url = f"/pipelines/{fork.id}/versions/1"
    asking = {"x": "seed", "x-for": "seed", "x-values": "1, 2", "do": "estimate"}
    page = await browser.post(f"{url}/grids", data=asking)
    assert (page.status_code, consents.ALONE in page.text) == (422, True)
    both = {"left": str(made.version_id), "right": str(fork.version_id), "seeds": "5", "key": "c"}
    assert consents.ALONE in (await browser.post("/comparisons/runs", data=both)).text
    assert not await database.fetch("SELECT FROM runs")
    (sample,) = set(re.findall(rf'name="{TICK}" value="([0-9a-f]{{64}})"', (await browser.get(f"{url}/runs")).text))
    sent = await browser.post(f"{url}/runs", data={"key": "k", "seed": "much"})
    assert (sent.status_code, consents.MISSING in sent.text, 'id="seed-e"' in sent.text) == (422, True, True)
    sent = await browser.post(f"{url}/runs", data={"key": "k", "seed": "much", TICK: sample})
    assert (consents.MISSING in sent.text, f'value="{sample}" checked' in sent.text) == (False, True)
    sent = await browser.post(f"{url}/runs", data={"key": "k", "seed": "77"})
    assert (sent.status_code, consents.MISSING in sent.text, 'value="77"' in sent.text) == (422, True, True)
    sent = await browser.post(f"{url}/runs", data={"key": "k", TICK: sample})
    assert sent.status_code == 303
    assert f'name="{TICK}"' not in (await browser.get(f"{url}/runs")).text
    assert {row["person_id"] for row in await database.fetch("SELECT person_id FROM consents")} == {ada.id, bo.id}
    assert (await browser.post(f"{url}/grids", data=asking)).status_code == 200
    await grids.create(asked, bo.id, "grid")

    edited = steps.Recipe(steps=[steps.TextToSpeech(prompt="else", model="small", upload=sample)])
    eve = await make.person("eve")
    theirs = await forks.fork(made.version_id, eve.id)
    await pipelines.save(theirs.id, eve.id, Details("Else"), edited)
    assert await consents.missing(eve.id, edited), "she may edit it, and agrees before it runs"


async def test_words_that_changed_are_asked_for_anew(
    make: Make, storage: Storage, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await make.person("ada")
    made = await agreed(storage, ada)
    await runs.accept(made.version_id, ada.id, {}, 5, "before")
    monkeypatch.setattr(consents, "WORDS", "Other words.")
    with pytest.raises(Invalid):
        await runs.accept(made.version_id, ada.id, {}, 5, "after")


async def test_what_somebody_agreed_to_is_listed_and_can_be_taken_back(
    clients: Callable[[], httpx.AsyncClient], make: Make, log_in: LogIn, storage: Storage, small: Path, db: Any
) -> None:
    await models.register("small", small)
    ada, bo = await make.person("ada"), await make.person("bo")
    browser, other = await log_in(clients(), ada), await log_in(clients(), bo)
    assert "You agreed to no sample of a voice" in (await browser.get("/consents")).text
    made = await agreed(storage, ada)
    said = await database.fetchrow("SELECT id, sha256 FROM consents")
    page = (await browser.get("/consents")).text
    assert [words in page for words in ("me.wav", consents.WORDS, f"/artifacts/{said['sha256']}")] == [True] * 3
    url = f"/consents/{said['id']}/withdrawal"
    assert f'action="{url}"' in page
    assert "me.wav" not in (await other.get("/consents")).text
    assert (await other.post(url)).status_code == 404

    waiting = (await runs.accept(made.version_id, ada.id, {}, 5, "before")).run_id
    for _ in range(2):
        assert (await browser.post(url)).headers["location"] == "/consents"
    page = (await browser.get("/consents")).text
    assert ("and took it back" in page, f'action="{url}"' in page) == (True, False)
    step = await database.fetchval("SELECT step FROM step_runs WHERE run_id = $1", waiting)
    with pytest.raises(Invalid, match="Nobody agreed"):
        await consents.behind(waiting, step)
    again = f"/pipelines/{made.id}/versions/1/runs"
    assert consents.MISSING in (await browser.post(again, data={"key": "k", "seed": "5"})).text
    sent = await browser.post(again, data={"key": "k", "seed": "5", TICK: said["sha256"]})
    assert sent.status_code == 303
    assert (await browser.get("/consents")).text.count("me.wav</bdi></h2>") == 2, "what was said before stays"


async def test_consents_come_in_pages(client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any) -> None:
    await log_in(client, ada := await make.person("ada"))
    await database.execute(
        """INSERT INTO consents (person_id, sha256, words)
           SELECT $1, lpad(n::text, 64, '0'), 'Words ' || n FROM generate_series(1, $2) n""",
        ada.id,
        consents.PAGE + 1,
    )
    first = (await client.get("/consents")).text
    assert (f"“Words {consents.PAGE + 1}”" in first, "“Words 1”" in first) == (True, False)
    assert "in words that have changed since" in first
    (rest,) = re.findall(r'href="(/consents\?after=[^"]+)"', first)
    last = (await client.get(rest)).text
    assert ("“Words 1”" in last, "To the latest" in last, "Show earlier" in last) == (True, True, False)
    oldest = await database.fetchval("SELECT min(id::text) FROM consents")
    assert "That was all" in (await client.get(f"/consents?after={oldest}")).text
    assert (await client.get("/consents?after=no")).status_code == 404


async def test_a_worker_speaks_with_no_sample_that_nobody_agreed_to(make: Make, storage: Storage, db: Any) -> None:
    ada = await make.person("ada")
    made = await agreed(storage, ada, steps.TextToSpeech(prompt="a", model="small", voice_of=1))
    run_id = (await runs.accept(made.version_id, ada.id, {}, 5, "key")).run_id
    then = await database.fetchval("SELECT step FROM step_runs WHERE run_id = $1 AND ordinal = 2", run_id)
    assert await consents.behind(run_id, then) is not None
    await database.execute("DELETE FROM consents")
    with pytest.raises(Invalid, match="Nobody agreed"):
        await consents.behind(run_id, then)
    assert await consents.behind(run_id, {"kind": "text_to_speech", "upload": None}) is None


async def test_who_can_hear_a_sample(
    clients: Callable[[], httpx.AsyncClient], make: Make, log_in: LogIn, storage: Storage, db: Any
) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    made = await agreed(storage, ada)
    sample: str = await database.fetchval("SELECT sha256 FROM consents")
    theirs, others = await log_in(clients(), ada), await log_in(clients(), bo)
    assert (await others.get(f"/artifacts/{sample}")).status_code == 200
    assert f"/artifacts/{sample}" in (await others.get(f"/pipelines/{made.id}")).text
    other = (await uploads.add(storage, ada.id, wav(hum(pitch=300)), "me.wav", "audio", sample=True)).sha256
    changed = steps.Recipe(steps=[steps.TextToSpeech(prompt=SAYS, model="small", upload=other)])
    then = await pipelines.save(made.id, ada.id, Details("Boats", visibility="public"), changed, agreed=[other])
    page = (await others.get(f"/comparisons?left={made.version_id}&right={then.version_id}")).text
    heard = [
        f'aria-label="The sound {when}"><source src="/artifacts/{one}"'
        for when, one in (("before", sample), ("now", other))
    ]
    assert [one in page for one in heard] == [True, True]
    await database.execute("UPDATE pipelines SET visibility = 'private'")
    assert [(await one.get(f"/artifacts/{sample}")).status_code for one in (theirs, others)] == [200, 404]


async def test_a_sample_of_somebody_else_is_of_no_use_to_who_knows_its_hash(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, storage: Storage, small: Path, db: Any
) -> None:
    await models.register("small", small)
    ada, bo = await make.person("ada"), await make.person("bo")
    sample = (await uploads.add(storage, ada.id, wav(hum()), "me.wav", "audio", sample=True)).sha256
    await log_in(client, bo)
    form = typed(**{"s1-upload": sample, TICK: sample})
    for do in ("save", "run"):
        sent = await client.post("/pipelines", data={**form, "do": do})
        assert (sent.status_code, "Choose the sound again" in sent.text) == (422, True)
        assert f"/artifacts/{sample}" not in sent.text
    assert not await database.fetch("SELECT FROM consents")
    assert not await database.fetch("SELECT FROM versions")


# samples


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (hum(0.5), "1 to 30 seconds long, and this has 0.5"),
        (hum(31), "1 to 30 seconds long, and this has 31.0"),
        (hum(3, loud=0.001), "no voice to be heard"),
        (Sound(hum(3).samples * (np.arange(48_000) % 2_560 < 640), 16_000, None), "no voice to be heard"),
    ],
)
async def test_what_is_no_sample_of_a_voice_is_refused(given: Sound, words: str) -> None:
    wrong, told, _ = domain.sounds.convert(wav(given), "wav", sample=True)
    assert (wrong, words in domain.sounds._unfit(told)) == (domain.sounds._UNFIT, True)
    assert words in speech_t5.fault_of(given)
    assert domain.sounds.convert(wav(given), "wav")[0] == 0


async def test_a_sample_is_looked_at_when_it_is_chosen(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, small: Path
) -> None:
    await models.register("small", small)
    await log_in(client, await make.person("ada"))
    sent = await client.post(
        "/pipelines",
        data=typed(**{TICK: "new", "do": "run"}),
        files={"s1-upload-file": ("me.wav", wav(hum(0.5)))},
    )
    assert (sent.status_code, "1 to 30 seconds long, and this has 0.5" in sent.text) == (422, True)
    assert f'name="{TICK}" value="new" checked' in sent.text
    assert speech_t5.fault_of(hum()) == ""


# models


@cache
def opened() -> Models:
    """The models of this module, each opened once."""
    return Models("cpu")


def say(
    folder: Path, sample: Sound | None = None, wanted: Callable[[int], bool] = lambda _: True, **values: Any
) -> list[float]:
    ref = ModelRef("small", str(folder), models.inspect("small", folder, "", ()).revision)
    files = [] if sample is None else [wav(sample)]
    ctx = Context(Job(id="x", members=[Member(step={}, pictures=files)], model=ref), opened(), lambda _: None, wanted)
    step = steps.TextToSpeech(**{"prompt": "a boat", "model": "small", "seed": 3, **values})
    made: list[float] = ctx.model().pipe.speak(step, ctx).samples.tolist()
    return made


def test_voice_sample_seed_and_speed_count(small: Path) -> None:
    sampled = {"upload": "a" * 64}
    first = say(small)
    assert say(small, voice="Ann") == first
    assert say(small, voice="Bo") != first
    assert say(small, seed=4) != first
    assert len(say(small, speed=0.5)) == 2 * len(first)
    assert say(small, hum(), **sampled) not in (first, say(small, hum(pitch=900), **sampled))


def test_it_stops_in_the_middle_of_a_part(small: Path) -> None:
    asked: list[int] = []

    def wanted(member: int) -> bool:
        asked.append(member)
        return len(asked) < 5

    with pytest.raises(Stopped):
        say(small, wanted=wanted, prompt=SAYS)
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"voice": "Eve"}, "no voice “Eve”. It has: Ann, Bo"),
        ({"prompt": "човен 12"}, "knows none of the letters"),
        ({"upload": "a" * 64, "sample": hum(0.5)}, "this has 0.5"),
        ({"voice_of": 1, "sample": hum(3, loud=0.0)}, "no voice to be heard"),
    ],
)
def test_what_cannot_be_said_fails_in_words(small: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(DomainError, match=words):
        say(small, **values)


def test_letters_are_read_as_the_model_knows_them(small: Path) -> None:
    say(small)
    (found,) = opened()._loaded.values()
    assert found.pipe._readable("A “Boat”’s 12 sail. 34. And é.") == ["a boat's sail.", "and ."]
    assert max(len(part) for part in found.pipe._readable("boat " * 100)) <= 196


def test_a_number_that_cannot_be_read_out_fails_in_words(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "numbers")
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "normalize": True}))
    pipe = speech_t5.open_folder(folder)
    assert pipe._readable("12 boats") == ["twelve boats"]
    for number in ("1" * 40, "8,\u0663¥.$£3"):
        with pytest.raises(DomainError, match="write it in words"):
            pipe._readable(f"a boat {number}")


async def test_the_registry_knows_their_voices(db: Any, small: Path, tmp_path: Path) -> None:
    found = await models.register("small", small)
    assert (found.kinds, found.voices) == (["text_to_speech", models.SAMPLE], ["Ann", "Bo"])
    assert [one.name for one in await models.names(models.SAMPLE)] == ["small"]
    several = models.inspect("vits", speakers.vits(tmp_path / "vits", voices=3), "", ())
    assert (several.kinds, several.voices) == (["text_to_speech"], ["0", "1", "2"])
    assert models.inspect("vits", speakers.vits(tmp_path / "alone"), "", ()).voices == []


def test_a_folder_that_cannot_speak_is_refused(tmp_path: Path) -> None:
    bare = speakers.speech_t5(tmp_path / "model", vocoder=False)
    voices = bare / "voices"

    def fault() -> str:
        with pytest.raises(Invalid) as error:
            models.inspect("model", bare, "", ())
        return error.value.fields["path"]

    assert "has no vocoder: put a SpeechT5HifiGan" in fault()
    (bare / "vocoder").mkdir()
    told = {"architectures": ["SpeechT5HifiGan"], "model_in_dim": 80}
    (bare / "vocoder" / "config.json").write_text(json.dumps(told))
    save_file({"x": np.zeros(1, np.float32)}, bare / "vocoder" / "model.safetensors")
    assert "a vocoder for 80 bands of sound, and the model makes 8" in fault()
    (bare / "vocoder" / "config.json").write_text(json.dumps({**told, "model_in_dim": 8}))
    assert "has no voice: put one into voices/" in fault()
    voices.mkdir()
    save_file({"x": np.zeros(9, np.float32)}, voices / "Ann.safetensors")
    assert "not one tensor of 8 numbers in F32: voices/Ann.safetensors" in fault()
    save_file({"x": np.zeros(8, np.float32)}, voices / "Ann.safetensors")
    assert models.inspect("model", bare, "", ()).voices == ["Ann"]
    (bare / "speaker").mkdir()
    assert "without a WavLMForXVector" in fault()
    (bare / "speaker" / "config.json").write_text(json.dumps({"architectures": ["WavLMForXVector"]}))
    (bare / "speaker" / "preprocessor_config.json").write_text("{}")
    save_file({"x": np.zeros(1, np.float32)}, bare / "speaker" / "model.safetensors")
    assert "takes 8 numbers for a voice, and the model in speaker/ makes 512" in fault()
    (voices / "Bo.pkl").write_bytes(pickle.dumps([0.0]))
    assert "pickled weights can run code" in fault()
    (voices / "Bo.pkl").unlink()
    (bare / "spm_char.model").unlink()
    assert "has no spm_char.model" in fault()


@pytest.mark.parametrize("told", ["many", None, [8], {}, 1e999])
def test_a_number_that_is_none_is_refused_in_words(small: Path, tmp_path: Path, told: Any) -> None:
    folder = shutil.copytree(small, tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text())
    both = {"num_mel_bins": "has a vocoder for 8 bands", "speaker_embedding_dim": "numbers for a voice"}
    for name, words in both.items():
        (folder / "config.json").write_text(json.dumps({**config, name: told}))
        with pytest.raises(Invalid) as error:
            models.inspect("odd", folder, "", ())
        assert words in error.value.fields["path"]


def test_odd_things_in_a_folder_break_nothing(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "odd")
    (folder / "voices" / "Eve.safetensors").mkdir()
    (folder / "voices" / "Gone.safetensors").symlink_to(tmp_path / "nowhere")
    assert models.inspect("odd", folder, "", ()).voices == ["Ann", "Bo"]
    (folder / "vocoder" / "config.json").write_text("[" * 100_000)
    with pytest.raises(Invalid) as error:
        models.inspect("odd", folder, "", ())
    assert "has no vocoder" in error.value.fields["path"]


def test_what_loading_takes_counts_the_parts_of_a_voice_and_no_copy_of_a_language_model(
    small: Path, tmp_path: Path
) -> None:
    files = [file.stat().st_size for file in small.rglob("*.safetensors")]
    assert (len(files), weights.loaded_size(small)) == (5, sum(files))
    (tmp_path / "original").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["TinyForCausalLM"]}))
    for place in (tmp_path, tmp_path / "original"):
        save_file({"x": np.zeros(1, np.float32)}, place / "model.safetensors")
    assert weights.loaded_size(tmp_path) == (tmp_path / "model.safetensors").stat().st_size


# forms


async def test_the_form_offers_voices_by_name_and_samples_where_a_model_takes_them(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, small: Path, tmp_path: Path
) -> None:
    await log_in(client, await make.person("ada"))
    await models.register("vits", speakers.vits(tmp_path / "vits"))
    await client.post("/drafts", data=typed(**{"s1-model": "vits"}))
    page = (await client.get("/pipelines/new")).text
    assert ('name="s1-upload"' in page, TICK in page, "does not know" in page) == (False, False, False)
    assert re.search(r'<input id="s1-voice"[^>]*type="text"', page)

    await models.register("small", small)
    page = (await client.get("/pipelines/new")).text
    assert re.findall(r'<option value="(\w*)"', page[page.index('<select id="s1-voice"') :])[:3] == ["", "Ann", "Bo"]
    assert f'name="{TICK}" value="new"' in page
    assert "does not know" not in page, "voices are no words of a prompt"
    for shown in ("/models", "/models/small"):
        assert "Has 2 voices" in (await client.get(shown)).text
    for fields, words in (
        ({"s1-voice": "Eve"}, "small has no such voice. It has: Ann, Bo"),
        ({"s1-model": "vits", "s1-voice": "Ann"}, "vits has no such voice. Leave this empty"),
        ({"s1-model": "vits", "s1-upload": "a" * 64}, "vits speaks with its own voices alone. These take one: small"),
        ({"s1-voice": "Bo", "s1-upload": "a" * 64}, "The sample says whose voice it is"),
    ):
        sent = await client.post("/pipelines", data=typed(**fields, do="save"))
        assert (sent.status_code, words in sent.text) == (422, True), words


def test_a_step_has_one_voice() -> None:
    first, sample = steps.TextToSpeech(prompt="a"), "a" * 64

    def fault(**values: Any) -> dict[str, str]:
        recipe = steps.Recipe(steps=[first, steps.PromptTemplate(template="b"), steps.TextToSpeech(**values)])
        return steps.check(recipe)

    assert fault(prompt="b", voice_of=1) == {}
    assert fault(prompt="b", voice_of=2) == {"s3-voice_of": "Choose a step that speaks"}
    assert fault(prompt="b", voice_of=3) == {"s3-voice_of": "Choose a step before this one"}
    assert "s3-voice_of" in fault(prompt="b", voice_of=1, upload=sample)
    assert "s3-voice" in fault(prompt="b", voice="Ann", upload=sample)
    assert steps.sources_of(3, [first, first, steps.TextToSpeech(prompt="b", voice_of=1)]) == [1]
