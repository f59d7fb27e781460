"""How near the gallery is to its floor, at ten thousand and at a million published runs."""

import asyncio
import base64
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from deploy.embedded import Services
from deploy.migrations import migrate
from domain import accounts, db
from tests.bench import bulk
from tests.bench.load import Target, ratio
from tests.bench.processes import free_port, running

SIZES = (10_000, 1_000_000)
DEEP = 500_000


async def measure(data_dir: Path) -> dict[str, Any]:
    """Ratios of requests a second; each pair is asked in turn within the same seconds."""
    results: dict[str, Any] = {}
    for size in SIZES:
        results |= await _at(size, data_dir / str(size))
    return results


async def _at(size: int, data_dir: Path) -> dict[str, Any]:
    with Services(data_dir, durable=False) as services:
        urls = services.urls
        await asyncio.to_thread(migrate, urls.database)
        await db.bind(urls.database, max_size=2)
        seconds = await bulk.fill(size)
        site, floor = free_port(), free_port()
        env = {
            "DATABASE_URL": urls.database,
            "REDIS_URL": urls.redis,
            "S3_URL": urls.s3,
            "SECRET_KEY": "only for measuring, on this machine alone",
            "PORT": str(site),
            "SITE_URL": f"http://127.0.0.1:{site}",
        }
        ours, bare = f"http://127.0.0.1:{site}", f"http://127.0.0.1:{floor}"
        async with AsyncExitStack() as stack:
            stack.enter_context(running(["-m", "web"], env, f"{ours}/health"))
            stack.enter_context(running(["-m", "tests.bench.floor", str(floor)], env, f"{bare}/plain"))
            results: dict[str, Any] = {
                f"fill {size:,} published runs": {"seconds": seconds},
                f"gallery at {size:,} / floor": await ratio(Target(f"{ours}/"), Target(f"{bare}/gallery")),
                f"the same rendered anew for a person at {size:,}": await ratio(
                    Target(f"{ours}/", {"Cookie": await _session(site)}), Target(f"{bare}/gallery")
                ),
            }
            if size > DEEP:
                cursor = await _cursor(DEEP)
                results["page after 500,000 / first page, time"] = _inverse(
                    await ratio(Target(f"{ours}/?order=newest&after={cursor}"), Target(f"{ours}/?order=newest"))
                )
            tag = await _etag(ours)
            results[f"conditional GET at {size:,} / plain text"] = await ratio(
                Target(f"{ours}/", {"If-None-Match": tag}, status=304), Target(f"{bare}/plain")
            )
        await db.unbind()
    return results


def _inverse(found: dict[str, float]) -> dict[str, float]:
    """Time for rate: how much longer ours takes."""
    return {**found, "ratio": 1 / found["ratio"]}


async def _cursor(place: int) -> str:
    """The cursor of the newest-first page that follows card number `place`."""
    row = await db.fetchrow(
        "SELECT published_at, id FROM pipelines WHERE published_at IS NOT NULL"
        " ORDER BY published_at DESC, id DESC OFFSET $1 LIMIT 1",
        place - 1,
    )
    assert row is not None
    key: tuple[Any, UUID] = (row["published_at"], row["id"])
    packed = msgspec.json.encode(("newest", *key, place))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


async def _session(port: int) -> str:
    """The cookie of somebody who is logged in: their pages are never kept from a moment ago."""
    person: UUID = await db.fetchval("SELECT id FROM people LIMIT 1")
    return f"session-{port}={await accounts.open_session(person)}"


async def _etag(site: str) -> str:
    import httpx

    async with httpx.AsyncClient() as client:
        return (await client.get(f"{site}/")).headers["ETag"]
