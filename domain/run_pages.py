"""Reading runs: one page's struct, the same cheaply for polls, previews and a person's list."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from domain import db, forecast, licenses, services, steps, times, upscalers
from domain.changes import Changed, Changes, told
from domain.errors import NotFound

GONE = "There is no such run, or it is private."
OVER = ("succeeded", "failed", "cancelled")
PAGE = 24


class Picture(Struct, frozen=True):
    """A file that a step produced, and the seed it came from."""

    sha256: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    seed: int | None


class Heard(Struct, frozen=True):
    """The sound that a step wrote down."""

    sha256: str
    peaks: str
    """How loud it is from beginning to end; "" where nobody knows."""
    kept: bool
    """Whether somebody uploaded it; else an earlier step made it."""


class Source(Struct, frozen=True):
    """The run whose result was reused."""

    run_id: UUID
    number: int
    title: str
    handle: str
    mine: bool


class StepPage(Struct, kw_only=True):
    """One step of one run. Times are seconds; unknown ones are None."""

    id: UUID
    ordinal: int
    kind: str
    label: str
    state: str
    attempt: int
    step: dict[str, Any]
    resolved: dict[str, Any]
    progress: int
    progress_total: int
    phase: str
    error: str
    output_text: str
    pictures: list[Picture]
    place: int | None
    """1 for the next to start in its queue; None unless queued."""
    preview: int | None
    """The pass after which the preview looks so, when there is one."""
    unserved: bool = False
    """Whether it is queued and no worker is there for it."""
    lacking: list[str] = []
    """The models that it needs, where it is queued and no worker that is there has them all."""
    preview_text: str | None = None
    """The text so far, while one is being written and some of it is there."""
    elapsed: float | None
    left: float | None
    """About how many seconds of work remain in this step."""
    source: "Source | None"
    """Whose result this step reused, when it did and the viewer may see it."""
    receipt: dict[str, Any]
    """What makes the result repeatable; empty until the step is done."""
    timings: dict[str, float]
    upload_peaks: str = ""
    """How loud the sound is that it takes, where somebody uploaded that."""

    @property
    def percent(self) -> int:
        """How much is done, in whole percent."""
        return min(100 * self.progress // self.progress_total, 100) if self.progress_total else 0

    @property
    def peaks(self) -> str:
        """How loud the sound is that it made, from beginning to end; "" for anything else."""
        return str(self.receipt.get("parameters", {}).get("peaks", ""))

    def value(self, field: str) -> Any:
        """A parameter as it was used: resolved if known, else as the recipe has it."""
        if upscalers.idle(field, self.step):
            return None
        found = self.resolved.get(field)
        return self.step.get(field) if found is None else found


class EventLine(Struct, frozen=True):
    """Something that happened to a run, in words."""

    at: datetime
    words: str


class RunPage(Struct, kw_only=True):
    """A run as its page shows it. `events` stays empty for polls."""

    id: UUID
    number: int
    pipeline_id: UUID
    pipeline_title: str
    """Empty when the viewer may not see the pipeline (any more)."""
    pipeline_visibility: str
    pipeline_mine: bool
    license: licenses.License
    """The pipeline's."""
    generation: int
    offshoot_count: int
    version_id: UUID
    version_number: int
    owner_id: UUID
    owner_handle: str
    owner_name: str
    mine: bool
    inputs: dict[str, str]
    seed: int
    state: str
    published: bool
    cancelling: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    """From the first start to the end, or until now; for others what the steps took, see `_shown_seconds`."""
    starts_in: float | None
    left: float | None
    steps: list[StepPage]
    events: list[EventLine]
    tag: str
    """Changes whenever anything a poll shows changes."""
    changes: Changes = {}
    grid_id: UUID | None = None
    """The grid that it is a cell of, if the viewer may see that."""

    @property
    def changed(self) -> list[Changed]:
        """What it was run with instead of what the version has."""
        return told(self.changes, {step.ordinal: step.kind for step in self.steps})

    @property
    def may_fork(self) -> bool:
        """Whether an offshoot of it may be made: by its own pipeline's owner always, by others as the license says."""
        seen = self.state == "succeeded" and bool(self.pipeline_title)
        return seen and (self.pipeline_mine or self.license.derivatives)

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def resumable(self) -> bool:
        """Whether the viewer may let it go on from where it ended."""
        return self.mine and self.state in ("failed", "cancelled")

    @property
    def choosing(self) -> StepPage | None:
        """The step for which the viewer has to choose before the run can go on."""
        return next((step for step in self.steps if self.mine and step.state == "choosing"), None)

    def heard(self, step: StepPage) -> Heard | None:
        """The sound that a step wrote down. Whoever may not see the pipeline may not hear what was uploaded for it."""
        if upload := step.step.get("upload"):
            return Heard(upload, step.upload_peaks, kept=True) if self.pipeline_title else None
        taken = step.receipt.get("inputs") or ()
        found = [(one, made) for one in self.steps for made in one.pictures if made.sha256 in taken]
        return next((Heard(made.sha256, one.peaks, kept=False) for one, made in found), None)

    @property
    def current(self) -> StepPage | None:
        """The step that is running, queued, waits for a choice, or at which the run ended badly."""
        for wanted in ("running", "queued", "choosing", "failed"):
            for step in self.steps:
                if step.state == wanted:
                    return step
        return None


