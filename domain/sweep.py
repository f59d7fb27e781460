"""The sweep: what nothing refers to goes, a day after it was last touched.

A row is marked `deleting`, then its object removed, then the row. Any number of sweeps may run at once, and each
goes on where others were cut off. `artifacts.record` of the same bytes takes a marked row back.
"""

import logging
import random
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from domain import db
from domain.artifacts import REFERENCED, REMOVAL, SWEEPING
from domain.errors import NotFound
from domain.storage import Storage, Stored, key_of

log = logging.getLogger("sweep")

AGE = timedelta(hours=24)
"""What was touched since is left alone, whoever refers to it or not."""
BUDGET = 60.0
"""Seconds of work in one call; the next goes on from there."""
PAGE = 2000
GROUP = 1000
"""Objects that are compared with the rows together."""
_KEY = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})")
_LATE = 20.0

_UNUSED = f"""
WITH page AS MATERIALIZED (
    SELECT sha256, state, touched_at FROM artifacts WHERE sha256 > $1 ORDER BY sha256 LIMIT $2
)
SELECT (SELECT max(sha256) FROM page) AS last, (SELECT count(*) FROM page) AS seen, array(
    SELECT a.sha256 FROM page a
    WHERE state <> 'deleting' AND touched_at < clock_timestamp() - $3::interval AND NOT {REFERENCED}
) AS unused
"""  # noqa: S608

_HOLD = """
SELECT sha256 FROM artifacts WHERE sha256 = ANY($1::text[]) ORDER BY sha256 FOR UPDATE SKIP LOCKED
"""
"""Keeps out every transaction that would refer to the rows, and skips those that others refer to right now."""

_MARK = f"""
UPDATE artifacts a SET state = 'deleting'
WHERE sha256 = ANY($1::text[]) AND state <> 'deleting' AND touched_at < clock_timestamp() - $2::interval
  AND NOT {REFERENCED}
"""  # noqa: S608

_CLAIM = """
UPDATE artifacts SET touched_at = clock_timestamp() WHERE sha256 = (
    SELECT sha256 FROM artifacts WHERE state = 'deleting' AND touched_at < clock_timestamp() - $1::interval
    ORDER BY touched_at LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING sha256, touched_at, bytes
"""

_ADOPT = """
INSERT INTO artifacts (sha256, media_type, bytes, state, touched_at)
SELECT sha256, 'application/octet-stream', bytes, 'deleting', clock_timestamp() - $3::interval
FROM unnest($1::text[], $2::bigint[]) AS stray (sha256, bytes)
ON CONFLICT (sha256) DO NOTHING
"""

_NEEDED = f"SELECT {REFERENCED} FROM artifacts a WHERE sha256 = $1"  # noqa: S608

_PREVIEWS = """
DELETE FROM previews p WHERE NOT EXISTS (
    SELECT FROM step_runs s WHERE s.id = p.step_run_id AND s.state IN ('waiting', 'queued', 'running')
)
"""


