"""`offshoot backup` and `offshoot restore`: the database as it was at one moment, and every file it refers to.

    FOLDER/objects/ab/ab12…          files, named by their SHA-256, shared by all backups
    FOLDER/2026-05-01T04-00-00Z/     one backup: database.dump, files.tsv, manifest.json

A backup that is being made is called `….new`; it is renamed when it is whole. `files.tsv` has a line for each file:
SHA-256, bytes, media type.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import msgspec
from msgspec import Struct, field

from deploy import migrations
from deploy.embedded import Urls
from deploy.postgres import binaries
from deploy.problems import Problem, about
from deploy.reach import reach
from deploy.surroundings import Surroundings
from domain.artifacts import REFERENCED, SWEEPING
from domain.errors import NotFound
from domain.storage import Storage, key_of

FORMAT = 1
AT_ONCE = 8
READ = 1 << 20
DUMP, FILES, MANIFEST = "database.dump", "files.tsv", "manifest.json"

_LISTED = f"""
SELECT sha256, bytes, media_type FROM artifacts a
WHERE state = 'stored' OR state = 'deleting' AND {REFERENCED} ORDER BY sha256
"""  # noqa: S608
_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relpersistence = 'p' ORDER BY 1
"""
_HELD = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""


class Manifest(Struct, frozen=True):
    """What a backup holds. Bytes are sums over the files or of the dump."""

    format: int
    made_at: datetime
    schema: str
    dump_sha256: str
    dump_bytes: int
    files: int
    bytes: int
    rows: dict[str, int]
    missing: list[str]
    """Files that the database names and the store did not have, or not whole."""


class Listed(Struct, frozen=True):
    """One file of a backup."""

    sha256: str
    bytes: int
    media_type: str

    def within(self, folder: Path) -> Path:
        return folder / "objects" / key_of(self.sha256)


# -- backup


def backup(folder: Path) -> int:
    """Make a backup in `folder`; 1 when files were missing, else 0. The site may go on. Raises Problem, Unavailable."""
    surroundings = Surroundings.of_process()
    folder = folder.expanduser().resolve()
    try:
        with _hold(folder), reach(surroundings) as urls:
            name, manifest, copied = asyncio.run(_backup(folder, urls, surroundings.env))
    except OSError as error:
        raise about(error, folder) from error
    for sha256 in manifest.missing:
        print(f"missing or wrong in the file store: {sha256}")
    print(
        f"backup {name}: {sum(manifest.rows.values())} rows, {manifest.files} files ({manifest.bytes:,} bytes), "
        f"{copied} of them new"
    )
    return 1 if manifest.missing else 0


@contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """One backup at a time in a folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(f"Another backup is being made in {folder}.") from None
        yield
    finally:
        os.close(handle)


async def _backup(folder: Path, urls: Urls, env: Mapping[str, str]) -> tuple[str, Manifest, int]:
    """The backup's name, what it holds, and how many files were not there before."""
    now = datetime.now(UTC)
    name = now.strftime("%Y-%m-%dT%H-%M-%SZ")
    fresh = _begun(folder, name)
    async with _connected(urls.database) as connection:
        # no sweep marks anything until the connection ends, so that what is listed can be copied
        await connection.execute(f"SELECT pg_advisory_lock_shared({SWEEPING})")
        schema, rows = await _dump(connection, fresh, urls.database, env)
        copied = await _copy(Storage(urls.s3), folder, _listed(fresh / FILES))
    dump = fresh / DUMP
    manifest = Manifest(
        FORMAT, now, schema, sha256_of(dump), dump.stat().st_size, copied.files, copied.bytes, rows,
        sorted(copied.missing),
    )  # fmt: skip
    (fresh / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    os.sync()
    fresh.rename(folder / name)
    return name, manifest, copied.made


def _begun(folder: Path, name: str) -> Path:
    """An empty folder for a new backup. What backups that were cut off left goes."""
    for left in folder.glob("*Z.new"):
        shutil.rmtree(left)
    if (folder / name).exists():
        raise Problem(f"There is a backup {name} already. Try again.")
    fresh = folder / f"{name}.new"
    fresh.mkdir(mode=0o700)
    return fresh


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(url, timeout=migrations.CONNECT_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise migrations.unreachable(url, error) from error
    try:
        yield connection
    finally:
        await connection.close()


async def _dump(
    connection: asyncpg.Connection, fresh: Path, url: str, env: Mapping[str, str]
) -> tuple[str, dict[str, int]]:
    """Dump, list the files and count the rows, all as of one moment: the schema, and the rows by table."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
        if await connection.fetchval("SELECT to_regclass('artifacts')") is None:
            raise Problem("The database is empty: there is nothing to back up.")
        schema: str = await connection.fetchval("SELECT version_num FROM alembic_version")
        await _program(
            "pg_dump", url, env, f"--snapshot={snapshot}", "--format=custom", "--no-owner", "--no-privileges",
            "--no-comments", "--no-unlogged-table-data", f"--file={fresh / DUMP}",
        )  # fmt: skip
        with (fresh / FILES).open("w") as file:
            async for row in connection.cursor(_LISTED, prefetch=1000):
                file.write("\t".join(str(value) for value in row) + "\n")
        return schema, await _rows(connection)


async def _rows(connection: asyncpg.Connection) -> dict[str, int]:
    names = [row["relname"] for row in await connection.fetch(_TABLES)]
    return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in names}  # noqa: S608


async def _program(name: str, url: str, env: Mapping[str, str], *arguments: str) -> None:
    """Run one of PostgreSQL's programs; the password comes by environment. Raises Problem in its words."""
    parts = urlsplit(url)
    door = parts.netloc
    if parts.password is not None:
        env = {**env, "PGPASSWORD": unquote(parts.password)}
        door = f"{parts.username or ''}@{door.rpartition('@')[2]}"
    plain = f"postgresql://{door}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    process = await asyncio.create_subprocess_exec(
        str(binaries() / name), "--no-password", f"--dbname={plain}", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=dict(env),
    )  # fmt: skip
    _, said = await process.communicate()
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines() or ["without a word"]
        raise Problem(next((line for line in lines if "error" in line), lines[-1]))


class Copied(Struct):
    """What a backup has of the files, how many of them are new, and those that could not be had."""

    files: int = 0
    bytes: int = 0
    made: int = 0
    missing: list[str] = field(default_factory=list)


async def _copy(storage: Storage, folder: Path, listed: Iterable[Listed]) -> Copied:
    """Fetch the files that are not there yet."""
    copied = Copied()

    async def one(each: Listed) -> None:
        file = each.within(folder)
        if not file.exists() or file.stat().st_size != each.bytes:
            if not await _fetch(storage, each, file):
                copied.missing.append(each.sha256)
                return
            copied.made += 1
        copied.files += 1
        copied.bytes += each.bytes

    await _side_by_side(one, listed)
    return copied


async def _side_by_side(work: Callable[[Listed], Awaitable[None]], listed: Iterable[Listed]) -> None:
    """A few at a time; the first that fails ends all."""
    rest = iter(listed)

    async def run() -> None:
        for each in rest:
            await work(each)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(run())
    except ExceptionGroup as several:
        raise several.exceptions[0] from None


async def _fetch(storage: Storage, each: Listed, file: Path) -> bool:
    """Copy one object into the folder, unless it is gone or not what its name says."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, part = hashlib.sha256(), file.with_suffix(".new")
    try:
        chunks = await storage.open(key_of(each.sha256))
    except NotFound:
        return False
    with _opened(part) as out:
        async for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != each.sha256:
        part.unlink()
        return False
    part.rename(file)
    return True


def _opened(file: Path) -> Any:
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _listed(file: Path) -> Iterator[Listed]:
    with file.open() as lines:
        for line in lines:
            sha256, size, media_type = line.rstrip("\n").split("\t")
            yield Listed(sha256, int(size), media_type)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


# -- restore


def restore(folder: Path, name: str = "") -> int:
    """Put a backup (the newest, or the one called `name`) into an empty installation; 1 when files of it are lost.

    A file that is not in the backup any more, or not as it was, is named and left out: the rest matters more.
    Raises Problem, Unavailable.
    """
    surroundings = Surroundings.of_process()
    folder = folder.expanduser().resolve()
    try:
        chosen = _chosen(folder, name)
        manifest = _checked(chosen)
        with reach(surroundings, fresh=True) as urls:
            lost = asyncio.run(_restore(folder, chosen, manifest, urls, surroundings.env))
            migrations.migrate(urls.database)
    except OSError as error:
        raise about(error, folder) from error
    for each in lost:
        print(f"missing or damaged in the backup: {each.within(folder)}")
    print(
        f"restored {chosen.name}: {sum(manifest.rows.values())} rows, {manifest.files - len(lost)} files "
        f"({manifest.bytes - sum(each.bytes for each in lost):,} bytes). Start the site; `offshoot verify` reads "
        "every file again."
    )
    return 1 if lost else 0


def _chosen(folder: Path, name: str) -> Path:
    found = sorted(file.parent.name for file in folder.glob(f"*Z/{MANIFEST}"))
    if not found:
        raise Problem(f"There is no whole backup in {folder}.")
    if name and name not in found:
        raise Problem(f"There is no backup {name} in {folder}, but {', '.join(found)}.")
    return folder / (name or found[-1])


def _checked(chosen: Path) -> Manifest:
    """The manifest, when the database and the list of files are as it promises. Raises Problem."""
    try:
        manifest = msgspec.json.decode((chosen / MANIFEST).read_bytes(), type=Manifest)
    except (msgspec.DecodeError, ValueError) as error:
        raise Problem(f"{chosen / MANIFEST} is damaged: {error}") from error
    if manifest.format != FORMAT or manifest.schema not in migrations.revisions_known()[0]:
        raise Problem(
            f"{chosen.name} was made by a newer Offshoot (its schema is {manifest.schema}). Install that one."
        )
    if sha256_of(chosen / DUMP) != manifest.dump_sha256:
        raise Problem(f"{chosen / DUMP} is damaged: its SHA-256 is not the one of the manifest.")
    count = sum(1 for _ in _had(chosen, manifest))
    if count != manifest.files:
        raise Problem(f"{chosen / FILES} is damaged: it names {count} files, the manifest {manifest.files}.")
    return manifest


def _had(chosen: Path, manifest: Manifest) -> Iterator[Listed]:
    """The files that the backup really has."""
    missing = set(manifest.missing)
    return (each for each in _listed(chosen / FILES) if each.sha256 not in missing)


async def _restore(folder: Path, chosen: Path, manifest: Manifest, urls: Urls, env: Mapping[str, str]) -> list[Listed]:
    """Files first, then the database in one transaction: an interrupted restore can be repeated. What was lost."""
    await _require_empty(urls.database)
    storage = Storage(urls.s3)
    await storage.open_bucket()

    lost: list[Listed] = []

    async def one(each: Listed) -> None:
        file = each.within(folder)
        if not file.exists() or await asyncio.to_thread(sha256_of, file) != each.sha256:
            lost.append(each)
            return
        with file.open("rb") as data:
            await storage.put(key_of(each.sha256), data, each.media_type)

    await _side_by_side(one, _had(chosen, manifest))
    await _program(
        "pg_restore", urls.database, env, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges",
        str(chosen / DUMP),
    )  # fmt: skip
    async with _connected(urls.database) as connection:
        await connection.execute("ANALYZE")
        rows = await _rows(connection)
    if rows != manifest.rows:
        raise Problem(f"The restored rows are not those of the manifest: {json.dumps(rows)}")
    return lost


async def _require_empty(url: str) -> None:
    await migrations.prepare(url)
    async with _connected(url) as connection:
        if await connection.fetchval(_HELD):
            raise Problem(
                "The database is not empty, and a restore overwrites nothing. Name a new folder (DATA_DIR=…) or an "
                "empty database."
            )
