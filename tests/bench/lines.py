"""What large numbers cost: the page of a large line against a small one, and a vote among a million."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from deploy.embedded import Services
from deploy.migrations import migrate
from domain import db, ratings
from tests.bench.load import Target, ratio
from tests.bench.processes import free_port, running

STAR, DEEP, SMALL = 10_000, 500, 13
VOTES = 1_000_000
ROUNDS = 200

_ROOT = """
WITH root AS (INSERT INTO pipelines (owner_id, title, visibility, latest_version, published_at)
    SELECT id, 'Root', 'public', 1, now() FROM people ORDER BY id LIMIT 1 RETURNING id)
SELECT id FROM root
"""
_STAR = """
INSERT INTO pipelines (owner_id, title, prompt, visibility, parent_id, root_id, generation, latest_version,
    published_at)
SELECT owner_id, 'Twig ' || n, 'A small fishing harbor number ' || n, 'public', id, coalesce(root_id, id),
    generation + 1, 1, now() FROM pipelines, generate_series(1, $2::int) n WHERE id = $1
"""
_CHAIN = """
WITH made AS (SELECT n, uuidv7() AS id FROM generate_series(1, $2::int) n ORDER BY n)
INSERT INTO pipelines (id, owner_id, title, prompt, visibility, parent_id, root_id, generation, latest_version,
    published_at)
SELECT m.id, p.owner_id, 'Link ' || m.n, 'A harbor after ' || m.n || ' winters', 'public', coalesce(above.id, $1), $1,
    m.n + 1, 1, now()
FROM pipelines p, made m LEFT JOIN made above ON above.n = m.n - 1 WHERE p.id = $1 ORDER BY m.n
"""
_VOTES = """
INSERT INTO ratings (pipeline_id, person_id, owner_id, stars, standing, weigh_at)
SELECT $1, v.id, p.owner_id, 1 + v.n % 5, v.n % 4, now() + v.n % 700 * interval '1 h'
FROM (SELECT id, row_number() OVER () AS n FROM people) v, pipelines p WHERE p.id = $1 AND v.id <> p.owner_id
"""
_TALLY = """
UPDATE pipelines p SET rating_tally = (
    SELECT array_agg((SELECT count(*) FROM ratings r WHERE r.pipeline_id = p.id AND r.standing = n / 5
        AND r.stars = 1 + n % 5) ORDER BY n) FROM generate_series(0, 19) n) WHERE id = $1
"""


async def measure(data_dir: Path) -> dict[str, Any]:
    """Ratios of time, large to small, asked in turn."""
    with Services(data_dir, durable=False) as services:
        urls = services.urls
        await asyncio.to_thread(migrate, urls.database)
        await db.bind(urls.database, max_size=2)
        star, deep, small, voted = await _fill()
        port = free_port()
        ours = f"http://127.0.0.1:{port}"
        env = {
            "DATABASE_URL": urls.database, "REDIS_URL": urls.redis, "S3_URL": urls.s3, "PORT": str(port),
            "SECRET_KEY": "only for measuring, on this machine alone", "SITE_URL": ours,
        }  # fmt: skip
        async with AsyncExitStack() as stack:
            stack.enter_context(running(["-m", "web"], env, f"{ours}/health"))

            def page(of: UUID) -> Target:
                return Target(f"{ours}/pipelines/{of}/lineage")

            plain = page(small)
            results = {
                f"lineage of {STAR:,} offshoots / of {SMALL}, time": _time(await ratio(page(star), plain)),
                f"lineage of {DEEP} generations, the last / of {SMALL}, time": _time(await ratio(page(deep), plain)),
            }
        results[f"a vote among {VOTES:,} / among none, time"] = await _votes(voted, small)
        await db.unbind()
    return results


def _time(found: dict[str, float]) -> dict[str, float]:
    return {**found, "ratio": 1 / found["ratio"]}


async def _fill() -> tuple[UUID, UUID, UUID, UUID]:
    """A star, the last of a chain, a small line, and a pipeline with a million votes."""
    async with db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute(
            """INSERT INTO people (email, handle, password_hash, created_at)
               SELECT format('v%s@example.org', n), format('voter%s', n), '-', now() - n % 90 * interval '1 day'
               FROM generate_series(1, $1::int) n""",
            VOTES + ROUNDS,
        )
        star, chain, small, voted = [await db.fetchval(_ROOT) for _ in range(4)]
        await db.execute(_STAR, star, STAR)
        await db.execute(_CHAIN, chain, DEEP)
        await db.execute(_STAR, small, SMALL)
        await db.execute(_VOTES, voted)
        await db.execute(
            "DELETE FROM ratings WHERE person_id IN (SELECT id FROM people ORDER BY id DESC LIMIT $1)", ROUNDS
        )
        await db.execute(_TALLY, voted)
    for table in ("people", "pipelines", "ratings"):
        await db.execute(f"VACUUM (ANALYZE) {table}")
    deep: UUID = await db.fetchval(
        "SELECT id FROM pipelines WHERE root_id = $1 ORDER BY generation DESC LIMIT 1", chain
    )
    return star, deep, small, voted


async def _votes(large: UUID, small: UUID) -> dict[str, float]:
    """Seconds of one vote, given and changed, where there are many and where there are none."""
    rows = await db.fetch("SELECT id FROM people ORDER BY id DESC LIMIT $1", ROUNDS)
    pairs = [(await _timed(large, row["id"]), await _timed(small, row["id"])) for row in rows]
    many, none = (statistics.median(_column(pairs, n)) for n in range(2))
    return {"ratio": many / none, "many_seconds": many, "none_seconds": none}


def _column(pairs: Sequence[tuple[float, float]], n: int) -> list[float]:
    return [pair[n] for pair in pairs]


async def _timed(pipeline_id: UUID, person_id: UUID) -> float:
    began = time.perf_counter()
    await ratings.rate(pipeline_id, person_id, 5)
    await ratings.rate(pipeline_id, person_id, 4)
    return (time.perf_counter() - began) / 2
