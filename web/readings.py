"""Models that this process reads beside its pages: one after the other, in a thread, until the site stops."""

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime

import asyncpg

from domain import readings
from domain.errors import DomainError, Invalid
from domain.weights import Say

log = logging.getLogger("web.readings")

TELL_EVERY = 2.0
LEFT = "The site stopped before all of it was read. Begin again"
Work = Callable[[Say], Awaitable[str]]
"""Reads a model and says what is wrong with it, "" for nothing; tells how many bytes it read."""


class _Left(Exception):
    """The site stops."""


class Readings:
    """What is being read; `close` ends it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._one = asyncio.Semaphore(1)
        self._leaving = threading.Event()

    async def start(self, name: str, total: int, work: Work, *, adds: bool) -> None:
        """Begin to read a model of so many bytes, and return at once. Raises Conflict for one that is being read."""
        began = await readings.begin(name, socket.gethostname(), total, adds=adds)
        task = asyncio.create_task(self._read(name, began, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave off, and say so in the rows."""
        self._leaving.set()
        await asyncio.gather(*self._tasks)

    async def _read(self, name: str, began: datetime, work: Work) -> None:
        done = 0

        def say(read: int) -> None:
            nonlocal done
            if self._leaving.is_set():
                raise _Left
            done += read

        async def tell() -> None:
            while True:
                await asyncio.sleep(TELL_EVERY)
                with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await readings.beat(name, began, done)

        telling = asyncio.create_task(tell())
        try:
            async with self._one:
                fault = LEFT if self._leaving.is_set() else await _judged(work, say)
        finally:
            telling.cancel()
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await readings.end(name, began, done, fault)


async def _judged(work: Work, say: Say) -> str:
    try:
        return await work(say)
    except _Left:
        return LEFT
    except Invalid as error:
        return "; ".join(error.fields.values()) or error.message
    except DomainError as error:
        return error.message
    except OSError as error:
        return f"{error.filename or 'A file'} cannot be read: {error.strerror or error}"
    except Exception:
        reference = secrets.token_hex(4)
        log.exception("reference %s: a model could not be read", reference)
        return f"Something broke on our side. Reference {reference}"
