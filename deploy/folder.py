"""The data folder: who holds it, which version made it, its secrets and its logs."""

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from pathlib import Path

from deploy.problems import Problem, about

LAYOUT = 1
"""Raised when a new version of Offshoot keeps its files so that older ones cannot read them."""
SPACE_NEEDED = 300 * 2**20
GUARD_PATIENCE_S = 15.0
KEPT_LOGS = 3


class Folder:
    """A data folder that this process holds until it ends.

    The lock also stays with the guard (`deploy/guard.py`), so that a new start after a kill waits
    until the old servers are gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = -1

    def open(self) -> "Folder":
        """Make the folder if needed, take it, and check that it may be used. Raises Problem."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take()
            self._check_layout()
            for name in ("log", "run", "secret"):
                (self.path / name).mkdir(exist_ok=True, mode=0o700)
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            self.close()
            raise about(error, self.path) from error
        except Problem:
            self.close()
            raise
        if free < SPACE_NEEDED:
            self.close()
            raise Problem(
                f"The disk under {self.path} is full: {free // 2**20} MB are free and Offshoot needs "
                f"{SPACE_NEEDED // 2**20} MB to start. Free some space, or choose another folder: DATA_DIR=…"
            )
        return self

    def close(self) -> None:
        """Let go of the folder. Safe to call twice."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def _take(self) -> None:
        self.lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + GUARD_PATIENCE_S
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            holder = os.pread(self.lock, 32, 0).decode().strip()
            if _alive(holder) or time.monotonic() > deadline:
                raise Problem(
                    f"Offshoot already runs on {self.path} (process {holder or 'unknown'}). "
                    "Stop it, or give this one a folder of its own: DATA_DIR=…"
                )
            time.sleep(0.05)
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, str(os.getpid()).encode(), 0)

    def _check_layout(self) -> None:
        file = self.path / "version"
        if not file.exists():
            file.write_text(f"{LAYOUT}\n")
            return
        made_by = file.read_text().strip()
        if not made_by.isdecimal():
            raise Problem(f"{file} is damaged: it says {made_by[:40]!r} where a number belongs.")
        if int(made_by) > LAYOUT:
            raise Problem(f"{self.path} was made by a newer Offshoot. Install that one, or use another DATA_DIR.")
        if int(made_by) < LAYOUT:
            file.write_text(f"{LAYOUT}\n")

    def secret(self, name: str) -> str:
        """A random secret of 64 hex digits that stays the same for this folder."""
        file = self.path / "secret" / name
        if not file.exists() or not re.fullmatch(r"[0-9a-f]{64}", file.read_text()):
            fresh = file.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_hex(32))
            fresh.rename(file)
        return file.read_text()

    def log(self, name: str) -> Path:
        """Where a part writes its log. The last three starts are kept."""
        file = self.path / "log" / f"{name}.log"
        if file.exists() and file.stat().st_size:
            for number in range(KEPT_LOGS - 1, 0, -1):
                older = file.with_suffix(f".log.{number}")
                if older.exists():
                    older.rename(file.with_suffix(f".log.{number + 1}"))
            file.rename(file.with_suffix(".log.1"))
        return file


def _alive(process: str) -> bool:
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
