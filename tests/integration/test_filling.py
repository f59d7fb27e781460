"""The background work of a worker: the real encoder in a real engine, catching up, switched off, broken."""

import asyncio
import contextlib
import inspect
import io
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from domain import db as database
from domain import likeness, neighbors
from domain.errors import DomainError
from domain.neighbors import SIZE
from domain.steps import TextToImage
from domain.storage import Storage, key_of
from tasks import encoder
from tasks.engine import Engine, EngineDied
from tasks.filling import AHEAD, Filling, Troubled
from tasks.messages import Embed, EncoderRef, Ended, Job, Member
from tests.make import Make, Pipeline, png
from tests.unit.test_likeness import scene

BOATS = ["a small sailing boat on a calm lake", "fishing boats in a harbor at dusk", "an old wooden ship on the sea"]
CATS = ["a tabby cat asleep on a sofa", "two kittens playing with wool", "a black cat on a garden wall"]
TOWNS = ["a crowded street in a rainy city at night", "skyscrapers seen from a bridge", "a village square in winter"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine() -> AsyncIterator[Engine]:
    """A child that loads what it is asked for."""
    one = Engine("cpu")
    one.start()
    yield one
    one.close()


@pytest.fixture(scope="module")
def minilm() -> EncoderRef:
    found = encoder.find("minilm")
    assert found is not None
    return found


@pytest.fixture
def idle() -> asyncio.Event:
    """Set: the worker has nothing to do."""
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
def filling(engine: Engine, storage: Storage, minilm: EncoderRef, idle: asyncio.Event) -> Filling:
    return Filling(engine, storage, minilm, idle)


async def compared(filling: Filling) -> None:
    """Work until there is nothing to do."""
    async with asyncio.timeout(60):
        while await filling.texts():
            pass


async def prompts(make: Make, *texts: str) -> dict[Any, str]:
    """A published pipeline for each text; the text by the pipeline's id."""
    return {
        (await make.pipeline(title="Untitled", steps=[TextToImage(prompt=text)], published=True)).id: text
        for text in texts
    }


# -- the encoder


async def test_what_is_about_boats_is_near_what_is_about_boats(make: Make, filling: Filling) -> None:
    texts = await prompts(make, *BOATS, *CATS, *TOWNS)
    await compared(filling)
    for pipeline_id, text in texts.items():
        group = next(group for group in (BOATS, CATS, TOWNS) if text in group)
        near = [texts[card.id] for card in await neighbors.around(pipeline_id)]
        if near:
            assert near[0] in group, (text, near)
    near = [texts[card.id] for card in await neighbors.around(next(iter(texts)))]
    assert set(near[:2]) == set(BOATS[1:])


async def test_vectors_have_length_one_and_do_not_depend_on_company(engine: Engine, minilm: EncoderRef) -> None:
    together = await engine.embed(Embed(minilm, ["a boat", " ".join(["word"] * 3000), "", "лодка 🚣 قارب"]))
    alone = await engine.embed(Embed(minilm, ["a boat"]))
    assert [len(vector) for vector in together.vectors] == [SIZE] * 4
    for vector in together.vectors:
        assert sum(number**2 for number in vector) == pytest.approx(1, abs=1e-5)
    assert alone.vectors[0] == pytest.approx(together.vectors[0], abs=1e-5)


async def test_the_model_card_s_sentence_pair(engine: Engine, minilm: EncoderRef) -> None:
    """The similarities that sentence-transformers gives with these weights."""
    said = await engine.embed(
        Embed(minilm, ["That is a happy person", "That is a very happy person", "Today is a sunny day"])
    )
    first, second, third = said.vectors
    near, far = (sum(a * b for a, b in zip(first, other, strict=True)) for other in (second, third))
    assert near == pytest.approx(0.943, abs=0.002)
    assert far == pytest.approx(0.257, abs=0.002)


async def test_a_run_goes_on_beside_it(engine: Engine, minilm: EncoderRef) -> None:
    """Words and a job that come together: both get their answers, and words that are left over stay due."""
    job = Job(id="one", members=[Member(step={"kind": "prompt_template", "template": "hello"})], model=None)
    asked = asyncio.create_task(engine.embed(Embed(minilm, ["a boat"] * 8)))
    await asyncio.sleep(0)
    async with contextlib.aclosing(engine.run(job)) as said:
        heard = [message async for message in said]
    assert isinstance(heard[-1], Ended)
    answer = await asked
    assert not answer.error
    assert 1 <= len(answer.vectors) <= 8


def test_a_job_that_waits_lets_one_more_through(minilm: EncoderRef) -> None:
    loaded = encoder.Encoders()
    assert len(loaded.embed(Embed(minilm, ["a boat"] * 3), lambda: True).vectors) == 1
    assert len(loaded.embed(Embed(minilm, ["a boat"] * 3), lambda: False).vectors) == 3
    assert loaded.embed(Embed(minilm, []), lambda: False).vectors == []


# -- when


async def test_it_catches_up_after_being_off(
    make: Make, engine: Engine, storage: Storage, minilm: EncoderRef, idle: asyncio.Event, db: Any
) -> None:
    texts = await prompts(make, *BOATS)
    assert not await Filling(engine, storage, None, idle).texts()
    assert await db.fetchval("SELECT count(*) FROM embeddings WHERE vector IS NULL") == len(texts)
    await db.execute("DELETE FROM embeddings")  # a site that grew before there was such a thing
    work = asyncio.create_task(Filling(engine, storage, minilm, idle).work())
    await until(lambda: db.fetchval("SELECT count(*) = 3 FROM embeddings WHERE vector IS NOT NULL"))
    work.cancel()


async def until(done: Callable[[], Awaitable[Any] | Any]) -> None:
    """Ask again and again, for half a minute."""
    async with asyncio.timeout(30):
        while True:
            answer = done()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.02)


