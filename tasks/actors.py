"""The one actor: a step's id in. Imported by dramatiq's worker process."""

import signal
from typing import Any
from uuid import UUID

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import AsyncIO

from domain.config import Config
from tasks import broker as bell
from tasks.leash import die_with_parent
from tasks.runner import Runner

config = Config.from_env()
runner = Runner(config)


class Runtime(AsyncIO):
    """The event loop that runner, database and engine live in, and its orderly end."""

    def after_process_boot(self, broker: Any) -> None:
        die_with_parent(signal.SIGTERM)

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
async def run_step(step_run_id: str) -> None:
    """Run one step, and the steps after it that this worker serves."""
    bell.busy.set()
    try:
        await runner.run(UUID(step_run_id))
    finally:
        bell.busy.clear()
