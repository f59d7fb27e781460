"""Verification: every stored file is read again and compared with its name, the SHA-256 of its bytes."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Literal

from msgspec import Struct, field

from domain import db
from domain.artifacts import IN_RECIPE, REFERENCED
from domain.errors import NotFound
from domain.storage import Storage, key_of

AT_ONCE = 8
PAGE = 500

_PAGE = f"""
SELECT sha256, bytes, media_type, NOT {REFERENCED} AS unreferenced FROM artifacts a
WHERE state = 'stored' AND sha256 > $1 ORDER BY sha256 LIMIT $2
"""  # noqa: S608

_SAMPLE = f"""
SELECT sha256, bytes, media_type, NOT {REFERENCED} AS unreferenced FROM (
    SELECT * FROM artifacts WHERE state = 'stored' ORDER BY random() LIMIT $1
) AS a
"""  # noqa: S608

_USERS = f"""
WITH asked AS (SELECT $1::text AS sha256 UNION SELECT source FROM renditions WHERE sha256 = $1
    UNION SELECT source FROM forms WHERE sha256 = $1)
SELECT 'run ' || r.number || ' of “' || p.title || '” (/runs/' || r.id || ')' AS words
FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
WHERE r.id IN (SELECT s.run_id FROM asked JOIN outputs o USING (sha256) JOIN step_runs s ON s.id = o.step_run_id)
UNION ALL
SELECT 'pipeline “' || p.title || '” (/pipelines/' || p.id || ')' FROM pipelines p
WHERE p.id IN (
    SELECT v.pipeline_id FROM asked JOIN versions v ON {IN_RECIPE} @> to_jsonb(asked.sha256)
) OR p.cover_sha256 IN (SELECT sha256 FROM asked)
UNION ALL
SELECT 'an upload of ' || handle FROM people WHERE id IN (SELECT person_id FROM asked JOIN uploads USING (sha256))
LIMIT $2
"""  # noqa: S608 - the path of a constant
MAX_USERS = 20


class Broken(Struct, frozen=True):
    """A file that is not what its row says, and what a person would miss."""

    sha256: str
    media_type: str
    how: Literal["missing", "wrong"]
    users: list[str]


class Report(Struct):
    """What a verification found. Bytes are those really read."""

    checked: int = 0
    bytes: int = 0
    unreferenced: int = 0
    broken: list[Broken] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, how: Literal["missing", "wrong"]) -> int:
        return sum(each.how == how for each in self.broken)


async def verify(storage: Storage, sample: int | None = None) -> Report:
    """Read every stored file, or `sample` of them chosen by chance, and report. Raises Unavailable.

    A few are read at once, each in small pieces. The site may go on meanwhile: what a sweep removes
    between the listing and the reading is not counted.
    """
    report, begun = Report(), time.monotonic()
    async for page in _pages(sample):
        free = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_check(storage, row, report, free) for row in page))
    report.broken.sort(key=lambda each: each.sha256)
    report.seconds = time.monotonic() - begun
    return report


async def _pages(sample: int | None) -> AsyncIterator[list[db.Record]]:
    if sample is not None:
        yield await db.fetch(_SAMPLE, sample)
        return
    after = ""
    while page := await db.fetch(_PAGE, after, PAGE):
        yield page
        after = page[-1]["sha256"]


async def _check(storage: Storage, row: db.Record, report: Report, free: asyncio.Semaphore) -> None:
    sha256 = row["sha256"]
    async with free:
        how, read = await _read(storage, sha256)
    if how and not await db.fetchval(
        "SELECT EXISTS (SELECT FROM artifacts WHERE sha256 = $1 AND state = 'stored')", sha256
    ):
        return
    report.checked += 1
    report.bytes += read
    report.unreferenced += row["unreferenced"]
    if how:
        users = [found["words"] for found in await db.fetch(_USERS, sha256, MAX_USERS)]
        report.broken.append(Broken(sha256, row["media_type"], how, users))


async def _read(storage: Storage, sha256: str) -> tuple[Literal["missing", "wrong"] | None, int]:
    """What is wrong with the object, and how many bytes it has."""
    digest, read = hashlib.sha256(), 0
    try:
        async for chunk in await storage.open(key_of(sha256)):
            digest.update(chunk)
            read += len(chunk)
    except NotFound:
        return "missing", 0
    return (None if digest.hexdigest() == sha256 else "wrong"), read