async def test_another_encoder_makes_all_vectors_anew(
    make: Make, engine: Engine, storage: Storage, filling: Filling, idle: asyncio.Event, db: Any, tmp_path: Path
) -> None:
    await prompts(make, *BOATS)
    await compared(filling)
    other = ref_of(copy_of(tmp_path))
    assert not await filling.texts()
    await compared(Filling(engine, storage, other, idle))
    assert {row["encoder"] for row in await db.fetch("SELECT encoder FROM embeddings")} == {other.id}


def copy_of(tmp_path: Path) -> Path:
    """The default encoder's files, with another word in a file that counts."""
    found = encoder.find("minilm")
    assert found is not None
    folder = Path(shutil.copytree(found.path, tmp_path / "sentences"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": "another"}))
    return folder


def ref_of(folder: Path) -> EncoderRef:
    found = encoder.find(str(folder))
    assert found is not None
    return found


async def test_a_busy_worker_still_gets_to_it_but_starts_no_engine(
    make: Make, storage: Storage, minilm: EncoderRef, db: Any
) -> None:
    await prompts(make, *BOATS)
    never = Engine("cpu")
    with pytest.raises(EngineDied):
        await Filling(never, storage, minilm, asyncio.Event()).texts()
    assert never.pid is None
    assert await db.fetchval("SELECT count(*) FROM embeddings WHERE vector IS NULL") == 3


# -- what goes wrong


async def test_an_engine_that_dies_leaves_them_due(
    make: Make, storage: Storage, minilm: EncoderRef, idle: asyncio.Event
) -> None:
    await prompts(make, *BOATS)
    one = Engine("cpu")
    work = asyncio.create_task(Filling(one, storage, minilm, idle).texts())
    await until(lambda: one.pid)
    one.kill()
    with pytest.raises(EngineDied):
        await work
    assert len(await neighbors.due(minilm.id, AHEAD)) == 3
    one.close()


async def test_an_encoder_whose_files_changed_is_not_used(
    make: Make, storage: Storage, idle: asyncio.Event, tmp_path: Path, engine: Engine
) -> None:
    await prompts(make, "a boat")
    folder = copy_of(tmp_path)
    ref = ref_of(folder)
    (folder / "vocab.txt").write_text("spoiled")
    with pytest.raises(Troubled, match="has changed"):
        await Filling(engine, storage, ref, idle).texts()
    assert len(await neighbors.due(ref.id, AHEAD)) == 1


async def test_trouble_is_waited_out(
    make: Make, storage: Storage, idle: asyncio.Event, tmp_path: Path, engine: Engine, db: Any, caplog: Any
) -> None:
    """Words fail, pictures go on."""
    folder = copy_of(tmp_path)
    ref = ref_of(folder)
    (folder / "vocab.txt").write_text("spoiled")
    sea = await drawn(make, scene(1))
    work = asyncio.create_task(Filling(engine, storage, ref, idle).work())
    await until(lambda: db.fetchval("SELECT count(*) = 1 FROM likenesses WHERE phash IS NOT NULL"))
    await until(lambda: "goes on in 60 s" in caplog.text)
    assert not work.done()
    work.cancel()
    assert await neighbors.around(sea.id) == []


# -- which encoder


def test_off_is_none() -> None:
    assert encoder.find("off") is None


def test_what_came_along_is_known_by_its_hash(minilm: EncoderRef, monkeypatch: pytest.MonkeyPatch) -> None:
    assert minilm.id == f"minilm@{encoder.MINILM[:16]}"
    monkeypatch.setattr(encoder, "MINILM", "0" * 64)
    with pytest.raises(DomainError, match="does not hold the files"):
        encoder.find("minilm")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "is no sentence model's folder"),
        (lambda folder: (folder / "config.json").write_text("{"), "is no sentence model's folder"),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
            "is no sentence model's folder",
        ),
        (lambda folder: (folder / "config.json").write_text('{"hidden_size": 768}'), "makes vectors of 768 numbers"),
        (
            lambda folder: (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false}'),
            "another way of pooling",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, spoil: Any, words: str) -> None:
    folder = copy_of(tmp_path)
    spoil(folder)
    with pytest.raises(DomainError, match=words):
        encoder.find(str(folder))


