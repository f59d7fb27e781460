"""Programs that live and die with this process."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from deploy.problems import Problem

HERE = Path(__file__).parent
NO_NAMESPACE = 98
POLL_S = 0.01


class Guard:
    """A small process that ends our programs if we are killed before we can."""

    def __init__(self, lock: int = -1) -> None:
        self.token = secrets.token_hex(16)
        self.lock = lock
        self.groups: dict[int, int] = {}
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(HERE / "guard.py"), self.token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self.lock,) if self.lock >= 0 else (),
            cwd="/",
            env={},
        )

    def watch_over(self, process: int, stop_signal: int) -> None:
        """Tell the guard of a program that we started, and how to ask it to end."""
        self.groups[process] = stop_signal
        self._say(f"+ {process} {stop_signal}")

    def forget(self, process: int) -> None:
        """Tell the guard that a program has ended."""
        if self.groups.pop(process, None) is not None:
            self._say(f"- {process}")

    def renew(self) -> None:
        """Make sure that there is a guard: somebody may have killed it."""
        if self.process.poll() is None:
            return
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process = self._spawn()
        for process, number in self.groups.items():
            self._say(f"+ {process} {number}")

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return

    def dismiss(self) -> None:
        """Everything has ended in order; the guard may go."""
        self._say("done")
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=10)


class Child:
    """One program in a process group of its own, its words in a log."""

    def __init__(self, name: str, guard: Guard, log: Path, *, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self.name = name
        self.guard = guard
        self.log = log
        self.stop_signal = stop_signal
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, command: Sequence[str], env: Mapping[str, str], *, nobody: bool = False, cwd: Path | None = None
    ) -> None:
        """Start the program. Its secrets come by `env`, never as arguments.

        Call from the main thread: the kernel ties a child's life to the thread that made it.
        """
        launch = [sys.executable, "-I", "-S", str(HERE / "launch.py")]
        launch += [str(int(self.stop_signal)), str(os.getpid()), "1" if nobody else "0"]
        with self._open_log() as log:
            self.process = subprocess.Popen(
                [*launch, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=cwd,
                env={**env, "OFFSHOOT_STACK": self.guard.token},
            )
        self.guard.watch_over(self.process.pid, int(self.stop_signal))

    def _open_log(self) -> IO[bytes]:
        handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(handle, "ab")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def require(self) -> None:
        """Raise Problem, in the program's own last words, if it has ended."""
        if not self.alive():
            raise Problem(self.obituary())

    def obituary(self) -> str:
        """One line on why the program ended."""
        code = self.returncode
        words = last_words(self.log)
        if code == NO_NAMESPACE:
            return (
                "PostgreSQL does not run as root, and this system forbids user namespaces. Run Offshoot as an "
                "ordinary user, or set DATABASE_URL to a PostgreSQL of your own."
            )
        if "No space left on device" in words or "Disk quota exceeded" in words or _no_room(self.log.parent):
            return f"The disk under {self.log.parents[1]} is full: {self.name} could not write. Free some space."
        if "error while loading shared libraries" in words:
            library = words.split("error while loading shared libraries: ", 1)[1].split(":", 1)[0]
            return f"{self.name} does not start: the system library {library} is missing. Install it."
        return f"{self.name} ended ({describe(code)}): {words or 'without a word'}. Its log: {self.log}"

    def stop(self, timeout: float = 10.0) -> None:
        """Ask the program to end, wait, then kill its whole group. Safe to call twice."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.sweep()

    def kill(self) -> None:
        """End the program and its whole group at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def sweep(self) -> None:
        """Kill what the ended program left of its process group."""
        self.kill()
        if self.process is not None:
            self.guard.forget(self.process.pid)


def _no_room(folder: Path) -> bool:
    """Whether not even last words can be written there."""
    return shutil.disk_usage(folder).free < 2**20


def describe(code: int | None) -> str:
    """A return code in words."""
    if code is None:
        return "never started"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def last_words(log: Path, limit: int = 300) -> str:
    """The last line of a log that says something."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 8192))
        lines = file.read().decode(errors="replace").splitlines()
    spoken = [line.strip() for line in lines if line.strip() and not line.startswith((" ", "\t"))]
    telling = [line for line in spoken if "FATAL" in line or "No space left" in line or "shared libraries" in line]
    return (telling or spoken or [""])[-1][:limit]


def wait_until(ready: Callable[[], bool], children: Sequence[Child], timeout: float, what: str) -> None:
    """Poll `ready()` until true; raise Problem when a child ends first or the time is over."""
    deadline = time.monotonic() + timeout
    while not ready():
        for child in children:
            child.require()
        if time.monotonic() > deadline:
            raise Problem(f"{what} did not answer within {timeout:.0f} seconds.")
        time.sleep(POLL_S)
