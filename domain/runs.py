"""Runs: accepting, stopping, publishing and repeating them. Reading them is in `run_pages.py`.

The state machine is the database's; see `docs/` for its drawing. The web commits and notifies,
workers claim (`domain/queue.py`). Whoever changes a run and its steps locks the run first.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import cards, consents, db, likeness, steps
from domain.advance import advance
from domain.changes import Changes, applied
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.events import note
from domain.forecast import expected_seconds, waiting
from domain.run_pages import mine, progress, read

__all__ = [
    "Accepted",
    "Wanted",
    "accept",
    "accept_all",
    "by_key",
    "cancel",
    "check_inputs",
    "check_room",
    "expected_seconds",
    "mine",
    "one_at_a_time",
    "progress",
    "publish",
    "read",
    "retry",
    "unpublish",
    "waiting",
]

MAX_KEY = 200
GONE = "There is no such run, or it is private."


class Accepted(Struct, frozen=True):
    """Answer to a request to run. `repeated` when the same request was accepted before."""

    run_id: UUID
    repeated: bool


async def accept(
    version_id: UUID,
    owner_id: UUID,
    inputs: Mapping[str, str],
    seed: int | None,
    key: str,
    *,
    afresh: bool = False,
    changes: Changes | None = None,
    limit: int | None = None,
    agreed: Collection[str] = (),
) -> Accepted:
    """Queue a run of a version, once for each owner and idempotency `key`, and return after commit.

    Missing inputs take their defaults; `seed` None draws one. Steps whose result is known already are
    reused at once, unless `afresh`. `changes` are parameters to run with instead of the version's, taken
    from another run of it. `agreed` are the samples of voices, by their SHA-256, that the person agrees to now.
    Raises NotFound for a version the person may not see, Invalid (fields `input-{name}`, `seed`, `key`) for bad
    values and (`s{step}-consent`) for a sample that the person never agreed to, Conflict when the key was used for
    another request and TooMany for more than `limit` runs that have not ended.
    """
    check_key(key)
    known = await _by_key(owner_id, key)
    async with db.transaction():
        await one_at_a_time(owner_id)
        version = await _runnable(version_id, owner_id, known is not None and known["version_id"] == version_id)
        recipe = steps.convert(version["recipe"])
        values = check_inputs(recipe, inputs, seed)
        request = _digest(version_id, values, seed, afresh, changes or {})
        known = known or await _by_key(owner_id, key)
        if known is not None:
            return _repeat(known, request)
        await check_room(owner_id, limit)
        recipe = applied(recipe, changes or {})
        await consents.give(owner_id, recipe, agreed)
        await consents.require(owner_id, recipe)
        turns = await _turns(owner_id, [step.runs_on for step in recipe.steps])
        run_id = await _insert(version, owner_id, values, seed, key, request, afresh, changes or {})
        await db.execute("UPDATE pipelines SET run_count = run_count + 1 WHERE id = $1", version["pipeline_id"])
        await _insert_steps(run_id, recipe, turns)
        await note(run_id, "accepted", {"seed_given": seed is not None, "afresh": afresh})
        await advance(run_id)
        return Accepted(run_id, repeated=False)


class Wanted(Struct, frozen=True, kw_only=True):
    """One of several runs that are asked for together: complete inputs, and a key that nothing else uses."""

    inputs: dict[str, str]
    seed: int
    changes: Changes
    key: str


async def accept_all(
    version_id: UUID, owner_id: UUID, wanted: Sequence[Wanted], request: str, limit: int | None = None
) -> list[UUID]:
    """Queue several runs of a version in their order, all or none, for a caller that locked the owner and checked
    what they are run with. `request` is the SHA-256 of what asked for them. Their turns follow each other, so that
    they hold nobody up.

    Raises NotFound and Invalid as `accept` does, TooMany when not all of them fit under `limit`.
    """
    async with db.transaction():
        version = await _runnable(version_id, owner_id, False)
        recipe = steps.convert(version["recipe"])
        await consents.require(owner_id, recipe)
        await check_room(owner_id, limit, len(wanted))
        turns = await _turns(owner_id, [step.runs_on for step in recipe.steps])
        ids = await _insert_all(version, owner_id, wanted, request)
        await db.execute(
            "UPDATE pipelines SET run_count = run_count + $2 WHERE id = $1", version["pipeline_id"], len(ids)
        )
        for place, (run_id, one) in enumerate(zip(ids, wanted, strict=True)):
            await _insert_steps(run_id, applied(recipe, one.changes), turns, place)
            await note(run_id, "accepted", {"seed_given": True, "afresh": False})
            await advance(run_id)
        return ids


async def _insert_all(version: db.Record, owner_id: UUID, wanted: Sequence[Wanted], request: str) -> list[UUID]:
    rows = await db.fetch(
        """
        INSERT INTO runs
            (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, inputs, seed, changes)
        SELECT $1, $2, $3, last.number + given.place, given.key, $4, given.inputs, given.seed, given.changes
        FROM unnest($5::text[], $6::jsonb[], $7::bigint[], $8::jsonb[])
             WITH ORDINALITY AS given (key, inputs, seed, changes, place),
             (SELECT coalesce(max(number), 0) AS number FROM runs WHERE pipeline_id = $1) last
        ORDER BY given.place RETURNING id, number
        """,
        version["pipeline_id"],
        version["id"],
        owner_id,
        request,
        [one.key for one in wanted],
        [one.inputs for one in wanted],
        [one.seed for one in wanted],
        [one.changes for one in wanted],
    )
    return [row["id"] for row in sorted(rows, key=lambda row: int(row["number"]))]


async def one_at_a_time(person_id: UUID) -> None:
    """Lock the person, so that their requests are counted one after the other."""
    await db.fetchval("SELECT true FROM people WHERE id = $1 FOR NO KEY UPDATE", person_id)


async def check_room(person_id: UUID, limit: int | None, more: int = 1) -> None:
    """Raise TooMany when `more` runs beside those that have not ended would be more than `limit`."""
    if limit is None:
        return
    alive: int = await db.fetchval("SELECT count(*) FROM runs WHERE owner_id = $1 AND finished_at IS NULL", person_id)
    if alive + more <= limit:
        return
    words = f"You have {alive:,} runs that have not ended, and {limit:,} is the most. Let some end first."
    raise TooMany(words if more == 1 else f"These are {more:,} runs. {words}")


async def _turns(owner_id: UUID, queues: Collection[str]) -> dict[str, int]:
    """The turn of the person's next run in each of these queues.

    Steps are served in the order of their turns: start-time fair queueing (Goyal, Vin and Cheng, 1996) with equal
    weights, a run in a queue being the unit. A turn begins at that of the step served last, and behind those the
    person has had or waits for, so that many runs of one and one run of another alternate.
    """
    rows = await db.fetch(
        """
        SELECT wanted.queue, greatest(
            now.turn + EXISTS (
                SELECT FROM step_runs s JOIN runs r ON r.id = s.run_id
                WHERE s.queue = wanted.queue AND s.turn = now.turn AND s.started_at IS NOT NULL AND r.owner_id = $1
            )::int,
            (SELECT max(s.turn) + 1 FROM runs r JOIN step_runs s ON s.run_id = r.id
             WHERE r.owner_id = $1 AND r.finished_at IS NULL AND s.queue = wanted.queue)) AS turn
        FROM unnest($2::text[]) AS wanted (queue)
        CROSS JOIN LATERAL (
            SELECT coalesce(max(turn), 0) AS turn FROM step_runs
            WHERE queue = wanted.queue AND started_at IS NOT NULL
        ) now
        """,
        owner_id,
        sorted(set(queues)),
    )
    return {row["queue"]: row["turn"] for row in rows}


def check_inputs(recipe: steps.Recipe, inputs: Mapping[str, str], seed: int | None) -> dict[str, str]:
    """Every declared input with its value, defaults filled in. Raises Invalid by field."""
    errors: dict[str, str] = {}
    values: dict[str, str] = {}
    declared = {entry.name: entry for entry in recipe.inputs}
    for name in inputs:
        if name not in declared:
            errors[f"input-{name}"] = "This pipeline has no such input"
    for name, entry in declared.items():
        value = inputs.get(name, entry.default)
        if entry.kind == "long" and not entry.default and not value.strip():
            errors[f"input-{name}"] = "Write or paste a text"
            continue
        try:
            values[name] = steps.check_input(entry, _storable(value))
        except ValueError as error:
            errors[f"input-{name}"] = str(error)
    if seed is not None and not 0 <= seed <= steps.MAX_SEED:
        errors["seed"] = SEED_BOUNDS
    if errors:
        raise Invalid(errors)
    return values


SEED_BOUNDS = f"From 0 to {steps.MAX_SEED:,}, without a fraction; empty draws one"


def _storable(value: str) -> str:
    """Text that PostgreSQL and JSON can hold. Raises ValueError."""
    if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("A character in here cannot be stored; type it again")
    return value


def check_key(key: str) -> None:
    """Raise Invalid for an idempotency key that no form of ours has."""
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise Invalid({"key": "Open the page again, then press Run"})


def _digest(version_id: UUID, inputs: Mapping[str, str], seed: int | None, afresh: bool, changes: Changes) -> str:
    """What makes two requests the same: version, inputs, the seed asked for, whether to reuse, what is changed."""
    parts: list[Any] = [str(version_id), dict(inputs), seed, afresh]
    asked = msgspec.json.encode([*parts, changes] if changes else parts, order="deterministic")
    return hashlib.sha256(asked).hexdigest()


async def by_key(owner_id: UUID, key: str) -> UUID | None:
    """The person's run that was accepted with this key."""
    row = await _by_key(owner_id, key)
    return None if row is None else row["id"]


