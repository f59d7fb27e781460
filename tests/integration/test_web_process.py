"""`python -m web` as a process: what it loads, what it weighs, how it ends."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

LIMIT = 150 * 2**20
"""Bytes the web process may keep resident."""


def environment(config: Any, port: int) -> dict[str, str]:
    """The settings a host would set, and nothing else."""
    return {
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
        "S3_URL": config.s3_url,
        "SECRET_KEY": config.secret_key,
        "PORT": str(port),
        "SITE_URL": f"http://127.0.0.1:{port}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def answered(url: str) -> httpx.Response:
    """The first answer, within ten seconds."""
    async with httpx.AsyncClient() as client:
        for _ in range(100):
            try:
                return await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise AssertionError(f"{url} never answered")


async def test_it_serves_without_torch_in_little_memory(config: Any, db: Any) -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "web"], env=environment(config, port))  # noqa: ASYNC220
    try:
        home = await answered(f"http://127.0.0.1:{port}/")
        assert home.status_code == 200
        assert "server" not in home.headers
        for path in ("login", "signup", "health", "gallery/feed.rss", "gallery/feed.json", "static/css/base.css", "x"):
            await answered(f"http://127.0.0.1:{port}/{path}")
        running = psutil.Process(process.pid)
        assert running.memory_info().rss < LIMIT
        mapped = {Path(one.path).name for one in running.memory_maps()}
        assert not [name for name in mapped if "torch" in name]
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 10)
        assert process.returncode in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL", "S3_URL", "SECRET_KEY"])
def test_a_missing_setting_ends_it_with_its_name(config: Any, missing: str) -> None:
    env = environment(config, 1)
    del env[missing]
    ended = subprocess.run([sys.executable, "-m", "web"], env=env, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{missing} is not set")
    assert "Traceback" not in ended.stderr


def test_importing_the_site_loads_no_model_library() -> None:
    code = "import sys, web.app; print(*{'torch', 'diffusers', 'transformers', 'dramatiq', 'numpy'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "", ended.stdout


def status_of(port: int, parts: Iterable[bytes]) -> bytes:
    """The first line of the answer to raw bytes; b"" when the server hangs up without one."""
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        try:
            for part in parts:
                one.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return one.recv(1000).partition(b"\r\n")[0]
        except ConnectionResetError:
            return b""


async def test_headers_without_end_are_refused(config: Any, db: Any) -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "web"], env=environment(config, port))  # noqa: ASYNC220
    refused = (b"HTTP/1.1 431 Request Header Fields Too Large", b"")
    head = b"GET /login HTTP/1.1\r\nHost: x\r\n"
    body = b"a" * 300_000
    form = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    try:
        await answered(f"http://127.0.0.1:{port}/login")
        before = psutil.Process(process.pid).memory_info().rss
        long, many, address = [b"X-A: "] + [b"a" * 65_536] * 400, [b"X-A: a\r\n"] * 300_000, [b"a" * 65_536] * 400
        assert await asyncio.to_thread(status_of, port, [head, *long]) in refused
        assert await asyncio.to_thread(status_of, port, [head, b"".join(many)]) in refused
        assert await asyncio.to_thread(status_of, port, [b"GET /", *address]) in refused
        assert psutil.Process(process.pid).memory_info().rss < before + 20 * 2**20
        assert await asyncio.to_thread(status_of, port, [head + b"\r\n"]) == b"HTTP/1.1 200 OK"
        assert await asyncio.to_thread(status_of, port, [form, body[:99], body[99:]]) == b"HTTP/1.1 403 Forbidden"
    finally:
        process.kill()
        process.wait()
