"""A dispatcher and a worker as processes of their own, on the session's services."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from domain import db, run_pages, runs
from domain.config import Config
from tasks.leash import die_with_parent
from tests.make import Pipeline

ROOT = Path(__file__).parents[1]


def _on_a_leash() -> None:
    """A test run that is killed leaves no worker behind to answer the next one's messages."""
    die_with_parent(signal.SIGTERM)


class Process:
    """One of our programs, with everything it starts, in a session of its own; its output in a file."""

    def __init__(self, config: Config, module: str, log: Path, **extra: str) -> None:
        env = {
            **os.environ,
            "DATABASE_URL": config.database_url,
            "REDIS_URL": config.redis_url,
            "S3_URL": config.s3_url,
            "SECRET_KEY": config.secret_key,
            "DEVICE": "cpu",
            "PYTHONPATH": str(ROOT),
            **extra,
        }
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_on_a_leash,
            )

    @property
    def pid(self) -> int:
        """The process id of the first process, which is also the group's."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether the first process runs."""
        return self._popen.poll() is None

    async def gone(self, timeout: float = 20) -> None:
        """Wait until the first process has ended by itself."""
        await asyncio.to_thread(self._popen.wait, timeout)

    def family(self) -> list[psutil.Process]:
        """The process and everything below it."""
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def says(self, words: str, timeout: float = 60) -> None:
        """Wait until the log has the words."""
        until = time.monotonic() + timeout
        while words not in self.log.read_text("utf-8", "replace"):
            if time.monotonic() > until or self._popen.poll() is not None:
                raise AssertionError(f"{words!r} is not in the log:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9 for the whole group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(10)

    def end(self, timeout: float = 30) -> int:
        """SIGTERM, then its exit code."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            return self._popen.wait(timeout)
        finally:
            self.kill()


@contextmanager
def dispatcher(config: Config, folder: Path) -> Iterator[Process]:
    """A running dispatcher."""
    process = Process(config, "tasks.dispatcher", folder / "dispatcher.log")
    try:
        process.says("ready")
        yield process
    finally:
        process.end()


@contextmanager
def worker(config: Config, folder: Path, **extra: str) -> Iterator[Process]:
    """A running worker that takes steps; its model may still be loading."""
    process = Process(config, "tasks.worker", folder / f"worker-{secrets.token_hex(3)}.log", **extra)
    try:
        process.says("ready for action")
        yield process
    finally:
        process.end()


async def accept(
    pipeline: Pipeline, seed: int = 5, inputs: dict[str, str] | None = None, *, afresh: bool = True
) -> UUID:
    """Queue a run as the web does; unless told otherwise every step is to run, known result or not."""
    key = secrets.token_hex(8)
    asked = await runs.accept(pipeline.version_id, pipeline.owner_id, inputs or {}, seed, key, afresh=afresh)
    return asked.run_id


async def until(run_id: UUID, wanted: Callable[[Any], bool], timeout: float = 90) -> list[Any]:
    """Wait until the run's row satisfies `wanted`; returns its step rows in order."""
    stop = time.monotonic() + timeout
    while True:
        run = await db.fetchrow("SELECT * FROM runs WHERE id = $1", run_id)
        steps = await db.fetch("SELECT * FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run_id)
        if wanted({"run": run, "steps": steps}):
            return steps
        if time.monotonic() > stop:
            raise AssertionError(f"run {run_id} stays {run['state'] if run else 'unknown'}: {steps}")
        await asyncio.sleep(0.02)


async def shown(run_id: UUID, viewer: UUID, timeout: float = 90) -> run_pages.StepPage:
    """Wait until the run's first step shows what it is making, and how far it is: each is told at its own pace."""
    stop = time.monotonic() + timeout
    while True:
        seen = (await run_pages.progress(run_id, viewer)).steps[0]
        if seen.progress and seen.preview:
            return seen
        assert time.monotonic() < stop, f"run {run_id} shows nothing: {seen}"
        await asyncio.sleep(0.1)


async def ended(run_id: UUID, timeout: float = 90) -> tuple[str, list[Any]]:
    """Wait for the end; the run's state and its step rows."""
    steps = await until(run_id, lambda now: now["run"]["finished_at"] is not None, timeout)
    return str(await db.fetchval("SELECT state FROM runs WHERE id = $1", run_id)), steps


async def pictures(step_run_id: UUID) -> list[Any]:
    """The step's outputs in order, each with its artifact's columns."""
    return await db.fetch(
        """SELECT o.position, o.seed, a.* FROM outputs o JOIN artifacts a USING (sha256)
           WHERE step_run_id = $1 ORDER BY position""",
        step_run_id,
    )


async def event_names(run_id: UUID) -> list[str]:
    """What happened to the run, in order."""
    return [row["name"] for row in await db.fetch("SELECT name FROM events WHERE run_id = $1 ORDER BY id", run_id)]