async def _by_key(owner_id: UUID, key: str) -> db.Record | None:
    return await db.fetchrow(
        "SELECT id, version_id, request_sha256 FROM runs WHERE owner_id = $1 AND idempotency_key = $2", owner_id, key
    )


def _repeat(known: db.Record, request: str) -> Accepted:
    if known["request_sha256"] != request:
        raise Conflict("This form was already used for another run. Open it again to run something else.")
    return Accepted(known["id"], repeated=True)


async def _runnable(version_id: UUID, person_id: UUID, repeated: bool) -> db.Record:
    """The version, its pipeline's row locked so that run numbers follow each other without a gap.

    A repeated request is answered even if the pipeline was closed meanwhile.
    """
    row = await db.fetchrow(
        """
        SELECT v.id, v.pipeline_id, v.recipe FROM versions v JOIN pipelines p ON p.id = v.pipeline_id
        WHERE v.id = $1 AND ($3 OR p.deleted_at IS NULL AND (p.owner_id = $2 OR p.visibility <> 'private'))
        FOR NO KEY UPDATE OF p
        """,
        version_id,
        person_id,
        repeated,
    )
    if row is None:
        raise NotFound("There is no such version, or it is private.")
    return row


async def _insert(
    version: db.Record,
    owner_id: UUID,
    inputs: dict[str, str],
    seed: int | None,
    key: str,
    request: str,
    afresh: bool,
    changes: Changes,
) -> UUID:
    run_id: UUID = await db.fetchval(
        """
        INSERT INTO runs
            (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, inputs, seed, afresh, changes)
        SELECT $1, $2, $3, coalesce(max(number), 0) + 1, $4, $5, $6, $7, $8, $9 FROM runs WHERE pipeline_id = $1
        RETURNING id
        """,
        version["pipeline_id"],
        version["id"],
        owner_id,
        key,
        request,
        inputs,
        secrets.randbelow(steps.MAX_SEED + 1) if seed is None else seed,
        afresh,
        changes,
    )
    return run_id


