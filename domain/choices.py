"""Choosing among a step's pictures: the run waits for its owner, in the state `choosing`, and no worker with it."""

from collections.abc import Collection
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import advance, db, runs, steps
from domain.errors import Conflict, Invalid

CHOSEN = "You have chosen already. Run the version again to choose something else."


class Asked(Struct, frozen=True):
    """What a step that waits for a choice asks: the step whose pictures it is about, and how many may be chosen."""

    source: int
    most: int


def asked(ordinal: int, step: dict[str, object]) -> Asked:
    """What a stored step asks."""
    return Asked(advance.source_of(ordinal, step), msgspec.convert(step, steps.Pick).most)


async def choose(run_id: UUID, person_id: UUID, ordinal: int, places: Collection[int]) -> None:
    """Let the pictures at these places, counted from 1, go on, and the run with them. The same choice again changes
    nothing.

    Raises NotFound for other people's runs, Invalid (field `picture`) for places that cannot be chosen, and Conflict
    for a step that does not wait for a choice.
    """
    async with db.transaction():
        run = await runs.locked(run_id, person_id)
        step_run_id = await db.fetchval(
            "SELECT id FROM step_runs WHERE run_id = $1 AND ordinal = $2 AND kind = 'pick'", run_id, ordinal
        )
        if step_run_id is None:
            raise Conflict("That step asks nothing.")
        step = await advance.step_of(step_run_id)
        if step["state"] == "succeeded":
            if sorted(step["receipt"]["parameters"]["chosen"]) == sorted(set(places)):
                return
            raise Conflict(CHOSEN)
        if step["state"] != "choosing":
            raise Conflict("This run has ended." if run["finished_at"] else "There is nothing to choose yet.")
        ready, refused = await advance.try_prepared(step)
        if ready is None:
            raise Conflict(refused)
        most = min(asked(ordinal, step["step"]).most, len(ready.pictures))
        wanted = sorted(set(places))
        if not 1 <= len(wanted) <= most or not 1 <= wanted[0] <= wanted[-1] <= len(ready.pictures):
            raise Invalid({"picture": "Choose one picture" if most == 1 else f"Choose 1 to {most} pictures"})
        await advance.chosen(step, ready, wanted)
        await advance.advance(run_id)
