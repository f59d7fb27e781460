"""`python -m tasks.dispatcher`: PostgreSQL → Dramatiq, and the reaper. Run as many as you like.

Rings for every queued step as soon as PostgreSQL says so, and looks every second besides. Every hour it
sweeps up files that nothing refers to, and weighs votes and offshoots anew whose day has come. Beside that it
brings search up to date with what could wait.
Survives PostgreSQL and Redis going away and coming back.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time

import asyncpg
import redis
from dramatiq.brokers.redis import RedisBroker

from domain import db, events, growers, queue, search_documents, standings
from domain.config import Config, ConfigError
from domain.errors import DomainError
from domain.storage import Storage
from domain.sweep import Sweep, Swept
from tasks import broker as bell

log = logging.getLogger("dispatcher")

LOOK_EVERY = 1.0
REAP_EVERY = 5.0
BATCH = 100
FIRST_SWEEP = 60.0
SWEEP_EVERY = 3600.0
INDEX_EVERY = 2.0
WEIGH_EVERY = 3600.0
PAUSE = 0.2
"""Seconds between two batches of votes: the site's own queries go first."""
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, redis.RedisError, TimeoutError)


class Dispatcher:
    """One dispatcher; `stop` ends its `work`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._broker = bell.connect(config)
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._away: str | None = None

    def stop(self) -> None:
        """Finish the round and leave."""
        self._stopping.set()
        self._wake.set()

    async def work(self) -> None:
        """Dispatch and reap until told to stop."""
        beside = [asyncio.create_task(part) for part in (self._listen(), self._sweep(), self._index(), self._weigh())]
        reap_at = 0.0
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if time.monotonic() >= reap_at:  # first: it needs no Redis
                    reap_at = time.monotonic() + REAP_EVERY
                    if reaped := await queue.reap():
                        log.warning("took back %d steps whose worker is gone", reaped)
                await dispatch(self._broker)
                self._say(None)
            except AWAY as error:
                self._say(f"{type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_EVERY)
        for task in beside:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _say(self, trouble: str | None) -> None:
        """One line when a server goes away, one when it is back."""
        if trouble and not self._away:
            log.warning("waiting: %s", trouble)
        elif self._away and not trouble:
            log.info("going on")
        self._away = trouble

    async def _sweep(self) -> None:
        """Sweep every hour, beside the dispatching."""
        sweep = Sweep(Storage(self._config.s3_url))
        await asyncio.sleep(FIRST_SWEEP)
        while True:
            try:
                tell(await sweep.sweep())
            except (*AWAY, DomainError) as error:
                log.warning("the sweep goes on in an hour: %s", error)
            except Exception:
                log.exception("the sweep broke")
            await asyncio.sleep(SWEEP_EVERY)

    async def _weigh(self) -> None:
        """Weigh the votes and offshoots that are due, at the start and every hour, batch by batch."""
        while True:
            try:
                await growers.catch_up()
                while await standings.reweigh():  # noqa: ASYNC110 - a rest, not a wait
                    await asyncio.sleep(PAUSE)
            except AWAY as error:
                log.warning("votes are weighed again in an hour: %s", error)
            except Exception:
                log.exception("weighing votes broke")
            await asyncio.sleep(WEIGH_EVERY)

    async def _index(self) -> None:
        """Refresh what search reads, without a pause while there is more."""
        while True:
            busy = 0
            try:
                busy = await search_documents.catch_up()
            except AWAY as error:
                log.debug("search waits: %s", error)
            except Exception:
                log.exception("search could not be brought up to date")
            await asyncio.sleep(0 if busy else INDEX_EVERY)

    async def _listen(self) -> None:
        """Wake up whenever a step is queued."""
        await events.listen(self._config.database_url, events.STEPS, lambda _: self._wake.set(), began=self._wake.set)


def tell(swept: Swept) -> None:
    """Log what a sweep removed, and what it did not dare to."""
    if swept.removed or swept.uploads or swept.previews:
        log.info(
            "swept up %d files (%d bytes; %d had no row), %d cut-off uploads and %d previews",
            swept.removed, swept.bytes, swept.strays, swept.uploads, swept.previews,
        )  # fmt: skip
    if swept.foreign:
        log.warning(
            "left %d objects that this database does not know and that outnumber those it knows: "
            "the bucket must be this site's alone", swept.foreign,
        )  # fmt: skip


async def dispatch(broker: RedisBroker) -> int:
    """Ring once for every due step; returns how often.

    Sending comes before the commit: a dispatcher that dies in between leaves the steps due. A queue whose
    messages wait already gets no more than `BATCH` of them, since any message serves any step. Redis is asked
    for their number before any step is locked, so that a Redis that hangs keeps nobody from stopping a run.
    """
    sent = 0
    for name in sorted({*bell.QUEUES} & await queue.due_queues()):
        room = max(BATCH - await asyncio.to_thread(bell.waiting, broker, name), 0)
        async with db.transaction():
            found = await queue.due(name, BATCH)
            times = min(found, room)
            await asyncio.to_thread(_ring, broker, name, times)
            sent += times
    return sent


def _ring(broker: RedisBroker, name: str, times: int) -> None:
    for _ in range(times):
        bell.nudge(broker, name)


async def bind(config: Config) -> None:
    """Open the pool, waiting for PostgreSQL as long as it takes."""
    while True:
        try:
            await db.bind(config.database_url, max_size=4)
            return
        except (OSError, asyncpg.OperatorInterventionError, asyncpg.PostgresConnectionError, TimeoutError) as error:
            log.warning("waiting for PostgreSQL: %s", error)
            await asyncio.sleep(1)


async def main(config: Config) -> None:
    """Work until SIGTERM or SIGINT."""
    dispatcher = Dispatcher(config)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, dispatcher.stop)
    await bind(config)
    log.info("ready")
    try:
        await dispatcher.work()
    finally:
        await db.unbind()


if __name__ == "__main__":
    try:
        settings = Config.from_env()
    except ConfigError as error:
        sys.exit(str(error))
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(name)s %(levelname)s %(message)s")
    asyncio.run(main(settings))
