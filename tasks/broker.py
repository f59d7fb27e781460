"""Dramatiq on Redis, as a doorbell: a message says that a queue has work, PostgreSQL holds the truth.

Whose step comes first is decided when a worker claims, so that messages waiting here favor nobody.
No retries, results, delays or age limits: the database does all that, and a lost or doubled
message changes nothing.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any, get_args

import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware

from domain.config import Config
from domain.steps import Queue

ACTOR = "run_steps"
QUEUES: tuple[str, ...] = get_args(Queue)
SOCKET_TIMEOUT = 5.0
HEARTBEAT_MS = 60_000
ALWAYS = 1_000_000
"""Maintenance on every command, out of a million: a dead worker's messages return at once."""
WAIT = 1.0
"""Seconds that a consumer waits at the bell, or for a step to end, before it looks whether to leave."""
ASIDE = 0.2
"""Seconds that a worker leaves messages to others after it passed one on."""

free = threading.Event()
"""Cleared while this worker runs a step: it then leaves messages to others, and its consumers sleep."""
free.set()


class Bell(RedisBroker):
    """A Redis broker whose idle consumers wait in Redis instead of polling it."""

    @property
    def consumer_class(self) -> Any:
        return _Consumer


class _Consumer(_RedisConsumer):
    """Blocks until its queue has a message, so that a step starts without delay and idling is free."""

    def __next__(self) -> Any:
        try:
            if not self.queue_name.endswith(".DQ") and not self.message_cache:
                if not free.wait(WAIT):
                    return None
                if self.outstanding_message_count >= self.prefetch:
                    time.sleep(0.01)
                    return None
                if not self._ring():
                    return None
                self.misses = 0
            return super().__next__()  # type: ignore[no-untyped-call]
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def _ring(self) -> bool:
        """Wait for a message: moving the queue's head onto its own place changes nothing."""
        key = f"{self.broker.namespace}:{self.queue_name}"
        return self.broker.client.blmove(key, key, WAIT, "LEFT", "LEFT") is not None


def connect(config: Config, middleware: Sequence[Middleware] = ()) -> RedisBroker:
    """The broker of one site. Nothing connects yet."""
    broker = Bell(  # type: ignore[no-untyped-call]
        client=redis.Redis.from_url(
            config.redis_url,
            socket_timeout=SOCKET_TIMEOUT,
            socket_connect_timeout=SOCKET_TIMEOUT,
            socket_keepalive=True,
        ),
        middleware=list(middleware),
        namespace="offshoot",
        heartbeat_timeout=HEARTBEAT_MS,
        maintenance_chance=ALWAYS,
    )
    for queue in QUEUES:
        broker.declare_queue(queue)
    return broker


def waiting(broker: RedisBroker, queue: str) -> int:
    """How many messages wait for a worker. Raises Redis's error when it is away."""
    count: int = broker.client.llen(f"{broker.namespace}:{queue}")
    return count


def nudge(broker: RedisBroker, queue: str) -> None:
    """Tell a worker that the queue has a step. Raises dramatiq's or Redis's error when Redis is away."""
    broker.enqueue(Message(queue_name=queue, actor_name=ACTOR, args=(queue,), kwargs={}, options={}))
