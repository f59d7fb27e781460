"""Start what is measured, and look at it from outside."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A loopback port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, seconds: float = 60) -> None:
    """Return when `url` answers 200. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.005)
    raise TimeoutError(f"{url} did not answer within {seconds} s")


@contextmanager
def running(
    arguments: list[str], env: Mapping[str, str], url: str, patience: float = 60
) -> Iterator[tuple[psutil.Process, float]]:
    """A process of ours until the block ends, and the seconds until `url` answered, at most `patience`."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(url, patience)
        yield psutil.Process(child.pid), time.perf_counter() - began
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def resident(process: psutil.Process) -> dict[str, float]:
    """Resident memory in MB of every process below `process`, by what it is; those of one kind are added up."""
    sizes: dict[str, float] = {}
    for one in [process, *process.children(recursive=True)]:
        try:
            name = label(one.cmdline(), psutil.Process(one.ppid()).cmdline())
            sizes[name] = sizes.get(name, 0) + one.memory_info().rss / 1e6
        except psutil.Error:
            continue
    return sizes


_LABELS = {
    "postgres": "PostgreSQL, each backend with what all share",
    "valkey": "Valkey",
    "rclone": "S3 server",
    "guard.py": "guard",
    "tasks.dispatcher": "dispatcher",
    "multiprocessing.resource_tracker": "worker's launcher",
    "multiprocessing.spawn": "worker",
    "-m dramatiq": "worker's launcher",
    "-m web": "web",
    "deploy.cli run": "supervisor",
}


def label(command: list[str], parent: list[str]) -> str:
    """What a process is, from its command line and its parent's: dramatiq's launcher starts the worker, and
    the worker starts the engine that holds the models, both as multiprocessing spells it."""
    words, above = " ".join(command), " ".join(parent)
    if "multiprocessing.spawn" in words and "multiprocessing.spawn" in above:
        return "engine, with the models"
    return next((name for mark, name in _LABELS.items() if mark in words), "other")