_RUN = f"""
SELECT r.id AS run_id, r.number, r.pipeline_id, r.version_id, r.owner_id, r.inputs, r.seed, r.state AS run_state,
    r.visibility, r.cancel_requested_at, r.created_at, r.started_at AS run_started, r.finished_at AS run_finished,
    r.changes, (SELECT g.id FROM grid_cells c JOIN grids g ON g.id = c.grid_id
        WHERE c.run_id = r.id AND (g.owner_id = $2 OR g.published_at IS NOT NULL)) AS grid_id,
    p.visibility AS pipeline_visibility, p.license, p.generation, p.offshoot_count, v.number AS version_number,
    CASE WHEN p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2) THEN p.title ELSE '' END AS title,
    o.handle, o.name, coalesce(r.owner_id = $2, false) AS mine,
    coalesce(p.owner_id = $2, false) AS pipeline_mine, now() AS now,
    s.id, s.ordinal, s.kind, s.model, s.state, s.attempt, s.step, s.resolved, s.progress, s.progress_total, s.phase,
    s.progress_at, s.error_message, s.output_text, s.receipt, s.timings,
    (SELECT heard.peaks FROM artifacts heard WHERE heard.sha256 = s.step ->> 'upload') AS upload_peaks,
    s.queued_at, s.started_at, s.finished_at, {times.step("s")} AS took, preview.done AS preview,
    CASE WHEN preview.media_type = 'text/plain' THEN convert_from(preview.data, 'UTF8') END AS preview_text,
    CASE WHEN s.state = 'queued' THEN (
        SELECT count(*) FROM step_runs q
        WHERE q.state = 'queued' AND q.queue = s.queue
          AND (q.priority > s.priority
            OR q.priority = s.priority AND (q.turn, q.queued_at, q.id) < (s.turn, s.queued_at, s.id))
    ) END AS ahead,
    s.state = 'queued' AND {services.unserved("s.queue", "s.kind")} AS unserved,
    CASE WHEN s.state = 'queued' AND {services.unable("s.queue", "s.kind", "s.needs")} THEN s.needs
        ELSE '{{}}' END AS lacking,
    from_run.id AS from_id, from_run.number AS from_number, from_line.title AS from_title,
    from_owner.handle AS from_handle, from_run.owner_id = $2 AS from_mine,
    (SELECT jsonb_agg(jsonb_build_object('sha256', a.sha256, 'media_type', a.media_type, 'bytes', a.bytes,
            'width', a.width, 'height', a.height, 'seed', f.seed) ORDER BY f.position)
        FROM outputs f JOIN artifacts a ON a.sha256 = f.sha256 WHERE f.step_run_id = s.id) AS pictures
FROM runs r
JOIN pipelines p ON p.id = r.pipeline_id
JOIN versions v ON v.id = r.version_id
JOIN people o ON o.id = r.owner_id
JOIN step_runs s ON s.run_id = r.id
LEFT JOIN previews preview ON preview.step_run_id = s.id AND s.state = 'running'
LEFT JOIN step_runs from_step ON from_step.id = s.reused_from
LEFT JOIN (runs from_run JOIN pipelines from_line ON from_line.id = from_run.pipeline_id
        JOIN people from_owner ON from_owner.id = from_run.owner_id)
    ON from_run.id = from_step.run_id AND from_line.deleted_at IS NULL AND (
        from_run.owner_id = $2 OR from_run.visibility = 'published' AND from_line.visibility = 'public')
WHERE r.id = $1 AND (
    r.owner_id = $2
    OR r.visibility = 'published' AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
)
ORDER BY s.ordinal
"""  # noqa: S608 - only constants are put in


