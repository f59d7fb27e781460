"""Objects in S3, artifact rows beside them, and who may see what."""

import hashlib
import io
import secrets
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from domain import artifacts, steps
from domain.config import Config
from domain.errors import NotFound, Unavailable
from domain.storage import Storage, key_of
from tests.make import Make, png


@pytest.fixture
async def bucket(storage: Storage) -> Storage:
    await storage.open_bucket()
    await storage.open_bucket()
    return storage


async def test_an_object_comes_back_as_it_was_put(bucket: Storage) -> None:
    key = f"tests/{secrets.token_hex(8)}"
    await bucket.put(key, b"hello", "text/plain")
    assert await bucket.get(key) == b"hello"
    assert await bucket.exists(key)
    await bucket.delete(key)
    await bucket.delete(key)
    assert not await bucket.exists(key)
    with pytest.raises(NotFound):
        await bucket.get(key)


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 10), (5, 10), (300_000, None), (262_144, 600_000), (7, 7)])
async def test_any_part_can_be_read(bucket: Storage, start: int, end: int | None) -> None:
    data = secrets.token_bytes(700_000)
    key = f"tests/{secrets.token_hex(8)}"
    await bucket.put(key, data, "application/octet-stream")
    if start == end:
        return
    read = b"".join([chunk async for chunk in await bucket.open(key, start, end)])
    assert read == data[start:end]


async def test_a_server_that_is_away_is_said_to_be_away() -> None:
    away = Storage("http://key:secret@127.0.0.1:1/bucket")
    with pytest.raises(Unavailable):
        await away.get("a")
    with pytest.raises(Unavailable):
        await away.put("a", b"", "text/plain")


@pytest.fixture
def fresh(config: Config) -> Storage:
    """A bucket that nobody has made yet."""
    return Storage(urlsplit(config.s3_url)._replace(path=f"/fresh-{secrets.token_hex(8)}").geturl())


@pytest.mark.parametrize("data", [b"hello", io.BytesIO(b"hello")])
async def test_the_first_object_makes_the_bucket(fresh: Storage, data: Any) -> None:
    with pytest.raises(NotFound):
        await fresh.require_bucket()
    await fresh.put("ab/abc", data, "text/plain")
    assert await fresh.get("ab/abc") == b"hello"
    await fresh.require_bucket()


async def test_health_says_that_the_bucket_is_not_there(
    fresh: Storage, app: Any, client: Any, bucket: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("/health")).json()["s3"] == "ok"
    monkeypatch.setattr(app.state, "storage", fresh)
    answer = await client.get("/health")
    assert (answer.status_code, answer.json()["s3"]) == (503, "unreachable")
    await fresh.put("ab/abc", b"hello", "text/plain")
    assert (await client.get("/health")).status_code == 200


def test_the_region_is_that_of_the_address() -> None:
    given = "https://key:secret@files.example/bucket"
    assert "%2Fus-east-1%2Fs3%2F" in Storage(given).presigned("ab/abc")
    assert "%2Feu-north-1%2Fs3%2F" in Storage(f"{given}?region=eu-north-1").presigned("ab/abc")


def test_an_address_can_be_signed() -> None:
    url = Storage("https://key:secret@files.example/bucket").presigned("ab/abc", 60)
    assert url.startswith("https://files.example/bucket/ab/abc?")
    assert "secret" not in url


async def test_record_stores_once_under_the_hash(db: Any, bucket: Storage) -> None:
    data = secrets.token_bytes(100)
    sha256 = await artifacts.record(bucket, data, "image/png", 4, 5)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert await artifacts.record(bucket, data, "image/png", 4, 5) == sha256
    assert await bucket.get(key_of(sha256)) == data
    row = await db.fetchrow("SELECT * FROM artifacts")
    assert (row["state"], row["bytes"], row["width"], row["height"]) == ("stored", 100, 4, 5)


async def test_a_lost_object_comes_back_with_the_next_that_makes_it(db: Any, bucket: Storage) -> None:
    data = secrets.token_bytes(100)
    sha256 = await artifacts.record(bucket, data, "image/png")
    await bucket.delete(key_of(sha256))
    await artifacts.record(bucket, data, "image/png")
    assert await bucket.get(key_of(sha256)) == data


