"""Be told that runs ended: a bench that asked again and again would take a core from the model it measures."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from domain import db, events

LATEST = 300.0
"""Seconds until a run that should have ended long ago is an error."""
_HOW = "SELECT state FROM runs WHERE id = ANY ($1)"


class Watch:
    """Hears of every run's end on one connection."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()

    async def ended(self, ids: Iterable[UUID]) -> None:
        """Wait until all of these runs have succeeded. Raises RuntimeError when one did not, or TimeoutError."""
        wanted = list(ids)
        async with asyncio.timeout(LATEST):
            while True:
                self._moved.clear()
                states = [row["state"] for row in await db.fetch(_HOW, wanted)]
                if not {"queued", "running"} & set(states):
                    break
                await self._moved.wait()
        if set(states) != {"succeeded"}:
            raise RuntimeError(f"the runs ended {states}")

    def _hear(self, payload: str) -> None:
        if payload.endswith(events.MOVED):
            self._moved.set()


@asynccontextmanager
async def watching(database_url: str) -> AsyncIterator[Watch]:
    """A watch for as long as the block lasts."""
    watch = Watch()
    up = asyncio.Event()
    listening = asyncio.create_task(events.listen(database_url, events.RUNS, watch._hear, began=up.set))
    await up.wait()
    try:
        yield watch
    finally:
        listening.cancel()
