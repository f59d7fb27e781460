"""The worker's side of the state machine: due, claim, beat, finish, fail, hand back, reap.

Every change of a running step is fenced by its `attempt`: a worker that lost its lease changes
nothing. Only the database's clock counts. Whoever changes a run and its steps locks the run
first, here as in `domain/runs.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, steps
from domain.events import note, ring

LEASE = 30.0
"""Seconds that a claim or a beat holds a step."""
NUDGE = 30.0
"""Seconds until a queued step that nobody claimed is sent again."""
CRASHES = 3
CRASHED = "The step crashed the worker three times"


class Lost(Exception):
    """The step is no longer this worker's: publish nothing, touch nothing."""


class Due(Struct, frozen=True):
    """A queued step to tell workers of."""

    step_run_id: UUID
    queue: str


class Claim(Struct, frozen=True, kw_only=True):
    """A running step, held under a lease by one worker for one attempt."""

    step_run_id: UUID
    run_id: UUID
    ordinal: int
    kind: str
    queue: str
    attempt: int
    retry_count: int
    owner: str
    step: dict[str, Any]
    inputs: dict[str, str]
    lists: dict[str, list[str]]
    seed: int
    """The run's seed, for a step without its own."""
    text: str
    """The text of the nearest step before that wrote one, its source first."""
    pictures: list[str]
    """SHA-256 of every picture of the source step, in order."""
    waited: float
    """Seconds between joining the queue and this claim."""

    def decoded(self) -> steps.AnyStep:
        """The step as its struct. Raises msgspec.ValidationError for a kind that is gone."""
        step: steps.AnyStep = msgspec.convert(self.step, steps.AnyStep)
        return step


class Beat(Struct, frozen=True):
    """What a beat learned: whether the step is still this worker's, and whether to stop."""

    alive: bool
    cancelled: bool


class Made(Struct, frozen=True):
    """One output of a step: a stored artifact and the seed it came from."""

    sha256: str
    seed: int | None = None


async def due(limit: int = 100) -> list[Due]:
    """Queued steps whose time has come, first come first; they are not due again for 30 s.

    Rows stay locked until the caller's transaction commits, so send inside it: a dispatcher
    that dies in between leaves them due.
    """
    rows = await db.fetch(
        """
        WITH picked AS (
            SELECT id FROM step_runs
            WHERE state = 'queued' AND not_before <= clock_timestamp() AND nudge_at <= clock_timestamp()
            ORDER BY priority DESC, queued_at, id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
        ), nudged AS (
            UPDATE step_runs s SET nudge_at = clock_timestamp() + make_interval(secs => $2)
            FROM picked WHERE s.id = picked.id RETURNING s.id, s.queue, s.priority, s.queued_at
        )
        SELECT id, queue FROM nudged ORDER BY priority DESC, queued_at, id
        """,
        limit,
        NUDGE,
    )
    return [Due(row["id"], row["queue"]) for row in rows]


async def claim(step_run_id: UUID, owner: str, lease_s: float = LEASE) -> Claim | None:
    """Take a queued step for `owner`. None when it is not queued, not due or being stopped."""
    async with db.transaction():
        run = await db.fetchrow(
            """
            SELECT r.id, r.inputs, r.seed, v.recipe FROM step_runs s
            JOIN runs r ON r.id = s.run_id JOIN versions v ON v.id = r.version_id
            WHERE s.id = $1 AND s.state = 'queued' AND s.not_before <= clock_timestamp()
              AND r.state IN ('queued', 'running') AND r.cancel_requested_at IS NULL
            FOR NO KEY UPDATE OF r
            """,
            step_run_id,
        )
        if run is None:
            return None
        row = await db.fetchrow(
            """
            UPDATE step_runs SET state = 'running', attempt = attempt + 1, lease_owner = $2,
                lease_until = clock_timestamp() + make_interval(secs => $3), started_at = clock_timestamp(),
                progress = 0, progress_total = 0, progress_at = NULL, phase = 'loading'
            WHERE id = $1 AND state = 'queued' AND not_before <= clock_timestamp()
            RETURNING ordinal, kind, queue, attempt, retry_count, step,
                extract(epoch FROM clock_timestamp() - coalesce(queued_at, clock_timestamp()))::float8 AS waited
            """,
            step_run_id,
            owner,
            lease_s,
        )
        if row is None:
            return None
        await db.execute(
            """
            WITH noted AS (INSERT INTO events (run_id, ordinal, name, data) VALUES ($1, $2, 'claimed', $3))
            UPDATE runs SET state = 'running', started_at = coalesce(started_at, clock_timestamp()) WHERE id = $1
            """,
            run["id"],
            row["ordinal"],
            {"attempt": row["attempt"]},
        )
        text, pictures = await _sources(run["id"], row["ordinal"], run["recipe"])
    return Claim(
        step_run_id=step_run_id,
        run_id=run["id"],
        owner=owner,
        inputs=run["inputs"],
        lists=run["recipe"].get("lists", {}),
        seed=run["seed"],
        text=text,
        pictures=pictures,
        **row,
    )


