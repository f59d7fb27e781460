"""Verify, backup and restore, on the embedded stack and while the site runs."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import pytest

from deploy import backup
from deploy.example_recipes import EXAMPLES
from deploy.migrations import ROOT, head
from deploy.ports import free_port
from deploy.problems import Problem
from domain import artifacts
from domain.config import Config
from domain.storage import Storage, key_of
from tests import buckets
from tests.make import Make

pytestmark = pytest.mark.slow
SETTINGS = ("DATABASE_URL", "REDIS_URL", "S3_URL", "SECRET_KEY", "SITE_URL", "MODELS", "HOST", "QUEUES", "DEVICE")
PATIENCE_S = 180.0


def _env(data: Path, **settings: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return env | {"DATA_DIR": str(data), "SEED_EXAMPLES": "0", "DEVICE": "cpu", **settings}


def offshoot(data: Path, *arguments: str | Path, **settings: str) -> tuple[int, str]:
    """Run a command; its exit status and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *map(str, arguments)],
        cwd=ROOT,
        env=_env(data, **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


class Site:
    """One `offshoot run`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "run"],
            cwd=ROOT,
            env=_env(data, PORT=str(free_port())),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert "is ready" in self.process.stdout.readline()

    def ask(self, sql: str, *arguments: Any) -> list[Any]:
        return query(json.loads((self.data / "run" / "urls.json").read_text())["database"], sql, *arguments)

    def kill(self) -> None:
        """kill -9 of everything at once, as when a machine is lost."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=60)

    def freeze_worker(self) -> None:
        """SIGSTOP: what it runs stays unfinished."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that just ended
                words = " ".join(process.cmdline())
                if "dramatiq" in words or "multiprocessing" in words:
                    process.suspend()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)


def query(url: str, sql: str, *arguments: Any) -> list[Any]:
    """Rows, from a database of its own event loop."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    return asyncio.run(ask())


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


@pytest.fixture
def run() -> Iterator[Callable[[Path], Site]]:
    sites: list[Site] = []

    def start(data: Path) -> Site:
        sites.append(Site(data))
        return sites[-1]

    yield start
    for site in sites:
        site.stop()


def test_the_drill(run: Callable[[Path], Site], tmp_path: Path) -> None:
    """Fill, back up while runs are accepted and carried out, lose everything, restore: nothing accepted is lost."""
    kept = tmp_path / "backups"
    site = run(tmp_path / "data")
    accepting = subprocess.Popen([sys.executable, "-m", "deploy.cli", "examples"], cwd=ROOT, env=_env(site.data))
    until(lambda: bool(site.ask("SELECT FROM runs")))
    status, said = offshoot(site.data, "backup", kept)
    assert status == 0, said
    assert accepting.wait(60) == 0
    until(lambda: bool(site.ask("SELECT FROM runs WHERE state = 'succeeded' LIMIT 1")))
    site.freeze_worker()
    status, said = offshoot(site.data, "backup", kept)
    assert status == 0, said
    site.kill()
    shutil.rmtree(site.data)

    new = tmp_path / "new"
    status, said = offshoot(new, "restore", kept)
    assert status == 0, said
    status, said = offshoot(new, "restore", kept)
    assert (status, said.startswith("offshoot: The database is not empty")) == (1, True), said
    status, said = offshoot(new, "verify")
    assert (status, "missing 0, wrong 0" in said) == (0, True), said
    restored = run(new)
    accepted = restored.ask("SELECT id FROM runs")
    assert len(accepted) == len(EXAMPLES)
    alive = [row["id"] for row in restored.ask("SELECT id FROM runs WHERE finished_at IS NULL")]
    assert 0 < len(alive) < len(EXAMPLES)
    ended = "SELECT FROM runs WHERE id = ANY($1) AND state = 'succeeded' LIMIT 1"
    until(lambda: bool(restored.ask(ended, alive)))
    status, said = offshoot(new, "verify", "--sample", "2")
    assert (status, said[:10]) == (0, "checked 2,"), said


# against servers of one's own


def names(folder: Path, ending: str) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.name.endswith(ending))


