"""How fast "more like this" is among a hundred thousand vectors, and how many of the true nearest it finds.

The vectors are made up: subjects in clusters of different sizes, spread in as many directions as sentence vectors
are (about fifty matter of 384), not sentences, which would take an hour to encode here.
"""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from deploy.embedded import Services
from deploy.migrations import migrate
from domain import db, neighbors
from domain.neighbors import FEW, SIZE
from tests.bench import bulk

ROWS = 100_000
ASKED = 300
TRUE = 100
"""Questions that are also answered without the index."""
SUBJECTS = 400
DIRECTIONS = 50
ENCODER = "bench@0"

_EXACT = "SET LOCAL enable_indexscan = off"


async def measure(data_dir: Path) -> dict[str, Any]:
    """A database of its own, filled with listed pipelines and their vectors."""
    with Services(data_dir, durable=False) as services:
        await asyncio.to_thread(migrate, services.urls.database)
        await db.bind(services.urls.database, max_size=2)
        await bulk.fill(ROWS)
        built = await fill(vectors(ROWS))
        found = await _ask(built)
        await db.unbind()
    return found


def vectors(count: int) -> Any:
    """Unit vectors, float32 (count, 384)."""
    chance = np.random.default_rng(5)
    subjects = chance.normal(size=(SUBJECTS, DIRECTIONS))
    weights = chance.dirichlet(np.full(SUBJECTS, 0.5))
    mine = subjects[chance.choice(SUBJECTS, size=count, p=weights)] + chance.normal(size=(count, DIRECTIONS)) * 0.9
    spread = mine @ chance.normal(size=(DIRECTIONS, SIZE)) + chance.normal(size=(count, SIZE))
    return (spread / np.linalg.norm(spread, axis=1, keepdims=True)).astype(np.float32)


async def fill(made: Any) -> float:
    """Give every pipeline a vector. Returns the seconds that building the index took."""
    rows = await db.fetch("SELECT id FROM pipelines ORDER BY id LIMIT $1", len(made))
    index = await db.fetchval("SELECT pg_get_indexdef('embeddings_near'::regclass)")
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        await db.execute("DROP INDEX embeddings_near")
        await connection.copy_records_to_table(
            "embeddings",
            records=[(row["id"], "-", ENCODER, vector) for row, vector in zip(rows, made, strict=True)],
            columns=["pipeline_id", "digest", "encoder", "vector"],
        )
        began = time.perf_counter()
        await db.execute(index)
        built = time.perf_counter() - began
    await db.execute("VACUUM (ANALYZE) embeddings")
    return built


async def _ask(built: float) -> dict[str, Any]:
    asked = [row["id"] for row in await db.fetch("SELECT id FROM pipelines ORDER BY md5(id::text) LIMIT $1", ASKED)]
    for pipeline_id in asked:
        await neighbors.around(pipeline_id)  # as a site that has run for a while
    times = []
    for pipeline_id in asked:
        began = time.perf_counter()
        await neighbors.around(pipeline_id)
        times.append(time.perf_counter() - began)
    hit = total = 0
    for pipeline_id in asked[:TRUE]:
        near = {card.id for card in await neighbors.around(pipeline_id)}
        async with db.transaction() as connection:
            await connection.execute(_EXACT)
            true = {card.id for card in await neighbors.around(pipeline_id)}
        hit += len(near & true)
        total += len(true)
    print(await _plan(asked[0]))
    return {
        f"more like this at {ROWS:,}, p50": {"seconds": statistics.median(times)},
        f"more like this at {ROWS:,}, p95": {"seconds": statistics.quantiles(times, n=20)[-1]},
        f"of the true nearest {FEW} at {ROWS:,}, found": {"ratio": hit / max(total, 1)},
        f"index of {ROWS:,} vectors, built": {"seconds": built},
    }


async def _plan(pipeline_id: Any) -> str:
    sql = neighbors.sql("p.id", "", FEW).replace("$1", f"'{pipeline_id}'")
    return "\n".join(row[0] for row in await db.fetch("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + sql))
