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

from domain import advance as advancing
from domain import db, services, steps
from domain.events import note, ring
from domain.loras import Lora
from domain.means import Means
from domain.prepare import Prepared

LEASE = 30.0
"""Seconds that a claim or a beat holds a step."""
NUDGE = 30.0
"""Seconds until a queued step that nobody claimed is sent again."""
PASSED_ON = 2.0
"""Seconds until workers are told again of a step that one had to leave."""
CRASHES = 3
CRASHED = "The step crashed the worker three times"


class Lost(Exception):
    """The step is no longer this worker's: publish nothing, touch nothing."""


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
    """As the recipe has it."""
    parameters: dict[str, Any]
    """As they are used: templates filled, seed chosen."""
    pictures: list[str]
    """SHA-256 of every picture that comes in, in order."""
    loras: list[Lora]
    needs: list[str]
    """The models that it runs with, by name: its own, its VAE and the LoRAs."""
    vae: str = ""
    """The revision of the VAE that it draws with, "" for the model's own."""
    model: tuple[str, Means]
    """The revision and means of the model that its input hash speaks of; "" for a kind without one."""
    refused: str
    """Why the step cannot be run at all, in words for the person; else empty."""
    waited: float
    """Seconds between joining the queue and this claim."""


class Beat(Struct, frozen=True):
    """What a beat learned of a step that is still this worker's: whether to stop."""

    cancelled: bool


class Made(Struct, frozen=True):
    """One output of a step: a stored artifact and the seed it came from."""

    sha256: str
    seed: int | None = None


async def due_queues() -> set[str]:
    """The queues that have steps to tell workers of."""
    rows = await db.fetch(
        """SELECT DISTINCT queue FROM step_runs
           WHERE state = 'queued' AND not_before <= clock_timestamp() AND nudge_at <= clock_timestamp()"""
    )
    return {row["queue"] for row in rows}


async def due(queue: str, limit: int = 100) -> int:
    """How many queued steps of the queue to tell workers of; these are not due again for 30 s.

    Rows stay locked until the caller's transaction commits, so send inside it: a dispatcher
    that dies in between leaves them due.
    """
    return await db.execute(
        """
        WITH picked AS (
            SELECT id FROM step_runs
            WHERE state = 'queued' AND queue = $1 AND not_before <= clock_timestamp() AND nudge_at <= clock_timestamp()
            ORDER BY nudge_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE step_runs s SET nudge_at = clock_timestamp() + make_interval(secs => $3)
        FROM picked WHERE s.id = picked.id
        """,
        queue,
        limit,
        NUDGE,
    )


_NEXT = """
SELECT s.id, s.run_id, s.turn, r.owner_id, s.batch_key, s.input_hash, s.crash_count + s.retry_count AS troubles,
    coalesce((s.step ->> 'num_images_per_prompt')::int, 1) AS pictures
FROM step_runs s JOIN runs r ON r.id = s.run_id
WHERE s.state = 'queued' AND s.queue = $1 AND s.not_before <= clock_timestamp() AND NOT s.needs && $4
  AND ($5::text[] IS NULL OR s.kind = ANY ($5))
  AND r.state IN ('queued', 'running') AND r.cancel_requested_at IS NULL
  AND ($2::int = 0 OR (
      SELECT count(DISTINCT busy.lease_owner) FROM step_runs busy JOIN runs theirs ON theirs.id = busy.run_id
      WHERE busy.state = 'running' AND theirs.owner_id = r.owner_id AND busy.lease_owner <> $3) < $2)
"""
_IN_TURN = "ORDER BY s.priority DESC, s.turn, s.queued_at, s.id"
_LOOKS = 8
"""How often a claim that finds its step taken meanwhile looks for another."""


