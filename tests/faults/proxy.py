"""A door before the S3 server that can be shut, slow, busy or full."""

import asyncio
import contextlib
import threading

OPEN, SHUT, SLOW, BUSY, FULL = "open", "shut", "slow", "busy", "full"
_ANSWERS = {BUSY: ("503 Slow Down", "SlowDown"), FULL: ("507 Insufficient Storage", "XMinioStorageFull")}
LAG = 1.5
"""Seconds that every part of an answer is late when the server is slow."""


class Proxy:
    """Passes bytes from a port of its own to another, in a thread of its own, as `mode` says."""

    def __init__(self, port: int) -> None:
        self.mode = OPEN
        self.port = 0
        self._behind = port
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._up = threading.Event()
        self._thread.start()
        self._up.wait(10)

    def turn(self, mode: str) -> None:
        """Behave so from now on; connections that are open end."""
        self.mode = mode
        self._loop.call_soon_threadsafe(self._hang_up)

    def close(self) -> None:
        """End the thread and all connections."""
        self._loop.call_soon_threadsafe(self._hang_up)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    def _hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if self.mode in _ANSWERS:
                    await self._refuse(reader, writer)
                elif self.mode != SHUT:
                    await self._pass(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request with an error, having read it to its end: a client that still sends hears nothing."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if b"100-continue" not in lines.get(b"expect", b""):
            await reader.readexactly(int(lines.get(b"content-length", 0)))
        status, code = _ANSWERS[self.mode]
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        words = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{words}Connection: close\r\n\r\n{body}".encode())
        await writer.drain()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers.add(back)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, lag=True))
        finally:
            self._writers.discard(back)
            back.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, lag: bool = False) -> None:
        while data := await source.read(65_536):
            if lag and self.mode == SLOW:
                await asyncio.sleep(LAG)
            sink.write(data)
            await sink.drain()
        sink.close()
