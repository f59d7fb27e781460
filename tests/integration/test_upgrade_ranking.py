"""A site from before weighted votes keeps its votes and lines."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.embedded import Urls
from tests.conftest import _database, _execute

OLD = """
INSERT INTO people (email, handle, password_hash) SELECT n || '@x', 'p' || n, '!' FROM generate_series(1, 5) n;
INSERT INTO pipelines (owner_id, title, visibility, published_at) SELECT id, 'Root', 'public', now()
    FROM people WHERE handle = 'p1';
INSERT INTO pipelines (owner_id, title, visibility, published_at, parent_id, root_id, generation)
    SELECT v.id, v.handle, CASE v.handle WHEN 'p4' THEN 'private' ELSE 'public' END, now(), r.id, r.id, 2
    FROM pipelines r, people v;
INSERT INTO ratings (pipeline_id, person_id, stars) SELECT r.id, v.id, substr(v.handle, 2)::int
    FROM pipelines r, people v WHERE r.title = 'Root' AND v.handle <> 'p1';
"""


@pytest.fixture
def old(servers: Urls, root: Path) -> Any:
    """A database with the first schema; call it to bring it to the newest one."""
    from alembic import command
    from alembic.config import Config

    name = f"test_{secrets.token_hex(6)}"
    door = _database(servers.database, "postgres")
    asyncio.run(_execute(door, f'CREATE DATABASE "{name}"'))
    config = Config(str(root / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", _database(servers.database, name).replace("%", "%%"))
    command.upgrade(config, "0001")
    yield _database(servers.database, name), lambda: command.upgrade(config, "head")
    asyncio.run(_execute(door, f'DROP DATABASE "{name}" WITH (FORCE)'))


def test_votes_and_lines_are_counted(old: Any) -> None:
    url, upgrade = old
    asyncio.run(_execute(url, OLD))
    upgrade()
    row = asyncio.run(_fetch(url, "SELECT * FROM pipelines WHERE title = 'Root'"))
    assert row["rating_tally"] == [0] * 10 + [0, 1, 1, 1, 1] + [0] * 5
    assert (row["offshoot_tally"], row["grown_tally"], row["recount_due"]) == ([0, 0, 3, 0], [0, 0, 3, 0], True)
    row = asyncio.run(
        _fetch(
            url,
            """SELECT count(*) FILTER (WHERE line) AS far, count(*) FILTER (WHERE NOT line) AS near FROM growers g
               JOIN pipelines p ON p.id = g.pipeline_id AND p.title = 'Root'
               WHERE g.weigh_at <= now() AND (line OR g.owner_id = p.owner_id)""",
        )
    )
    assert tuple(row) == (3, 3)
    row = asyncio.run(
        _fetch(
            url,
            """SELECT count(*) AS due FROM ratings r JOIN pipelines p ON p.id = r.pipeline_id
               WHERE r.weigh_at <= now() AND r.owner_id = p.owner_id""",
        )
    )
    assert row["due"] == 4


async def _fetch(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchrow(sql)
    finally:
        await connection.close()
