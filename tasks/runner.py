"""Claim a step, run it in the engine, beat, save, finish; then the next step of the same run."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from domain import artifacts, db, models, queue, receipts
from domain.config import Config
from domain.errors import DomainError, NotFound, Unavailable
from domain.queue import Claim, Lost, Made
from domain.storage import Storage, key_of
from tasks import dispatcher
from tasks.engine import Engine, EngineDied
from tasks.messages import Done, Failed, File, Job, ModelRef, Preview, Progress, Resolved, Saving
from tasks.steps import RUNNERS

log = logging.getLogger("runner")
T = TypeVar("T")

BEAT_EVERY = 2.0
"""Seconds between beats when nothing changes."""
TELL_EVERY = 0.25
"""Seconds between beats while progress changes."""
STOP_GRACE = 20.0
"""Seconds that a step has to stop before its engine is killed."""
DRAIN = 8.0
"""Seconds that a running step may take to finish when the worker is told to leave."""
CLOSE = 5.0
"""Seconds that the database has to take back its connections."""
HOLD = 900.0
"""Seconds that a finished result is held while the file store or the database is away."""
MAX_RETRIES = 5
TRANSPORT = (
    Unavailable,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
)
"""What goes away and comes back: worth trying again."""
MEMORY = "The model ran out of memory. Try a smaller picture, or fewer at once."


class Stopping(Exception):
    """The running step was asked to stop, lost its lease, or the worker is leaving."""


class Runner:
    """The worker's brain: one step at a time, and an engine that runs it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._storage = Storage(config.s3_url)
        self._serves = frozenset(config.queues)
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._idle = asyncio.Event()
        self._leaving = asyncio.Event()
        self._draining = False
        self._engine: Engine | None = None
        self._starting: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start in the background: a worker that waits for PostgreSQL can still be told to leave."""
        self._idle.set()
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        """Open the database, warm the engine up and reach the file store."""
        await dispatcher.bind(self._config)
        self._engine = Engine(self._config.device, await self._warm())
        if self._serves - {"light"}:
            self._engine.start()
        with contextlib.suppress(Unavailable):
            await self._storage.open_bucket()

    async def _warm(self) -> ModelRef | None:
        if "image" not in self._serves:
            return None
        try:
            return _ref(await models.require(models.STARTER, "text_to_image"))
        except DomainError:
            return None

    async def drain(self) -> None:
        """Let the running step finish, or hand it back; take no other."""
        self._draining = True
        if self._starting is not None:
            self._starting.cancel()
        try:
            await asyncio.wait_for(self._idle.wait(), DRAIN)
        except TimeoutError:
            self._leaving.set()
            await self._idle.wait()

    async def close(self) -> None:
        """Let everything go."""
        if self._engine is not None:
            self._engine.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(db.unbind(), CLOSE)

    async def run(self, step_run_id: UUID) -> None:
        """Run a step if it is still to be run, then the run's next steps that this worker serves."""
        assert self._starting is not None, "begin() comes first"
        await asyncio.wait([self._starting])
        if self._starting.cancelled():
            return
        self._starting.result()
        following: UUID | None = step_run_id
        while following is not None and not self._draining:
            self._idle.clear()
            try:
                following = await self._claim_and_run(following)
            except TRANSPORT as error:
                log.warning("left step %s: %s", following, error)
                return
            finally:
                self._idle.set()

    async def _claim_and_run(self, step_run_id: UUID) -> UUID | None:
        held = await queue.claim(step_run_id, self._owner)
        if held is None:
            return None
        assert self._engine is not None
        attempt = Attempt(held, self._engine, self._storage, self._leaving)
        following = await attempt.work(() if self._draining else self._serves)
        if self._serves - {"light"} and not self._draining:
            self._engine.start()  # at once, in case this step took it down
        return following if not self._draining else None


def _ref(model: models.Model) -> ModelRef:
    return ModelRef(model.name, model.path, model.revision)


