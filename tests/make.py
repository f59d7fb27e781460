"""Factories that mirror the tables. Whatever a test does not name gets a plain value."""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from PIL import Image

from domain import db, steps
from domain.changes import Changes, applied
from domain.people import COLUMNS, Person

PASSWORD = "correct horse battery"


class Pipeline(Struct, frozen=True):
    """A pipeline and its only version."""

    id: UUID
    owner_id: UUID
    version_id: UUID
    run_id: UUID | None = None
    """The published run, where one was asked for."""


class Version(Struct, frozen=True):
    """One saved state."""

    id: UUID
    pipeline_id: UUID
    number: int


class Run(Struct, frozen=True):
    """One execution and its step runs in order."""

    id: UUID
    pipeline_id: UUID
    version_id: UUID
    owner_id: UUID
    step_runs: tuple[UUID, ...]


class Artifact(Struct, frozen=True):
    """A stored file."""

    sha256: str
    data: bytes
    media_type: str
    width: int
    height: int


def png(color: str | int = "red", size: tuple[int, int] = (128, 128)) -> bytes:
    """A picture of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


class Make:
    """One for each test; counts what it made so that names differ."""

    def __init__(self, storage: Callable[[], Any]) -> None:
        self._storage = storage
        self._made = 0

    def _next(self) -> int:
        self._made += 1
        return self._made

    async def person(
        self,
        handle: str = "",
        *,
        email: str = "",
        name: str = "",
        about: str = "",
        role: str = "member",
        password: str = "",
    ) -> Person:
        """An account. Without `password` nobody can log in with one (hashing takes 50 ms)."""
        handle = handle or f"person{self._next()}"
        digest = "!"
        if password:
            from domain import passwords

            digest = passwords.hashed(password)
        row = await db.fetchrow(
            f"""INSERT INTO people (email, handle, name, about, role, password_hash) VALUES ($1, $2, $3, $4, $5, $6)
                RETURNING {COLUMNS}""",
            email or f"{handle}@example.org", handle, name, about, role, digest,
        )  # fmt: skip
        assert row is not None
        return Person(**row)

    async def pipeline(
        self,
        owner: Person | None = None,
        *,
        steps: Sequence[steps.AnyStep] = (),
        inputs: Sequence[steps.Input] = (),
        lists: dict[str, list[str]] | None = None,
        visibility: str = "public",
        published: bool = False,
        parent: Pipeline | None = None,
        color: str | int | None = None,
        **columns: Any,
    ) -> Pipeline:
        """A pipeline with one version; `published` adds a published run with a picture.

        `columns` are columns of the table as they stand: title, tags, license, description, trend…
        """
        owner = owner or await self.person()
        recipe = _recipe(steps, inputs, lists)
        given: dict[str, Any] = {"title": f"Pipeline {self._next()}", "latest_version": 1, "visibility": visibility}
        given |= await _place(parent) | columns | {"owner_id": owner.id}
        pipeline_id: UUID = await db.fetchval(_insert("pipelines", given), *given.values())
        version = await self._version(pipeline_id, 1, recipe, parent.version_id if parent else None)
        run_id = None
        if published:
            run_id = (await self.run(version, owner, state="succeeded", published=True, color=color)).id
        return Pipeline(pipeline_id, owner.id, version.id, run_id)

    async def listed(self, owner: Person | None = None, **options: Any) -> Pipeline:
        """A pipeline whose run was published as people do it: both at the same moment."""
        from domain import runs

        made = await self.pipeline(owner, **options)
        run = await self.run(made, state="succeeded")
        await runs.publish(run.id, made.owner_id)
        return Pipeline(made.id, made.owner_id, made.version_id, run.id)

    async def version(
        self,
        pipeline: Pipeline,
        *,
        steps: Sequence[steps.AnyStep] = (),
        inputs: Sequence[steps.Input] = (),
        lists: dict[str, list[str]] | None = None,
        note: str = "",
    ) -> Version:
        """One more version of a pipeline."""
        number: int = await db.fetchval(
            "UPDATE pipelines SET latest_version = latest_version + 1 WHERE id = $1 RETURNING latest_version",
            pipeline.id,
        )
        return await self._version(pipeline.id, number, _recipe(steps, inputs, lists), None, note)

    async def _version(
        self, pipeline_id: UUID, number: int, recipe: steps.Recipe, parent_id: UUID | None, note: str = ""
    ) -> Version:
        version_id: UUID = await db.fetchval(
            """INSERT INTO versions (pipeline_id, number, parent_id, digest, recipe, note)
               VALUES ($1, $2, $3, $4, $5, $6) RETURNING id""",
            pipeline_id, number, parent_id, steps.digest(recipe), msgspec.to_builtins(recipe), note,
        )  # fmt: skip
        return Version(version_id, pipeline_id, number)

    async def run(
        self,
        of: Version | Pipeline,
        owner: Person | UUID | None = None,
        *,
        state: str = "queued",
        published: bool = False,
        seed: int = 5,
        inputs: dict[str, str] | None = None,
        changes: Changes | None = None,
        color: str | int | None = None,
    ) -> Run:
        """A run in `state`; a succeeded one has a picture (or text) for every step."""
        version_id = of.version_id if isinstance(of, Pipeline) else of.id
        pipeline_id = of.id if isinstance(of, Pipeline) else of.pipeline_id
        owner_id = owner.id if isinstance(owner, Person) else owner
        if owner_id is None:
            owner_id = await db.fetchval("SELECT owner_id FROM pipelines WHERE id = $1", pipeline_id)
        ended = state in ("succeeded", "failed", "cancelled")
        number = self._next()
        run_id: UUID = await db.fetchval(
            """
            INSERT INTO runs (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, inputs, seed,
                              state, visibility, changes, published_at, started_at, finished_at)
            SELECT $1, $2, $3, coalesce(max(number), 0) + 1, $4, $5, $6, $7, $8, $9, $11,
                   CASE WHEN $9 = 'published' THEN now() END,
                   CASE WHEN $8 <> 'queued' THEN now() - interval '2 s' END, CASE WHEN $10 THEN now() END
            FROM runs WHERE pipeline_id = $1 RETURNING id
            """,
            pipeline_id, version_id, owner_id, f"key-{number}", "0" * 64, inputs or {}, seed, state,
            "published" if published else "private", ended, changes or {},
        )  # fmt: skip
        recipe = steps.convert(await db.fetchval("SELECT recipe FROM versions WHERE id = $1", version_id))
        recipe = applied(recipe, changes or {})
        step_runs = [
            await self._step_run(run_id, ordinal, step, state, seed, color)
            for ordinal, step in enumerate(recipe.steps, 1)
        ]
        if published:
            from domain import cards

            async with db.transaction():
                await cards.refresh(pipeline_id)
        return Run(run_id, pipeline_id, version_id, owner_id, tuple(step_runs))

    async def _step_run(
        self, run_id: UUID, ordinal: int, step: steps.AnyStep, run_state: str, seed: int, color: str | int | None
    ) -> UUID:
        plain = msgspec.to_builtins(step)
        state = run_state if ordinal == 1 or run_state == "succeeded" else "waiting"
        done = state == "succeeded"
        text = plain.get("template", "") if done and step.gives == "text" else None
        given = {
            "run_id": run_id, "ordinal": ordinal, "kind": plain["kind"], "queue": step.runs_on,
            "model": plain.get("model", ""), "step": plain, "state": state, "output_text": text,
            "resolved": {**plain, "seed": seed} if done else None,
            "attempt": 0 if state in ("queued", "waiting") else 1,
        }  # fmt: skip
        step_run_id: UUID = await db.fetchval(_insert("step_runs", given, state), *given.values())
        if done and step.gives == "image":
            picture = await self.artifact(png(color if color is not None else self._next() * 7919 % 2**24))
            await db.execute(
                "INSERT INTO outputs (step_run_id, position, sha256, seed) VALUES ($1, 1, $2, $3)",
                step_run_id, picture.sha256, seed,
            )  # fmt: skip
        return step_run_id

    async def comment(
        self, on: "Pipeline | Run", author: Person | None = None, body: str = "", *, to: UUID | None = None
    ) -> UUID:
        """A comment on a pipeline or a published run, or the answer to comment `to`, written as the site does."""
        from domain import comments

        author = author or await self.person()
        body = body or f"Comment {self._next()}"
        if to is not None:
            return await comments.reply(to, author.id, body)
        return await (comments.on_run if isinstance(on, Run) else comments.on_pipeline)(on.id, author.id, body)

    async def grid(self, cells: Sequence[Run], *, published: bool = False) -> UUID:
        """A grid of runs of one version, varied by their seeds."""
        first = cells[0]
        axis = {"key": "seed", "title": "Seed", "step": 0, "field": "seed", "values": list(range(len(cells)))}
        grid_id: UUID = await db.fetchval(
            """INSERT INTO grids (pipeline_id, version_id, owner_id, idempotency_key, request_sha256, axes, seed,
                                  published_at)
               VALUES ($1, $2, $3, $4, '', $5, 0, CASE WHEN $6 THEN now() END) RETURNING id""",
            first.pipeline_id, first.version_id, first.owner_id, f"grid-{self._next()}", [axis], published,
        )  # fmt: skip
        for place, run in enumerate(cells):
            await db.execute(
                "INSERT INTO grid_cells (grid_id, cell, run_id) VALUES ($1, $2, $3)", grid_id, place, run.id
            )
        return grid_id

    async def artifact(
        self, data: bytes | None = None, media_type: str = "image/png", *, stored: bool = False
    ) -> Artifact:
        """A file's row; `stored` puts the bytes into the object store too."""
        data = png(self._next() * 7919 % 2**24) if data is None else data
        width, height = Image.open(io.BytesIO(data)).size if media_type.startswith("image/") else (0, 0)
        sha256 = hashlib.sha256(data).hexdigest()
        await db.execute(
            """INSERT INTO artifacts (sha256, media_type, bytes, width, height) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (sha256) DO UPDATE SET touched_at = now()""",
            sha256, media_type, len(data), width or None, height or None,
        )  # fmt: skip
        if stored:
            await self._storage().put(f"{sha256[:2]}/{sha256}", data, media_type)
        return Artifact(sha256, data, media_type, width, height)


