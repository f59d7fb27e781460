"""The sweep: what nothing refers to goes after a day, what anything refers to never."""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from domain import artifacts, drafts, pipelines, steps, sweep, uploads
from domain.config import Config
from domain.errors import NotFound, Unavailable
from domain.storage import Storage, Stored, Unfinished, key_of
from domain.sweep import Sweep, Swept
from tasks import dispatcher
from tasks.dispatcher import tell
from tests import buckets
from tests.make import Make, Pipeline, png

DAY = timedelta(hours=24)
AT_ONCE = timedelta(0)
AWAY = "http://key:secret@127.0.0.1:1/bucket"


@pytest.fixture
async def bucket(config: Config, db: Any) -> AsyncIterator[Storage]:
    async with buckets.opened(buckets.address(config)) as store:
        yield store


async def _recorded(bucket: Storage, db: Any, *, old: bool = True, data: bytes = b"") -> str:
    sha256 = await artifacts.record(bucket, data or secrets.token_bytes(50), "image/png", 4, 4)
    if old:
        await _age(db, sha256)
    return sha256


async def _age(db: Any, *sha256s: str) -> None:
    await db.execute(
        "UPDATE artifacts SET touched_at = now() - interval '25 hours' WHERE sha256 = ANY($1)", list(sha256s)
    )


async def _state(db: Any, sha256: str) -> str | None:
    state: str | None = await db.fetchval("SELECT state FROM artifacts WHERE sha256 = $1", sha256)
    return state


# what goes, what stays


async def test_only_what_is_old_and_unreferenced_goes(db: Any, bucket: Storage) -> None:
    old, new = await _recorded(bucket, db), await _recorded(bucket, db, old=False)
    left_behind = await _recorded(bucket, db)
    await db.execute("UPDATE artifacts SET state = 'writing' WHERE sha256 = $1", left_behind)
    swept = await Sweep(bucket).sweep()
    assert (swept.marked, swept.removed, swept.bytes) == (2, 2, 100)
    assert [await _state(db, each) for each in (old, left_behind, new)] == [None, None, "stored"]
    assert [await bucket.exists(key_of(each)) for each in (old, left_behind, new)] == [False, False, True]
    assert (await Sweep(bucket).sweep()).idle


async def test_everything_that_refers_to_a_file_keeps_it(db: Any, bucket: Storage, make: Make) -> None:
    person = await make.person()
    pipeline = await make.pipeline(person)
    run = await make.run(pipeline, state="succeeded")
    kept = {
        name: await _recorded(bucket, db, old=False)
        for name in ("output", "upload", "cover", "small", "stl", "recipe", "mask", "draft", "drafted mask")
    }
    await db.execute("UPDATE outputs SET sha256 = $1 WHERE step_run_id = $2", kept["output"], run.step_runs[0])
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", person.id, kept["upload"])
    await db.execute("UPDATE pipelines SET cover_sha256 = $1", kept["cover"])
    await artifacts.add_rendition(kept["output"], 320, kept["small"])
    await artifacts.add_form(kept["output"], "stl", kept["stl"])
    redraw, repaint = steps.ImageToImage(upload=kept["recipe"]), steps.Inpaint(mask=kept["mask"])
    await make.version(pipeline, steps=[steps.TextToImage(), redraw, repaint])
    typed = {"s2-upload": kept["draft"], "s3-mask": kept["drafted mask"], "s1-prompt": "x" * 5000}
    await drafts.save(person.id, None, typed)
    await _age(db, *kept.values())
    await Sweep(bucket).sweep()
    assert {name: await _state(db, sha256) for name, sha256 in kept.items()} == dict.fromkeys(kept, "stored")
    for table in ("outputs", "uploads", "drafts", "runs", "versions", "pipelines"):
        await db.execute(f"DELETE FROM {table}")
    assert (await Sweep(bucket).sweep()).removed == 7
    assert [await _state(db, kept[name]) for name in ("small", "stl")] == ["stored", "stored"]
    assert (await Sweep(bucket).sweep()).removed == 2
    assert await db.fetchval("SELECT (SELECT count(*) FROM renditions) + (SELECT count(*) FROM forms)") == 0