async def read(run_id: UUID, viewer_id: UUID | None) -> RunPage:
    """The whole page. Raises NotFound, also for a run that the viewer may not see."""
    page = await progress(run_id, viewer_id)
    page.events = await _events(run_id)
    return page


async def progress(run_id: UUID, viewer_id: UUID | None) -> RunPage:
    """What a poll shows, in two queries (one when the run is over). Raises NotFound."""
    rows = await db.fetch(_RUN, run_id, viewer_id)
    if not rows:
        raise NotFound(GONE)
    rates: dict[tuple[str, str], float] = {}
    if rows[0]["run_state"] not in OVER:
        rates = await forecast.rates((row["kind"], row["model"]) for row in rows)
    return _page(rows, rates, viewer_id)


def _page(rows: Sequence[db.Record], rates: Mapping[tuple[str, str], float], viewer_id: UUID | None) -> RunPage:
    run = rows[0]
    parts = [_step(row, rates) for row in rows]
    queued = next((part for part in parts if part.state == "queued"), None)
    expected = None if queued is None or queued.place is None else forecast.seconds(queued.step, rates)
    return RunPage(
        id=run["run_id"],
        number=run["number"],
        pipeline_id=run["pipeline_id"],
        pipeline_title=run["title"],
        pipeline_visibility=run["pipeline_visibility"],
        pipeline_mine=run["pipeline_mine"],
        license=licenses.of(run["license"]),
        generation=run["generation"],
        offshoot_count=run["offshoot_count"],
        version_id=run["version_id"],
        version_number=run["version_number"],
        owner_id=run["owner_id"],
        owner_handle=run["handle"],
        owner_name=run["name"],
        mine=run["owner_id"] == viewer_id,
        inputs=run["inputs"],
        seed=run["seed"],
        state=run["run_state"],
        published=run["visibility"] == "published",
        cancelling=run["cancel_requested_at"] is not None and run["run_state"] not in OVER,
        created_at=run["created_at"],
        started_at=run["run_started"],
        finished_at=run["run_finished"],
        seconds=_shown_seconds(rows, parts),
        starts_in=None if expected is None or queued is None else expected * ((queued.place or 1) - 1),
        left=forecast.total([part.left for part in parts if part.state in ("waiting", "queued", "running")]),
        steps=parts,
        events=[],
        tag=_tag(rows),
        changes=run["changes"],
        grid_id=run["grid_id"],
    )