class Servers:
    """A database and a bucket with a run's picture in them."""

    def __init__(self, database: str, s3: str, picture: str) -> None:
        self.settings = {"DATABASE_URL": database, "S3_URL": s3}
        self.storage = Storage(s3)
        self.picture = picture

    async def offshoot(self, *arguments: str | Path, **settings: str) -> tuple[int, str]:
        nowhere = Path("/nonexistent")
        return await asyncio.to_thread(offshoot, nowhere, *arguments, **(self.settings | settings))


@pytest.fixture
async def servers_of_ours(config: Config, db: Any, make: Make) -> AsyncIterator[Servers]:
    async with buckets.opened(buckets.address(config)) as store:
        picture = await artifacts.record(store, secrets.token_bytes(5000), "audio/wav")
        run = await make.run(await make.pipeline(), state="succeeded")
        await db.execute("UPDATE outputs SET sha256 = $1 WHERE step_run_id = $2", picture, run.step_runs[0])
        await db.execute("DELETE FROM artifacts WHERE sha256 <> $1", picture)
        await artifacts.record(store, b"", "text/plain")
        yield Servers(config.database_url, buckets.url_of(store), picture)


@pytest.fixture
async def empty_database(config: Config) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    door = await asyncpg.connect(config.database_url)
    await door.execute(f'CREATE DATABASE "{name}"')
    parts = urlsplit(config.database_url)
    yield urlunsplit(parts._replace(path=f"/{name}"))
    await door.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await door.close()


async def test_a_backup_takes_what_is_new_and_is_restored_whole(
    servers_of_ours: Servers, empty_database: str, config: Config, tmp_path: Path
) -> None:
    ours = servers_of_ours
    status, said = await ours.offshoot("backup", tmp_path)
    assert (status, said.endswith("2 files (5,000 bytes), 2 of them new")) == (0, True), said
    name = said.split()[1].rstrip(":")
    (tmp_path / "2020-01-01T00-00-00Z.new").mkdir()
    await asyncio.sleep(1)
    status, said = await ours.offshoot("backup", tmp_path)
    assert (status, said.endswith("2 files (5,000 bytes), 0 of them new")) == (0, True), said
    assert names(tmp_path, ".new") == []
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
    async with buckets.opened(buckets.address(config)) as store:
        there = {"DATABASE_URL": empty_database, "S3_URL": buckets.url_of(store)}
        status, said = await ours.offshoot("restore", tmp_path, name, **there)
        assert status == 0, said
        assert said.startswith(f"restored {name}: ")
        status, said = await ours.offshoot("verify", **there)
        assert (status, said.startswith("checked 2, missing 0, wrong 0, unreferenced 1, 5,000 bytes")) == (0, True), (
            said
        )
        await store.delete(key_of(ours.picture))
        status, said = await ours.offshoot("verify", **there)
        assert (status, f"missing: {ours.picture}" in said) == (1, True), said


async def test_a_file_that_the_store_lost_is_named_and_the_rest_is_kept(
    servers_of_ours: Servers, empty_database: str, config: Config, tmp_path: Path
) -> None:
    ours = servers_of_ours
    await ours.storage.put(key_of(ours.picture), b"damaged", "audio/wav")
    status, said = await ours.offshoot("backup", tmp_path)
    assert status == 1
    assert f"missing or wrong in the file store: {ours.picture}" in said
    async with buckets.opened(buckets.address(config)) as store:
        there = {"DATABASE_URL": empty_database, "S3_URL": buckets.url_of(store)}
        assert (await ours.offshoot("restore", tmp_path, **there))[0] == 0
        status, said = await ours.offshoot("verify", **there)
        assert (status, "checked 2, missing 1, wrong 0" in said) == (1, True), said


