"""Comparing two versions: what changed between them, and what that did to results of equal seeds.

Only results of the versions as they are count: a run that changed a parameter, as the cells of grids do,
has the version, seed and inputs of a plain one and is no result of it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import artifacts, db, diff, runs, steps, times
from domain.errors import NotFound
from domain.estimates import Ask, Estimate, estimate

GONE = "There is no such version, or it is private."
VERSIONS = 50
"""Newest versions of either pipeline that are offered; the others are reached by their address."""
ANCESTORS = 40
PAIRS = 24
"""Seeds with results on both sides that a page lists, the newest first."""
LOOKED_AT = 500
"""Results of the side with fewer runs that are looked through for those pairs."""
FEW = 4
"""Seeds that one click tries."""
MAX_SEEDS = 8


class Side(Struct, frozen=True, kw_only=True):
    """One of the two versions. Of a removed pipeline only the recipe is left."""

    version_id: UUID
    pipeline_id: UUID
    number: int
    state: Literal["shown", "removed"]
    title: str
    owner_handle: str
    owner_name: str
    generation: int
    recipe: steps.Recipe
    grown_from: UUID | None
    """The version that the pipeline grew from."""
    run_count: int
    my_seed: int | None
    """Seed of the viewer's newest result of this version as it is, if it is among their last 100 runs."""
    cover_seed: int | None
    """Seed of the result on the pipeline's card, if it is one of this version as it is."""

    @property
    def url(self) -> str:
        return f"/pipelines/{self.pipeline_id}/versions/{self.number}"

    @property
    def defaults(self) -> dict[str, str]:
        """The inputs of a run that sets none."""
        return {entry.name: entry.default for entry in self.recipe.inputs}


class Sides(Struct, frozen=True):
    """The two versions, the older or the one grown from on the left."""

    left: Side
    right: Side

    @property
    def names(self) -> tuple[str, str]:
        """What the page calls them, in a word or two."""
        left, right = self.left, self.right
        if left.pipeline_id == right.pipeline_id:
            return f"Version {left.number}", f"Version {right.number}"
        if right.grown_from == left.version_id:
            return "Parent", "Offshoot"
        if left.grown_from == right.version_id:
            return "Offshoot", "Parent"
        return "Left", "Right"

    @property
    def runnable(self) -> bool:
        """Whether both can still be run, with nobody asked to choose."""
        shown = self.left.state == self.right.state == "shown" and self.left.version_id != self.right.version_id
        return shown and not self.asks

    @property
    def asks(self) -> bool:
        """Whether a run of either waits for its owner to choose."""
        return any(step.asks for side in (self.left, self.right) if side.recipe for step in side.recipe.steps)


class Choice(Struct, frozen=True, kw_only=True):
    """A version that can be chosen for either side."""

    version_id: UUID
    pipeline_id: UUID
    number: int
    title: str
    """Empty for a removed pipeline."""
    owner_handle: str
    distance: int
    """Generations above the nearer of the two; 0 for a version of one of their pipelines."""


class Result(Struct, frozen=True, kw_only=True):
    """What one run's last step made."""

    run_id: UUID
    run_number: int
    owner_handle: str
    published: bool
    seconds: float | None
    pictures: list["Picture"]
    peaks: str
    """How loud a sound is from beginning to end, as its receipt has it."""
    texts: dict[int, str]
    """What its steps wrote, by step number."""


class Picture(Struct, frozen=True):
    """A file of the last step."""

    sha256: str
    media_type: str
    width: int | None
    height: int | None


class Written(Struct, frozen=True):
    """The difference between what two steps wrote."""

    step: int
    tokens: list[diff.Token]


class Pair(Struct, frozen=True):
    """Runs of both versions as they are, with one seed and the same inputs."""

    seed: int
    left: UUID
    right: UUID