def _step(row: db.Record, rates: Mapping[tuple[str, str], float]) -> StepPage:
    kind = steps.KINDS.get(row["kind"])
    return StepPage(
        id=row["id"],
        ordinal=row["ordinal"],
        kind=row["kind"],
        label=row["step"].get("title") or (kind.label if kind else row["kind"]),
        state=_shown_state(row),
        attempt=row["attempt"],
        step=row["step"],
        resolved=row["resolved"] or {},
        progress=row["progress"],
        progress_total=row["progress_total"],
        phase=row["phase"],
        error=row["error_message"] or "",
        output_text=row["output_text"] or "",
        pictures=msgspec.convert(row["pictures"] or [], list[Picture]),
        place=None if row["ahead"] is None else row["ahead"] + 1,
        preview=row["preview"],
        unserved=bool(row["unserved"]),
        lacking=row["lacking"],
        preview_text=row["preview_text"],
        elapsed=_elapsed(row),
        left=_left(row, rates),
        source=_source(row),
        receipt=row["receipt"] or {},
        timings=row["timings"] or {},
        upload_peaks=row["upload_peaks"] or "",
    )


def _shown_state(row: db.Record) -> str:
    """That a result was reused tells others that it existed before, so they learn it only with its source."""
    hidden = row["state"] == "reused" and row["from_id"] is None and not row["mine"]
    return "succeeded" if hidden else str(row["state"])


def _elapsed(row: db.Record) -> float | None:
    """Seconds the step runs or ran; for one that others shall not know was reused, what it took when it was made."""
    if row["state"] == "reused" and _shown_state(row) != "reused":
        took: float | None = row["took"]
        return took
    return None if row["state"] == "queued" else _between(row["started_at"], row["finished_at"] or row["now"])


def _shown_seconds(rows: Sequence[db.Record], parts: Sequence[StepPage]) -> float | None:
    """How long the run took, without the time that its owner took to choose. Others are told the sum of its steps,
    which betrays nothing of a reused one."""
    run = rows[0]
    if run["mine"]:
        whole = _between(run["run_started"], run["run_finished"] or run["now"])
        if whole is None:
            return None
        asked = [row for row in rows if steps.asks(row["kind"]) and row["queued_at"]]
        waited = [
            _between(row["queued_at"], row["finished_at"] or row["now"]) or 0
            for row in asked
            if row["queued_at"] >= run["run_started"]  # one chosen before it was run again
        ]
        return max(whole - sum(waited), 0.0)
    return sum(part.elapsed or 0 for part in parts)


def _source(row: db.Record) -> Source | None:
    if row["from_id"] is None:
        return None
    return Source(row["from_id"], row["from_number"], row["from_title"], row["from_handle"], bool(row["from_mine"]))


def _left(row: db.Record, rates: Mapping[tuple[str, str], float]) -> float | None:
    """Seconds of work that remain: by this step's own speed once it shows, else by what others took."""
    if row["state"] not in ("waiting", "queued", "running"):
        return None
    done, total = row["progress"], row["progress_total"]
    if row["state"] == "running" and done >= 2 and total and row["progress_at"] and row["started_at"]:
        spent: float = (row["progress_at"] - row["started_at"]).total_seconds()
        left: float = spent / done * (total - done)
        return max(left, 0.0)
    expected = forecast.seconds(row["step"], rates)
    if expected is None:
        return None
    return expected * (1 - done / total) if row["state"] == "running" and total else expected


def _between(start: datetime | None, end: datetime) -> float | None:
    return None if start is None else max((end - start).total_seconds(), 0.0)


_TRUTH = (
    "id",
    "state",
    "attempt",
    "progress",
    "progress_total",
    "phase",
    "error_message",
    "preview",
    "ahead",
    "unserved",
    "lacking",
    "pictures",
    "from_id",
)


def _tag(rows: Sequence[db.Record]) -> str:
    run = rows[0]
    truth: list[Any] = [run["run_state"], run["visibility"], run["cancel_requested_at"], run["title"]]
    truth += [[row[field] for field in _TRUTH] for row in rows]
    return hashlib.sha256(msgspec.json.encode(truth)).hexdigest()[:20]