async def _insert_steps(run_id: UUID, recipe: steps.Recipe, turns: Mapping[str, int], place: int = 0) -> None:
    """The run's steps, all waiting. `place` counts runs that are accepted together."""
    plain: list[dict[str, Any]] = [msgspec.to_builtins(step) for step in recipe.steps]
    await db.execute(
        """
        INSERT INTO step_runs (run_id, ordinal, kind, queue, model, step, turn)
        SELECT $1, given.ordinal, given.kind, given.queue, given.model, given.step, given.turn
        FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bigint[])
             WITH ORDINALITY AS given (kind, queue, model, step, turn, ordinal)
        """,
        run_id,
        [step["kind"] for step in plain],
        [step.runs_on for step in recipe.steps],
        [step.get("model", "") for step in plain],
        plain,
        [turns[step.runs_on] + place for step in recipe.steps],
    )


async def locked(run_id: UUID, person_id: UUID) -> db.Record:
    """The person's run, locked. Raises NotFound, also for other people's."""
    row = await db.fetchrow(
        """SELECT id, pipeline_id, state, visibility, apart, finished_at FROM runs
           WHERE id = $1 AND owner_id = $2 FOR NO KEY UPDATE""",
        run_id,
        person_id,
    )
    if row is None:
        raise NotFound(GONE)
    return row