class Attempt:
    """One attempt at one step, from its claim to its end."""

    def __init__(self, held: Claim, engine: Engine, storage: Storage, leaving: asyncio.Event) -> None:
        self.held = held
        self._engine = engine
        self._storage = storage
        self._leaving = leaving
        self._job_id = f"{held.step_run_id}/{held.attempt}"
        self._done, self._total, self._phase = 0, 0, "loading"
        self._changed = asyncio.Event()
        self._cancelled = False
        self._lost = False
        self._watchers: list[asyncio.Task[None]] = []

    async def work(self, serves: Any) -> UUID | None:
        """Run the step to one of its ends. Returns the next step's id, if there is one."""
        log.info("step %s (%s) attempt %d", self.held.step_run_id, self.held.kind, self.held.attempt)
        self._watchers = [asyncio.create_task(self._beat()), asyncio.create_task(self._watch_leaving())]
        try:
            return await self._to_the_end(serves)
        except Lost:
            log.warning("step %s is no longer ours", self.held.step_run_id)
            return None
        finally:
            for watcher in self._watchers:
                watcher.cancel()
            await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _to_the_end(self, serves: Any) -> UUID | None:
        try:
            done = await self._run(await self._job())
            made = await self._hold(lambda: self._save(done.files))
            self._alive()
            return await self._hold(lambda: self._finish(done, made, serves))
        except Stopping:
            await self._end_stopped()
        except EngineDied:
            await self._end_stopped() if self._stopped else await self._end(queue.hand_back, 0, "", crashed=True)
        except asyncpg.DataError:
            await self._end_broken()
        except TRANSPORT as error:
            await self._end_transport(error)
        except DomainError as error:
            await self._end(queue.fail, "refused", error.message)
        except Lost:
            raise
        except Exception:
            await self._end_broken()
        return None

    # -- its ends

    @property
    def _stopped(self) -> bool:
        return self._cancelled or self._lost or self._leaving.is_set()

    async def _end(self, end: Callable[..., Awaitable[None]], *args: Any, **options: Any) -> None:
        await self._hold(lambda: end(self.held, *args, **options), ending=True)

    async def _end_stopped(self) -> None:
        if self._lost:
            raise Lost
        if self._cancelled:
            await self._end(queue.cancelled)
        else:
            await self._end(queue.hand_back, 0, "the worker is leaving")

    async def _end_broken(self) -> None:
        """Fail with a reference that the log has too. Call it while the error is handled."""
        reference = secrets.token_hex(4)
        log.exception("reference %s: step %s broke", reference, self.held.step_run_id)
        await self._end(queue.fail, "broken", f"Something broke on our side. Reference {reference}.")

    async def _end_transport(self, error: Exception) -> None:
        log.warning("step %s: %s: %s", self.held.step_run_id, type(error).__name__, error)
        if self.held.retry_count >= MAX_RETRIES:
            await self._end(queue.fail, "unreachable", "A server we need could not be reached. Try again later.")
            return
        delay = min(5.0 * 2**self.held.retry_count, 120.0)
        await self._end(queue.hand_back, delay, "a server could not be reached", retried=True)

    # -- its work

    async def _job(self) -> Job:
        held = self.held
        step = held.decoded()
        name = getattr(step, "model", None)
        model = None if name is None else _ref(await models.require(name, held.kind))
        hashes = held.pictures if step.takes == "image" else []
        upload = getattr(step, "upload", None)
        if upload:
            hashes = [upload]
        return Job(
            id=self._job_id,
            step=held.step,
            inputs=held.inputs,
            lists=held.lists,
            seed=held.seed,
            text=held.text,
            pictures=[await self._picture(sha256) for sha256 in hashes],
            picture_hashes=hashes,
            model=model,
            code=RUNNERS[held.kind].code,
        )

    async def _picture(self, sha256: str) -> bytes:
        try:
            return await self._storage.get(key_of(sha256))
        except NotFound as error:
            raise DomainError("The picture that should come in is gone.") from error

    async def _run(self, job: Job) -> Done:
        """Run the job in the engine and keep the page told. Raises Stopping, EngineDied, DomainError."""
        async with contextlib.aclosing(self._engine.run(job)) as said:
            async for message in said:
                match message:
                    case Progress(done, total):
                        self._tell(done, total, "running")
                    case Preview(done, data):
                        with contextlib.suppress(*TRANSPORT):
                            await queue.preview(self.held, done, "image/webp", data)
                    case Resolved(parameters):
                        await self._hold(partial(self._resolve, job, parameters))
                    case Saving():
                        self._tell(self._done, self._total, "saving")
                    case Done():
                        return message
                    case Failed(code, words):
                        self._refuse(code, words)
        raise EngineDied

    def _refuse(self, code: str, words: str) -> None:
        match code:
            case "stopped":
                raise Stopping
            case "refused":
                raise DomainError(words)
            case "memory":
                log.error("step %s ran out of memory\n%s", self.held.step_run_id, words)
                raise DomainError(MEMORY)
            case _:
                raise RuntimeError(f"the engine broke\n{words}")

    async def _resolve(self, job: Job, parameters: dict[str, Any]) -> None:
        revision = "" if job.model is None else job.model.revision
        seed = parameters.get("seed")
        content = receipts.input_hash(self.held.kind, job.code, revision, parameters, seed, job.picture_hashes)
        shown = {**parameters, "model_revision": revision} if revision else parameters
        await queue.resolve(self.held, shown, content)
        self._tell(self._done, self._total, "running")

    async def _save(self, files: list[File]) -> list[Made]:
        self._phase = "saving"
        return list(await asyncio.gather(*(self._save_one(file) for file in files)))

    async def _save_one(self, file: File) -> Made:
        original, *small = await asyncio.gather(
            artifacts.record(self._storage, file.data, "image/png", file.width, file.height),
            *(
                artifacts.record(self._storage, each.data, "image/webp", each.width, each.height)
                for each in file.renditions
            ),
        )
        for each, sha256 in zip(file.renditions, small, strict=True):
            await artifacts.add_rendition(original, each.name, sha256)
        return Made(original, file.seed)

    async def _finish(self, done: Done, made: list[Made], serves: Any) -> UUID | None:
        receipt = {**done.receipt, "outputs": [each.sha256 for each in made]}
        timings = {
            "queued": round(self.held.waited, 4),
            "load": done.load,
            "run": done.run,
            "save": round(done.encode + time.monotonic() - self._saving_since, 4),
        }
        return await queue.finish(self.held, made, done.text, receipt, timings, serves, self._total)

    async def _hold(self, act: Callable[[], Awaitable[T]], *, ending: bool = False) -> T:
        """Do it, again and again while a server is away, for a quarter of an hour."""
        until = time.monotonic() + HOLD
        pause = 0.5
        while True:
            try:
                return await act()
            except asyncpg.DataError:
                raise
            except TRANSPORT as error:
                leaving = ending and self._leaving.is_set()
                if self._lost or leaving or time.monotonic() > until:
                    raise Lost from error  # the lease runs out, and another worker takes over
                if not ending:
                    self._alive()
                log.warning("holding step %s: %s", self.held.step_run_id, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)

    def _alive(self) -> None:
        """Raise unless the step is still to be published."""
        if self._lost:
            raise Lost
        if self._stopped:
            raise Stopping

    # -- its beat

    def _tell(self, done: int, total: int, phase: str) -> None:
        if phase == "saving" and self._phase != "saving":
            self._saving_since = time.monotonic()
        self._done, self._total, self._phase = done, total, phase
        self._changed.set()

    _saving_since = 0.0

    async def _beat(self) -> None:
        """Beat at once when something changed, else every two seconds; stop the step when it must."""
        proof = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), BEAT_EVERY)
            self._changed.clear()
            try:
                said = await queue.beat(self.held, self._done, self._total, self._phase)
                if said.alive:
                    proof = time.monotonic()
                self._lost = not said.alive
                self._cancelled = said.cancelled
            except TRANSPORT as error:
                log.warning("no beat for step %s: %s", self.held.step_run_id, error)
                self._lost = time.monotonic() - proof > queue.LEASE
            if self._lost or self._cancelled:
                await self._stop_engine()
                return
            await asyncio.sleep(TELL_EVERY)

    async def _watch_leaving(self) -> None:
        await self._leaving.wait()
        self._engine.kill()

    async def _stop_engine(self) -> None:
        """Ask the engine to stop; kill it when it does not. Beats go on meanwhile."""
        self._engine.stop(self._job_id)
        until = time.monotonic() + STOP_GRACE
        while time.monotonic() < until:
            await asyncio.sleep(1)
            if not self._lost:
                with contextlib.suppress(*TRANSPORT):
                    await queue.beat(self.held, self._done, self._total, self._phase)
        self._engine.kill()