async def _events(run_id: UUID) -> list[EventLine]:
    rows = await db.fetch(
        "SELECT ordinal, name, data, at FROM events WHERE run_id = $1 ORDER BY id DESC LIMIT 500", run_id
    )
    return [EventLine(row["at"], event_words(row["name"], row["ordinal"], row["data"])) for row in reversed(rows)]


_EVENTS = {
    "accepted": "Joined the queue",
    "claimed": "Step {n} started{worker}{again}",
    "succeeded": "Step {n} done, its result is saved",
    "reused": "Step {n} reused an earlier result",
    "failed": "Step {n} failed",
    "retrying": "Step {n} is tried again",
    "handed_back": "Step {n} went back to the queue",
    "crashed": "Step {n} lost its worker, time {count}",
    "step_stopped": "Step {n} stopped",
    "asked": "Step {n} waits for your choice",
    "chosen": "Chosen in step {n}",
    "cancel_requested": "Asked to stop",
    "cancelled": "Stopped",
    "retried": "Asked to run again from step {n}",
    "published": "Published",
    "unpublished": "Made private again",
    "run_succeeded": "Done",
    "run_failed": "Ended without a result",
}


def event_words(name: str, ordinal: int | None, data: Mapping[str, Any]) -> str:
    """An event as a sentence; names nobody foresaw come out readable too."""
    words = _EVENTS.get(name, name.replace("_", " ").capitalize())
    again = f", attempt {data['attempt']}" if data.get("attempt", 1) != 1 else ""
    words = words.replace("{n}", str(ordinal or 1)).replace("{count}", str(data.get("count", 1)))
    worker = f" on {data['worker']}" if data.get("worker") else ""
    words = words.replace("{again}", again).replace("{worker}", worker)
    reason = data.get("message") or data.get("reason")
    return f"{words}: {reason}" if reason else words


async def preview(run_id: UUID, step_run_id: UUID, viewer_id: UUID | None) -> tuple[bytes, str]:
    """The latest rough picture of a running step, and its media type.

    Raises NotFound when there is none or the viewer may not see the run.
    """
    row = await db.fetchrow(
        """
        SELECT b.data, b.media_type FROM previews b
        JOIN step_runs s ON s.id = b.step_run_id JOIN runs r ON r.id = s.run_id
        JOIN pipelines p ON p.id = r.pipeline_id
        WHERE s.id = $2 AND r.id = $1 AND (r.owner_id = $3 OR r.visibility = 'published'
            AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $3))
        """,
        run_id,
        step_run_id,
        viewer_id,
    )
    if row is None:
        raise NotFound("There is no preview just now.")
    return row["data"], row["media_type"]


class RunLine(Struct, frozen=True, kw_only=True):
    """A run in a list: its state and the first thing it made."""

    id: UUID
    number: int
    pipeline_id: UUID
    pipeline_title: str
    state: str
    choosing: bool
    """Whether it waits for the person to choose."""
    published: bool
    cancelling: bool
    created_at: datetime
    seconds: float | None
    sha256: str | None
    width: int | None
    height: int | None
    media_type: str | None
    text: str
    prompt: str


class RunList(Struct, frozen=True):
    """Some of a person's runs, newest first; `next` is the place to read on from, None at the end."""

    runs: list[RunLine]
    next: UUID | None


