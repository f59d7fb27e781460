"""SECURITY.md 29: failures leak nothing and can be found in the log; a missing part is a 503."""

import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import httpx
import pytest
from litestar import get

from domain import db as database
from domain.errors import Conflict, Invalid, Refused, TooLarge, Unavailable
from web.app import create_app

SECRET = "postgresql://offshoot:hunter2@db/offshoot"


@get("/broken", include_in_schema=False)
async def broken() -> None:
    raise RuntimeError(SECRET)


ERRORS: dict[str, Exception] = {
    "refused": Refused("Not yours."),
    "conflict": Conflict(),
    "large": TooLarge("At most 25 megapixels."),
    "invalid": Invalid({"width": "A multiple of 8"}),
    "away": Unavailable(),
    "slow": asyncpg.QueryCanceledError(SECRET),
}


@get("/raise/{kind:str}", include_in_schema=False)
async def failing(kind: str) -> None:
    raise ERRORS[kind]


@pytest.fixture
async def client(config: Any, db: Any, storage: Any) -> AsyncIterator[httpx.AsyncClient]:
    site = create_app(config)
    site.state.storage = storage
    site.register(broken)
    site.register(failing)
    transport = httpx.ASGITransport(app=site)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=config.site_url) as one:
        yield one


async def test_29_an_unknown_error_leaks_nothing(client: httpx.AsyncClient, caplog: Any) -> None:
    with caplog.at_level(logging.ERROR, logger="web"):
        answer = await client.get("/broken")
    assert answer.status_code == 500
    for word in ("hunter2", "RuntimeError", "Traceback", "postgresql"):
        assert word not in answer.text
    reference = answer.headers["x-request-id"]
    assert reference in answer.text
    assert reference in caplog.text
    assert "RuntimeError" in caplog.text


async def test_29_json_gets_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken", headers={"Accept": "application/json"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 500
    assert problem["request"] == answer.headers["x-request-id"]
    assert "hunter2" not in answer.text


async def test_a_problem_names_the_fields(client: httpx.AsyncClient) -> None:
    answer = await client.get("/raise/invalid", headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["fields"] == {"width": "A multiple of 8"}


async def test_29_htmx_gets_a_notice(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken", headers={"HX-Request": "true", "HX-Request-Type": "partial"})
    assert answer.status_code == 500
    assert answer.headers["hx-retarget"] == "#notice"
    assert "<html" not in answer.text
    assert answer.headers["x-request-id"] in answer.text


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("refused", 403, "Not yours."),
        ("conflict", 409, "Something changed meanwhile"),
        ("large", 413, "25 megapixels"),
        ("invalid", 422, "A multiple of 8"),
        ("away", 503, "Back in a moment"),
        ("slow", 503, "That took too long"),
    ],
)
async def test_domain_errors_become_pages(client: httpx.AsyncClient, kind: str, status: int, words: str) -> None:
    answer = await client.get(f"/raise/{kind}")
    assert answer.status_code == status
    assert words in answer.text
    assert "hunter2" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/nowhere/at/all", 404),
        ("GET", "/pipelines/not-a-uuid", 404),
        ("GET", "/runs/0198f2a0-0000-7000-8000-000000000000", 404),
        ("GET", "/static/../pyproject.toml", 404),
        ("GET", "/static/nothing.css", 404),
        ("GET", "/?order=sideways", 404),
        ("GET", "/logout", 405),
        ("HEAD", "/", 200),
        ("HEAD", "/nowhere", 404),
    ],
)
async def test_wrong_addresses(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    if method == "HEAD":
        assert answer.content == b""
    else:
        assert "Traceback" not in answer.text
        assert answer.headers["x-request-id"] in answer.text


async def test_postgresql_away_is_a_503_and_heals(client: httpx.AsyncClient, config: Any) -> None:
    door = Door(config.database_url)
    await database.unbind()
    await database.bind(door.url)
    try:
        assert (await client.get("/")).status_code == 200
        door.shut()
        answer = await client.get("/?order=trending")  # another page: the one just seen is kept for a moment
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "Back in a moment" in answer.text
        cookie = {"Cookie": "session-8000=" + "x" * 43}
        assert (await client.get("/login", headers=cookie)).status_code == 503
        health = await client.get("/health")
        assert health.status_code == 503
        assert health.json()["postgresql"] == "unreachable"
        door.open()
        assert (await client.get("/?order=trending")).status_code == 200
    finally:
        door.shut()
        await database.unbind()
        await database.bind(config.database_url)


class Door:
    """A way to PostgreSQL that can be shut, in threads of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        port = parts.port or 5432
        folder = parse_qs(parts.query).get("host", [""])[0]
        self.target: str | tuple[str, int] = f"{folder}/.s.PGSQL.{port}" if folder else (parts.hostname or "", port)
        self.pipes: list[socket.socket] = []
        self.port = 0
        self.open()
        netloc = f"{parts.username}:{parts.password or ''}@127.0.0.1:{self.port}"
        self.url = urlunsplit(parts._replace(netloc=netloc, query=""))

    def open(self) -> None:
        self.server = socket.create_server(("127.0.0.1", self.port))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.server,), daemon=True).start()

    def shut(self) -> None:
        for one in (self.server, *self.pipes):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.pipes.clear()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                outer, _ = server.accept()
                inner = socket.socket(socket.AF_INET if isinstance(self.target, tuple) else socket.AF_UNIX)
                inner.connect(self.target)
                self.pipes += [outer, inner]
                for pair in ((outer, inner), (inner, outer)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
