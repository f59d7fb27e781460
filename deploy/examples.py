"""The first gallery: a few people and about a dozen pipelines, really run through the queue."""

import asyncio
from itertools import count
from typing import NamedTuple
from uuid import UUID

from deploy.example_recipes import EXAMPLES, PEOPLE, Example
from domain import db, forks, pipelines, runs
from domain.errors import DomainError
from domain.pipelines import Details, PipelineRef

KEY = "example-"
"""How the idempotency keys of example runs begin."""
NO_PASSWORD = "!"  # noqa: S105 - no password has this hash
WATCH_EVERY_S = 0.5


class Pending(NamedTuple):
    """An example run that nobody can see yet."""

    id: UUID
    owner_id: UUID
    state: str


async def plant() -> list[UUID]:
    """Make the examples and queue their runs, all or nothing; their ids. Nothing if any pipeline exists."""
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(hashtext('offshoot examples'))")
        if await db.fetchval("SELECT EXISTS (SELECT FROM pipelines)"):
            return []
        owners = {handle: await _person(handle, name, about) for handle, name, about in PEOPLE}
        made: dict[str, PipelineRef] = {}
        accepted = []
        for number, example in enumerate(EXAMPLES, 1):
            owner = owners[example.owner]
            made[example.title] = ref = await _make(example, owner, made)
            run = await runs.accept(ref.version_id, owner, example.inputs, example.seed, f"{KEY}{number}")
            accepted.append(run.run_id)
        return accepted


async def _person(handle: str, name: str, about: str) -> UUID:
    """The account made for examples, or a new one; under another handle where a member has this one."""
    for number in count(1):
        free = handle if number == 1 else f"{handle}-{number}"
        values = (f"{free}@example.invalid", NO_PASSWORD)
        known = await db.fetchval("SELECT id FROM people WHERE email = $1 AND password_hash = $2", *values)
        found: UUID | None = known or await db.fetchval(
            """INSERT INTO people (email, password_hash, handle, name, about) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT DO NOTHING RETURNING id""",
            *values,
            free,
            name,
            about,
        )
        if found is not None:
            return found
    raise AssertionError("numbers do not end")


async def _make(example: Example, owner: UUID, made: dict[str, PipelineRef]) -> PipelineRef:
    details = Details(example.title, example.description, list(example.tags), example.license, "public")
    if not example.parent:
        return await pipelines.create(owner, details, example.recipe)
    offshoot = await forks.fork(made[example.parent].version_id, owner)
    return await pipelines.save(offshoot.id, owner, details, example.recipe, example.note)


async def publish_as_they_arrive() -> None:
    """Publish each example run once it is done; return when none is left to wait for."""
    while waiting := await _pending():
        for run in waiting:
            if run.state == "succeeded":
                await _publish(run)
        await asyncio.sleep(WATCH_EVERY_S)


async def _pending() -> list[Pending]:
    rows = await db.fetch(
        """
        SELECT r.id, r.owner_id, r.state FROM runs r
        JOIN people p ON p.id = r.owner_id AND p.password_hash = $2
        JOIN pipelines l ON l.id = r.pipeline_id AND l.deleted_at IS NULL AND l.visibility = 'public'
        WHERE starts_with(r.idempotency_key, $1) AND r.visibility = 'private'
          AND r.state IN ('queued', 'running', 'succeeded')
        ORDER BY r.finished_at, r.id
        """,
        KEY,
        NO_PASSWORD,
    )
    return [Pending(*row) for row in rows]


async def _publish(run: Pending) -> None:
    try:
        await runs.publish(run.id, run.owner_id)
    except DomainError as error:
        print(f"an example could not be published: {error.message}", flush=True)