async def cancel(run_id: UUID, person_id: UUID) -> None:
    """Stop a run: steps that have not started end at once, a running one is asked to.

    Asking again changes nothing. Raises NotFound, and Conflict for a run that has ended.
    """
    async with db.transaction():
        run = await locked(run_id, person_id)
        if run["state"] == "cancelled":
            return
        if run["state"] in ("succeeded", "failed"):
            raise Conflict("This run has already ended, so there is nothing to stop.")
        first = await db.fetchval(
            """UPDATE runs SET cancel_requested_at = now() WHERE id = $1 AND cancel_requested_at IS NULL
               RETURNING true""",
            run_id,
        )
        await db.execute(
            """UPDATE step_runs SET state = 'cancelled', finished_at = now()
               WHERE run_id = $1 AND state IN ('queued', 'waiting', 'choosing')""",
            run_id,
        )
        if first:
            await note(run_id, "cancel_requested")
        running = await db.fetchval(
            "SELECT EXISTS (SELECT FROM step_runs WHERE run_id = $1 AND state = 'running')", run_id
        )
        if not running:
            await db.execute("UPDATE runs SET state = 'cancelled', finished_at = now() WHERE id = $1", run_id)
            await note(run_id, "cancelled")


async def publish(run_id: UUID, person_id: UUID, *, to_everyone: bool = False) -> None:
    """Show a finished run to everybody who may see its pipeline. Again changes nothing.

    `to_everyone` makes a private pipeline of the person's own public along with it. A run that was published
    with its grid stands for itself from then on. Raises NotFound, and Conflict for a run that did not
    succeed or whose pipeline stays private.
    """
    async with db.transaction():
        run = await locked(run_id, person_id)
        if run["visibility"] == "published" and not run["apart"]:
            return
        if run["state"] != "succeeded":
            raise Conflict("Only a run that is done can be published.")
        if to_everyone:
            await open_pipeline(run["pipeline_id"], person_id)
        await require_seen(run["pipeline_id"])
        await db.execute(
            "UPDATE runs SET visibility = 'published', published_at = now(), apart = false WHERE id = $1", run_id
        )
        await note(run_id, "published")
        await likeness.note(run_id)
        await cards.refresh(run["pipeline_id"])


async def require_seen(pipeline_id: UUID) -> None:
    """Raise Conflict for a pipeline that only its owner sees, or nobody."""
    visible = await db.fetchval(
        "SELECT visibility <> 'private' AND deleted_at IS NULL FROM pipelines WHERE id = $1", pipeline_id
    )
    if not visible:
        raise Conflict(
            "The pipeline is private, so nobody could see this result. Make the pipeline public or unlisted first."
        )


