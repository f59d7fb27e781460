"""A site of its own to break: three servers, a door before S3, dispatchers and workers, and what must hold."""

import asyncio
import hashlib
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import psutil
import redis

from deploy.embedded import Part, Services
from deploy.migrations import migrate
from domain import db
from domain.config import Config
from domain.storage import Storage, key_of
from tests import worker as w
from tests.faults.proxy import OPEN, Proxy

INJECT = Path(__file__).parent / "inject"
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a database that is being restarted answers."""
OVERDUE = 40.0
"""Seconds that a lease may be past its end before somebody took the step back."""
ENDS = ("run_succeeded", "run_failed", "cancelled")
T = TypeVar("T")


class Stand:
    """The servers and programs of one site. Make and use it in the main thread: its children die with that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = Services(folder / "data")
        urls = self.services.start()
        migrate(urls.database)
        behind = urlsplit(urls.s3)
        assert behind.port is not None
        self.door = Proxy(behind.port)
        self.config = Config.from_env(
            {
                "DATABASE_URL": urls.database,
                "REDIS_URL": urls.redis,
                "S3_URL": urls.s3.replace(f":{behind.port}/", f":{self.door.port}/"),
                "SECRET_KEY": "a secret for tests, long enough for anyone",
                "DATA_DIR": str(folder / "none"),
                "SEED_EXAMPLES": "0",
                "DEVICE": "cpu",
            }
        )
        self.storage = Storage(self.config.s3_url)
        self.workers: list[w.Process] = []
        self.dispatchers: list[w.Process] = []

    def close(self) -> None:
        """End everything."""
        for process in [*self.workers, *self.dispatchers]:
            for one in process.family():
                with suppress(psutil.Error):
                    one.resume()
            process.kill()
        self.services.stop()
        self.door.close()

    # -- programs

    def start(self, module: str, *faults: str, **extra: str) -> w.Process:
        """One of our programs, with faults put into it from outside; it may not be ready yet."""
        log = self.folder / f"{module}-{secrets.token_hex(3)}.log"
        path = f"{INJECT}{os.pathsep}{w.ROOT}"
        return w.Process(self.config, module, log, PYTHONPATH=path, FAULTS=",".join(faults), **extra)

    async def dispatch(self) -> None:
        """Make sure that a dispatcher runs."""
        self.dispatchers = [one for one in self.dispatchers if one.alive]
        if not self.dispatchers:
            self.dispatchers.append(self.start("tasks.dispatcher"))
            await asyncio.to_thread(self.dispatchers[0].says, "ready")

    def hire(self) -> w.Process:
        """Start one more worker. One thread each: several share the machine with the tests."""
        self.workers.append(self.start("tasks.worker", "steps_go_wrong", OMP_NUM_THREADS="1"))
        return self.workers[-1]

    async def crew(self, count: int) -> list[w.Process]:
        """Exactly `count` live workers that take steps, started or ended as it needs."""
        self.workers = [one for one in self.workers if one.alive]
        for one in self.workers[count:]:
            await asyncio.to_thread(one.end)
        del self.workers[count:]
        while len(self.workers) < count:
            self.hire()
        for one in self.workers:
            await asyncio.to_thread(one.says, "ready for action")
        return list(self.workers)

    def worker_of(self, owner: str) -> w.Process:
        """The worker that holds a step, by its `lease_owner`."""
        pid = int(owner.rsplit(":", 1)[1])
        return next(one for one in self.workers if pid in {each.pid for each in one.family()})

    # -- servers

    async def stop_postgres(self) -> None:
        """SIGQUIT: every connection breaks at once."""
        await self._kill(self.services.database, signal.SIGQUIT)

    async def stop_redis(self) -> None:
        """kill -9, after which nobody answers there."""
        await self._kill(self.services.redis, signal.SIGKILL)

    async def _kill(self, part: Part | None, number: signal.Signals) -> None:
        assert part is not None
        assert part.child.process is not None
        os.kill(part.child.pid, number)
        await asyncio.to_thread(part.child.process.wait, 20)
        part.child.sweep()

    def start_postgres(self) -> None:
        """Bring it back, on the same data."""
        self._again(self.services.database)

    def start_redis(self) -> None:
        """Bring it back, on the same port."""
        self._again(self.services.redis)

    def _again(self, part: Part | None) -> None:
        assert part is not None
        part.start()
        part.wait()

    def flush_redis(self) -> None:
        """Forget every message."""
        with redis.Redis.from_url(self.config.redis_url) as client:
            client.flushall()


async def kept(ask: Callable[[], Awaitable[T]], timeout: float = 60) -> T:
    """Ask again while the database is away."""
    until = time.monotonic() + timeout
    while True:
        try:
            return await ask()
        except AWAY:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(0.1)


async def within(seconds: float, run_id: UUID, state: str = "succeeded") -> list[Any]:
    """Wait until the run ended in `state`, at most so long; its step rows."""
    found, steps = await kept(lambda: w.ended(run_id, seconds))
    assert found == state, [(row["state"], row["error_message"]) for row in steps]
    return steps


async def drawing(run_id: UUID, passes: int = 2) -> Any:
    """Wait until the run's first step is in the middle of its work; its row."""
    return (await w.until(run_id, lambda now: now["steps"][0]["progress"] > passes))[0]


def freeze(process: w.Process) -> list[psutil.Process]:
    """SIGSTOP for the whole of a worker; resume each of what comes back."""
    family = process.family()
    for one in family:
        one.suspend()
    return family


def kill(process: w.Process) -> None:
    """kill -9 for the whole of a worker at once."""
    family = process.family()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, 10)