class Comparison(Struct, frozen=True, kw_only=True):
    """Everything the page shows."""

    sides: Sides
    changes: diff.Changes
    peaks: dict[str, str]
    """How loud the sounds are that either takes, as far as that is known, by SHA-256."""
    choices: list[Choice]
    pairs: list[Pair]
    pair: Pair | None
    """The one shown large."""
    results: tuple[Result, Result] | None
    written: list[Written]
    seed: int
    """A seed to run both with: one that a side knows already, if there is one."""
    seeds: list[int]
    """A few to try both with."""
    cost_of_seed: Estimate | None
    cost_of_seeds: Estimate | None
    """None for a visitor, or where nothing can be run."""


class Cell(Struct, frozen=True, kw_only=True):
    """One run in the table: version of a side as it is, seed of a row. `run_id` None: it has not been run."""

    run_id: UUID | None = None
    state: str = "missing"
    percent: int = 0
    mine: bool = False
    sha256: str | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    text: str = ""

    @property
    def alive(self) -> bool:
        return self.state in ("queued", "running")


class Table(Struct, frozen=True, kw_only=True):
    """Both versions over a few seeds."""

    sides: Sides
    rows: list[tuple[int, Cell, Cell]]
    cost: Estimate | None
    """What running the missing cells takes; None for a visitor, or where nothing can be run."""
    tag: str
    """Changes whenever anything shown changes."""

    @property
    def cells(self) -> list[Cell]:
        return [cell for _, left, right in self.rows for cell in (left, right)]

    @property
    def alive(self) -> bool:
        return any(cell.alive for cell in self.cells)

    @property
    def done(self) -> int:
        return sum(cell.state == "succeeded" for cell in self.cells)

    @property
    def missing(self) -> int:
        return sum(not cell.alive and cell.state != "succeeded" for cell in self.cells)


_SIDES = """
SELECT v.id AS version_id, v.pipeline_id, v.number, v.recipe, p.title, p.deleted_at IS NOT NULL AS removed, p.run_count,
    p.generation, o.handle, o.name, first.parent_id AS grown_from,
    (SELECT mine.seed FROM (SELECT * FROM runs WHERE owner_id = $2 ORDER BY id DESC LIMIT 100) mine
        WHERE mine.version_id = v.id AND mine.state = 'succeeded' AND mine.changes = '{}'
        ORDER BY mine.id DESC LIMIT 1) AS my_seed,
    (SELECT r.seed FROM runs r WHERE r.id = p.cover_run_id AND r.version_id = v.id AND r.changes = '{}') AS cover_seed
FROM versions v JOIN pipelines p ON p.id = v.pipeline_id JOIN people o ON o.id = p.owner_id
JOIN versions first ON first.pipeline_id = p.id AND first.number = 1
WHERE v.id = ANY($1) AND (p.visibility <> 'private' OR p.owner_id = $2)
"""

_BEFORE = """
SELECT first.parent_id AS grown_from, earlier.id AS earlier FROM versions v
JOIN versions first ON first.pipeline_id = v.pipeline_id AND first.number = 1
LEFT JOIN versions earlier ON earlier.pipeline_id = v.pipeline_id AND earlier.number = v.number - 1
WHERE v.id = $1
"""

_CHOICES = f"""
WITH RECURSIVE up AS (
    SELECT first.parent_id AS id, 1 AS distance FROM versions first
    WHERE first.pipeline_id = ANY($1) AND first.number = 1
    UNION
    SELECT first.parent_id, up.distance + 1 FROM up JOIN versions at ON at.id = up.id
    JOIN versions first ON first.pipeline_id = at.pipeline_id AND first.number = 1 WHERE up.distance < {ANCESTORS}
), nearest AS (
    SELECT id, min(distance) AS distance FROM up WHERE id IS NOT NULL GROUP BY id
)
SELECT v.id AS version_id, v.pipeline_id, v.number, p.title, o.handle AS owner_handle, near.distance
FROM (
    SELECT id, distance FROM nearest
    UNION ALL
    SELECT newest.id, 0 FROM unnest($1::uuid[]) AS line (id) CROSS JOIN LATERAL (
        SELECT id FROM versions WHERE pipeline_id = line.id ORDER BY number DESC LIMIT {VERSIONS}
    ) newest
) near
JOIN versions v ON v.id = near.id JOIN pipelines p ON p.id = v.pipeline_id JOIN people o ON o.id = p.owner_id
WHERE p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
ORDER BY near.distance, v.pipeline_id DESC, v.number DESC
"""  # noqa: S608 - only constants are put in