async def _sources(run_id: UUID, ordinal: int, recipe: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The text and the pictures that step `ordinal` takes from the steps before it."""
    if ordinal == 1:
        return "", []
    source = recipe["steps"][ordinal - 1].get("source") or ordinal - 1
    row = await db.fetchrow(
        """
        SELECT
            (SELECT output_text FROM step_runs WHERE run_id = $1 AND ordinal <= $2 AND output_text IS NOT NULL
                ORDER BY ordinal DESC LIMIT 1) AS text,
            (SELECT array_agg(o.sha256 ORDER BY o.position) FROM outputs o JOIN step_runs s ON s.id = o.step_run_id
                WHERE s.run_id = $1 AND s.ordinal = $2) AS pictures
        """,
        run_id,
        source,
    )
    assert row is not None
    return row["text"] or "", list(row["pictures"] or ())


async def resolve(held: Claim, resolved: Mapping[str, Any], input_hash: str) -> None:
    """Keep the parameters as they are really used. Raises Lost."""
    await _fenced(
        held,
        "UPDATE step_runs SET resolved = $3, input_hash = $4 WHERE id = $1 AND attempt = $2 AND state = 'running'",
        dict(resolved),
        input_hash,
    )


async def beat(held: Claim, progress: int, total: int, phase: str, lease_s: float = LEASE) -> Beat:
    """Prove that the worker lives, report its progress (which only rises), learn of a stop."""
    row = await db.fetchrow(
        """
        WITH mine AS (
            UPDATE step_runs SET lease_until = clock_timestamp() + make_interval(secs => $3),
                progress_at = CASE WHEN $4 > progress THEN clock_timestamp() ELSE progress_at END,
                progress = greatest(progress, $4), progress_total = $5, phase = $6
            WHERE id = $1 AND attempt = $2 AND state = 'running' RETURNING run_id
        )
        SELECT r.cancel_requested_at IS NOT NULL AS cancelled FROM mine JOIN runs r ON r.id = mine.run_id
        """,
        held.step_run_id,
        held.attempt,
        lease_s,
        progress,
        total,
        phase,
    )
    return Beat(alive=False, cancelled=False) if row is None else Beat(alive=True, cancelled=row["cancelled"])


async def preview(held: Claim, done: int, media_type: str, data: bytes) -> None:
    """Keep the latest rough picture of a running step; nothing when the step is lost."""
    await db.execute(
        """
        INSERT INTO previews (step_run_id, done, media_type, data)
        SELECT id, $3, $4, $5 FROM step_runs WHERE id = $1 AND attempt = $2 AND state = 'running'
        ON CONFLICT (step_run_id) DO UPDATE SET
            done = excluded.done, media_type = excluded.media_type, data = excluded.data
        """,
        held.step_run_id,
        held.attempt,
        done,
        media_type,
        data,
    )


async def finish(
    held: Claim,
    outputs: Sequence[Made],
    text: str | None,
    receipt: Mapping[str, Any],
    timings: Mapping[str, float],
    serves: Collection[str] = (),
    passes: int = 0,
) -> UUID | None:
    """Publish the step's result and queue the next step, or end the run.

    Returns the next step's id, None after the last. A stop asked for meanwhile wins: then the
    run ends cancelled, nothing is recorded, and None is returned. The next step is kept from
    other workers for 2 s when its queue is one this worker `serves`. `passes` is the progress that a
    quick step had no time to tell. Raises Lost.
    """
    async with db.transaction():
        if await _lock(held.run_id):
            await _cancelled(held)
            return None
        await _fenced(
            held,
            """
            UPDATE step_runs SET state = 'succeeded', lease_until = NULL, lease_owner = NULL, output_text = $3,
                receipt = $4, timings = $5, finished_at = clock_timestamp(), phase = '',
                progress_total = greatest(progress_total, $6),
                progress = greatest(progress, progress_total, $6), error_code = NULL, error_message = NULL
            WHERE id = $1 AND attempt = $2 AND state = 'running'
            """,
            text,
            dict(receipt),
            dict(timings),
            passes,
        )
        await db.execute(
            """
            WITH gone AS (DELETE FROM previews WHERE step_run_id = $1), noted AS (
                INSERT INTO events (run_id, ordinal, name) VALUES ($4, $5, 'succeeded'))
            INSERT INTO outputs (step_run_id, position, sha256, seed)
            SELECT $1, made.position, made.sha256, made.seed
            FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS made (sha256, seed, position)
            """,
            held.step_run_id,
            [made.sha256 for made in outputs],
            [made.seed for made in outputs],
            held.run_id,
            held.ordinal,
        )
        return await _advance(held, serves)


async def _advance(held: Claim, serves: Collection[str]) -> UUID | None:
    following = await db.fetchrow(
        """
        UPDATE step_runs SET state = 'queued', queued_at = clock_timestamp(), not_before = clock_timestamp(),
            nudge_at = clock_timestamp() + CASE WHEN queue = ANY ($2) THEN interval '2 s' ELSE interval '0' END
        WHERE run_id = $1 AND state = 'waiting'
          AND ordinal = (SELECT min(ordinal) FROM step_runs WHERE run_id = $1 AND state = 'waiting')
        RETURNING id, queue
        """,
        held.run_id,
        list(serves),
    )
    if following is None:
        await _end(held.run_id, "succeeded")
        return None
    if following["queue"] not in serves:
        await ring()
    next_id: UUID = following["id"]
    return next_id


async def fail(held: Claim, code: str, message: str) -> None:
    """End the step and its run with words for the person. Raises Lost."""
    async with db.transaction():
        if await _lock(held.run_id):
            await _cancelled(held)
            return
        await _failed(held, code, message)


async def cancelled(held: Claim) -> None:
    """End a running step, and its run, because somebody asked. Raises Lost."""
    async with db.transaction():
        await _lock(held.run_id)
        await _cancelled(held)


async def hand_back(held: Claim, delay_s: float, reason: str, *, retried: bool = False, crashed: bool = False) -> None:
    """Put a running step back into the queue, not before `delay_s` seconds.

    `retried` counts one more retry, `crashed` one more crash; the third crash fails the step.
    A stop asked for meanwhile wins. Raises Lost.
    """
    async with db.transaction():
        if await _lock(held.run_id):
            await _cancelled(held)
        elif crashed:
            await _crashed(held)
        else:
            await _requeue(held, delay_s, crashed=False, retried=retried)
            await note(held.run_id, "retrying" if retried else "handed_back", {"reason": reason}, held.ordinal)
            await ring()


async def reap(limit: int = 100) -> int:
    """Take back the steps whose lease ran out; returns how many.

    Each goes back to the queue, fails after its third crash, or ends cancelled if somebody asked.
    """
    rows = await db.fetch(
        """SELECT id AS step_run_id, run_id, ordinal, attempt FROM step_runs
           WHERE state = 'running' AND lease_until < clock_timestamp() ORDER BY lease_until LIMIT $1""",
        limit,
    )
    return sum([await _reap(row) for row in rows])


async def _reap(row: db.Record) -> bool:
    async with db.transaction():
        stop = await db.fetchval(
            """
            SELECT r.cancel_requested_at IS NOT NULL FROM runs r WHERE r.id = $1 AND EXISTS (
                SELECT FROM step_runs WHERE id = $2 AND attempt = $3 AND state = 'running')
            FOR NO KEY UPDATE SKIP LOCKED
            """,
            row["run_id"],
            row["step_run_id"],
            row["attempt"],
        )
        expired = await db.fetchval(
            """SELECT true FROM step_runs WHERE id = $1 AND attempt = $2 AND state = 'running'
               AND lease_until < clock_timestamp() FOR NO KEY UPDATE""",
            row["step_run_id"],
            row["attempt"],
        )
        if stop is None or not expired:
            return False
        if stop:
            await _cancelled(row)
        else:
            await _crashed(row)
    return True


# -- parts of the transactions above; the run is locked ---------------------------------------


def _key(held: Claim | db.Record) -> tuple[UUID, int, UUID, int]:
    """Step, attempt, run and ordinal, of a claim or of a row."""
    if isinstance(held, Claim):
        return held.step_run_id, held.attempt, held.run_id, held.ordinal
    return held["step_run_id"], held["attempt"], held["run_id"], held["ordinal"]


async def _lock(run_id: UUID) -> bool:
    """Lock the run; whether somebody asked to stop it."""
    return bool(
        await db.fetchval("SELECT cancel_requested_at IS NOT NULL FROM runs WHERE id = $1 FOR NO KEY UPDATE", run_id)
    )


async def _fenced(held: Claim | db.Record, sql: str, *args: Any) -> None:
    step_run_id, attempt, _, _ = _key(held)
    if not await db.execute(sql, step_run_id, attempt, *args):
        raise Lost(f"step {step_run_id} is no longer at attempt {attempt}")


async def _cancelled(held: Claim | db.Record) -> None:
    _, _, run_id, ordinal = _key(held)
    await _fenced(
        held,
        """UPDATE step_runs SET state = 'cancelled', lease_until = NULL, lease_owner = NULL, phase = '',
           finished_at = clock_timestamp() WHERE id = $1 AND attempt = $2 AND state = 'running'""",
    )
    await note(run_id, "step_stopped", ordinal=ordinal)
    await _end(run_id, "cancelled")


async def _failed(held: Claim | db.Record, code: str, message: str) -> None:
    _, _, run_id, ordinal = _key(held)
    await _fenced(
        held,
        """UPDATE step_runs SET state = 'failed', lease_until = NULL, lease_owner = NULL, phase = '', error_code = $3,
           error_message = $4, finished_at = clock_timestamp() WHERE id = $1 AND attempt = $2 AND state = 'running'""",
        code,
        message,
    )
    await note(run_id, "failed", {"code": code, "message": message}, ordinal)
    await _end(run_id, "failed")


async def _crashed(held: Claim | db.Record) -> None:
    step_run_id, _, run_id, ordinal = _key(held)
    crashes: int = await db.fetchval("SELECT crash_count + 1 FROM step_runs WHERE id = $1", step_run_id)
    await note(run_id, "crashed", {"count": crashes}, ordinal)
    if crashes >= CRASHES:
        await _fenced(held, "UPDATE step_runs SET crash_count = crash_count + 1 WHERE id = $1 AND attempt = $2")
        await _failed(held, "crashed", CRASHED)
        return
    await _requeue(held, 0, crashed=True, retried=False)
    await ring()


async def _requeue(held: Claim | db.Record, delay_s: float, *, crashed: bool, retried: bool) -> None:
    await _fenced(
        held,
        """
        UPDATE step_runs SET state = 'queued', lease_until = NULL, lease_owner = NULL, phase = '',
            progress = 0, progress_total = 0, progress_at = NULL, started_at = NULL,
            not_before = clock_timestamp() + make_interval(secs => $3),
            nudge_at = clock_timestamp() + make_interval(secs => $3),
            crash_count = crash_count + $4::int, retry_count = retry_count + $5::int
        WHERE id = $1 AND attempt = $2 AND state = 'running'
        """,
        delay_s,
        int(crashed),
        int(retried),
    )


async def _end(run_id: UUID, state: str) -> None:
    """End the run; whatever still waits is cancelled, and rough pictures go."""
    await db.execute(
        """UPDATE step_runs SET state = 'cancelled', finished_at = clock_timestamp()
           WHERE run_id = $1 AND state IN ('waiting', 'queued')""",
        run_id,
    )
    await db.execute(
        "DELETE FROM previews p USING step_runs s WHERE s.id = p.step_run_id AND s.run_id = $1",
        run_id,
    )
    await db.execute(
        "UPDATE runs SET state = $2, finished_at = clock_timestamp() WHERE id = $1 AND state IN ('queued', 'running')",
        run_id,
        state,
    )
    await note(run_id, "cancelled" if state == "cancelled" else f"run_{state}")
