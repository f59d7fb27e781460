"""Verification: every stored file is read again."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.verify import say
from domain import artifacts, steps, verification
from domain.config import Config
from domain.errors import Unavailable
from domain.storage import Storage, key_of
from domain.verification import verify
from tests import buckets
from tests.make import Make


@pytest.fixture
async def bucket(config: Config, db: Any) -> AsyncIterator[Storage]:
    async with buckets.opened(buckets.address(config)) as store:
        yield store


async def _used(db: Any, make: Make, bucket: Storage) -> tuple[str, Any]:
    """A stored file that a run made, and the run."""
    sha256 = await artifacts.record(bucket, secrets.token_bytes(300_000), "audio/wav")
    run = await make.run(await make.pipeline(title="Fox"), state="succeeded")
    await db.execute("UPDATE outputs SET sha256 = $1 WHERE step_run_id = $2", sha256, run.step_runs[0])
    await db.execute("DELETE FROM artifacts WHERE sha256 <> $1", sha256)
    return sha256, run


async def test_whole_files_are_counted(
    db: Any, make: Make, bucket: Storage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "PAGE", 2)
    await _used(db, make, bucket)
    for _ in range(4):
        await artifacts.record(bucket, secrets.token_bytes(10), "image/png")
    report = await verify(bucket)
    assert (report.checked, report.bytes, report.unreferenced, report.broken) == (5, 300_040, 4, [])
    say(report)
    assert capsys.readouterr().out.startswith("checked 5, missing 0, wrong 0, unreferenced 4, 300,040 bytes, ")
    assert (await verify(bucket, 2)).checked == 2
    assert (await verify(bucket, 100)).checked == 5


async def test_a_missing_and_a_wrong_file_are_named_with_those_who_use_them(
    db: Any, make: Make, bucket: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    lost, run = await _used(db, make, bucket)
    wrong = await artifacts.record(bucket, b"as it was", "image/png")
    small = await artifacts.record(bucket, b"small", "image/webp")
    await artifacts.add_rendition(lost, 320, small)
    person = await make.person("ada")
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", person.id, wrong)
    pipeline = await make.pipeline(title="Boat", steps=[steps.ImageToImage(upload=wrong)])
    await bucket.delete(key_of(lost))
    await bucket.put(key_of(wrong), b"as it is", "image/png")
    await bucket.put(key_of(small), b"smell", "image/webp")
    report = await verify(bucket)
    found = {each.sha256: (each.how, each.users) for each in report.broken}
    assert found == {
        lost: ("missing", [f"run 1 of “Fox” (/runs/{run.id})"]),
        wrong: ("wrong", [f"pipeline “Boat” (/pipelines/{pipeline.id})", "an upload of ada"]),
        small: ("wrong", [f"run 1 of “Fox” (/runs/{run.id})"]),
    }
    say(report)
    said = capsys.readouterr().out
    assert f"missing: {lost} (audio/wav)\n  used by run 1 of “Fox” (/runs/{run.id})\n" in said
    assert "checked 3, missing 1, wrong 2, unreferenced 0, 13 bytes" in said


async def test_a_lost_form_is_named_with_the_run_of_its_object(db: Any, make: Make, bucket: Storage) -> None:
    glb, run = await _used(db, make, bucket)
    stl = await artifacts.record(bucket, b"triangles", "model/stl")
    await artifacts.add_form(glb, "stl", stl)
    await bucket.delete(key_of(stl))
    report = await verify(bucket)
    found = [(each.sha256, each.how, each.users) for each in report.broken]
    assert found == [(stl, "missing", [f"run 1 of “Fox” (/runs/{run.id})"])]
    assert report.unreferenced == 0


async def test_what_is_swept_up_meanwhile_is_no_loss(db: Any, bucket: Storage) -> None:
    sha256 = await artifacts.record(bucket, b"going", "image/png")
    kept = await artifacts.record(bucket, b"staying", "image/png")

    class Swept(Storage):
        async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
            if key == key_of(sha256):
                await db.execute("DELETE FROM artifacts WHERE sha256 = $1", sha256)
                await self.delete(key)
            return await super().open(key, start, end)

    report = await verify(Swept(buckets.url_of(bucket)))
    assert (report.checked, report.broken) == (1, [])
    assert kept == hashlib.sha256(b"staying").hexdigest()


async def test_a_file_store_that_is_away_is_no_loss_either(db: Any, make: Make) -> None:
    await make.artifact()
    with pytest.raises(Unavailable):
        await verify(Storage("http://key:secret@127.0.0.1:1/bucket"))
