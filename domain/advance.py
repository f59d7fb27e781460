"""A run's way from step to step: reuse what is known already, queue the next step, end the run.

For use inside the transactions of `runs.py` (people) and `queue.py` (workers). The run is locked.
"""

import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, receipts, steps
from domain.errors import DomainError
from domain.events import note, ring
from domain.means import Means
from domain.prepare import Given, Prepared, incoming, prepare

log = logging.getLogger("runs")

_STEP = """
SELECT s.id, s.run_id, s.ordinal, s.kind, s.queue, s.step, s.state, s.receipt, s.attempt, s.crash_count, s.retry_count,
    s.batch_key, r.owner_id, r.inputs, r.seed, r.afresh, v.recipe, coalesce(m.revision, '') AS revision,
    coalesce(m.means, '{}') AS means, coalesce(m.family, '') AS family,
    CASE WHEN s.queue = 'image' THEN
        (SELECT jsonb_object_agg(name, revision) FROM models WHERE kinds @> '{lora}' AND removed_at IS NULL)
    END AS loras, coalesce(d.revision, '') AS vae
FROM step_runs s JOIN runs r ON r.id = s.run_id JOIN versions v ON v.id = r.version_id
LEFT JOIN models m ON m.name = s.model AND m.removed_at IS NULL
LEFT JOIN models d ON d.name = s.step ->> 'vae' AND d.kinds @> '{vae}' AND d.removed_at IS NULL
"""

_SOURCE = """
SELECT
    (SELECT output_text FROM step_runs WHERE run_id = $1 AND ordinal <= $2 AND output_text IS NOT NULL
        ORDER BY ordinal DESC LIMIT 1) AS text,
    (SELECT array_agg(o.sha256 ORDER BY array_position($3::int[], s.ordinal::int), o.position)
        FROM outputs o JOIN step_runs s ON s.id = o.step_run_id
        WHERE s.run_id = $1 AND s.ordinal = ANY ($3)) AS pictures
"""

_RESULTS = """
FROM step_runs s JOIN runs r ON r.id = s.run_id JOIN pipelines p ON p.id = r.pipeline_id
WHERE s.state IN ('succeeded', 'reused')
  AND (r.owner_id = $2 OR r.visibility = 'published' AND p.visibility = 'public' AND p.deleted_at IS NULL)
"""
_KNOWN = f"""
SELECT s.id, s.output_text, s.receipt, s.timings {_RESULTS} AND s.input_hash = $1 AND s.run_id <> $3
ORDER BY s.state = 'succeeded' DESC, s.id LIMIT 1
"""
"""Another run's result that the person may see: their own, or one that stands in public. What others keep to
themselves is no candidate, so it is neither shown nor betrayed by an answer that comes too soon."""

_ALL_KNOWN = f"""
SELECT wanted.input_hash, found.output_text, found.pictures FROM unnest($1::text[]) AS wanted (input_hash)
CROSS JOIN LATERAL (
    SELECT s.output_text,
        array(SELECT o.sha256 FROM outputs o WHERE o.step_run_id = s.id ORDER BY o.position) AS pictures
    {_RESULTS} AND s.input_hash = wanted.input_hash ORDER BY s.state = 'succeeded' DESC, s.id LIMIT 1
) found
"""  # noqa: S608 - constants only


class Known(Struct, frozen=True):
    """What a step made before: its text, "" for none, and the SHA-256 of its pictures."""

    text: str
    pictures: list[str]


async def known(hashes: Collection[str], person_id: UUID) -> dict[str, Known]:
    """What the person's next runs would reuse of these, by input hash."""
    if not hashes:
        return {}
    rows = await db.fetch(_ALL_KNOWN, list(hashes), person_id)
    return {row["input_hash"]: Known(row["output_text"] or "", row["pictures"]) for row in rows}