_SEEN = """r.state = 'succeeded' AND r.changes = '{}' AND (r.owner_id = $3
    OR r.visibility = 'published' AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $3))"""

_PAIRS = f"""
WITH fewer AS (
    SELECT r.id, r.seed, r.inputs FROM (
        SELECT * FROM runs WHERE version_id = $1 AND state = 'succeeded' AND changes = '{{}}'
            AND (owner_id = $3 OR visibility = 'published')
        ORDER BY seed LIMIT {LOOKED_AT}
    ) r JOIN pipelines p ON p.id = r.pipeline_id WHERE {_SEEN}
), found AS (
    SELECT DISTINCT ON (fewer.seed) fewer.seed, fewer.id AS fewer_id, other.id AS other_id
    FROM fewer CROSS JOIN LATERAL (
        SELECT r.id FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
        WHERE r.version_id = $2 AND r.seed = fewer.seed AND {_SEEN}
          AND (r.inputs = fewer.inputs OR fewer.inputs = $4 AND r.inputs = $5)
        ORDER BY r.id DESC LIMIT 1
    ) other
    ORDER BY fewer.seed, fewer.inputs = $4 DESC, fewer.id DESC
)
SELECT seed, fewer_id, other_id FROM found ORDER BY greatest(fewer_id, other_id) DESC LIMIT {PAIRS}
"""  # noqa: S608 - only constants are put in

_RESULTS = f"""
SELECT r.id AS run_id, r.number, r.visibility = 'published' AS published, o.handle,
    {times.run("r.id")} AS seconds, s.ordinal, s.output_text,
    coalesce(s.receipt -> 'parameters' ->> 'peaks', '') AS peaks,
    (SELECT jsonb_agg(jsonb_build_object('sha256', a.sha256, 'media_type', a.media_type, 'width', a.width,
            'height', a.height) ORDER BY f.position)
        FROM outputs f JOIN artifacts a ON a.sha256 = f.sha256 WHERE f.step_run_id = s.id) AS pictures
FROM runs r JOIN people o ON o.id = r.owner_id JOIN step_runs s ON s.run_id = r.id
WHERE r.id = ANY($1) ORDER BY s.ordinal
"""  # noqa: S608 - only constants are put in

_CELLS = """
SELECT asked.place, run.*, made.sha256, made.media_type, made.width, made.height,
    coalesce(said.output_text, '') AS text,
    (SELECT avg(CASE WHEN s.state IN ('succeeded', 'reused') THEN 100.0
            WHEN s.state = 'running' AND s.progress_total > 0 THEN 100.0 * s.progress / s.progress_total
            ELSE 0 END)::int FROM step_runs s WHERE s.run_id = run.run_id) AS percent
FROM unnest($1::int[], $2::uuid[], $4::bigint[], $5::jsonb[]) AS asked (place, version_id, seed, inputs)
CROSS JOIN LATERAL (
    SELECT r.id AS run_id, r.state, r.owner_id IS NOT DISTINCT FROM $3 AS mine
    FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
    WHERE r.version_id = asked.version_id AND r.seed = asked.seed AND r.inputs = asked.inputs AND r.changes = '{}'
        AND (r.owner_id = $3 OR r.state = 'succeeded' AND r.visibility = 'published' AND p.deleted_at IS NULL
        AND (p.visibility <> 'private' OR p.owner_id = $3))
    ORDER BY r.state = 'succeeded' DESC, r.finished_at IS NULL DESC, r.id DESC LIMIT 1
) run
LEFT JOIN LATERAL (
    SELECT a.sha256, a.media_type, a.width, a.height FROM step_runs s
    JOIN outputs f ON f.step_run_id = s.id JOIN artifacts a ON a.sha256 = f.sha256
    WHERE s.run_id = run.run_id AND run.state = 'succeeded' ORDER BY s.ordinal DESC, f.position LIMIT 1
) made ON true
LEFT JOIN LATERAL (
    SELECT left(s.output_text, 600) AS output_text FROM step_runs s
    WHERE s.run_id = run.run_id AND s.output_text IS NOT NULL ORDER BY s.ordinal DESC LIMIT 1
) said ON true
"""