# -- pictures


async def drawn(make: Make, image: Image.Image, title: str = "Drawn") -> Pipeline:
    """A published pipeline whose picture is this one, in the store."""
    file = io.BytesIO()
    image.save(file, "PNG")
    made = await make.artifact(file.getvalue(), stored=True)
    pipeline = await make.pipeline(published=True, title=title)
    await database.execute(
        """UPDATE outputs SET sha256 = $1 WHERE step_run_id = (SELECT id FROM step_runs WHERE run_id = $2)""",
        made.sha256,
        pipeline.run_id,
    )
    assert pipeline.run_id
    await likeness.note(pipeline.run_id)
    return pipeline


async def test_pictures_get_their_hashes(make: Make, filling: Filling, db: Any) -> None:
    await drawn(make, scene(1))
    await drawn(make, scene(1).resize((256, 192)), "Small")
    await drawn(make, scene(2), "Other")
    while await filling.pictures():
        pass
    row = await db.fetchrow("SELECT count(phash) AS hashed, count(*) FILTER (WHERE due) AS due FROM likenesses")
    assert (row["hashed"], row["due"]) == (3, 0)
    sha256 = await db.fetchval("SELECT sha256 FROM outputs JOIN artifacts USING (sha256) WHERE width = 256")
    found = await likeness.around(sha256, (await make.pipeline()).id)
    assert {one.title for one in found} == {"Drawn", "Small"}


async def test_the_smallest_rendition_is_enough(make: Make, filling: Filling, db: Any, storage: Storage) -> None:
    await drawn(make, scene(3))
    source = await db.fetchval("SELECT sha256 FROM likenesses")
    file = io.BytesIO()
    scene(3).resize((320, 240)).save(file, "WEBP")
    small = await make.artifact(file.getvalue(), "image/webp", stored=True)
    await db.execute("INSERT INTO renditions VALUES ($1, 320, $2)", source, small.sha256)
    await storage.delete(key_of(source))
    assert await filling.pictures()
    assert await db.fetchval("SELECT phash IS NOT NULL FROM likenesses")


@pytest.mark.parametrize("data", [b"no picture", None, png("red")], ids=["broken", "lost", "plain"])
async def test_a_picture_that_cannot_be_compared_is_not_asked_for_again(
    make: Make, filling: Filling, db: Any, storage: Storage, data: bytes | None
) -> None:
    await drawn(make, scene(4))
    sha256 = await db.fetchval("SELECT sha256 FROM likenesses")
    await storage.delete(key_of(sha256))
    if data is not None:
        await storage.put(key_of(sha256), data, "image/png")
    assert await filling.pictures()
    assert not await filling.pictures()
    assert await db.fetchrow("SELECT due, phash FROM likenesses") == (False, None)