async def advance(run_id: UUID, serves: Collection[str] = ()) -> UUID | None:
    """Reuse the steps whose result is known, then queue the next. Returns its id, None when the run has ended or
    waits for its owner to choose.

    The queued step is kept from other workers for 2 s when its queue is one that the caller `serves`.
    """
    while True:
        step = await db.fetchrow(
            f"{_STEP} WHERE s.run_id = $1 AND s.state = 'waiting' ORDER BY s.ordinal LIMIT 1", run_id
        )
        if step is None:
            await end(run_id, "succeeded")
            return None
        ready, _ = await try_prepared(step)  # whoever claims the step says what is wrong with it
        if ready is not None and steps.asks(step["kind"]):
            if await ask(step, ready):
                return None
        elif ready is None or not await reuse(step, ready):
            await _queue(step, ready, step["queue"] in serves)
            if step["queue"] not in serves:
                await ring()
            queued: UUID = step["id"]
            return queued


async def step_of(step_run_id: UUID) -> db.Record:
    """Everything about a step that running it needs."""
    row = await db.fetchrow(f"{_STEP} WHERE s.id = $1", step_run_id)
    assert row is not None, "a step is never removed while its run is locked"
    return row


async def given_to(step: db.Record) -> Given:
    """What the run gives to this step."""
    recipe: Mapping[str, Any] = step["recipe"]
    text, pictures = "", []
    if step["ordinal"] > 1:
        this = step["step"]
        source = source_of(step["ordinal"], this)
        files = [voice] if (voice := this.get("voice_of")) else [source, *filter(None, [this.get("also")])]
        row = await db.fetchrow(_SOURCE, step["run_id"], source, files)
        assert row is not None
        text, pictures = row["text"] or "", list(row["pictures"] or ())
    return Given(inputs=step["inputs"], lists=recipe.get("lists", {}), seed=step["seed"], text=text, pictures=pictures)


def source_of(ordinal: int, step: Mapping[str, Any]) -> int:
    """The place of the step whose output comes into a stored one; 0 before the first."""
    return int(step.get("source") or ordinal - 1)


async def try_prepared(step: db.Record) -> tuple[Prepared | None, str]:
    """The step's parameters as they are really used, or None and the words why it cannot be run."""
    try:
        plain: steps.AnyStep = msgspec.convert(step["step"], steps.AnyStep)
        given = await given_to(step)
        if plain.together and (pictures := incoming(plain, given.pictures)):
            given = msgspec.structs.replace(given, sizes=await _sizes(pictures))
        means = msgspec.convert(step["means"], Means)
        return prepare(plain, given, step["revision"], means, step["loras"], step["family"], step["vae"]), ""
    except DomainError as error:
        return None, error.message
    except msgspec.ValidationError:
        return None, f"This site runs no steps of the kind “{step['step'].get('kind')}” any more."
    except (LookupError, TypeError, ValueError):
        reference = secrets.token_hex(4)
        log.exception("reference %s: step %s cannot be prepared", reference, step["id"])
        return None, f"Something broke on our side. Reference {reference}."


