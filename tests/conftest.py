"""Real services for every test: one PostgreSQL, Valkey and S3 a session, a clean state a test.

TEST_DATABASE_URL, TEST_REDIS_URL and TEST_S3_URL point at servers that run already; a database of
our own is then made there and dropped at the end. Otherwise the embedded ones are started.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import hypothesis
import pytest
import pytest_asyncio

from deploy.embedded import Services, Urls
from deploy.migrations import migrate
from domain import db as database
from domain import tables
from domain.config import Config
from tests.make import Make
from tests.queries import Queries

# a machine that is busy for a moment is no fault of what is tested
hypothesis.settings.register_profile("offshoot", deadline=None)
hypothesis.settings.load_profile("offshoot")

if TYPE_CHECKING:
    from litestar import Litestar

    from domain.people import Person
    from domain.storage import Storage

_NAMES = [table._meta.tablename for table in tables.TABLES]
_USED = " UNION ALL ".join(f"(SELECT '{name}' AS name FROM {name} LIMIT 1)" for name in _NAMES)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    """Where PostgreSQL, Redis and S3 answer. The database is only a door: tests use `urls`."""
    external = Urls(*(os.environ.get(f"TEST_{name}", "") for name in ("DATABASE_URL", "REDIS_URL", "S3_URL")))
    services = Services(tmp_path_factory.mktemp("services"), external, durable=False)
    yield services.start()
    services.stop()


@pytest.fixture(scope="session")
def urls(servers: Urls) -> Iterator[Urls]:
    """The same with a migrated database of this session's own."""
    name = f"test_{secrets.token_hex(6)}"
    door = _database(servers.database, "postgres")
    asyncio.run(_execute(door, f'CREATE DATABASE "{name}"'))
    migrate(_database(servers.database, name))
    yield Urls(_database(servers.database, name), servers.redis, servers.s3)
    asyncio.run(_execute(door, f'DROP DATABASE "{name}" WITH (FORCE)'))


def _database(url: str, name: str) -> str:
    # an empty netloc would lose its slashes in urlunsplit; ours always has a user
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def config(urls: Urls, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings for the session's servers."""
    return Config.from_env(
        {
            "DATABASE_URL": urls.database,
            "REDIS_URL": urls.redis,
            "S3_URL": urls.s3,
            "SECRET_KEY": "a secret for tests, long enough for anyone",
            "DATA_DIR": str(tmp_path_factory.mktemp("data")),
            "SEED_EXAMPLES": "0",
            "DEVICE": "cpu",
        }
    )


@pytest_asyncio.fixture(loop_scope="session")
async def db(config: Config) -> AsyncIterator[Any]:
    """`domain.db`, bound in the tests' loop, over empty tables."""
    if database._engine is None:
        await database.bind(config.database_url)
    await empty()
    yield database


async def empty() -> None:
    """Remove every row of every table, as a superuser: without triggers and in no order.

    Tests leave few rows, and deleting these is a hundred times quicker than TRUNCATE of every table.
    """
    used = await database.fetch(_USED)
    async with database.transaction():
        await database.execute("SET LOCAL session_replication_role = replica")
        for row in used:
            await database.execute(f"DELETE FROM {row['name']}")


@pytest.fixture(scope="session")
def storage(config: Config) -> "Storage":
    """The object store. Objects stay between tests: they are addressed by their content."""
    from domain.storage import Storage

    return Storage(config.s3_url)


@pytest.fixture
def redis(config: Config) -> Iterator[Any]:
    """A client of an empty Redis database."""
    from redis import Redis

    with Redis.from_url(config.redis_url) as client:
        client.flushdb()
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app(config: Config) -> AsyncIterator["Litestar"]:
    """The site, started once a session; it binds the database for everybody.

    Its pages and polls are as they are now, never as they were a moment ago, unless a test says so.
    """
    from web import conditional, unchanged
    from web.app import create_app

    conditional.FRESH = unchanged.AGE = 0.0
    await database.unbind()
    site = create_app(config)
    up, leave = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        """Start and stop in one task, as a server does: the fixture's two halves run in two."""
        try:
            async with site.lifespan():
                up.set()
                await leave.wait()
        finally:
            up.set()

    life = asyncio.create_task(live())
    await up.wait()
    if life.done():
        await life
    yield site
    leave.set()
    await life
    await database.unbind()


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: "Litestar", db: Any, redis: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without JavaScript: keeps cookies, does not follow redirects by itself."""
    async with browser_of(app) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def clients(app: "Litestar", db: Any, redis: Any) -> AsyncIterator[Callable[[], httpx.AsyncClient]]:
    """`clients()` opens one more browser, for a second person."""
    opened: list[httpx.AsyncClient] = []

    def another() -> httpx.AsyncClient:
        opened.append(browser_of(app))
        return opened[-1]

    yield another
    for one in opened:
        await one.aclose()


def browser_of(app: "Litestar") -> httpx.AsyncClient:
    """A client that talks to the application in this process."""
    config: Config = app.state.config
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=config.site_url)  # type: ignore[arg-type]


@pytest.fixture
def make(db: Any, request: pytest.FixtureRequest) -> Make:
    """Factories for rows: `await make.person(handle="ada")`."""
    return Make(lambda: request.getfixturevalue("storage"))


@pytest.fixture
def log_in() -> Callable[[httpx.AsyncClient, "Person"], Awaitable[httpx.AsyncClient]]:
    """`await log_in(client, person)`: a fresh session's cookie, and its CSRF token as default header."""
    from tests.sessions import log_in

    return log_in


@pytest.fixture
def queries() -> Iterator[Queries]:
    """`with queries: ...` counts the SQL statements inside; `queries.count`, `queries.statements`."""
    with Queries.installed() as recorder:
        yield recorder


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[1]
