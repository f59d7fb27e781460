"""`offshoot run`: everything on one machine, under one process.

Starts PostgreSQL, Valkey and S3 (unless given from outside), migrates, starts web, dispatcher,
worker and the seeding of examples, says where the site is, restarts what dies, and on Ctrl-C or
SIGTERM ends all of it in order.
"""

import contextlib
import http.client
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from deploy import checks
from deploy.embedded import Services, Urls
from deploy.migrations import migrate
from deploy.problems import Problem, about
from deploy.processes import Child, describe, last_words, wait_until
from deploy.surroundings import Surroundings

ROOT = Path(__file__).parents[1]
FIRST_PAGE_TIMEOUT_S = 60.0
STEADY_S = 60.0
"""A program that ran this long starts over without delay when it dies."""
MAX_DELAY_S = 30.0
WORKER_STOP_S = 20.0
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what service managers send, and a terminal that closes."""
SAID = 2
"""The exit status of a program whose last words a person should read, rather than have it run again."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM before everything was up."""


@dataclass
class Program:
    """One supervised program and how to start it again."""

    child: Child
    start: Callable[[], None]
    once: bool = False
    """It may end by itself with 0, and is not started again."""
    stop_s: float = 10.0
    delay: float = 0.0
    started_at: float = field(default_factory=time.monotonic)
    due_at: float | None = None


class Supervisor:
    """Owns every process of one running Offshoot."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.given = surroundings
        self.config = surroundings.config
        self.services = Services(self.config.data_dir, surroundings.external)
        self.programs: list[Program] = []
        self.leaving = False
        self.up = False
        self.wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in STOPS:
            signal.signal(number, self._on_signal)

    def run(self) -> int:
        """Run until told to stop; the exit status. Raises Problem or ConfigError when it cannot start."""
        try:
            try:
                self._start()
                self._watch()
            except Interrupted:
                pass
            except OSError as error:
                raise about(error, self.config.data_dir) from error
            return 0
        finally:
            self.leaving = True
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.leaving:
            for program in self.programs:
                program.child.kill()
            return
        self.leaving = True
        if not self.up:
            raise Interrupted

    # -- starting

    def _start(self) -> None:
        checks.port(self.config.host, self.config.port)
        checks.reachable(self.given.external)
        self.services.begin()
        urls = self.services.finish()
        self._remember(urls)
        migrate(urls.database)
        secret = self.services.folder.secret("key")
        env = self.given.of_children(urls, secret)
        web = self._python("web", "web", env)
        wait_until(self._answers, [web.child], FIRST_PAGE_TIMEOUT_S, "The web server")
        say(f"Offshoot is ready at {self.given.site_url} (Ctrl-C stops it)")
        self._python("dispatcher", "tasks.dispatcher", env)
        self._python("worker", "tasks.worker", self.given.of_worker(urls, secret), stop_s=WORKER_STOP_S)
        self._python("seeds", "deploy.seeds", env, once=True)
        self.up = True
        if self.leaving:
            raise Interrupted

    def _remember(self, urls: Urls) -> None:
        """Leave the addresses where `offshoot models add` finds them while we run."""
        file = self.services.folder.path / "run" / "urls.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"database": urls.database, "redis": urls.redis, "s3": urls.s3}))

    def _python(
        self, name: str, module: str, env: dict[str, str], *, once: bool = False, stop_s: float = 10.0
    ) -> Program:
        """Start `python -m module` in the checkout, its words in `log/name.log`."""
        guard = self.services.guard
        assert guard is not None
        child = Child(name, guard, self.services.folder.log(name))

        def start() -> None:
            child.start([sys.executable, "-m", module], env, cwd=ROOT)

        start()
        program = Program(child, start, once=once, stop_s=stop_s)
        self.programs.append(program)
        return program

    def _answers(self) -> bool:
        """Whether the first page really comes."""
        connection = http.client.HTTPConnection(*self.given.door, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    # -- watching

    def _watch(self) -> None:
        """Start again whatever dies, later each time, until told to leave."""
        watched = [Program(part.child, part.start) for part in reversed(self.services.parts)] + self.programs
        while not self.leaving:
            now = time.monotonic()
            if self.services.guard is not None:
                self.services.guard.renew()
            for program in list(watched):
                if program.due_at is not None:
                    if now >= program.due_at:
                        self._again(program)
                elif not program.child.alive():
                    if program.once and program.child.returncode in (0, SAID):
                        self._retire(program)
                        watched.remove(program)
                    else:
                        self._schedule(program, now)
            due = [program.due_at for program in watched if program.due_at is not None]
            self._sleep(min([moment - now for moment in due], default=5.0))

    def _retire(self, program: Program) -> None:
        if program.child.returncode == SAID:
            say(last_words(program.child.log))
        program.child.sweep()

    def _schedule(self, program: Program, now: float) -> None:
        program.child.sweep()
        steady = now - program.started_at > STEADY_S
        program.delay = 0.5 if steady or program.delay == 0 else min(program.delay * 2, MAX_DELAY_S)
        program.due_at = now + program.delay
        words = last_words(program.child.log)
        reason = describe(program.child.returncode) + (f": {words}" if words else "")
        say(f"{program.child.name} ended ({reason}). Starting it again in {program.delay:g} s")

    def _again(self, program: Program) -> None:
        program.due_at = None
        program.started_at = time.monotonic()
        try:
            program.start()
        except OSError as error:
            say(str(about(error, self.config.data_dir)))
            program.due_at = time.monotonic() + MAX_DELAY_S

    def _sleep(self, seconds: float) -> None:
        """Wait for a signal (a child's end too), or until the time is over."""
        ready, _, _ = select.select([self.wake], [], [], max(0.0, seconds))
        if ready:
            os.read(self.wake, 4096)

    # -- stopping

    def _stop(self) -> None:
        """Worker, dispatcher, web, then S3, Valkey and PostgreSQL."""
        for program in reversed(self.programs):
            program.child.stop(program.stop_s)
        if self.services.folder.lock >= 0:
            (self.services.folder.path / "run" / "urls.json").unlink(missing_ok=True)
        self.services.stop()
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)  # nothing is left to stop, and one more would spoil the exit status


def say(line: str) -> None:
    """One line for the person at the terminal."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(line, flush=True)


def run() -> int:
    """Read the environment and run. Raises Problem or ConfigError."""
    return Supervisor(Surroundings.of_process()).run()


__all__ = ["Interrupted", "Problem", "Supervisor", "run"]