# -- what must hold ---------------------------------------------------------------------------


@dataclass
class Troubles:
    """What breaks a promise, in words; all empty is good."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    fallen: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())


class Watch:
    """Looks at running steps all the time: progress only rises, and no lease is long past its end."""

    def __init__(self) -> None:
        self.fallen: list[str] = []
        self.stuck: list[str] = []
        self._seen: dict[tuple[UUID, int], int] = {}

    @asynccontextmanager
    async def looking(self) -> AsyncIterator["Watch"]:
        task = asyncio.create_task(self._look())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _look(self) -> None:
        while True:
            with suppress(*AWAY):
                for row in await db.fetch(_RUNNING, OVERDUE):
                    self._note(row)
            await asyncio.sleep(0.1)

    def _note(self, row: db.Record) -> None:
        key = (row["id"], row["attempt"])
        before = self._seen.get(key, 0)
        if row["progress"] < before:
            self.fallen.append(f"step {row['id']} attempt {row['attempt']} fell from {before} to {row['progress']}")
        self._seen[key] = row["progress"]
        if row["overdue"]:
            self.stuck.append(f"step {row['id']}: its lease ended more than {OVERDUE:.0f} s ago")


_RUNNING = """
SELECT id, attempt, progress, lease_until < clock_timestamp() - make_interval(secs => $1) AS overdue
FROM step_runs WHERE state = 'running'
"""
_RUNS = """
SELECT r.id, r.state, r.finished_at IS NOT NULL AS over,
    (SELECT count(*) FROM step_runs s WHERE s.run_id = r.id AND s.state IN ('queued', 'running')) AS active,
    (SELECT count(*) FROM step_runs s WHERE s.run_id = r.id AND s.state = 'waiting') AS waiting,
    (SELECT array_agg(name) FROM events e WHERE e.run_id = r.id) AS said
FROM runs r
"""
_STEPS = """
SELECT s.id, s.run_id, s.kind, s.state, s.step, s.receipt,
    (SELECT count(*) FROM events e
        WHERE e.run_id = s.run_id AND e.ordinal = s.ordinal AND e.name = 'succeeded') AS said,
    (SELECT array_agg(o.position::int ORDER BY o.position) FROM outputs o WHERE o.step_run_id = s.id) AS positions,
    (SELECT array_agg(o.sha256 ORDER BY o.position) FROM outputs o WHERE o.step_run_id = s.id) AS files
FROM step_runs s
"""


async def troubles(storage: Storage, watch: Watch, accepted: Collection[UUID] = ()) -> Troubles:
    """Look for whatever breaks one of the five invariants, in the whole database."""
    found = Troubles(stuck=list(watch.stuck), fallen=list(watch.fallen))
    runs = await db.fetch(_RUNS)
    known = {row["id"] for row in runs}
    found.lost += [f"run {run_id} is gone" for run_id in accepted if run_id not in known]
    found.lost += [f"run {row['id']} is neither over nor alive: {dict(row)}" for row in runs if not _accounted(row)]
    for row in runs:
        ends = sum(Counter(row["said"])[name] for name in ENDS)
        if ends != row["over"]:
            found.twice.append(f"run {row['id']} ended {ends} times")
    for row in await db.fetch(_STEPS):
        if words := _published(row):
            found.twice.append(f"step {row['id']} of run {row['run_id']} ({row['state']}): {words}")
    found.stuck += [f"step {row['id']}" for row in await db.fetch(_RUNNING, OVERDUE) if row["overdue"]]
    found.unreadable += await _unreadable(storage)
    return found


def _accounted(run: db.Record) -> bool:
    """Whether the run is one thing: over with nothing left, or alive with exactly one step under way."""
    if run["over"]:
        return run["state"] in ("succeeded", "failed", "cancelled") and not run["active"] and not run["waiting"]
    return run["state"] in ("queued", "running") and run["active"] == 1


def _published(step: db.Record) -> str:
    """What is wrong with the step's result, or ""."""
    made = step["files"] or []
    if step["said"] != (step["state"] == "succeeded"):
        return f"published {step['said']} times"
    if step["state"] not in ("succeeded", "reused"):
        return f"{len(made)} outputs without a success" if made else ""
    if (step["positions"] or []) != list(range(1, len(made) + 1)):
        return f"outputs at {step['positions']}"
    if step["kind"] == "text_to_image" and len(made) != step["step"].get("num_images_per_prompt", 1):
        return f"{len(made)} outputs"
    return "" if step["receipt"]["outputs"] == made else "its receipt tells other outputs"


async def _unreadable(storage: Storage) -> list[str]:
    rows = await db.fetch(
        """SELECT sha256 FROM outputs UNION SELECT r.sha256 FROM renditions r JOIN outputs o ON o.sha256 = r.source
           UNION SELECT f.sha256 FROM forms f JOIN outputs o ON o.sha256 = f.source"""
    )
    slots = asyncio.Semaphore(8)

    async def check(sha256: str) -> str:
        async with slots:
            try:
                data = await storage.get(key_of(sha256))
            except Exception as error:
                return f"{sha256}: {error}"
        return "" if hashlib.sha256(data).hexdigest() == sha256 else f"{sha256} has other bytes"

    return [words for words in await asyncio.gather(*(check(row["sha256"]) for row in rows)) if words]


async def invariants(storage: Storage, watch: Watch, accepted: Collection[UUID] = ()) -> None:
    """Raise AssertionError unless all five hold."""
    found = await troubles(storage, watch, accepted)
    assert not found, found


__all__ = ["OPEN", "Stand", "Watch", "drawing", "freeze", "invariants", "kept", "kill", "troubles", "within"]
