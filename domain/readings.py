"""Models whose files are read on a machine of the web, to be registered or to be compared with the registry.

One row for each name, that of the latest time. Whoever reads says every few seconds how far they are.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from domain import db
from domain.errors import Conflict

STALE = 30
"""Seconds without a word after which nobody reads any more."""
_LEFT = f"r.ended_at IS NULL AND r.seen_at < clock_timestamp() - interval '{STALE} s'"


class Reading(Struct, frozen=True, kw_only=True):
    """The latest time that a model's files were read. `adds`: to register it."""

    name: str
    adds: bool
    host: str
    """The machine that reads."""
    done: int
    total: int
    """Bytes."""
    began_at: datetime
    ended_at: datetime | None
    fault: str
    left: bool
    """Whether it never came to its end: its process is gone."""

    @property
    def alive(self) -> bool:
        """Whether it goes on now."""
        return self.ended_at is None and not self.left

    @property
    def percent(self) -> int:
        """How much is read, in whole percent."""
        return min(100 * self.done // self.total, 100) if self.total else 0


async def begin(name: str, host: str, total: int, *, adds: bool) -> datetime:
    """Say that a model is read from now on; returns since when, which the other verbs ask for. Raises Conflict for one
    that is being read."""
    began = await db.fetchval(
        f"""
        INSERT INTO model_readings AS r (name, adds, host, total) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET adds = $2, host = $3, total = $4, done = 0, fault = '', ended_at = NULL,
            began_at = clock_timestamp(), seen_at = clock_timestamp()
        WHERE r.ended_at IS NOT NULL OR {_LEFT}
        RETURNING began_at
        """,  # noqa: S608 - constants only
        name,
        adds,
        host,
        total,
    )
    if began is None:
        raise Conflict(f"The files of “{name}” are being read already.")
    assert isinstance(began, datetime)
    return began


async def beat(name: str, began_at: datetime, done: int) -> None:
    """Say how many bytes are read."""
    await db.execute(
        """UPDATE model_readings SET done = $3, seen_at = clock_timestamp()
           WHERE name = $1 AND began_at = $2 AND ended_at IS NULL""",
        name,
        began_at,
        done,
    )


async def end(name: str, began_at: datetime, done: int, fault: str = "") -> None:
    """Say that it is over, and what is wrong."""
    await db.execute(
        """UPDATE model_readings SET done = $3, fault = $4, ended_at = clock_timestamp(), seen_at = clock_timestamp()
           WHERE name = $1 AND began_at = $2""",
        name,
        began_at,
        done,
        fault,
    )


async def latest() -> dict[str, Reading]:
    """By name of the model. What was to be added and was not is told for a day: it can be removed nowhere."""
    rows = await db.fetch(
        f"""SELECT name, adds, host, done, total, began_at, ended_at, fault, {_LEFT} AS left FROM model_readings r
            WHERE NOT adds OR seen_at > clock_timestamp() - interval '1 day' ORDER BY began_at"""  # noqa: S608 - constants only
    )
    return {row["name"]: msgspec.convert(dict(row), Reading) for row in rows}


async def forget(name: str) -> None:
    """Drop what is known of a reading that does not go on."""
    await db.execute(f"DELETE FROM model_readings r WHERE name = $1 AND (r.ended_at IS NOT NULL OR {_LEFT})", name)  # noqa: S608
