"""Grids: one or two parameters of a version varied over their values, every cell an ordinary run.

Reuse, batches and fairness come from the runs. What a page shows of a grid is read in `grid_pages.py`.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import cards, db, runs, steps, versions
from domain.changes import applied
from domain.errors import Conflict, Invalid, NotFound
from domain.estimates import Ask
from domain.grid_axes import MAX_CELLS, SEED, Axis, Cell, cells, encode, too_many
from domain.runs import Wanted

GONE = "There is no such grid, or it is private."


class Plan(Struct, frozen=True, kw_only=True):
    """A grid that was checked and may run: the first axis runs across, a second one down."""

    version_id: UUID
    axes: list[Axis]
    inputs: dict[str, str]
    seed: int | None
    """None draws one for all cells."""
    cells: list[Cell]

    def asks(self, recipe: steps.Recipe) -> list[Ask]:
        """The runs of all cells, for an estimate, of the version's recipe. The seed is chosen."""
        return [
            Ask(recipe=applied(recipe, cell.changes), inputs=cell.inputs, seed=cell.seed or 0) for cell in self.cells
        ]

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked for: equal plans are one request."""
        asked = [str(self.version_id), encode(self.axes), self.inputs, self.seed]
        return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


class Accepted(Struct, frozen=True):
    """Answer to a request to run a grid. `repeated` when the same request was accepted before."""

    grid_id: UUID
    repeated: bool


def plan(
    version_id: UUID,
    recipe: steps.Recipe,
    axes: Sequence[Axis],
    inputs: Mapping[str, str],
    seed: int | None,
    most: int = MAX_CELLS,
    check: Callable[[steps.Recipe], Mapping[str, str]] = versions.check,
) -> Plan:
    """Check a grid over one or two axes of a version's recipe. `check` tells, by form field, what is wrong with what
    a cell runs.

    Raises Invalid with the words by form field: `x`, `x-values`, `y-values`, `y`, `seed` and `input-{name}`.
    """
    asking = next((number for number, step in enumerate(recipe.steps, 1) if step.asks), None)
    if asking is not None:
        raise Invalid({"x": f"Step {asking} waits for a choice, and so would every cell. Take it out in an offshoot"})
    if len({axis.key for axis in axes}) < len(axes):
        raise Invalid({"y": "Choose another parameter than the first"})
    _check_size(axes, most)
    varied = {axis.field: str(axis.values[0]) for axis in axes if not axis.step and axis.key != SEED}
    given = runs.check_inputs(recipe, {**inputs, **varied}, seed)
    found = cells(axes, given, seed)
    for cell in found:
        wrong = check(applied(recipe, cell.changes))
        if wrong:
            raise Invalid(_beside(wrong, axes, cell))
    return Plan(version_id=version_id, axes=list(axes), inputs=given, seed=seed, cells=found)


def _check_size(axes: Sequence[Axis], most: int) -> None:
    sizes = [len(axis.values) for axis in axes]
    count = sizes[0] * (sizes[1] if len(sizes) > 1 else 1)
    if count > most:
        words = f"{' × '.join(f'{size:,}' for size in sizes)} cells. {too_many(count, most)}. Give fewer values"
        raise Invalid({"x-values" if sizes[0] == max(sizes) else "y-values": words})


def _beside(wrong: Mapping[str, str], axes: Sequence[Axis], cell: Cell) -> dict[str, str]:
    """The words of a cell that cannot run, beside the axis that they are about."""
    key, words = next(iter(wrong.items()))
    places = [cell.column, cell.row]
    for name, axis, place in zip(("x-values", "y-values"), axes, places, strict=False):
        if axis.key == key or axis is axes[-1]:
            return {name: f"{axis.shown(axis.values[place])[:40]}: {words}"}
    raise AssertionError("a grid has an axis")


async def create(asked: Plan, owner_id: UUID, key: str, limit: int | None = None) -> Accepted:
    """Queue every cell, all or none, once for each owner and idempotency `key`; returns after commit.

    Raises NotFound for a version the person may not see, Conflict when the key was used for another grid and
    TooMany when the cells do not fit under `limit` runs that have not ended.
    """
    runs.check_key(key)
    async with db.transaction():
        await runs.one_at_a_time(owner_id)
        known = await db.fetchrow(
            "SELECT id, request_sha256 FROM grids WHERE owner_id = $1 AND idempotency_key = $2", owner_id, key
        )
        if known is not None:
            if known["request_sha256"] != asked.digest:
                raise Conflict("This form was already used for another grid. Open it again to run something else.")
            return Accepted(known["id"], repeated=True)
        seed = secrets.randbelow(steps.MAX_SEED + 1) if asked.seed is None else asked.seed
        grid_id = await _insert(asked, owner_id, key, seed)
        wanted = [
            Wanted(
                inputs=cell.inputs,
                seed=seed if cell.seed is None else cell.seed,
                changes=cell.changes,
                key=f"grid-{grid_id}-{place}",
            )
            for place, cell in enumerate(asked.cells)
        ]
        run_ids = await runs.accept_all(asked.version_id, owner_id, wanted, asked.digest, limit)
        await db.execute(
            """INSERT INTO grid_cells (grid_id, cell, run_id)
               SELECT $1, given.place - 1, given.id FROM unnest($2::uuid[]) WITH ORDINALITY AS given (id, place)""",
            grid_id,
            run_ids,
        )
        return Accepted(grid_id, repeated=False)


async def _insert(asked: Plan, owner_id: UUID, key: str, seed: int) -> UUID:
    grid_id: UUID | None = await db.fetchval(
        """INSERT INTO grids (pipeline_id, version_id, owner_id, idempotency_key, request_sha256, axes, inputs, seed)
           SELECT pipeline_id, id, $2, $3, $4, $5, $6, $7 FROM versions WHERE id = $1 RETURNING id""",
        asked.version_id,
        owner_id,
        key,
        asked.digest,
        encode(asked.axes),
        asked.inputs,
        seed,
    )
    if grid_id is None:
        raise NotFound("There is no such version, or it is private.")
    return grid_id


async def stop(grid_id: UUID, person_id: UUID) -> None:
    """Stop every cell that has not ended, the last ones first. Again changes nothing. Raises NotFound.

    Each cell by itself: a worker may hold one of them.
    """
    for run_id, _ in await _cells(grid_id, person_id, ("queued", "running")):
        with suppress(Conflict):
            await runs.cancel(run_id, person_id)


async def retry(grid_id: UUID, person_id: UUID, *, ended: datetime | None = None, limit: int | None = None) -> None:
    """Queue the cells again that failed or were stopped, those that ended after `ended` left out: they were
    queued again since. Raises NotFound, and TooMany as `create` does."""
    again = await _cells(grid_id, person_id, ("failed", "cancelled"), ended)
    async with db.transaction():
        await runs.one_at_a_time(person_id)
        await runs.check_room(person_id, limit, len(again))
    for run_id, at in reversed(again):
        with suppress(Conflict):
            await runs.retry(run_id, person_id, ended=at, limit=limit)


async def _cells(
    grid_id: UUID, person_id: UUID, states: Sequence[str], until: datetime | None = None
) -> list[tuple[UUID, datetime | None]]:
    """The runs of the person's grid that are in one of the states, and when they ended, the last cell first.

    Raises NotFound."""
    if not await db.fetchval("SELECT true FROM grids WHERE id = $1 AND owner_id = $2", grid_id, person_id):
        raise NotFound(GONE)
    rows = await db.fetch(
        """SELECT r.id, r.finished_at FROM grid_cells c JOIN runs r ON r.id = c.run_id
           WHERE c.grid_id = $1 AND r.state = ANY($2::text[])
             AND ($3::timestamptz IS NULL OR r.finished_at <= $3) ORDER BY c.cell DESC""",
        grid_id,
        list(states),
        until,
    )
    return [(row["id"], row["finished_at"]) for row in rows]


async def publish(grid_id: UUID, person_id: UUID, *, to_everyone: bool = False) -> None:
    """Show a grid that has ended, and its results, to everybody who may see the pipeline. Again changes nothing.

    The results are published apart: they do not take the place of single results in lists and on the card.
    `to_everyone` makes a private pipeline of the person's own public along with it. Raises NotFound, and Conflict
    for a grid that still runs, has no result, or whose pipeline stays private.
    """
    async with db.transaction():
        grid = await _locked(grid_id, person_id)
        if grid["published_at"] is not None:
            return
        ready = await db.fetchrow(
            """SELECT bool_and(r.finished_at IS NOT NULL) AS over, count(*) FILTER (WHERE r.state = 'succeeded') AS done
               FROM grid_cells c JOIN runs r ON r.id = c.run_id WHERE c.grid_id = $1""",
            grid_id,
        )
        if ready is None or not ready["over"] or not ready["done"]:
            raise Conflict("Only a grid that has ended, with a result in it, can be published.")
        await db.execute(  # before the pipeline, as `runs.publish` locks them
            """SELECT r.id FROM grid_cells c JOIN runs r ON r.id = c.run_id WHERE c.grid_id = $1
               ORDER BY r.id FOR NO KEY UPDATE OF r""",
            grid_id,
        )
        if to_everyone:
            await runs.open_pipeline(grid["pipeline_id"], person_id)
        await runs.require_seen(grid["pipeline_id"])
        await _set_cells(
            """UPDATE runs r SET visibility = 'published', published_at = now(), apart = true FROM grid_cells c
               WHERE c.grid_id = $1 AND r.id = c.run_id AND r.state = 'succeeded' AND r.visibility = 'private'""",
            grid_id,
            "published",
        )
        await db.execute("UPDATE grids SET published_at = now() WHERE id = $1", grid_id)
        await cards.refresh(grid["pipeline_id"])


async def unpublish(grid_id: UUID, person_id: UUID) -> None:
    """Make a published grid private again, with the results that were published by it. Raises NotFound."""
    async with db.transaction():
        grid = await _locked(grid_id, person_id)
        if grid["published_at"] is None:
            return
        await _set_cells(
            """UPDATE runs r SET visibility = 'private', published_at = NULL, apart = false FROM grid_cells c
               WHERE c.grid_id = $1 AND r.id = c.run_id AND r.apart""",
            grid_id,
            "unpublished",
        )
        await db.execute("UPDATE grids SET published_at = NULL WHERE id = $1", grid_id)
        await cards.refresh(grid["pipeline_id"])


async def _set_cells(update: str, grid_id: UUID, event: str) -> None:
    await db.execute(
        f"WITH changed AS ({update} RETURNING r.id) INSERT INTO events (run_id, name) SELECT id, $2 FROM changed",  # noqa: S608
        grid_id,
        event,
    )


async def _locked(grid_id: UUID, person_id: UUID) -> db.Record:
    row = await db.fetchrow(
        "SELECT id, pipeline_id, published_at FROM grids WHERE id = $1 AND owner_id = $2 FOR NO KEY UPDATE",
        grid_id,
        person_id,
    )
    if row is None:
        raise NotFound(GONE)
    return row
