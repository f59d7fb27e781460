"""`python -m tasks.worker`: check the settings, register the models, become dramatiq's worker."""

import asyncio
import logging
import os
import sys

from domain import db, models
from domain.config import Config, ConfigError, endpoint_key
from domain.errors import Invalid
from tasks import dispatcher

log = logging.getLogger("worker")

SPINS = "10000"
"""How long torch's idle threads spin on a CPU (GNU OpenMP's GOMP_SPINCOUNT). Its default, far more, costs four
times the time as soon as anything else wants a core; sleeping at once costs three times even when nothing does."""
GRACE_MS = 30_000
"""How long dramatiq waits for a step on SIGTERM; the runner hands it back long before."""


async def register(config: Config) -> None:
    """Put this machine's models into the registry; one that is no model is named in the log and left out."""
    await dispatcher.bind(config)
    try:
        await models.register_all(config.models, config.means, config.endpoints)
    except Invalid as error:
        log.error("%s. The other models are offered.", error.message.removesuffix("."))
    finally:
        await db.unbind()


def command(config: Config) -> list[str]:
    """Dramatiq's command line: one process, one thread, this machine's queues."""
    return [
        *(sys.executable, "-m", "dramatiq", "tasks.actors", "-p", "1", "-t", "1", "--use-spawn"),
        *("--worker-shutdown-timeout", str(GRACE_MS), "--queues", *config.queues),
    ]


def main() -> None:
    """Never returns: the process becomes dramatiq's."""
    try:
        config = Config.from_env()
        endpoint_key("")  # whether all of them can be read
    except ConfigError as error:
        sys.exit(str(error))
    logging.basicConfig(level=config.log_level.upper(), format="%(asctime)s worker %(levelname)s %(message)s")
    asyncio.run(register(config))
    os.putenv("dramatiq_queue_prefetch", "1")
    os.putenv("GOMP_SPINCOUNT", SPINS)
    os.putenv("TORCHINDUCTOR_CACHE_DIR", str(config.data_dir / "compiled"))
    arguments = command(config)
    os.execv(arguments[0], arguments)  # noqa: S606


if __name__ == "__main__":
    main()
