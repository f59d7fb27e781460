"""A run's diary, and the bells: one for dispatchers, one for whoever watches runs. All take effect at commit."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from domain import db

STEPS = "steps"
"""The NOTIFY channel that tells dispatchers of queued steps."""
RUNS = "runs"
"""The NOTIFY channel that triggers fill: a run's id when its page would look different, and with MOVED behind it
when that may have changed other runs' places in the queue."""
MOVED = " moved"
AGAIN = 1.0
"""Seconds until a listener that lost the database tries again."""


async def note(run_id: UUID, name: str, data: Mapping[str, Any] | None = None, ordinal: int | None = None) -> None:
    """Write down that something happened to a run, or to one of its steps."""
    await db.execute(
        "INSERT INTO events (run_id, ordinal, name, data) VALUES ($1, $2, $3, $4)", run_id, ordinal, name, data or {}
    )


async def ring() -> None:
    """Tell dispatchers that a step is queued."""
    await db.execute("SELECT pg_notify($1, '')", STEPS)


async def listen(
    database_url: str,
    channel: str,
    hear: Callable[[str], None],
    *,
    began: Callable[[], None] = lambda: None,
    ended: Callable[[], None] = lambda: None,
) -> None:
    """Hand every payload of the channel to `hear`, for ever, on a connection of its own.

    Whenever that is lost a new one is made: what is said between `ended` and `began` is not heard.
    """
    while True:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            connection = await asyncpg.connect(database_url, timeout=5)
            try:
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(channel, lambda *heard: hear(heard[3]))
                began()
                await lost.wait()
            finally:
                ended()
                connection.terminate()
        await asyncio.sleep(AGAIN)
