"""Which workers are there, what they serve and how busy they are."""

from collections.abc import Sequence

from msgspec import Struct

from domain import db, steps

ANNOUNCE = 10.0
"""Seconds between two words of a worker that it is there."""
GONE = 45
"""Seconds without a word after which it counts as gone."""
FORGOTTEN = 86_400
"""Seconds after which nothing is known of it any more."""
_THERE = f"seen_at > clock_timestamp() - interval '{GONE} s'"


def unserved(queue: str) -> str:
    """SQL: whether no worker is there for a queue (an expression)."""
    return f"NOT EXISTS (SELECT FROM workers w WHERE {queue} = ANY (w.queues) AND w.{_THERE})"


class Service(Struct, frozen=True):
    """A queue: the kinds of steps that run in it, how many workers serve it, and how many steps run and wait."""

    queue: str
    kinds: list[str]
    workers: int
    devices: list[str]
    running: int
    waiting: int


async def announce(owner: str, queues: Sequence[str], device: str) -> None:
    """Say that this worker is there, and forget those long gone."""
    await db.execute(
        """
        WITH gone AS (DELETE FROM workers WHERE seen_at < clock_timestamp() - make_interval(secs => $4))
        INSERT INTO workers (owner, queues, device, seen_at) VALUES ($1, $2, $3, clock_timestamp())
        ON CONFLICT (owner) DO UPDATE SET queues = excluded.queues, device = excluded.device, seen_at = excluded.seen_at
        """,
        owner,
        list(queues),
        device,
        FORGOTTEN,
    )


async def leave(owner: str) -> None:
    """Say that this worker is gone."""
    await db.execute("DELETE FROM workers WHERE owner = $1", owner)


async def services() -> list[Service]:
    """Every queue that has kinds of steps which workers run, in the order of these kinds."""
    kinds: dict[str, list[str]] = {}
    for kind in steps.KINDS.values():
        if not kind.asks:
            kinds.setdefault(kind.queue, []).append(kind.label)
    rows = await db.fetch(
        f"""
        SELECT wanted.queue, there.workers, there.devices,
            (SELECT count(*) FROM step_runs s WHERE s.state = 'running' AND s.queue = wanted.queue) AS running,
            (SELECT count(*) FROM step_runs s WHERE s.state = 'queued' AND s.queue = wanted.queue) AS waiting
        FROM unnest($1::text[]) WITH ORDINALITY AS wanted (queue, place) CROSS JOIN LATERAL (
            SELECT count(*) AS workers, coalesce(array_agg(DISTINCT w.device ORDER BY w.device), '{{}}') AS devices
            FROM workers w WHERE wanted.queue = ANY (w.queues) AND w.{_THERE}
        ) there
        ORDER BY wanted.place
        """,  # noqa: S608 - constants only
        list(kinds),
    )
    return [Service(kinds=kinds[row["queue"]], **row) for row in rows]


async def missing(recipe: steps.Recipe) -> list[str]:
    """What the site calls those kinds of the recipe's steps that no worker is there for, each once."""
    queues = {step.runs_on for step in recipe.steps if not step.asks}
    rows = await db.fetch(
        f"SELECT queue FROM unnest($1::text[]) AS wanted (queue) WHERE {unserved('queue')}",  # noqa: S608
        sorted(queues),
    )
    unmanned = {row["queue"] for row in rows}
    return list(dict.fromkeys(step.label for step in recipe.steps if step.runs_on in unmanned and not step.asks))
