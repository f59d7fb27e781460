"""Comparing two runs, of one version or of two: what they were given, and what came of it.

A run is taken as it was run: with the parameters that it changed, as cells of grids do, and with its own inputs.
"""

from uuid import UUID

from msgspec import Struct

from domain import artifacts, comparisons, db, diff, steps
from domain.changes import Changed, Changes, as_run, told
from domain.comparisons import Result, Written
from domain.errors import NotFound

GONE = "There is no such run, it is private, or it has not succeeded."
OFFERED = 60
"""The newest runs of either pipeline that can be chosen, beside the two that are shown."""


class Side(Struct, frozen=True, kw_only=True):
    """One of the two runs. Of a pipeline that the viewer may not see (any more) there is no title."""

    run_id: UUID
    number: int
    title: str
    pipeline_id: UUID
    version_id: UUID
    version_number: int
    seed: int
    recipe: steps.Recipe
    """As it was run."""


class Choice(Struct, frozen=True, kw_only=True):
    """A run that can be chosen for either side, with what sets it apart."""

    run_id: UUID
    number: int
    pipeline_id: UUID
    version_number: int
    title: str
    seed: int
    changed: list[Changed]
    inputs: dict[str, str]


class RunComparison(Struct, frozen=True, kw_only=True):
    """Everything the page shows."""

    left: Side
    right: Side
    changes: diff.Changes
    peaks: dict[str, str]
    """How loud the sounds are that either takes, as far as that is known, by SHA-256."""
    results: tuple[Result, Result]
    written: list[Written]
    choices: list[Choice]

    @property
    def names(self) -> tuple[str, str]:
        """What the page calls them, in a word or two."""
        if self.left.pipeline_id == self.right.pipeline_id:
            return f"Run {self.left.number}", f"Run {self.right.number}"
        return "Left", "Right"


_OPEN = "p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)"
_SEEN = f"r.state = 'succeeded' AND (r.owner_id = $2 OR r.visibility = 'published' AND {_OPEN})"

_SIDES = f"""
SELECT r.id AS run_id, r.number, r.pipeline_id, r.version_id, v.number AS version_number, r.seed, r.inputs, r.changes,
    v.recipe, CASE WHEN {_OPEN} THEN p.title ELSE '' END AS title
FROM runs r JOIN pipelines p ON p.id = r.pipeline_id JOIN versions v ON v.id = r.version_id
WHERE r.id = ANY ($1) AND {_SEEN}
"""  # noqa: S608 - only constants are put in

_CHOICES = f"""
SELECT r.id AS run_id, r.number, r.pipeline_id, v.number AS version_number, r.seed, r.inputs, r.changes,
    CASE WHEN {_OPEN} THEN p.title ELSE '' END AS title,
    (SELECT array_agg(s.kind ORDER BY s.ordinal) FROM step_runs s WHERE s.run_id = r.id) AS kinds
FROM (
    SELECT unnest($3::uuid[]) AS id
    UNION
    SELECT newest.id FROM unnest($1::uuid[]) AS line (id) CROSS JOIN LATERAL (
        SELECT r.id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
        WHERE r.pipeline_id = line.id AND {_SEEN} ORDER BY r.id DESC LIMIT {OFFERED}
    ) newest
) offered JOIN runs r ON r.id = offered.id
JOIN pipelines p ON p.id = r.pipeline_id JOIN versions v ON v.id = r.version_id
ORDER BY r.id DESC
"""  # noqa: S608 - only constants are put in

_OTHER = f"""
SELECT r.id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id, runs this
WHERE this.id = $1 AND r.pipeline_id = this.pipeline_id AND r.id <> this.id AND {_SEEN}
ORDER BY (SELECT c.grid_id FROM grid_cells c WHERE c.run_id = r.id)
        IS DISTINCT FROM (SELECT c.grid_id FROM grid_cells c WHERE c.run_id = this.id),
    r.version_id <> this.version_id, r.id > this.id, r.id DESC
LIMIT 1
"""  # noqa: S608 - only constants are put in


async def other(run_id: UUID, viewer_id: UUID | None) -> UUID | None:
    """What a run is compared with by default: of its grid and its version if there is one, the one before it rather
    than one after. None where the viewer sees no other. Raises NotFound for a run that they may not see."""
    await _sides(run_id, run_id, viewer_id)
    found: UUID | None = await db.fetchval(_OTHER, run_id, viewer_id)
    return found


async def read(left_id: UUID, right_id: UUID, viewer_id: UUID | None) -> RunComparison:
    """The whole page. Raises NotFound unless the viewer may see both runs and both have succeeded."""
    left, right = await _sides(left_id, right_id, viewer_id)
    made = await comparisons.results(left_id, right_id)
    if made is None:
        raise NotFound(GONE)
    found = diff.changes(left.recipe, right.recipe)
    lines, shown = list({left.pipeline_id, right.pipeline_id}), [left_id, right_id]
    return RunComparison(
        left=left,
        right=right,
        changes=found,
        peaks=await artifacts.peaks(steps.sounds(left.recipe, right.recipe)),
        results=made,
        written=comparisons.written(found, *made),
        choices=[_choice(row) for row in await db.fetch(_CHOICES, lines, viewer_id, shown)],
    )


async def _sides(left_id: UUID, right_id: UUID, viewer_id: UUID | None) -> tuple[Side, Side]:
    rows = {row["run_id"]: row for row in await db.fetch(_SIDES, [left_id, right_id], viewer_id)}
    if left_id not in rows or right_id not in rows:
        raise NotFound(GONE)
    return _side(rows[left_id]), _side(rows[right_id])


def _side(row: db.Record) -> Side:
    plain = dict(row)
    changes: Changes = plain.pop("changes")
    recipe = as_run(steps.convert(plain.pop("recipe")), changes, plain.pop("inputs"))
    return Side(recipe=recipe, **plain)


def _choice(row: db.Record) -> Choice:
    plain = dict(row)
    kinds = dict(enumerate(plain.pop("kinds"), 1))
    return Choice(changed=told(plain.pop("changes"), kinds), **plain)