async def sides(left_id: UUID, right_id: UUID, viewer_id: UUID | None) -> Sides:
    """Both versions. A removed pipeline's stays for the offshoot that grew from it.

    One query. Raises NotFound unless the viewer may see both.
    """
    rows = {row["version_id"]: row for row in await db.fetch(_SIDES, [left_id, right_id], viewer_id)}
    left, right = rows.get(left_id), rows.get(right_id)
    if left is None or right is None or not (_stays(left, right) and _stays(right, left)):
        raise NotFound(GONE)
    return Sides(_side(left), _side(right))


def _stays(row: db.Record, other: db.Record) -> bool:
    return not row["removed"] or (other["grown_from"] == row["version_id"] and not other["removed"])


def _side(row: db.Record) -> Side:
    shown = not row["removed"]
    return Side(
        version_id=row["version_id"],
        pipeline_id=row["pipeline_id"],
        number=row["number"],
        state="shown" if shown else "removed",
        title=row["title"] if shown else "",
        owner_handle=row["handle"] if shown else "",
        owner_name=(row["name"] or row["handle"]) if shown else "",
        generation=row["generation"],
        recipe=steps.convert(row["recipe"]),
        grown_from=row["grown_from"],
        run_count=row["run_count"],
        my_seed=row["my_seed"],
        cover_seed=row["cover_seed"] if shown else None,
    )


async def before(version_id: UUID, viewer_id: UUID | None) -> UUID | None:
    """What a version is compared with by default: the one its pipeline grew from, else the version before.

    None where the viewer may see neither. Raises NotFound for a version that they may not see.
    """
    await sides(version_id, version_id, viewer_id)
    row = await db.fetchrow(_BEFORE, version_id)
    earlier: list[UUID | None] = list(row or ())
    for left_id in filter(None, earlier):
        with suppress(NotFound):
            await sides(left_id, version_id, viewer_id)
            return left_id
    return None


async def read(
    left_id: UUID, right_id: UUID, viewer_id: UUID | None, *, seed: int | None = None, seeds: Sequence[int] = ()
) -> Comparison:
    """The whole page; `seed` chooses the results shown, `seeds` those that a click would try.

    Raises NotFound unless the viewer may see both versions. Ten queries, and one for each step that
    is known already.
    """
    both = await sides(left_id, right_id, viewer_id)
    found = diff.changes(both.left.recipe, both.right.recipe)
    pairs = await _pairs(both, viewer_id)
    pair = next((one for one in pairs if one.seed == seed), None) or (pairs[0] if pairs else None)
    made = await results(pair.left, pair.right) if pair else None
    next_seed = _next_seed(both, pairs)
    few = list(seeds) or [(_first(pairs, next_seed) + at) % (steps.MAX_SEED + 1) for at in range(FEW)]
    costs = await _costs(both, [[next_seed], few], viewer_id)
    return Comparison(
        sides=both,
        changes=found,
        peaks=await artifacts.peaks(steps.sounds(both.left.recipe, both.right.recipe)),
        choices=await _choices(both, viewer_id),
        pairs=pairs,
        pair=pair if made else None,
        results=made,
        written=written(found, *made) if made else [],
        seed=next_seed,
        seeds=few,
        cost_of_seed=costs[0] if costs else None,
        cost_of_seeds=costs[1] if costs else None,
    )


