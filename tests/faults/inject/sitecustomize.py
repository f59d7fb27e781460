"""Python imports this at its start wherever this folder is on PYTHONPATH: faults come from outside the product.

FAULTS names them, separated by commas. Those of steps are chosen by words in the prompt.
"""

import os
import signal
import sys
import time
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def web_dies_after_commit() -> None:
    """The web process is killed between a run's commit and the answer."""
    from domain import runs

    accept = runs.accept

    async def accept_and_die(*args: Any, **options: Any) -> Any:
        await accept(*args, **options)
        die()

    runs.accept = accept_and_die


def dispatcher_dies_after_send() -> None:
    """The dispatcher is killed between its message and its commit."""
    from tasks import broker

    nudge = broker.nudge

    def nudge_and_die(*args: Any) -> None:
        nudge(*args)
        die()

    broker.nudge = nudge_and_die


def steps_go_wrong() -> None:
    """Drawing does what the prompt says: POISON, MEMORY or DEAF."""
    from tasks.steps import RUNNERS

    runner = RUNNERS["text_to_image"]
    assert runner.together is not None
    together = runner.together

    def wrong(alike: Any, ctx: Any) -> Any:
        words = " ".join(step.prompt for step in alike)
        if "POISON" in words:
            os._exit(139)
        if "MEMORY" in words:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        if "DEAF" in words:
            ctx.progress(1, 2)
            time.sleep(120)
        return together(alike, ctx)

    RUNNERS["text_to_image"] = runner._replace(run=lambda step, ctx: wrong([step], ctx)[0], together=wrong)


def in_the_engine() -> bool:
    return "--multiprocessing-fork" in sys.orig_argv or "-c" in sys.orig_argv


for fault in filter(None, os.environ.get("FAULTS", "").split(",")):
    if fault != "steps_go_wrong" or in_the_engine():
        globals()[fault]()
