"""Every test here breaks a site of its own, and leaves it with all promises kept."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from domain import db as database
from domain import models
from domain.config import Config
from domain.storage import Storage
from tests.conftest import empty
from tests.faults.proxy import OPEN
from tests.faults.stand import Stand, Watch, invariants


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The site that is broken. Durable: what it accepted must outlive a killed PostgreSQL."""
    one = Stand(tmp_path_factory.mktemp("stand"))
    yield one
    one.close()


@pytest.fixture(scope="session")
def config(stand: Stand) -> Config:
    return stand.config


@pytest.fixture(scope="session")
def storage(stand: Stand) -> Storage:
    return stand.storage


@pytest_asyncio.fixture(loop_scope="session")
async def db(stand: Stand) -> AsyncIterator[Any]:
    """`domain.db`, bound to the site's database with empty tables; the next test elsewhere binds its own."""
    await database.unbind()
    await database.bind(stand.config.database_url)
    await empty()
    await models.register_all({})
    yield database
    await database.unbind()


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def kept_promises(db: Any, stand: Stand) -> AsyncIterator[None]:
    """A dispatcher runs, steps are watched, and the five invariants hold in the end."""
    await stand.dispatch()
    watch = Watch()
    async with watch.looking():
        yield
    stand.door.turn(OPEN)
    await invariants(stand.storage, watch)