async def claim(
    queue: str,
    owner: str,
    lease_s: float = LEASE,
    *,
    room: int = 1,
    workers_each: int = 0,
    lacks: Collection[str] = (),
    kinds: Collection[str] | None = None,
) -> list[Claim]:
    """Take the step of the queue whose turn it is, and alike ones behind it, for one call of the model.

    Together they make at most `room` pictures, unless the first alone makes more. A step that once met
    trouble runs alone. Nobody holds more than `workers_each` workers at once (0: no limit). Steps that need a model
    which this worker `lacks`, or that are not of the `kinds` it can run (None: of all), are left to others. Steps whose
    result is known by now are reused on the way. Empty when there is nothing to do.
    """
    missing, able = sorted(lacks), None if kinds is None else sorted(kinds)
    for _ in range(_LOOKS):
        async with db.transaction():
            if workers_each:  # so that claims at the same moment count each other
                await db.execute("SELECT pg_advisory_xact_lock(hashtextextended('workers', 0))")
            first = await db.fetchrow(
                f"{_NEXT} {_IN_TURN} LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED",
                queue,
                workers_each,
                owner,
                missing,
                able,
            )
            if first is None:
                return []
            ready = [await _ready(first["id"])]
            for step_run_id in await _alike(first, queue, owner, room, workers_each, missing):
                other = await _ready(step_run_id)
                if other.batch_key == ready[0].batch_key:  # the model's means may have changed since it was queued
                    ready.append(other)
            found = [held for each in ready if (held := await _take(each, owner, lease_s, first["turn"]))]
        if found:
            return found
    return []


async def _alike(
    first: db.Record, queue: str, owner: str, room: int, workers_each: int, lacks: Sequence[str]
) -> list[UUID]:
    """Queued steps that one call can run along with the first, in turn.

    Of equal steps of one person only the first: the others will reuse its result.
    """
    room -= first["pictures"]
    if room < 1 or not first["batch_key"] or first["troubles"]:
        return []
    rows = await db.fetch(
        f"""{_NEXT} AND s.batch_key = $6 AND s.id <> $7 AND s.crash_count = 0 AND s.retry_count = 0
            {_IN_TURN} LIMIT $8 FOR NO KEY UPDATE OF r SKIP LOCKED""",
        queue,
        workers_each,
        owner,
        lacks,
        None,  # alike steps are of the first one's kind
        first["batch_key"],
        first["id"],
        room,
    )
    taken: list[UUID] = []
    contents = {(first["owner_id"], first["input_hash"])}
    for row in rows:
        content = row["owner_id"], row["input_hash"]
        if row["pictures"] <= room and content not in contents:
            taken.append(row["id"])
            contents.add(content)
            room -= row["pictures"]
    return taken


async def pass_on(queue: str, lacks: Collection[str], kinds: Collection[str] | None = None) -> bool:
    """Whether a step that this worker must leave to others waits for one that is there and has what it needs: the
    message that came here was meant for that one. It is told within seconds, whatever becomes of another message.

    The message may come before the dispatcher has committed, so its lock on the step is waited for. Of many steps only
    the next is told of: whoever takes it looks for the others.
    """
    async with db.transaction():
        step_run_id = await db.fetchval(
            f"""
            SELECT s.id FROM step_runs s
            WHERE s.state = 'queued' AND s.queue = $1 AND s.not_before <= clock_timestamp()
              AND (s.needs && $2 OR s.kind <> ALL ($3)) AND NOT {services.unable("s.queue", "s.kind", "s.needs")}
            {_IN_TURN} LIMIT 1 FOR NO KEY UPDATE
            """,  # noqa: S608 - constants only
            queue,
            sorted(lacks),
            None if kinds is None else sorted(kinds),
        )
        return step_run_id is not None and bool(
            await db.execute(
                """UPDATE step_runs SET nudge_at = least(nudge_at, clock_timestamp() + make_interval(secs => $2))
                   WHERE id = $1 AND state = 'queued'""",
                step_run_id,
                PASSED_ON,
            )
        )


class _Ready(Struct, frozen=True):
    """A step as it would run now: what it is run with, or why it cannot be."""

    step: db.Record
    prepared: Prepared | None
    refused: str

    @property
    def batch_key(self) -> str:
        return "" if self.prepared is None else self.prepared.batch_key


async def _ready(step_run_id: UUID) -> _Ready:
    step = await advancing.step_of(step_run_id)
    return _Ready(step, *await advancing.try_prepared(step))


