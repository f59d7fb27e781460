"""A run's diary, and the bell that tells dispatchers of queued steps. Both take effect at commit."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from domain import db

CHANNEL = "steps"
"""The NOTIFY channel that tells dispatchers of queued steps."""


async def note(run_id: UUID, name: str, data: Mapping[str, Any] | None = None, ordinal: int | None = None) -> None:
    """Write down that something happened to a run, or to one of its steps."""
    await db.execute(
        "INSERT INTO events (run_id, ordinal, name, data) VALUES ($1, $2, $3, $4)", run_id, ordinal, name, data or {}
    )


async def ring() -> None:
    """Tell dispatchers that a step is queued."""
    await db.execute("SELECT pg_notify($1, '')", CHANNEL)