async def open_pipeline(pipeline_id: UUID, person_id: UUID) -> None:
    """Make the person's own private pipeline public, in an unsaved draft of it too."""
    opened = await db.fetchval(
        """UPDATE pipelines SET visibility = 'public'
           WHERE id = $1 AND owner_id = $2 AND visibility = 'private' AND deleted_at IS NULL RETURNING true""",
        pipeline_id,
        person_id,
    )
    if opened:
        await db.execute(
            """UPDATE drafts SET form = form || '{"visibility": "public"}' WHERE pipeline_id = $1 AND person_id = $2""",
            pipeline_id,
            person_id,
        )


async def unpublish(run_id: UUID, person_id: UUID) -> None:
    """Make a published run private again. Again changes nothing. Raises NotFound."""
    async with db.transaction():
        run = await locked(run_id, person_id)
        if run["visibility"] == "private":
            return
        await db.execute(
            "UPDATE runs SET visibility = 'private', published_at = NULL, apart = false WHERE id = $1", run_id
        )
        await note(run_id, "unpublished")
        await likeness.forget(run_id)
        await cards.refresh(run["pipeline_id"])


async def retry(run_id: UUID, person_id: UUID, *, ended: datetime | None = None, limit: int | None = None) -> None:
    """Queue a failed or stopped run again from the step it ended at; earlier outputs stay.

    A run that is queued or running already is left alone, and so is one that did not end at `ended`: the same
    request came before. Raises NotFound, and Conflict for one that succeeded, TooMany as `accept` does.
    """
    async with db.transaction():
        run = await locked(run_id, person_id)
        if run["state"] in ("queued", "running") or (ended is not None and run["finished_at"] != ended):
            return
        if run["state"] == "succeeded":
            raise Conflict("This run is done. Run the version again for another result.")
        await one_at_a_time(person_id)
        await check_room(person_id, limit)
        first: int = await db.fetchval(
            "SELECT min(ordinal) FROM step_runs WHERE run_id = $1 AND state IN ('failed', 'cancelled', 'waiting')",
            run_id,
        )
        left = await db.fetch("SELECT queue FROM step_runs WHERE run_id = $1 AND ordinal >= $2", run_id, first)
        await _reset(run_id, first, await _turns(person_id, [row["queue"] for row in left]))
        await db.execute(
            """UPDATE runs SET state = 'queued', started_at = NULL, finished_at = NULL, cancel_requested_at = NULL
               WHERE id = $1""",
            run_id,
        )
        await note(run_id, "retried", ordinal=first)
        await advance(run_id)


async def _reset(run_id: UUID, first: int, turns: Mapping[str, int]) -> None:
    """Make steps from `first` on wait again. `attempt` stays: it is the fence against workers of the past."""
    await db.execute(
        "DELETE FROM outputs o USING step_runs s WHERE s.id = o.step_run_id AND s.run_id = $1 AND s.ordinal >= $2",
        run_id,
        first,
    )
    await db.execute(
        "DELETE FROM previews p USING step_runs s WHERE s.id = p.step_run_id AND s.run_id = $1 AND s.ordinal >= $2",
        run_id,
        first,
    )
    await db.execute(
        """
        UPDATE step_runs SET state = 'waiting', queued_at = NULL, not_before = now(), nudge_at = now(),
            turn = ($3::jsonb ->> queue)::bigint,
            crash_count = 0, retry_count = 0, progress = 0, progress_total = 0, phase = '', progress_at = NULL,
            error_code = NULL, error_message = NULL, resolved = NULL, input_hash = NULL, output_text = NULL,
            reused_from = NULL, receipt = NULL, timings = NULL, started_at = NULL, finished_at = NULL,
            lease_owner = NULL
        WHERE run_id = $1 AND ordinal >= $2
        """,
        run_id,
        first,
        dict(turns),
    )
