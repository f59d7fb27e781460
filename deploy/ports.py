"""Loopback ports for the servers inside."""

import socket
from collections.abc import Callable

from deploy.problems import Problem
from deploy.processes import Child, wait_until

TRIES = 5
TAKEN = ("address already in use", "could not create server tcp listening socket", "failed listening on port")


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_or_move(child: Child, ready: Callable[[], bool], move: Callable[[], None], timeout: float) -> None:
    """Wait until `ready()`; when the port was taken meanwhile, `move()` to another. Raises Problem otherwise."""
    for attempt in range(TRIES):
        try:
            wait_until(ready, [child], timeout, child.name)
            return
        except Problem as problem:
            if attempt == TRIES - 1 or not any(words in str(problem).lower() for words in TAKEN):
                raise
            child.sweep()
            move()