class Swept(Struct):
    """What one call did: how many of each."""

    marked: int = 0
    removed: int = 0
    bytes: int = 0
    strays: int = 0
    """Objects without a row, marked too."""
    foreign: int = 0
    """Objects without a row that were left: they outnumber ours, so the bucket may be somebody else's too."""
    uploads: int = 0
    """Uploads in parts that were thrown away."""
    previews: int = 0

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do and nothing to say."""
        return not any(msgspec.structs.astuple(self))


class Sweep:
    """One process's way round all rows and objects, begun somewhere by chance."""

    def __init__(self, storage: Storage, *, age: timedelta = AGE, budget: float = BUDGET) -> None:
        self._storage = storage
        self._age = age
        self._budget = budget
        self._row = f"{random.randrange(256):02x}"
        self._prefix = random.randrange(256)

    async def sweep(self) -> Swept:
        """Go on for `budget` seconds or once round. Raises Unavailable when the file store is away; whatever
        was done until then stays done."""
        done = Swept()
        done.previews = await db.execute(_PREVIEWS)
        await self._mark(done)
        await self._find_strays(done)
        await self._remove(done)
        await self._abort(done)
        return done

    def _until(self, part: float) -> float:
        return time.monotonic() + self._budget * part

    async def _mark(self, done: Swept) -> None:
        """Mark the rows that nothing refers to, page by page."""
        until, wrapped, start = self._until(0.3), False, self._row
        while time.monotonic() < until and not (wrapped and self._row >= start):
            page = await db.fetchrow(_UNUSED, self._row, PAGE, self._age)
            assert page is not None
            if page["unused"]:
                done.marked += await mark(page["unused"], self._age)
            if page["seen"] == PAGE:
                self._row = page["last"]
            elif wrapped:
                return
            else:
                self._row, wrapped = "", True

    async def _find_strays(self, done: Swept) -> None:
        """Mark the objects that have no row, by giving them one that is `deleting`."""
        until, group = self._until(0.3), list[Stored]()
        for _ in range(256):
            if time.monotonic() > until:
                break
            async for page in self._objects(f"{self._prefix:02x}/"):
                group += page
                if len(group) >= GROUP:
                    await self._judge(group, done)
                    group = []
            self._prefix = (self._prefix + 1) % 256
        await self._judge(group, done)

    async def _objects(self, prefix: str) -> AsyncIterator[list[Stored]]:
        """The old objects under a prefix that are called as ours are, page by page."""
        after, newest = "", datetime.now(UTC) - self._age
        while True:
            try:
                page = await self._storage.listing(prefix, after)
            except NotFound:  # no bucket yet
                return
            if not page:
                return
            yield [each for each in page if each.modified < newest and _KEY.fullmatch(each.key)]
            after = page[-1].key

    async def _judge(self, group: list[Stored], done: Swept) -> None:
        sizes = {each.key[3:]: each.bytes for each in group}
        rows = await db.fetch("SELECT sha256 FROM artifacts WHERE sha256 = ANY($1::text[])", list(sizes))
        known = {row["sha256"] for row in rows}
        strays = [sha256 for sha256 in sizes if sha256 not in known]
        if len(strays) > len(known):
            done.foreign += len(strays)
        elif strays:
            done.strays += await db.execute(_ADOPT, strays, [sizes[sha256] for sha256 in strays], self._age)

    async def _remove(self, done: Swept) -> None:
        until = self._until(0.4)
        while time.monotonic() < until:
            claimed = await db.fetchrow(_CLAIM, REMOVAL)
            if claimed is None:
                return
            if await remove(self._storage, claimed["sha256"], claimed["touched_at"]):
                done.removed += 1
                done.bytes += claimed["bytes"]

    async def _abort(self, done: Swept) -> None:
        newest = datetime.now(UTC) - self._age
        try:
            unfinished = await self._storage.unfinished()
        except NotFound:
            return
        for upload in unfinished:
            if upload.begun < newest and _KEY.fullmatch(upload.key):
                await self._storage.abort(upload)
                done.uploads += 1


async def mark(sha256s: list[str], age: timedelta) -> int:
    """Mark those of the artifacts that still nothing refers to; how many. None while a backup is made."""
    async with db.transaction():
        if not await db.fetchval(f"SELECT pg_try_advisory_xact_lock({SWEEPING})"):
            return 0
        held = [row["sha256"] for row in await db.fetch(_HOLD, sha256s)]
        return await db.execute(_MARK, held, age)


async def remove(storage: Storage, sha256: str, claimed_at: datetime) -> bool:
    """Remove a claimed object and its row; whether it is gone. What is referred to again is taken back.

    The row stays locked meanwhile: who records the same bytes waits, then writes anew. Should the request fail
    without an answer, the row stays `deleting`, and `record` keeps off until the request cannot arrive any more.
    """
    begun = time.monotonic()
    async with db.transaction():
        row = await db.fetchrow(
            "SELECT FROM artifacts WHERE sha256 = $1 AND state = 'deleting' AND touched_at = $2 FOR UPDATE",
            sha256,
            claimed_at,
        )
        if row is None:
            return False
        if await db.fetchval(_NEEDED, sha256):
            await _take_back(storage, sha256)
            return False
        if time.monotonic() - begun > _LATE:
            return False
        await storage.delete(key_of(sha256))
        await db.execute("DELETE FROM artifacts WHERE sha256 = $1", sha256)
    return True


async def _take_back(storage: Storage, sha256: str) -> None:
    if not await storage.exists(key_of(sha256)):
        log.error("the object %s is referred to, but lost", sha256)
        return
    await db.execute("UPDATE artifacts SET state = 'stored', touched_at = clock_timestamp() WHERE sha256 = $1", sha256)