def _first(pairs: Sequence[Pair], otherwise: int) -> int:
    return pairs[-1].seed if pairs else otherwise


def _next_seed(both: Sides, pairs: Sequence[Pair]) -> int:
    """A seed without a pair: one that either side has, so that only the other is run."""
    taken = {pair.seed for pair in pairs}
    known = (both.right.my_seed, both.left.my_seed, both.right.cover_seed, both.left.cover_seed)
    free = [seed for seed in known if seed is not None and seed not in taken]
    return free[0] if free else (max(taken) + 1) % (steps.MAX_SEED + 1) if taken else 1


async def _choices(both: Sides, viewer_id: UUID | None) -> list[Choice]:
    """The versions of both pipelines, then their other ancestors from the nearest up. The walk is bounded."""
    lines = sorted({both.left.pipeline_id, both.right.pipeline_id}, reverse=True)
    rows = [Choice(**row) for row in await db.fetch(_CHOICES, lines, viewer_id)]
    found: dict[UUID, Choice] = {}
    for choice in rows:
        found.setdefault(choice.version_id, choice)
    offered = [_as_choice(side) for side in (both.left, both.right) if side.version_id not in found]
    return [*{choice.version_id: choice for choice in offered}.values(), *found.values()]


def _as_choice(side: Side) -> Choice:
    return Choice(
        version_id=side.version_id,
        pipeline_id=side.pipeline_id,
        number=side.number,
        title=side.title,
        owner_handle=side.owner_handle,
        distance=0,
    )


async def _pairs(both: Sides, viewer_id: UUID | None) -> list[Pair]:
    """Seeds with results on both sides, those read first that belong to the pipeline with fewer runs."""
    if both.left.version_id == both.right.version_id:
        return []
    fewer, other = sorted((both.left, both.right), key=lambda side: side.run_count)
    rows = await db.fetch(_PAIRS, fewer.version_id, other.version_id, viewer_id, fewer.defaults, other.defaults)
    if fewer is both.left:
        return [Pair(row["seed"], row["fewer_id"], row["other_id"]) for row in rows]
    return [Pair(row["seed"], row["other_id"], row["fewer_id"]) for row in rows]


async def results(left_id: UUID, right_id: UUID) -> tuple[Result, Result] | None:
    """What both runs made; None where one went a moment ago."""
    rows = await db.fetch(_RESULTS, [left_id, right_id])
    if {row["run_id"] for row in rows} != {left_id, right_id}:
        return None
    return _result(rows, left_id), _result(rows, right_id)


def _result(rows: Sequence[db.Record], run_id: UUID) -> Result:
    mine = [row for row in rows if row["run_id"] == run_id]
    return Result(
        run_id=run_id,
        run_number=mine[-1]["number"],
        owner_handle=mine[-1]["handle"],
        published=mine[-1]["published"],
        seconds=mine[-1]["seconds"],
        pictures=msgspec.convert(mine[-1]["pictures"] or [], list[Picture]),
        peaks=mine[-1]["peaks"],
        texts={row["ordinal"]: row["output_text"] for row in mine if row["output_text"] is not None},
    )


def written(found: diff.Changes, left: Result, right: Result) -> list[Written]:
    """What aligned steps wrote differently, where their prompts do not say it already."""
    work = diff.Work()
    told = [prompt.tokens for change in found.steps for prompt in change.prompts]
    pairs = [
        (change.after, left.texts.get(change.before or 0, ""), right.texts.get(change.after or 0, ""))
        for change in found.steps
    ]
    found_texts = [
        Written(at, diff.words(was, now, work)) for at, was, now in pairs if at and was and now and was != now
    ]
    return [one for one in found_texts if one.tokens not in told]


