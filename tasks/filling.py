"""What a worker does when nobody waits: vectors of prompts and hashes of pictures, a few at a time.

The encoder runs in the engine, which takes one thing after the other, so a run that comes meanwhile waits for
one prompt at most. A worker that is never idle squeezes some in now and then. Two workers may do the same:
nothing is locked while the engine works, so that nobody's saving waits for it, and the second changes nothing.
"""

import asyncio
import contextlib
import io
import logging
import random
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
from PIL import Image

from domain import likeness, neighbors
from domain.errors import DomainError, NotFound
from domain.likeness import Likeness
from domain.neighbors import Due
from domain.storage import Storage, key_of
from tasks.engine import Engine, EngineDied
from tasks.messages import Embed, EncoderRef

log = logging.getLogger("filling")

TEXTS = 16
"""In one helping. A run that comes cuts it short."""
PICTURES = 4
AHEAD = 64
"""Due ones that a helping is drawn from by chance, so that two workers seldom take the same."""
LOOK_EVERY = 3.0
"""Seconds until an idle worker that found nothing looks again."""
BUSY_EVERY = 10.0
"""Seconds between two helpings of a worker that always has runs."""
PATIENCE = 60.0
"""Seconds to leave it alone after something failed; twice as long each time."""
LONGEST = 3600.0
FIRST = UUID(int=0)


class Troubled(Exception):
    """It did not work now; later it may."""


EXPECTED = (Troubled, EngineDied, DomainError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What goes away and comes back."""


class Filling:
    """One worker's background work. Without an encoder only pictures are looked at."""

    def __init__(self, engine: Engine, storage: Storage, encoder: EncoderRef | None, idle: asyncio.Event) -> None:
        self._engine = engine
        self._storage = storage
        self._encoder = encoder
        self._idle = idle

    async def work(self) -> None:
        """Go on until cancelled. Whatever fails is logged and tried again later."""
        kinds = [self._go_on(Walk(likeness.missing), self.pictures)]
        if self._encoder is not None:
            kinds.append(self._go_on(Walk(neighbors.missing), self.texts))
        await asyncio.gather(*kinds)

    async def _go_on(self, walk: "Walk", helping: Callable[[], Awaitable[bool]]) -> None:
        """One kind of work, at most half of the time."""
        patience = PATIENCE
        while True:
            await self._until_idle()
            began = time.monotonic()
            try:
                more = [await walk.step(), await helping()]
            except Exception as error:
                expected = isinstance(error, EXPECTED)
                log.warning("goes on in %.0f s: %s: %s", patience, type(error).__name__, error, exc_info=not expected)
                await asyncio.sleep(patience)
                patience = min(2 * patience, LONGEST)
            else:
                patience = PATIENCE
                await asyncio.sleep(time.monotonic() - began if any(more) else LOOK_EVERY)

    async def _until_idle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUSY_EVERY):
                await self._idle.wait()

    async def texts(self) -> bool:
        """Give a few pipelines their vectors; whether there was anything to do. Raises Troubled and EngineDied."""
        if self._encoder is None:
            return False
        found = await neighbors.due(self._encoder.id, AHEAD)
        if not found:
            return False
        chosen = random.sample(found, min(TEXTS, len(found)))
        if self._idle.is_set():
            self._engine.start()
        await neighbors.fill(self._encoder.id, await self._encoded(self._encoder, chosen))
        return True

    async def _encoded(self, encoder: EncoderRef, chosen: list[Due]) -> list[tuple[Due, list[float] | None]]:
        """Vectors of all, or of each alone where they fail together; None for one that fails for good."""
        answer = await self._engine.embed(Embed(encoder, [one.text for one in chosen]))
        if not answer.error:
            return list(zip(chosen, answer.vectors, strict=False))
        if not answer.lasting:
            raise Troubled(answer.error)
        if len(chosen) == 1:
            return [(chosen[0], None)]
        return [pair for one in chosen for pair in await self._encoded(encoder, [one])]

    async def pictures(self) -> bool:
        """Give a few published pictures their hashes; whether there was anything to do. Raises Unavailable."""
        found = await likeness.due(AHEAD)
        for one in random.sample(found, min(PICTURES, len(found))):
            await likeness.fill(one.sha256, await self._likeness(one.shown))
        return bool(found)

    async def _likeness(self, sha256: str) -> Likeness | None:
        try:
            return await asyncio.to_thread(_likeness_of, await self._storage.get(key_of(sha256)))
        except (NotFound, ValueError, Image.DecompressionBombError) as error:
            log.warning("the picture %s cannot be compared: %s", sha256, error)
            return None


def _likeness_of(data: bytes) -> Likeness | None:
    """Raises ValueError for what cannot be opened."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return likeness.of(image)
    except OSError as error:
        raise ValueError(str(error)) from error


class Walk:
    """Once through a table, page by page, for what came in while nobody noted it."""

    def __init__(self, page: Callable[[UUID], Awaitable[UUID | None]]) -> None:
        self._page = page
        self._after = FIRST
        self.done = False

    async def step(self) -> bool:
        """One page; whether there is another."""
        if self.done:
            return False
        last = await self._page(self._after)
        self.done = last is None
        self._after = last or self._after
        return not self.done