async def _sizes(pictures: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Width and height in pixels of those that are known."""
    rows = await db.fetch(
        "SELECT sha256, width, height FROM artifacts WHERE sha256 = ANY ($1) AND width * height > 0", pictures
    )
    return {row["sha256"]: (row["width"], row["height"]) for row in rows}


def resolved(step: db.Record, ready: Prepared) -> dict[str, Any]:
    """What the run's page shows of a step's parameters: as they are used, with the revisions of the model, its LoRAs
    and its VAE."""
    loras = msgspec.to_builtins(ready.loras)
    told = {"model_revision": step["revision"], "loras": loras, "vae_revision": ready.vae}
    return ready.parameters | {name: value for name, value in told.items() if value}


def needs(step: db.Record, ready: Prepared | None) -> list[str]:
    """The models that whoever runs the step must have: its own, its VAE and the LoRAs of its filled prompt."""
    if ready is None:
        return []
    named = [name for field in steps.MODELS if (name := step["step"].get(field))]
    return [*named, *(lora.name for lora in ready.loras)]


async def reuse(step: db.Record, ready: Prepared) -> bool:
    """Take over a known result of an equal step, unless the run asks for everything afresh."""
    if step["afresh"] or (step["step"].get("model") and not step["revision"]):
        return False
    found = await db.fetchrow(_KNOWN, ready.input_hash, step["owner_id"], step["run_id"])
    if found is None:
        return False
    await db.execute(
        """
        WITH copied AS (
            INSERT INTO outputs (step_run_id, position, sha256, seed)
            SELECT $1, position, sha256, seed FROM outputs WHERE step_run_id = $2
        ), begun AS (
            UPDATE runs SET started_at = coalesce(started_at, clock_timestamp()) WHERE id = $7
        )
        UPDATE step_runs SET state = 'reused', reused_from = $2, input_hash = $3, resolved = $4, output_text = $5,
            receipt = $6, timings = $8, finished_at = clock_timestamp(), lease_until = NULL, lease_owner = NULL,
            phase = ''
        WHERE id = $1
        """,
        step["id"],
        found["id"],
        ready.input_hash,
        resolved(step, ready),
        found["output_text"],
        found["receipt"],
        step["run_id"],
        found["timings"],
    )
    await note(step["run_id"], "reused", ordinal=step["ordinal"])
    return True


async def ask(step: db.Record, ready: Prepared) -> bool:
    """Let the run's owner choose, and say whether they have to: of one picture there is nothing to choose."""
    if len(ready.pictures) == 1:
        await chosen(step, ready, [1])
        return False
    await db.execute(
        """
        WITH begun AS (UPDATE runs SET state = 'running', started_at = coalesce(started_at, clock_timestamp())
            WHERE id = $2)
        UPDATE step_runs SET state = 'choosing', resolved = $3, queued_at = clock_timestamp() WHERE id = $1
        """,
        step["id"],
        step["run_id"],
        resolved(step, ready),
    )
    await note(step["run_id"], "asked", ordinal=step["ordinal"])
    return True


async def chosen(step: db.Record, ready: Prepared, places: Sequence[int]) -> None:
    """End a step that asks, with the pictures at these places, counted from 1, in the order in which they came."""
    picked = [ready.pictures[place - 1] for place in places]
    receipt = receipts.Receipt(
        kind=step["kind"],
        code=steps.KINDS[step["kind"]].code,
        parameters={**receipts.shown(ready.parameters), "chosen": list(places), "of": len(ready.pictures)},
        inputs=ready.pictures,
        outputs=picked,
    )
    await db.execute(
        """
        WITH kept AS (
            INSERT INTO outputs (step_run_id, position, sha256, seed)
            SELECT $1, given.position, o.sha256, o.seed
            FROM unnest($3::int[]) WITH ORDINALITY AS given (place, position)
            JOIN step_runs s ON s.run_id = $2 AND s.ordinal = $4
            JOIN outputs o ON o.step_run_id = s.id AND o.position = given.place
        )
        UPDATE step_runs SET state = 'succeeded', resolved = $5, receipt = $6, finished_at = clock_timestamp()
        WHERE id = $1
        """,
        step["id"],
        step["run_id"],
        list(places),
        source_of(step["ordinal"], step["step"]),
        resolved(step, ready),
        msgspec.to_builtins(receipt),
    )
    which = ", ".join(str(place) for place in places)
    await note(step["run_id"], "chosen", {"reason": f"{which} of {len(ready.pictures)}"}, step["ordinal"])


async def _queue(step: db.Record, ready: Prepared | None, keep: bool) -> None:
    await db.execute(
        """
        UPDATE step_runs SET state = 'queued', batch_key = $2, input_hash = $3, queued_at = clock_timestamp(),
            not_before = clock_timestamp(), needs = $5,
            nudge_at = clock_timestamp() + CASE WHEN $4 THEN interval '2 s' ELSE interval '0' END
        WHERE id = $1
        """,
        step["id"],
        "" if ready is None else ready.batch_key,
        None if ready is None else ready.input_hash,
        keep,
        needs(step, ready),
    )


async def end(run_id: UUID, state: str) -> None:
    """End the run; whatever still waits is cancelled, and rough pictures go."""
    await db.execute(
        """UPDATE step_runs SET state = 'cancelled', finished_at = clock_timestamp()
           WHERE run_id = $1 AND state IN ('waiting', 'queued', 'choosing')""",
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
