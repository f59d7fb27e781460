"""The database: one Piccolo engine a process, and plain SQL where a list must be fast.

Both share a connection inside `transaction()`.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import asyncpg
import msgspec
from asyncpg import Record as Record
from pgvector.asyncpg import register_vector
from piccolo.engine.postgres import PostgresEngine

from domain import tables

T = TypeVar("T")

SERVER_SETTINGS = {
    "timezone": "UTC",
    "jit": "off",
    # pgvector's nearest neighbors: how many it keeps in sight, and how far it goes on past those a query filters out
    "hnsw.ef_search": "100",
    "hnsw.iterative_scan": "strict_order",
    "hnsw.max_scan_tuples": "5000",
}
_engine: PostgresEngine | None = None


async def _prepare(connection: asyncpg.Connection) -> None:
    await register_vector(connection)
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: value if isinstance(value, str) else msgspec.json.encode(value).decode(),
        decoder=msgspec.json.decode,
    )


async def _as_it_is(connection: asyncpg.Connection) -> None:
    """Nothing is reset between two borrowers, which would cost a round trip for every query: whatever we set holds
    for its transaction alone, locks too, and open transactions are rolled back by asyncpg itself."""


async def bind(url: str, *, max_size: int = 10) -> None:
    """Open this process's pool (at most `max_size` connections) and give it to every table."""
    global _engine
    engine = PostgresEngine(config={"dsn": url}, extensions=())
    for table in tables.TABLES:
        table._meta.db = engine
    await engine.start_connection_pool(
        min_size=1, max_size=max_size, init=_prepare, reset=_as_it_is, server_settings=SERVER_SETTINGS
    )
    _engine = engine


async def unbind() -> None:
    """Close the pool. Safe to call twice."""
    global _engine
    if _engine is not None:
        await _engine.close_connection_pool()
        _engine = None


def engine() -> PostgresEngine:
    """The bound engine. Raises RuntimeError before `bind()`."""
    if _engine is None:
        raise RuntimeError("domain.db.bind() has not been called in this process")
    return _engine


@asynccontextmanager
async def _borrowed(bound: PostgresEngine) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the pool. A server that is down has no socket: that too is a refused connection."""
    pool = cast("asyncpg.Pool", bound.pool)
    try:
        borrowed = await pool.acquire()
    except FileNotFoundError as error:
        raise ConnectionRefusedError("PostgreSQL is away") from error
    try:
        yield cast("asyncpg.Connection", borrowed)
    finally:
        await pool.release(borrowed)


@asynccontextmanager
async def connection() -> AsyncIterator[asyncpg.Connection]:
    """The transaction's connection, or one borrowed from the pool."""
    bound = engine()
    current = bound.current_transaction.get()
    if current is not None:
        yield current.connection
        return
    async with _borrowed(bound) as borrowed:
        yield borrowed


@dataclass(frozen=True, slots=True)
class _Transaction:
    """What Piccolo looks for in its context variable: the connection to run on."""

    connection: asyncpg.Connection


@asynccontextmanager
async def transaction() -> AsyncIterator[asyncpg.Connection]:
    """All or nothing for every query inside, Piccolo's and ours. Nested ones join the outer.

    Piccolo's own transaction loses its connection when BEGIN fails (a restarted server),
    so the pool hands it out and takes it back here.
    """
    bound = engine()
    current = bound.current_transaction.get()
    if current is not None:
        yield current.connection
        return
    async with _borrowed(bound) as borrowed, borrowed.transaction():
        token = bound.current_transaction.set(cast("Any", _Transaction(borrowed)))
        try:
            yield borrowed
        finally:
            bound.current_transaction.reset(token)


def apart(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Begin work beside the transaction, on connections of its own.

    Await it only when the transaction is over: where everybody holds one connection and waits for a second, nobody
    ever gets it."""
    context = contextvars.copy_context()
    context.run(engine().current_transaction.set, None)
    task = asyncio.create_task(work, context=context)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it any more
    return task


async def fetch(sql: str, *args: Any) -> list[Record]:
    """Every row."""
    async with connection() as conn:
        return cast("list[Record]", await conn.fetch(sql, *args))


async def fetchrow(sql: str, *args: Any) -> Record | None:
    """The first row, or None."""
    async with connection() as conn:
        return cast("Record | None", await conn.fetchrow(sql, *args))


async def fetchval(sql: str, *args: Any) -> Any:
    """The first column of the first row, or None."""
    async with connection() as conn:
        return await conn.fetchval(sql, *args)


async def execute(sql: str, *args: Any) -> int:
    """Run a statement and return how many rows it touched."""
    async with connection() as conn:
        tag: str = await conn.execute(sql, *args)
    return int(tag.rsplit(" ", 1)[-1]) if tag[-1].isdecimal() else 0


async def executemany(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement for each row of arguments."""
    async with connection() as conn:
        await conn.executemany(sql, rows)
