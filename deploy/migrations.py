"""Bringing the database to the schema of this version."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from deploy.postgres import DATABASE
from deploy.problems import Problem

ROOT = Path(__file__).parents[1]
CONNECT_TIMEOUT_S = 10.0


def head() -> str:
    """The newest revision in `alembic/versions`, read without importing Alembic (half a second)."""
    revisions, parents = revisions_known()
    (newest,) = revisions - parents
    return newest


def revisions_known() -> tuple[set[str], set[str]]:
    """Every revision, and every one that another follows."""
    revisions: set[str] = set()
    parents: set[str] = set()
    for file in (ROOT / "alembic" / "versions").glob("*.py"):
        text = file.read_text()
        revisions.update(re.findall(r'^revision(?:: str)? = "(\w+)"', text, re.MULTILINE))
        parents.update(re.findall(r'^down_revision(?:: .*?)? = "(\w+)"', text, re.MULTILINE))
    return revisions, parents


async def _current(url: str) -> str | None:
    """The database's revision, or None for an empty one. Creates an embedded database when it is missing."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    except asyncpg.InvalidCatalogNameError:
        if urlsplit(url).path != f"/{DATABASE}":
            raise
        await _create(url)
        return None
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return found
    finally:
        await connection.close()


async def prepare(url: str) -> str | None:
    """Make sure that there is a database, without its tables; the schema it has, if any. Raises Problem."""
    try:
        return await _current(url)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise unreachable(url, error) from error


async def _create(url: str) -> None:
    connection = await asyncpg.connect(url, database="postgres", timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()


def migrate(url: str) -> bool:
    """Upgrade the database at `url` if it is older than this version; whether anything was done.

    Raises Problem when it cannot be reached or was made by a newer Offshoot.
    """
    current = asyncio.run(prepare(url))
    if current == head():
        return False
    if current is not None and current not in revisions_known()[0]:
        raise Problem(
            f"The database was made by a newer Offshoot (its schema is {current}). Install that one, or use another "
            "database."
        )
    upgrade(url)
    return True


def upgrade(url: str) -> None:
    """Run the migrations with Alembic."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise Problem(f"The database could not be brought to the schema of this version: {reason}") from error


def unreachable(url: str, error: BaseException) -> Problem:
    """The words for a database that does not answer, without its password."""
    parts = urlsplit(url)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
    where = f"{parts.hostname or 'the socket'}:{parts.port or 5432}{parts.path}"
    return Problem(f"The database of DATABASE_URL ({where}) cannot be used: {reason}")
