"""Steps that go wrong by themselves, a file store that does, and runs that are stopped in every state."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.folder import Folder
from deploy.objects import Objects
from deploy.processes import Guard
from domain import db, run_pages, runs, steps
from domain.errors import Full
from domain.storage import Storage
from tests import worker as w
from tests.faults.proxy import BUSY, FULL, OPEN, SHUT, SLOW
from tests.faults.stand import Stand, drawing, within
from tests.make import Make
from web import run_words

pytestmark = [pytest.mark.faults, pytest.mark.slow]

WORDS = steps.PromptTemplate(template="a boat")


def drawn(prompt: str, passes: int = 3) -> steps.TextToImage:
    return steps.TextToImage(prompt=prompt, num_inference_steps=passes, width=64, height=64)


async def test_a_poison_step_fails_after_three_and_spares_those_beside_it(make: Make, stand: Stand) -> None:
    await stand.crew(1)
    poison, good = [await make.pipeline(steps=[drawn(words), WORDS]) for words in ("POISON", "a boat")]
    async with db.transaction():  # both arrive at once, so that one call runs them together
        bad, *fine = [await w.accept(pipeline, seed) for seed, pipeline in enumerate((poison, good, good))]
    since = time.monotonic()
    row, later = await within(90, bad, "failed")
    assert time.monotonic() - since < 90
    assert (row["state"], row["attempt"], row["error_code"]) == ("failed", 3, "crashed")
    assert row["error_message"] == "The step crashed the worker three times"
    assert later["state"] == "cancelled"
    for run_id in fine:
        assert (await within(60, run_id))[0]["attempt"] == 2


async def test_a_step_without_memory_fails_by_name_at_once(make: Make, stand: Stand) -> None:
    await stand.crew(1)
    row, later = await within(20, await w.accept(await make.pipeline(steps=[drawn("MEMORY"), WORDS])), "failed")
    assert "ran out of memory" in row["error_message"]
    assert (row["attempt"], later["state"], later["attempt"]) == (1, "cancelled", 0)


async def test_a_full_file_store_fails_the_step_by_name_at_once(make: Make, stand: Stand) -> None:
    await stand.crew(1)
    stand.door.turn(FULL)
    row, later = await within(20, await w.accept(await make.pipeline(steps=[drawn("a boat"), WORDS])), "failed")
    assert "file store is full" in row["error_message"]
    assert (row["attempt"], later["state"], later["attempt"]) == (1, "cancelled", 0)


@pytest.mark.parametrize("trouble", [SHUT, SLOW, BUSY])
async def test_a_file_store_in_trouble_holds_the_result(make: Make, stand: Stand, trouble: str) -> None:
    await stand.crew(1)
    pipeline = await make.pipeline(steps=[drawn(f"a boat, {trouble}"), WORDS])
    stand.door.turn(trouble)
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][0]["phase"] == "saving", 30)
    assert run_words.headline(await run_pages.progress(run_id, pipeline.owner_id)) == "Drawing: saving the result"
    await asyncio.sleep(3)
    stand.door.turn(OPEN)
    assert (await within(60, run_id))[0]["attempt"] == 1


async def test_a_stop_ends_a_run_in_every_state(make: Make, stand: Stand) -> None:
    await stand.crew(0)
    pipeline = await make.pipeline(steps=[drawn("a boat"), WORDS])
    queued = await w.accept(pipeline)
    await runs.cancel(queued, pipeline.owner_id)
    await within(1, queued, "cancelled")
    await stand.crew(2)
    deaf = asyncio.create_task(_stopped_while_deaf(make))
    await _stopped_while_drawing(make)
    await _stopped_while_saving(make, stand)
    await deaf
    assert not await db.fetchval("SELECT count(*) FROM outputs")


async def _stopped_while_drawing(make: Make) -> None:
    pipeline = await make.pipeline(steps=[steps.TextToImage(prompt="a boat", num_inference_steps=150), WORDS])
    run_id = await w.accept(pipeline)
    await drawing(run_id)
    await runs.cancel(run_id, pipeline.owner_id)
    await within(25, run_id, "cancelled")


async def _stopped_while_saving(make: Make, stand: Stand) -> None:
    pipeline = await make.pipeline(steps=[drawn("a boat, never kept"), WORDS])
    stand.door.turn(SHUT)
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][0]["phase"] == "saving", 30)
    await runs.cancel(run_id, pipeline.owner_id)
    await within(25, run_id, "cancelled")
    stand.door.turn(OPEN)


async def _stopped_while_deaf(make: Make) -> None:
    """The engine does not listen: it is killed."""
    pipeline = await make.pipeline(steps=[drawn("DEAF"), WORDS])
    run_id = await w.accept(pipeline)
    await drawing(run_id, 0)
    await runs.cancel(run_id, pipeline.owner_id)
    await within(25, run_id, "cancelled")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Objects]:
    """An embedded S3 server whose disk has room for 5 MiB."""
    folder = Folder(tmp_path / "small").open()
    disk = folder.path / "s3"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", disk], capture_output=True)
    if mount.returncode:
        folder.close()
        pytest.skip("only root can mount a small disk")
    guard = Guard(folder.lock)
    server = Objects(folder, guard)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.stop()
        guard.dismiss()
        folder.close()
        subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_of_the_embedded_server_is_named(small_disk: Objects) -> None:
    store = Storage(small_disk.url, small_disk.data)
    await store.put("aa/small", b"x" * 1000, "text/plain")
    with pytest.raises(Full, match="file store is full"):
        await store.put("aa/large", bytes(6 << 20), "text/plain")
    assert await store.get("aa/small") == b"x" * 1000
