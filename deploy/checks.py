"""What can be known to be wrong before anything starts."""

import errno
import socket
from importlib.util import find_spec
from urllib.parse import urlsplit

from deploy.embedded import Urls
from deploy.problems import Problem

SITE_PACKAGES = (
    *("alembic", "argon2", "asyncpg", "boto3", "dramatiq", "feedgen", "httptools", "jinja2", "litestar", "markdown_it"),
    *("msgspec", "nh3", "pgvector", "piccolo", "PIL", "psycopg", "redis", "sqlalchemy", "uvicorn", "uvloop"),
)
WORKER_PACKAGES = ("diffusers", "numpy", "safetensors", "torch", "transformers")
CONNECT_TIMEOUT_S = 5.0
DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


def packages(*, worker: bool) -> None:
    """Raise Problem naming a Python package that is missing; with `worker` also those that models need."""
    for name in SITE_PACKAGES:
        if find_spec(name) is None:
            raise Problem(f"The Python package {name} is missing. `make install` installs everything.")
    for name in WORKER_PACKAGES if worker else ():
        if find_spec(name) is None:
            raise Problem(f"The Python package {name} is missing, so no model can run. `make install` installs it.")


def port(host: str, number: int) -> None:
    """Raise Problem when the web server could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            raise _port_problem(host, number, error) from error


def _port_problem(host: str, number: int, error: OSError) -> Problem:
    if error.errno == errno.EADDRINUSE:
        return Problem(
            f"Port {number} on {host} is taken. Stop the program that holds it, or choose another: PORT={number + 1}"
        )
    if error.errno == errno.EACCES:
        return Problem(f"Port {number} needs root. Choose one above 1023: PORT=8000")
    return Problem(f"Cannot listen on {host}:{number} (HOST, PORT): {error.strerror or error}")


def reachable(external: Urls) -> None:
    """Raise Problem when an external Redis or S3 server does not take connections."""
    for setting, url in (("REDIS_URL", external.redis), ("S3_URL", external.s3)):
        if not url:
            continue
        parts = urlsplit(url)
        try:
            if parts.scheme == "unix":
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(parts.path)
                continue
            address = (parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORTS[parts.scheme])
            socket.create_connection(address, timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            where = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
            raise Problem(f"{setting} ({where}) cannot be reached: {error.strerror or error}") from error
