"""A small HTTP/1.1 load generator for loopback: bounded in time and in connections.

Rates are compared only within one run and in turn (A B A B …), because machines are noisy.
"""

import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """One route to ask for: the address, extra headers, and the status that counts as right."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200

    def __post_init__(self) -> None:
        if urlsplit(self.url).hostname not in ("127.0.0.1", "localhost"):
            raise ValueError(f"load goes to this machine only, not {self.url}")

    def request(self) -> bytes:
        parts = urlsplit(self.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = [f"GET {path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "Connection: keep-alive"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target) -> int:
    """Send one request on an open connection and read the whole answer. Returns its status."""
    writer.write(target.request())
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while size := int((await reader.readline()).strip(), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    elif status not in (204, 304):
        mark = lowered.find(b"content-length:")
        length = int(lowered[mark + 15 : lowered.find(b"\r\n", mark)]) if mark >= 0 else 0
        await reader.readexactly(length)
    return status


async def rate(target: Target, seconds: float, connections: int = 2) -> float:
    """Requests a second that `connections` clients get answered within `seconds`.

    Raises RuntimeError when an answer has another status than expected.
    """
    parts = urlsplit(target.url)
    done = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            while time.perf_counter() < end:
                status = await ask(reader, writer, target)
                if status != target.status:
                    raise RuntimeError(f"{target.url} answered {status}, not {target.status}")
                done += 1
        finally:
            writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return done / (time.perf_counter() - start)


async def ratio(ours: Target, floor: Target, rounds: int = 5, seconds: float = 1.0) -> dict[str, float]:
    """Both rates in turn, `rounds` times after a warm-up; the median of each and of ours / floor."""
    await rate(ours, seconds / 2)
    await rate(floor, seconds / 2)
    pairs = [(await rate(ours, seconds), await rate(floor, seconds)) for _ in range(rounds)]
    return {
        "ours_per_second": statistics.median(pair[0] for pair in pairs),
        "floor_per_second": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
    }