async def mine(person_id: UUID, after: UUID | None = None, limit: int = PAGE) -> RunList:
    """A person's own runs older than `after`, newest first, without those of their grids.

    One query, no page skipped or repeated."""
    rows = await db.fetch(
        f"""
        SELECT r.id, r.number, r.pipeline_id, r.state, r.visibility = 'published' AS published, r.created_at,
            r.finished_at IS NULL AND EXISTS (
                SELECT FROM step_runs s WHERE s.run_id = r.id AND s.state = 'choosing') AS choosing,
            r.cancel_requested_at IS NOT NULL AND r.finished_at IS NULL AS cancelling,
            greatest(extract(epoch FROM r.finished_at - coalesce(r.started_at, r.finished_at))::float8
                - {times.chosen("r")}, 0) AS seconds,
            CASE WHEN p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $1)
                 THEN p.title ELSE '' END AS pipeline_title,
            made.sha256, made.width, made.height, made.media_type,
            coalesce(said.output_text, '') AS text, coalesce(asked.prompt, '') AS prompt
        FROM runs r
        JOIN pipelines p ON p.id = r.pipeline_id
        LEFT JOIN LATERAL (
            SELECT a.sha256, a.width, a.height, a.media_type FROM step_runs s
            JOIN outputs o ON o.step_run_id = s.id JOIN artifacts a ON a.sha256 = o.sha256
            WHERE s.run_id = r.id ORDER BY s.ordinal DESC, o.position LIMIT 1
        ) made ON true
        LEFT JOIN LATERAL (
            SELECT left(s.output_text, 300) AS output_text FROM step_runs s
            WHERE s.run_id = r.id AND s.output_text IS NOT NULL ORDER BY s.ordinal DESC LIMIT 1
        ) said ON true
        LEFT JOIN LATERAL (
            SELECT left(coalesce(s.resolved ->> 'prompt', s.step ->> 'prompt'), 300) AS prompt FROM step_runs s
            WHERE s.run_id = r.id AND s.step ? 'prompt' ORDER BY s.ordinal LIMIT 1
        ) asked ON true
        WHERE r.owner_id = $1 AND ($2::uuid IS NULL OR r.id < $2)
          AND NOT EXISTS (SELECT FROM grid_cells c WHERE c.run_id = r.id)
        ORDER BY r.id DESC LIMIT $3
        """,  # noqa: S608 - only constants are put in
        person_id,
        after,
        limit + 1,
    )
    lines = [RunLine(**row) for row in rows[:limit]]
    return RunList(lines, lines[-1].id if len(rows) > limit else None)


class RunForm(Struct, frozen=True, kw_only=True):
    """What the form that starts a run shows: whose version it is and which inputs it declares."""

    pipeline_id: UUID
    title: str
    owner_handle: str
    owner_name: str
    generation: int
    offshoot_count: int
    version_id: UUID
    number: int
    latest: int
    recipe: steps.Recipe
    known_seed: int | None
    """Seed of the viewer's newest result of the pipeline, else of the one on its card, else of what it grew from."""


async def form(pipeline_id: UUID, number: int, viewer_id: UUID) -> RunForm:
    """The version that somebody wants to run. Raises NotFound for what they may not see."""
    row = await db.fetchrow(
        """
        SELECT p.id AS pipeline_id, p.title, o.handle AS owner_handle, o.name AS owner_name, p.generation,
            p.offshoot_count, v.id AS version_id, v.number, p.latest_version AS latest, v.recipe,
            coalesce(
                (SELECT r.seed FROM runs r WHERE r.pipeline_id = p.id AND r.owner_id = $3 AND r.state = 'succeeded'
                    ORDER BY r.id DESC LIMIT 1),
                (SELECT r.seed FROM runs r WHERE r.id = p.cover_run_id),
                (SELECT r.seed FROM pipelines parent JOIN runs r ON r.id = parent.cover_run_id
                    WHERE parent.id = p.parent_id AND parent.visibility = 'public' AND parent.deleted_at IS NULL)
            ) AS known_seed
        FROM versions v JOIN pipelines p ON p.id = v.pipeline_id JOIN people o ON o.id = p.owner_id
        WHERE p.id = $1 AND v.number = $2 AND p.deleted_at IS NULL
          AND (p.owner_id = $3 OR p.visibility <> 'private')
        """,
        pipeline_id,
        number,
        viewer_id,
    )
    if row is None:
        raise NotFound("There is no such version, or it is private.")
    return RunForm(**{**row, "recipe": steps.convert(row["recipe"])})
