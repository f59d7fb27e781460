"""Counts the SQL statements that a piece of code sends."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asyncpg.connection import Connection

NOISE = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "SELECT pg_advisory_unlock_all", "RESET ")


class Queries:
    """Used as a context manager, any number of times; each starts from zero.

    >>> with queries:
    ...     await client.get("/")
    >>> assert queries.count <= 3, queries
    """

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.listening = False

    @property
    def count(self) -> int:
        """How many statements ran; transactions' own words don't count."""
        return len(self.statements)

    def __enter__(self) -> "Queries":
        self.statements.clear()
        self.listening = True
        return self

    def __exit__(self, *error: object) -> None:
        self.listening = False

    def __repr__(self) -> str:
        return f"{self.count} statements:\n" + "\n".join(" ".join(sql.split()) for sql in self.statements)

    def note(self, sql: str) -> None:
        """Take a statement down."""
        own = not sql.lstrip().upper().startswith(NOISE) and "typeinfo_tree" not in sql and "pg_advisory" not in sql
        if self.listening and own:
            self.statements.append(sql)

    @classmethod
    @contextmanager
    def installed(cls) -> Iterator["Queries"]:
        """A recorder that sees every asyncpg connection of this process."""
        recorder = cls()
        plain = Connection._execute, Connection.execute, Connection._executemany

        async def _execute(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
            recorder.note(query)
            return await plain[0](self, query, *args, **kwargs)

        async def execute(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
            if not args:
                recorder.note(query)
            return await plain[1](self, query, *args, **kwargs)

        async def _executemany(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
            recorder.note(query)
            return await plain[2](self, query, *args, **kwargs)

        Connection._execute, Connection.execute, Connection._executemany = _execute, execute, _executemany
        try:
            yield recorder
        finally:
            Connection._execute, Connection.execute, Connection._executemany = plain