async def test_record_writes_again_what_a_sweep_was_deleting(db: Any, bucket: Storage) -> None:
    data = secrets.token_bytes(100)
    sha256 = await artifacts.record(bucket, data, "image/png")
    await bucket.delete(key_of(sha256))
    await db.execute("UPDATE artifacts SET state = 'deleting', touched_at = now() - interval '2 days'")
    await artifacts.record(bucket, data, "image/png")
    assert await bucket.get(key_of(sha256)) == data
    assert await db.fetchval("SELECT state FROM artifacts") == "stored"


async def test_a_write_that_fails_leaves_nothing_to_see(db: Any) -> None:
    away = Storage("http://key:secret@127.0.0.1:1/bucket")
    with pytest.raises(Unavailable):
        await artifacts.record(away, b"data", "image/png")
    assert await db.fetchval("SELECT state FROM artifacts") == "writing"
    with pytest.raises(NotFound):
        await artifacts.visible(hashlib.sha256(b"data").hexdigest(), None)


async def test_renditions_answer_the_width_asked_for(db: Any, make: Make) -> None:
    original, small, large = [(await make.artifact()).sha256 for _ in range(3)]
    await artifacts.add_rendition(original, 320, small)
    await artifacts.add_rendition(original, 640, large)
    await artifacts.add_rendition(original, 640, large)
    assert await artifacts.renditions(original) == {320: small, 640: large}


async def _seen(sha256: str, viewer: Any) -> bool:
    try:
        await artifacts.visible(sha256, viewer)
    except NotFound:
        return False
    return True


async def _picture_of(db: Any, run: Any) -> str:
    sha256: str = await db.fetchval("SELECT sha256 FROM outputs WHERE step_run_id = $1", run.step_runs[0])
    return sha256


async def test_a_private_result_is_its_runners_alone(db: Any, make: Make) -> None:
    owner, runner, other = [await make.person() for _ in range(3)]
    pipeline = await make.pipeline(owner)
    run = await make.run(pipeline, runner, state="succeeded")
    sha256 = await _picture_of(db, run)
    assert [await _seen(sha256, viewer) for viewer in (runner.id, owner.id, other.id, None)] == [True, *[False] * 3]
    small = await make.artifact()
    await artifacts.add_rendition(sha256, 320, small.sha256)
    assert [await _seen(small.sha256, viewer) for viewer in (runner.id, other.id, None)] == [True, False, False]
    await db.execute("UPDATE runs SET visibility = 'published' WHERE id = $1", run.id)
    assert await _seen(small.sha256, None)
    assert (await artifacts.visible(sha256, None)).public
    await db.execute("UPDATE pipelines SET deleted_at = now()")
    assert [await _seen(sha256, viewer) for viewer in (runner.id, owner.id, None)] == [True, False, False]


async def test_a_published_run_of_a_private_pipeline_is_its_owners(db: Any, make: Make) -> None:
    owner, other = await make.person(), await make.person()
    pipeline = await make.pipeline(owner, visibility="private")
    run = await make.run(pipeline, owner, state="succeeded", published=True)
    sha256 = await _picture_of(db, run)
    assert not (await artifacts.visible(sha256, owner.id)).public
    assert not await _seen(sha256, other.id)
    assert not await _seen(sha256, None)


async def test_an_upload_shows_once_a_visible_version_uses_it(db: Any, make: Make) -> None:
    owner, other = await make.person(), await make.person()
    upload = await make.artifact(png("orange"))
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", owner.id, upload.sha256)
    assert await _seen(upload.sha256, owner.id)
    assert not await _seen(upload.sha256, other.id)
    step = steps.ImageToImage(prompt="x", upload=upload.sha256)
    pipeline = await make.pipeline(owner, steps=[step], visibility="private")
    assert not await _seen(upload.sha256, other.id)
    await db.execute("UPDATE pipelines SET visibility = 'unlisted' WHERE id = $1", pipeline.id)
    assert await _seen(upload.sha256, other.id)
    assert await _seen(upload.sha256, None)


async def test_what_never_was_is_not_found(db: Any) -> None:
    with pytest.raises(NotFound, match="There is no such file, or it is private"):
        await artifacts.visible("0" * 64, uuid4())


async def test_visibility_is_one_query(db: Any, make: Make, queries: Any) -> None:
    artifact = await make.artifact()
    with queries:
        await _seen(artifact.sha256, None)
    assert queries.count == 1
