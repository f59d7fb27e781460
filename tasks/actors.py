"""The one actor: a step's id in. Imported by dramatiq's worker process."""

import asyncio
import contextlib
import multiprocessing
import os
import threading
from multiprocessing import connection
from typing import Any

import dramatiq
import redis
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.errors import DramatiqError
from dramatiq.middleware import AsyncIO

from domain.config import Config
from tasks import broker as bell
from tasks.runner import Runner

config = Config.from_env()
runner = Runner(config)


class Runtime(AsyncIO):
    """The event loop that runner, database and engine live in, and its orderly end."""

    def after_process_boot(self, broker: Any) -> None:
        threading.Thread(target=self._leave_with_master, name="leave-with-master", daemon=True).start()

    def _leave_with_master(self) -> None:
        """Wait for dramatiq's master to die, hand the step back, and go.

        A signal would not do: dramatiq's handler logs through a pipe to the master, and that pipe
        being gone would end the main thread while the others went on taking steps.
        """
        master = multiprocessing.parent_process()
        if master is None:
            return
        connection.wait([master.sentinel])
        try:
            self._call(runner.drain())
        finally:
            os._exit(1)

    def before_worker_boot(self, broker: Any, worker: Any) -> None:
        super().before_worker_boot(broker, worker)  # type: ignore[no-untyped-call]
        self._call(runner.begin())

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        self._call(runner.drain())

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        self._call(runner.close())
        super().after_worker_shutdown(broker, worker)  # type: ignore[no-untyped-call]

    def _call(self, work: Any) -> None:
        thread = get_event_loop_thread()
        assert thread is not None
        thread.run_coroutine(work)


broker = bell.connect(config, [Runtime()])
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name=bell.ACTOR, queue_name="light")
async def run_steps(queue: str) -> None:
    """Run the steps of this queue, and of the others this worker serves, until none is left for it."""
    bell.free.clear()
    try:
        if await runner.run(queue):
            with contextlib.suppress(redis.RedisError, DramatiqError):  # the database has them told all the same
                await asyncio.to_thread(bell.nudge, broker, queue)
            await asyncio.sleep(bell.ASIDE)
    finally:
        bell.free.set()