# -- both versions over a few seeds -----------------------------------------------------------


async def table(left_id: UUID, right_id: UUID, viewer_id: UUID | None, seeds: Sequence[int]) -> Table:
    """What is known of both versions with these seeds and the inputs they come with.

    Of each cell's runs a finished one is shown first, then one under way. Raises NotFound unless the
    viewer may see both versions.
    """
    both = await sides(left_id, right_id, viewer_id)
    rows = await _rows(both, seeds, viewer_id)
    found = Table(sides=both, rows=rows, cost=None, tag=_tag(both, rows))
    if viewer_id is None or not both.runnable or not found.missing:
        return found
    return msgspec.structs.replace(found, cost=await estimate(_asks(both, rows), viewer_id))


async def _rows(both: Sides, seeds: Sequence[int], viewer_id: UUID | None) -> list[tuple[int, Cell, Cell]]:
    wanted = [(side, seed) for seed in seeds for side in (both.left, both.right)]
    rows = await db.fetch(
        _CELLS,
        list(range(len(wanted))),
        [side.version_id for side, _ in wanted],
        viewer_id,
        [seed for _, seed in wanted],
        [side.defaults for side, _ in wanted],
    )
    cells: dict[int, Cell] = {row["place"]: _cell(row) for row in rows}
    return [(seed, cells.get(2 * at, Cell()), cells.get(2 * at + 1, Cell())) for at, seed in enumerate(seeds)]


def _cell(row: Mapping[str, Any]) -> Cell:
    plain = {name: value for name, value in row.items() if name != "place"}
    return Cell(**{**plain, "percent": row["percent"] or 0})


def _asks(both: Sides, rows: Sequence[tuple[int, Cell, Cell]]) -> list[Ask]:
    return [
        Ask(recipe=side.recipe, inputs=side.defaults, seed=seed)
        for seed, left, right in rows
        for side, cell in ((both.left, left), (both.right, right))
        if not cell.alive and cell.state != "succeeded"
    ]


def _tag(both: Sides, rows: Sequence[tuple[int, Cell, Cell]]) -> str:
    truth = [both.left.title, both.right.title, rows]
    return hashlib.sha256(msgspec.json.encode(truth)).hexdigest()[:20]


async def _costs(both: Sides, groups: Sequence[Sequence[int]], viewer_id: UUID | None) -> list[Estimate]:
    """What each group of seeds would take; empty for a visitor, or where nothing can be run."""
    if viewer_id is None or not both.runnable:
        return []
    seeds = sorted({seed for group in groups for seed in group})
    rows = {row[0]: row for row in await _rows(both, seeds, viewer_id)}
    return [await estimate(_asks(both, [rows[seed] for seed in group]), viewer_id) for group in groups]


async def run(
    left_id: UUID, right_id: UUID, person_id: UUID, seeds: Sequence[int], key: str, *, limit: int | None = None
) -> int:
    """Start what is not known or under way of both versions with these seeds; returns how many runs.

    All of them or none: raises NotFound for versions the person may not run, and what `runs.accept`
    raises. The same `key` starts nothing twice.
    """
    both = await sides(left_id, right_id, person_id)
    if not both.runnable:
        raise NotFound(GONE)
    rows = await _rows(both, seeds, person_id)
    wanted = [
        (side, seed)
        for seed, left, right in rows
        for side, cell in ((both.left, left), (both.right, right))
        if not cell.alive and cell.state != "succeeded"
    ]
    # pipelines are locked from child to parent, as whatever refreshes their cards does
    wanted.sort(key=lambda one: (-one[0].generation, -one[0].pipeline_id.int, one[0].number))
    async with db.transaction():
        for side, seed in wanted:
            once = f"{key[:100]}-{side.version_id.hex}-{seed}"
            await runs.accept(side.version_id, person_id, {}, seed, once, limit=limit)
    return len(wanted)