async def test_a_mark_looks_again(db: Any, bucket: Storage) -> None:
    """Between finding and marking somebody touches one file, refers to another and is about to refer to a third."""
    touched, named, about, plain = [await _recorded(bucket, db) for _ in range(4)]
    person = await db.fetchval(
        "INSERT INTO people (email, handle, password_hash) VALUES ('a@b', 'ann', '!') RETURNING id"
    )
    add = "INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)"
    await db.execute("UPDATE artifacts SET touched_at = now() WHERE sha256 = $1", touched)
    await db.execute(add, person, named)
    async with db.engine().pool.acquire() as other, other.transaction():
        await other.execute(add, person, about)
        assert await sweep.mark([touched, named, about, plain], DAY) == 1
    assert await _state(db, plain) == "deleting"
    assert [await _state(db, each) for each in (touched, named, about)] == ["stored"] * 3


async def test_what_is_referred_to_after_all_is_taken_back(db: Any, bucket: Storage, make: Make) -> None:
    person, sha256 = await make.person(), await _recorded(bucket, db)
    assert await sweep.mark([sha256], DAY) == 1
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", person.id, sha256)
    assert (await Sweep(bucket).sweep()).removed == 0
    assert await _state(db, sha256) == "stored"
    assert await bucket.exists(key_of(sha256))


async def test_a_lost_file_that_is_referred_to_is_said_and_does_not_stop_the_rest(
    db: Any, bucket: Storage, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    person, lost, other = await make.person(), await _recorded(bucket, db), await _recorded(bucket, db)
    await sweep.mark([lost, other], DAY)
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", person.id, lost)
    await bucket.delete(key_of(lost))
    assert (await Sweep(bucket).sweep()).removed == 1
    assert f"the object {lost} is referred to, but lost" in caplog.text


async def test_nothing_is_marked_while_a_backup_is_made(db: Any, bucket: Storage) -> None:
    sha256 = await _recorded(bucket, db)
    async with db.engine().pool.acquire() as backup:
        await backup.execute(f"SELECT pg_advisory_lock_shared({artifacts.SWEEPING})")
        assert (await Sweep(bucket).sweep()).marked == 0
        await backup.execute(f"SELECT pg_advisory_unlock_shared({artifacts.SWEEPING})")
    assert await _state(db, sha256) == "stored"
    assert (await Sweep(bucket).sweep()).removed == 1


# bounds


async def test_it_goes_round_all_pages_wherever_it_begins(
    db: Any, bucket: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 7)
    gone = [await _recorded(bucket, db) for _ in range(30)]
    assert (await Sweep(bucket).sweep()).removed == len(gone)


async def test_a_spent_budget_goes_on_at_the_next_call(db: Any, bucket: Storage) -> None:
    for _ in range(5):
        await _recorded(bucket, db)
    spent = Sweep(bucket, budget=0.0)
    assert (await spent.sweep()).idle
    spent._budget = 60.0
    assert (await spent.sweep()).removed == 5


async def test_many_sweeps_at_once_remove_everything_once(db: Any, bucket: Storage) -> None:
    for _ in range(40):
        await _recorded(bucket, db)
    swept = await asyncio.gather(*(Sweep(bucket).sweep() for _ in range(4)))
    swept.append(await Sweep(bucket).sweep())
    assert sum(each.marked for each in swept) == sum(each.removed for each in swept) == 40
    assert await db.fetchval("SELECT count(*) FROM artifacts") == 0


async def test_a_file_store_that_is_away_holds_nothing_up_for_good(db: Any, bucket: Storage) -> None:
    sha256 = await _recorded(bucket, db)
    with pytest.raises(Unavailable):
        await Sweep(Storage(AWAY)).sweep()
    assert await _state(db, sha256) == "deleting"
    assert (await Sweep(bucket).sweep()).removed == 1


async def test_its_queries_use_indexes(db: Any, make: Make) -> None:
    person = await make.person()
    run = await make.run(await make.pipeline(person), state="succeeded")
    await db.execute(
        """INSERT INTO artifacts (sha256, media_type, bytes, touched_at)
           SELECT encode(sha256(i::text::bytea), 'hex'), 'image/png', 1, now() - interval '2 days'
           FROM generate_series(1, 30000) i"""
    )
    await db.execute(
        """INSERT INTO outputs (step_run_id, position, sha256)
           SELECT $1, row_number() OVER () + 10, sha256 FROM artifacts WHERE bytes = 1 LIMIT 20000""",
        run.step_runs[0],
    )
    await db.execute(
        """INSERT INTO renditions (source, width, sha256)
           SELECT sha256, 320, lead(sha256, 1, sha256) OVER (ORDER BY sha256) FROM artifacts
           WHERE bytes = 1 AND sha256 < '8'"""
    )
    await db.execute(
        """INSERT INTO pipelines (owner_id, title, cover_sha256) SELECT $1, 'x', sha256 FROM artifacts LIMIT 20000""",
        person.id,
    )
    await db.execute(
        """INSERT INTO versions (pipeline_id, number, digest, recipe)
           SELECT id, 2, '', jsonb_build_object('steps', jsonb_build_array(jsonb_build_object('upload', cover_sha256)))
           FROM pipelines"""
    )
    await db.execute(
        """INSERT INTO drafts (person_id, pipeline_id, form)
           SELECT $1, id, jsonb_build_object('s1-upload', cover_sha256, 's1-prompt', repeat('x', 300))
           FROM pipelines""",
        person.id,
    )
    await db.execute("INSERT INTO uploads (person_id, sha256) SELECT $1, sha256 FROM artifacts LIMIT 20000", person.id)
    await db.execute("VACUUM ANALYZE artifacts, outputs, renditions, pipelines, versions, drafts, uploads")
    plans = [
        await _plan(db, sweep._UNUSED, "88", 500, DAY),
        await _plan(db, sweep._CLAIM, artifacts.REMOVAL),
        await _plan(db, sweep._NEEDED, "0" * 64),
        await _plan(db, sweep._MARK, [secrets.token_hex(32) for _ in range(20)], DAY),
    ]
    for plan in plans:
        assert "Seq Scan" not in plan, plan
    unused = (await db.fetchrow(sweep._UNUSED, "", 30_000, DAY))["unused"]
    assert 0 < len(unused) < 10_000


async def _plan(db: Any, sql: str, *arguments: Any) -> str:
    return "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {sql}", *arguments))