def _recipe(
    given: Sequence[steps.AnyStep], inputs: Sequence[steps.Input], lists: dict[str, list[str]] | None
) -> steps.Recipe:
    return steps.Recipe(
        inputs=list(inputs), lists=lists or {}, steps=list(given) or [steps.TextToImage(prompt="a red circle")]
    )


async def _place(parent: Pipeline | None) -> dict[str, Any]:
    """Where a fork stands in its family."""
    if parent is None:
        return {}
    row = await db.fetchrow(
        "SELECT coalesce(root_id, id) AS root_id, generation FROM pipelines WHERE id = $1", parent.id
    )
    assert row is not None
    return {"parent_id": parent.id, "root_id": row["root_id"], "generation": row["generation"] + 1}


def _insert(table: str, given: dict[str, Any], state: str = "") -> str:
    """An INSERT of the given columns in order; a step run's times follow from its state."""
    times = {
        "queued": {"queued_at": "now()"},
        "running": {"queued_at": "now()", "started_at": "now()", "lease_until": "now() + interval '30 s'"},
    }
    ended = {"queued_at": "now()", "started_at": "now() - interval '1 s'", "finished_at": "now()"}
    extra = {} if not state or state == "waiting" else times.get(state, ended)
    names = ", ".join([*given, *extra])
    values = ", ".join([f"${number}" for number in range(1, len(given) + 1)] + list(extra.values()))
    return f"INSERT INTO {table} ({names}) VALUES ({values}) RETURNING id"