async def test_a_file_that_the_backup_lost_is_named_and_the_rest_is_restored(
    servers_of_ours: Servers, empty_database: str, config: Config, tmp_path: Path
) -> None:
    ours = servers_of_ours
    assert (await ours.offshoot("backup", tmp_path))[0] == 0
    file = tmp_path / "objects" / key_of(ours.picture)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    async with buckets.opened(buckets.address(config)) as store:
        there = {"DATABASE_URL": empty_database, "S3_URL": buckets.url_of(store)}
        status, said = await ours.offshoot("restore", tmp_path, **there)
        assert (status, f"missing or damaged in the backup: {file}" in said) == (1, True), said
        status, said = await ours.offshoot("verify", **there)
        assert (status, "checked 2, missing 1, wrong 0" in said) == (1, True), said


async def test_what_is_damaged_or_taken_is_refused_in_one_line(
    servers_of_ours: Servers, empty_database: str, tmp_path: Path
) -> None:
    ours = servers_of_ours
    assert (await ours.offshoot("backup", tmp_path))[0] == 0
    chosen = tmp_path / names(tmp_path, "Z")[0]

    async def refused(words: str, *arguments: str | Path, **settings: str) -> None:
        status, said = await ours.offshoot(*arguments, **settings)
        assert status == 1
        assert words in said
        assert said.startswith("offshoot: "), said
        assert "\n" not in said

    empty = {"DATABASE_URL": empty_database}
    await refused("The database is not empty", "restore", tmp_path)
    await refused("There is no backup yesterday", "restore", tmp_path, "yesterday", **empty)
    await refused("There is no whole backup", "restore", tmp_path / "elsewhere", **empty)
    await refused("nothing to back up", "backup", tmp_path, **empty)
    await refused("The database has the schema None", "verify", **empty)
    for name, words in (("database.dump", "is damaged: its SHA-256"), ("manifest.json", "is damaged")):
        kept = (chosen / name).read_bytes()
        (chosen / name).write_bytes(kept[:-9])
        await refused(words, "restore", tmp_path, **empty)
        (chosen / name).write_bytes(kept)
    kept = (chosen / "manifest.json").read_bytes()
    (chosen / "manifest.json").write_bytes(kept.replace(f'"schema": "{head()}"'.encode(), b'"schema": "9999"'))
    await refused("made by a newer Offshoot (its schema is 9999)", "restore", tmp_path, **empty)
    (chosen / "manifest.json").write_bytes(kept)
    status, said = await ours.offshoot("restore", tmp_path, **empty)
    assert status == 0, said


async def test_one_backup_at_a_time_in_a_folder(servers_of_ours: Servers, tmp_path: Path) -> None:
    with backup._hold(tmp_path):
        status, said = await servers_of_ours.offshoot("backup", tmp_path)
    assert (status, said) == (1, f"offshoot: Another backup is being made in {tmp_path}.")


def test_a_folder_without_a_site_is_not_made_one(tmp_path: Path) -> None:
    for arguments in (("verify",), ("backup", tmp_path / "kept")):
        status, said = offshoot(tmp_path / "typo", *arguments)
        assert (status, said) == (1, f"offshoot: There is no site in {tmp_path / 'typo'}. Name its folder: DATA_DIR=…")
    assert not (tmp_path / "typo").exists()


def test_a_sample_of_none_is_refused(tmp_path: Path) -> None:
    status, said = offshoot(tmp_path, "verify", "--sample", "0")
    assert status == 2
    assert "a whole number above 0 is needed" in said


async def test_a_password_is_no_argument(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everybody on a machine can read arguments."""
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" "$PGPASSWORD" > {tmp_path}/said\necho "pg_dump: error: no" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(backup, "binaries", lambda: tmp_path)
    with pytest.raises(Problem, match="pg_dump: error: no"):
        await backup._program("pg_dump", "postgresql://me:p%40ss@db.example:5433/site?sslmode=require", {}, "--x")
    said = (tmp_path / "said").read_text().split()
    assert said == ["--no-password", "--dbname=postgresql://me@db.example:5433/site?sslmode=require", "--x", "p@ss"]