# records and sweeps at the same time


AGE = timedelta(milliseconds=80)
"""Of sweeps that go round all the time: longer than an upload takes between recording a file and referring to it."""


async def test_recording_and_sweeping_the_same_bytes_at_once_never_loses_them(
    db: Any, bucket: Storage, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People upload the same few pictures while sweeps that wait for no age go round: every picture that an upload
    row names at the end is stored, whole."""
    for module in (artifacts, sweep):
        monkeypatch.setattr(module, "REMOVAL", timedelta(milliseconds=25))
    pictures = [secrets.token_bytes(60) for _ in range(16)]
    people = [
        await db.fetchval(
            "INSERT INTO people (email, handle, password_hash) VALUES ($1, $1, '!') RETURNING id", f"p{i}"
        )
        for i in range(8)
    ]
    over = asyncio.Event()
    removed = 0

    async def sweeps() -> None:
        nonlocal removed
        going = Sweep(bucket, age=AGE)
        while not over.is_set():
            await going._mark(done := Swept())
            await going._remove(done)
            removed += done.removed
            await asyncio.sleep(AGE.total_seconds() / 4)  # so that uploads get on too

    async def uploads_of(person: Any) -> None:
        for turn in range(25):
            if turn % 3 == 0:
                await db.execute("DELETE FROM uploads WHERE person_id = $1", person)
            await asyncio.sleep(secrets.randbelow(50) / 1000)
            await _refer(db, bucket, person, pictures[secrets.randbelow(len(pictures))])

    sweepers = [asyncio.create_task(sweeps()) for _ in range(2)]
    try:
        await asyncio.gather(*(uploads_of(person) for person in people))
    finally:
        over.set()
        await asyncio.gather(*sweepers)
    assert removed > 0, "the sweeps never met the uploads"
    named = await db.fetch("SELECT person_id, sha256, state FROM uploads JOIN artifacts USING (sha256)")
    assert {row["person_id"] for row in named} == set(people)
    for row in named:
        data = await bucket.get(key_of(row["sha256"]))
        assert (row["state"], hashlib.sha256(data).hexdigest()) == ("stored", row["sha256"])


async def _refer(db: Any, bucket: Storage, person: Any, data: bytes) -> None:
    """Again where more than the sweeps' age went by between recording and referring: the foreign key says no then,
    or `record` that a sweep is at it just now."""
    while True:
        with contextlib.suppress(asyncpg.ForeignKeyViolationError, Unavailable):
            sha256 = await artifacts.record(bucket, data, "image/png")
            await db.execute(
                "INSERT INTO uploads (person_id, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING", person, sha256
            )
            return


async def test_recording_waits_while_the_object_is_being_removed(db: Any, bucket: Storage) -> None:
    data = secrets.token_bytes(40)
    sha256 = await _recorded(bucket, db, data=data)
    await sweep.mark([sha256], DAY)
    claimed = await db.fetchrow(sweep._CLAIM, artifacts.REMOVAL)
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Storage):
        async def delete(self, key: str) -> None:
            begun.set()
            await go_on.wait()
            await super().delete(key)

    slow = Slow(buckets.url_of(bucket))
    removing = asyncio.create_task(sweep.remove(slow, sha256, claimed["touched_at"]))
    await begun.wait()
    recording = asyncio.create_task(artifacts.record(bucket, data, "image/png"))
    await asyncio.sleep(0.3)
    assert not recording.done()
    go_on.set()
    assert await removing
    assert await recording == sha256
    assert await bucket.get(key_of(sha256)) == data
    assert await _state(db, sha256) == "stored"


async def test_recording_keeps_off_while_a_lost_request_may_still_arrive(
    db: Any, bucket: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_PATIENCE", 2)
    data = secrets.token_bytes(40)
    sha256 = await _recorded(bucket, db, data=data)
    await sweep.mark([sha256], DAY)
    claimed = await db.fetchrow(sweep._CLAIM, artifacts.REMOVAL)
    with pytest.raises(Unavailable):
        await sweep.remove(Storage(AWAY), sha256, claimed["touched_at"])
    with pytest.raises(Unavailable, match="being removed"):
        await artifacts.record(bucket, data, "image/png")
    assert (await Sweep(bucket).sweep()).removed == 0
    await _age(db, sha256)
    await artifacts.record(bucket, data, "image/png")
    assert await _state(db, sha256) == "stored"


async def test_a_claim_that_somebody_took_over_removes_nothing(db: Any, bucket: Storage) -> None:
    data = secrets.token_bytes(40)
    sha256 = await _recorded(bucket, db, data=data)
    await sweep.mark([sha256], DAY)
    claimed = await db.fetchrow(sweep._CLAIM, artifacts.REMOVAL)
    await _age(db, sha256)
    await artifacts.record(bucket, data, "image/png")
    assert not await sweep.remove(bucket, sha256, claimed["touched_at"])
    assert await bucket.get(key_of(sha256)) == data


async def test_a_recorder_that_was_away_for_days_does_not_publish(db: Any, bucket: Storage) -> None:
    """Its row and its object may be gone by the time it wakes up."""

    class Late(Storage):
        async def put(self, key: str, data: Any, media_type: str) -> None:
            await super().put(key, data, media_type)
            await db.execute("DELETE FROM artifacts")

    with pytest.raises(Unavailable):
        await artifacts.record(Late(buckets.url_of(bucket)), b"late", "image/png")


async def test_a_picture_in_a_recipe_is_held_while_the_recipe_is_saved(db: Any, make: Make) -> None:
    """A recipe names its picture without a foreign key, so saving holds the row against a mark."""
    person, picture = await make.person(), await make.artifact(png("teal"))
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", person.id, picture.sha256)
    recipe = steps.Recipe(steps=[steps.ImageToImage(prompt="x", upload=picture.sha256)])
    await _age(db, picture.sha256)
    async with db.transaction():
        await pipelines._check_uploads(recipe, person.id, None, ())
        async with db.engine().pool.acquire() as other:
            held = await other.fetch(sweep._HOLD, [picture.sha256])
    assert held == []


async def test_an_upload_is_kept_and_found(db: Any, bucket: Storage, make: Make) -> None:
    person = await make.person()
    kept = await uploads.add(bucket, person.id, png("red"))
    await _age(db, kept.sha256)
    await Sweep(bucket).sweep()
    assert hashlib.sha256(await bucket.get(key_of(kept.sha256))).hexdigest() == kept.sha256


# objects without rows, uploads in parts, previews


async def test_strays_go_and_other_names_stay(db: Any, bucket: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [await _recorded(bucket, db, old=False) for _ in range(2)]
    stray = hashlib.sha256(b"stray").hexdigest()
    for key in (key_of(stray), "health", f"{stray[:2]}/readme", f"00/{stray}"):
        await bucket.put(key, b"stray", "text/plain")
    assert (await Sweep(bucket).sweep()).strays == 0, "it is not a day old"
    swept = await Sweep(Later(buckets.url_of(bucket))).sweep()
    assert (swept.strays, swept.removed, swept.bytes, swept.foreign) == (1, 1, 5, 0)
    assert not await bucket.exists(key_of(stray))
    assert [await bucket.exists(key) for key in ("health", f"{stray[:2]}/readme", f"00/{stray}")] == [True] * 3
    assert [await _state(db, each) for each in known] == ["stored"] * 2
    await bucket.delete("health")


class Later(Storage):
    """The same store, two days on."""

    async def listing(self, prefix: str, after: str = "") -> list[Stored]:
        found = await super().listing(prefix, after)
        return [Stored(each.key, each.bytes, each.modified - 2 * DAY) for each in found]

    async def unfinished(self) -> list[Unfinished]:
        return [Unfinished(each.key, each.id, each.begun - 2 * DAY) for each in await super().unfinished()]


async def test_a_bucket_that_is_mostly_somebody_elses_is_left_alone(
    db: Any, bucket: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        await bucket.put(key_of(hashlib.sha256(bytes([number])).hexdigest()), b"theirs", "text/plain")
    await _recorded(bucket, db, old=False)
    swept = await Sweep(Later(buckets.url_of(bucket))).sweep()
    assert (swept.strays, swept.removed, swept.foreign) == (0, 0, 5)
    tell(swept)
    assert "left 5 objects that this database does not know" in caplog.text


async def test_a_listing_goes_on_from_page_to_page(bucket: Storage) -> None:
    keys = sorted(key_of(f"ab{number:062x}") for number in range(5))
    for key in keys:
        await bucket.put(key, b"x", "text/plain")
    found = await bucket.listing("ab/", keys[1])
    assert [each.key for each in found] == keys[2:]
    assert found[0].bytes == 1
    assert abs(found[0].modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert await bucket.listing("cd/") == []


async def test_cut_off_uploads_go_after_a_day(db: Any, bucket: Storage) -> None:
    key = key_of("a" * 64)
    await bucket._call("create_multipart_upload", Bucket=bucket.bucket, Key=key)
    assert (await Sweep(bucket).sweep()).uploads == 0
    (upload,) = await bucket.unfinished()
    assert (await Sweep(Later(buckets.url_of(bucket))).sweep()).uploads == 1
    assert await bucket.unfinished() == []
    await bucket.abort(upload)


async def test_a_bucket_that_is_not_there_yet_holds_nothing(db: Any, bucket: Storage) -> None:
    nowhere = Storage(buckets.url_of(bucket) + "-not-there")
    assert (await Sweep(nowhere).sweep()).idle


async def test_previews_of_steps_that_ended_go(db: Any, make: Make) -> None:
    pipeline: Pipeline = await make.pipeline()
    running, ended = await make.run(pipeline, state="running"), await make.run(pipeline, state="succeeded")
    for run in (running, ended):
        await db.execute("INSERT INTO previews VALUES ($1, 1, 'image/webp', '')", run.step_runs[0])
    assert await db.execute(sweep._PREVIEWS) == 1
    assert await db.fetchval("SELECT step_run_id FROM previews") == running.step_runs[0]


def test_what_a_sweep_did_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell(Swept())
    assert caplog.text == ""
    tell(Swept(removed=3, bytes=99, strays=1, uploads=2))
    assert "swept up 3 files (99 bytes; 1 had no row), 2 cut-off uploads and 0 previews" in caplog.text


async def test_what_is_being_removed_is_not_shown(db: Any, bucket: Storage) -> None:
    sha256 = await _recorded(bucket, db)
    await sweep.mark([sha256], DAY)
    with pytest.raises(NotFound):
        await artifacts.visible(sha256, None, allowed=True)


# in the dispatcher


async def test_the_dispatcher_sweeps(
    db: Any, bucket: Storage, config: Config, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "FIRST_SWEEP", 0.0)
    sha256 = await _recorded(bucket, db)
    working = dispatcher.Dispatcher(replace(config, s3_url=buckets.url_of(bucket)))
    at_work = asyncio.create_task(working.work())
    await _until(lambda: _is_gone(db, sha256))
    working.stop()
    await asyncio.wait_for(at_work, 20)


async def test_a_sweep_that_hangs_holds_no_dispatch_up(
    db: Any, config: Config, redis: Any, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "FIRST_SWEEP", 0.0)
    asked, over = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        working = dispatcher.Dispatcher(replace(config, s3_url=f"http://key:secret@127.0.0.1:{port}/bucket"))
        at_work = asyncio.create_task(working.work())
        await asyncio.wait_for(asked.wait(), 20)
        run = await make.run(await make.pipeline())
        await _until(lambda: _is_rung_for(db, run.step_runs[0]))
        working.stop()
        await asyncio.wait_for(at_work, 10)
        server.close()
        over.set()


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            if await true():
                return
            await asyncio.sleep(0.05)


async def _is_gone(db: Any, sha256: str) -> bool:
    return await _state(db, sha256) is None


async def _is_rung_for(db: Any, step_run_id: Any) -> bool:
    return bool(await db.fetchval("SELECT nudge_at > clock_timestamp() FROM step_runs WHERE id = $1", step_run_id))