async def _take(ready: _Ready, owner: str, lease_s: float, turn: int) -> Claim | None:
    """Make a queued step this worker's. None when it is not queued any more, or its result was reused.

    It is served in this turn, its own or that of an alike step before it: nobody else's turn comes later for that.
    """
    step, prepared = ready.step, ready.prepared
    if prepared is not None and steps.asks(step["kind"]):  # queued by a worker of before it was known, or in trouble
        if not await advancing.ask(step, prepared):
            await advancing.advance(step["run_id"])
        return None
    row = await db.fetchrow(
        """
        UPDATE step_runs SET state = 'running', attempt = attempt + 1, lease_owner = $2,
            lease_until = clock_timestamp() + make_interval(secs => $3), started_at = clock_timestamp(),
            progress = 0, progress_total = 0, progress_at = NULL, phase = 'loading', turn = least(turn, $4)
        WHERE id = $1 AND state = 'queued' AND not_before <= clock_timestamp()
        RETURNING attempt, extract(epoch FROM clock_timestamp() - queued_at)::float8 AS waited
        """,
        step["id"],
        owner,
        lease_s,
        turn,
    )
    if row is None:
        return None
    if prepared is not None and await advancing.reuse(step, prepared):
        await advancing.advance(step["run_id"])
        return None
    needs = advancing.needs(step, prepared)
    await db.execute(
        """
        WITH noted AS (INSERT INTO events (run_id, ordinal, name, data) VALUES ($2, $3, 'claimed', $4)), kept AS (
            UPDATE step_runs SET resolved = $5, input_hash = $6, needs = $7 WHERE id = $1)
        UPDATE runs SET state = 'running', started_at = coalesce(started_at, clock_timestamp()) WHERE id = $2
        """,
        step["id"],
        step["run_id"],
        step["ordinal"],
        {"attempt": row["attempt"], "worker": owner},
        None if prepared is None else advancing.resolved(step, prepared),
        None if prepared is None else prepared.input_hash,
        needs,
    )
    return Claim(
        step_run_id=step["id"],
        run_id=step["run_id"],
        ordinal=step["ordinal"],
        kind=step["kind"],
        queue=step["queue"],
        attempt=row["attempt"],
        retry_count=step["retry_count"],
        owner=owner,
        step=step["step"],
        parameters={} if prepared is None else prepared.parameters,
        loras=[] if prepared is None else prepared.loras,
        needs=needs,
        vae="" if prepared is None else prepared.vae,
        pictures=[] if prepared is None else prepared.pictures,
        model=(step["revision"], msgspec.convert(step["means"], Means)),
        refused=ready.refused,
        waited=row["waited"] or 0.0,
    )


async def beat(
    held: Sequence[Claim], progress: int, total: int, phase: str, lease_s: float = LEASE
) -> dict[UUID, Beat]:
    """Prove that the worker lives, report the progress of its steps (which only rises), learn of stops.

    Steps that are missing from the answer are no longer this worker's.
    """
    rows = await db.fetch(
        """
        WITH mine AS (
            UPDATE step_runs s SET lease_until = clock_timestamp() + make_interval(secs => $3),
                progress_at = CASE WHEN $4 > progress THEN clock_timestamp() ELSE progress_at END,
                progress = greatest(progress, $4), progress_total = $5, phase = $6
            FROM unnest($1::uuid[], $2::int[]) AS held (id, attempt)
            WHERE s.id = held.id AND s.attempt = held.attempt AND state = 'running' RETURNING s.id, s.run_id
        )
        SELECT mine.id, r.cancel_requested_at IS NOT NULL AS cancelled FROM mine JOIN runs r ON r.id = mine.run_id
        """,
        [each.step_run_id for each in held],
        [each.attempt for each in held],
        lease_s,
        progress,
        total,
        phase,
    )
    return {row["id"]: Beat(cancelled=row["cancelled"]) for row in rows}


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
        return await advancing.advance(held.run_id, serves)


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

    `retried` counts one more retry, `crashed` one more crash; the third crash fails the step
    for `reason`. A stop asked for meanwhile wins. Raises Lost.
    """
    async with db.transaction():
        if await _lock(held.run_id):
            await _cancelled(held)
        elif crashed:
            await _crashed(held, reason or CRASHED)
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
    await advancing.end(run_id, "cancelled")


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
    await advancing.end(run_id, "failed")


async def _crashed(held: Claim | db.Record, reason: str = CRASHED) -> None:
    step_run_id, _, run_id, ordinal = _key(held)
    crashes: int = await db.fetchval("SELECT crash_count + 1 FROM step_runs WHERE id = $1", step_run_id)
    await note(run_id, "crashed", {"count": crashes}, ordinal)
    if crashes >= CRASHES:
        await _fenced(held, "UPDATE step_runs SET crash_count = crash_count + 1 WHERE id = $1 AND attempt = $2")
        await _failed(held, "crashed", reason)
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
