"""Claim a step, run it in the engine, beat, save, finish; then the next step of the same run."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from domain import artifacts, consents, db, models, queue, services
from domain.config import Config
from domain.errors import DomainError, NotFound, Unavailable
from domain.loras import Lora
from domain.means import Means
from domain.queue import Claim, Lost, Made
from domain.receipts import Agreed
from domain.storage import Storage, key_of
from domain.weights import OtherFiles
from tasks import dispatcher, encoder, messages
from tasks.engine import Engine, EngineDied, EngineSilent, EngineTooLarge, Limits
from tasks.filling import Filling
from tasks.messages import Done, Ended, Failed, File, Job, Loading, LoraRef, ModelRef, Preview, Progress, Saving
from tasks.steps import RUNNERS

log = logging.getLogger("runner")
T = TypeVar("T")

BEAT_EVERY = 2.0
"""Seconds between beats when nothing changes."""
TELL_EVERY = 0.5
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
MAX_DELAY = 30.0
"""Seconds until the next try at most, so that little is lost once a server is back."""
UNLIKE = 600.0
"""Seconds that a worker leaves a model to others after its files were not those that were registered."""
ROOM = {"cuda": 8, "mps": 4, "cpu": 4}
"""Pictures in one call of a model, by device."""
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


class TooLarge(DomainError):
    """The step does not fit into the memory of the device."""


class ModelChanged(Exception):
    """The model was registered anew after the step was claimed."""


class Elsewhere(Exception):
    """This worker does not have the files of a model, or not the ones that are registered."""


class Stopping(Exception):
    """The running step was asked to stop, lost its lease, or the worker is leaving."""


class Runner:
    """The worker's brain: one step at a time, and an engine that runs it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._storage = Storage(config.s3_url, config.data_dir / "s3")
        self._serves = frozenset(config.queues)
        self._kinds = services.kinds_of(config.queues, RUNNERS)
        self._room = config.batch_limit or _room(config.device)
        self._limits = Limits(config.engine_silence, config.engine_memory << 20, config.model_memory << 20)
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._idle = asyncio.Event()
        self._leaving = asyncio.Event()
        self._draining = False
        self._engine: Engine | None = None
        self._settling: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._lacks: set[str] = set()
        """The models that this worker cannot run, by name."""
        self._unlike: dict[str, float] = {}
        """When the files of a model's revision were found to be others."""
        self._passed_on: dict[str, float] = {}
        """When a message of each queue was last passed on."""

    async def begin(self) -> None:
        """Start in the background: a worker that waits for PostgreSQL can still be told to leave."""
        self._idle.set()
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        """Open the database, warm the engine up and reach the file store."""
        await dispatcher.bind(self._config)
        await self._look()
        self._engine = Engine(self._config.device, await self._warm(), self._limits)
        if self._serves - {"light"}:
            self._engine.start()
        with contextlib.suppress(Unavailable):
            await self._storage.open_bucket()
        self._filling = asyncio.create_task(self._fill())
        self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        """Say every few seconds that this worker is there, what it serves, and which models it has."""
        while True:
            try:
                await self._say()
            except (asyncpg.PostgresError, *TRANSPORT) as error:  # it works all the same, and says so again soon
                log.warning("could not say that this worker is there: %s", error)
            await asyncio.sleep(services.ANNOUNCE)

    async def _say(self) -> None:
        having = await self._look()
        await services.announce(self._owner, self._config.queues, _device(self._config.device), having, self._kinds)

    async def _look(self) -> list[models.Model]:
        """Learn which models this worker has. Returns those among them that it serves."""
        every = await models.everything()
        having = await asyncio.to_thread(lambda: [model for model in every if self._has(model)])
        self._lacks = {model.name for model in every} - {model.name for model in having}
        return [model for model in having if services.queues_of(model) & self._serves]

    def _has(self, model: models.Model) -> bool:
        found = self._unlike.get(model.revision)
        if found is not None and time.monotonic() - found < UNLIKE:
            return False
        return models.here(model, self._config.models, self._config.endpoints)

    async def _leave(self, revision: str, needs: Sequence[str]) -> bool:
        """Leave a revision whose files here are others to the workers that have all models that a step `needs`, for a
        while. False where there are none; of one that was registered anew meanwhile nothing is known."""
        try:
            wanted = [await models.read(name) for name in needs]
            if revision not in [model.revision for model in wanted]:
                return True
            others = [one for one in await services.workers() if one.owner != self._owner]
            if not any(all(one.has(model) for model in wanted) for one in others):
                return False
            self._unlike[revision] = time.monotonic()
            await self._say()
        except (NotFound, *TRANSPORT):
            return False
        return True

    async def _fill(self) -> None:
        """Beside the steps: what finds similar prompts and pictures. A worker that runs no model encodes nothing."""
        assert self._engine is not None
        chosen = None
        try:
            if self._serves - {"light"}:
                chosen = await asyncio.to_thread(encoder.find, self._config.encoder)
        except DomainError as error:
            log.warning("ENCODER: %s. Similar prompts are not looked for.", error.message)
        await Filling(self._engine, self._storage, chosen, self._idle).work()

    async def _warm(self) -> ModelRef | None:
        if "image" not in self._serves:
            return None
        try:
            return self._ref(await models.require(models.STARTER, "text_to_image"))
        except (DomainError, Elsewhere):
            return None

    def _ref(self, model: models.Model) -> ModelRef:
        """Where the model is for the engine. Raises Elsewhere, and leaves its steps to others from now on."""
        if not self._has(model):
            self._lacks.add(model.name)
            raise Elsewhere
        path = models.place_of(model, self._config.models)
        return ModelRef(model.name, path, model.revision, model.means, model.family)

    async def drain(self) -> None:
        """Let the running step finish, or hand it back; take no other."""
        self._draining = True
        for task in (self._starting, self._filling, self._announcing):
            if task is not None:
                task.cancel()
        try:
            await asyncio.wait_for(self._idle.wait(), DRAIN)
        except TimeoutError:
            self._leaving.set()
            await self._idle.wait()

    async def close(self) -> None:
        """Let everything go."""
        if self._engine is not None:
            self._engine.close()
        if self._announcing is not None:
            with contextlib.suppress(asyncpg.PostgresError, *TRANSPORT):
                await asyncio.wait_for(services.leave(self._owner), CLOSE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(db.unbind(), CLOSE)

    async def run(self, name: str) -> bool:
        """Run the steps of the queue `name`, and of the others this worker serves, until none is left for it. Says
        whether the message is to be passed on, for a step of the queue `name` that another worker can run: one that
        this worker cannot, or any, since it leaves."""
        assert self._starting is not None, "begin() comes first"
        await asyncio.wait([self._starting])
        if self._starting.cancelled():
            return self._draining
        self._starting.result()
        order = [name, *(other for other in self._config.queues if other != name)]
        self._idle.clear()
        try:
            while not self._draining:
                served = await self._serve(order)
                if served is not None:
                    order = sorted(order, key=lambda other: other == served)  # the others come first next time
                elif not await self._settled():
                    return await self._pass_on(name)
        except TRANSPORT as error:
            log.warning("left the queue %s: %s", name, error)
        finally:
            await self._settled()
            self._idle.set()
        return self._draining

    async def _pass_on(self, name: str) -> bool:
        """Whether to pass on a message of the queue, which goes round the workers once before it rests a little."""
        if not await queue.pass_on(name, self._lacks, self._kinds):
            return False
        before, now = self._passed_on.get(name), time.monotonic()
        if before is not None and now - before < queue.PASSED_ON:
            return False
        self._passed_on[name] = now
        return True

    async def _serve(self, order: Sequence[str]) -> str | None:
        """Run what comes next in the first queue that has anything. Returns the queue, None when all are empty.

        While results are still being saved, the engine may run the next steps already.
        """
        assert self._engine is not None
        for name in order:
            held = await queue.claim(
                name,
                self._owner,
                room=self._room,
                workers_each=self._config.workers_per_person,
                lacks=self._lacks,
                kinds=self._kinds,
            )
            if held:
                attempt = Attempt(
                    held, self._engine, self._limits, self._storage, self._leaving, self._ref, self._leave
                )
                await attempt.run(self._serves)
                await self._settled()
                self._settling = asyncio.create_task(attempt.settle())
                if self._serves - {"light"} and not self._draining:
                    self._engine.start()  # at once, in case this step took it down
                return name
        return None

    async def _settled(self) -> bool:
        """Wait until the last results are saved; whether there were any to wait for."""
        if self._settling is None:
            return False
        settling, self._settling = self._settling, None
        await settling
        return True


def _room(device: str) -> int:
    """Pictures worth making in one call: a GPU gains by many, two CPU cores hardly."""
    return ROOM.get(_device(device).partition(":")[0], ROOM["cpu"])


def _device(setting: str) -> str:
    """What the DEVICE setting comes to, as far as this process can tell: only its engine has torch."""
    if setting != "auto":
        return setting
    return "cuda" if Path("/dev/nvidiactl").exists() else "cpu"


def _spoken(seconds: float) -> str:
    """A length of time in words: “10 minutes”, “45 seconds”."""
    number, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")
    return f"{number:.3g} {unit}" + ("" if number == 1 else "s")


class Member:
    """One claimed step within an attempt."""

    def __init__(self, held: Claim) -> None:
        self.held = held
        self.cancelled = False
        self.lost = False
        self.ended = False

    @property
    def wanted(self) -> bool:
        """Whether its result is still to be published."""
        return not (self.cancelled or self.lost or self.ended)


class Attempt:
    """One attempt at one step, or at alike steps in one call, from the claim to the end of each."""

    def __init__(
        self,
        held: Sequence[Claim],
        engine: Engine,
        limits: Limits,
        storage: Storage,
        leaving: asyncio.Event,
        ref: Callable[[models.Model], ModelRef],
        leave: Callable[[str, Sequence[str]], Awaitable[bool]],
    ) -> None:
        self._members = [Member(each) for each in held]
        self._engine = engine
        self._limits = limits
        self._storage = storage
        self._leaving = leaving
        self._ref = ref
        self._leave = leave
        self._job_id = f"{held[0].step_run_id}/{held[0].attempt}"
        self._done, self._total, self._phase = 0, 0, "loading"
        self._changed = asyncio.Event()
        self._drawing = True
        self._saving_since = 0.0
        self._publishing: list[asyncio.Task[None]] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def run(self, serves: Collection[str]) -> None:
        """Run the steps until the engine is free again. What they made may still be on its way: `settle`."""
        for held in (member.held for member in self._members):
            log.info("step %s (%s) attempt %d", held.step_run_id, held.kind, held.attempt)
        self._watchers = [asyncio.create_task(self._beat()), asyncio.create_task(self._watch_leaving())]
        await self._to_the_end(self._run(serves))
        self._drawing = False

    async def settle(self) -> None:
        """Bring every step to its end: its result is saved, or somebody knows why not."""
        try:
            await self._to_the_end(self._published())
        finally:
            for watcher in self._watchers:
                watcher.cancel()
            await asyncio.gather(*self._watchers, return_exceptions=True)

    async def _to_the_end(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            await asyncio.gather(*self._publishing, return_exceptions=True)
            self._publishing.clear()
            await self._end_badly(error)

    async def _end_badly(self, error: Exception) -> None:
        match error:
            case Stopping():
                await self._end_stopped()
            case EngineDied():
                await (self._end_stopped() if self._stopped else self._end_dead(error))
            case ModelChanged():
                await self._end(queue.hand_back, 0, "its model was registered anew")
            case Elsewhere():
                await self._end(queue.hand_back, 0, "this worker does not have its model")
            case OtherFiles() if await self._leave(error.revision, self._members[0].held.needs):
                await self._end(queue.hand_back, 0, "this worker has other files of its model")
            case asyncpg.DataError():
                await self._end_broken(error)
            case _ if isinstance(error, TRANSPORT):
                await self._end_transport(error)
            case TooLarge():
                await self._end_apart(error.message, queue.fail, "memory", error.message)
            case DomainError():
                await self._end_apart(error.message, queue.fail, "refused", error.message)
            case _:
                await self._end_broken(error)

    # -- its ends

    async def _end_dead(self, death: EngineDied) -> None:
        """What a step that took its engine down comes to: too large fails at once, all else the third time."""
        if isinstance(death, EngineTooLarge):
            gigabytes = self._limits.resident / 1e9
            words = f"This step needed more memory than this machine gives ({gigabytes:.3g} GB)."
            await self._end_apart(words, queue.fail, "memory", words)
        elif isinstance(death, EngineSilent):
            long = _spoken(self._limits.silence)
            words = f"The model gave no sign of life for {long}. The step was tried three times."
            await self._end(queue.hand_back, 0, words, crashed=True)
        else:
            await self._end(queue.hand_back, 0, "", crashed=True)

    @property
    def _wanted(self) -> list[Member]:
        return [member for member in self._members if member.wanted]

    @property
    def _stopped(self) -> bool:
        return not self._wanted or self._leaving.is_set()

    async def _end(self, end: Callable[..., Awaitable[None]], *args: Any, **options: Any) -> None:
        for member in self._members:
            if not (member.ended or member.lost):
                await self._end_one(member, end, *args, **options)

    async def _end_one(self, member: Member, end: Callable[..., Awaitable[None]], *args: Any, **options: Any) -> None:
        try:
            await self._hold(member, lambda: end(member.held, *args, **options), ending=True)
        except Lost:
            log.warning("step %s is no longer ours", member.held.step_run_id)
            member.lost = True
        member.ended = True

    async def _end_apart(self, reason: str, end: Callable[..., Awaitable[None]], *args: Any) -> None:
        """End a step that ran alone; steps that ran together go back, so that each meets its own fate alone."""
        if len(self._members) > 1:
            log.warning("steps that ran together run alone now: %s", reason)
            await self._end(queue.hand_back, 0, "running it together with others did not work", retried=True)
        else:
            await self._end(end, *args)

    async def _end_stopped(self) -> None:
        for member in self._members:
            if not (member.ended or member.lost):
                if member.cancelled:
                    await self._end_one(member, queue.cancelled)
                else:
                    await self._end_one(member, queue.hand_back, 0, "the worker is leaving")

    async def _end_broken(self, error: Exception) -> None:
        """Fail with a reference that the log has too."""
        reference = secrets.token_hex(4)
        log.error("reference %s: step %s broke", reference, self._job_id, exc_info=error)
        await self._end_apart(reference, queue.fail, "broken", f"Something broke on our side. Reference {reference}.")

    async def _end_transport(self, error: Exception) -> None:
        log.warning("step %s: %s: %s", self._job_id, type(error).__name__, error)
        for member in self._members:
            if member.ended or member.lost:
                continue
            retries = member.held.retry_count
            if retries >= MAX_RETRIES and not isinstance(error, Unavailable):  # the file store comes back some day
                words = "A server we need could not be reached. Try again later."
                await self._end_one(member, queue.fail, "unreachable", words)
            else:
                delay = min(5.0 * 2 ** min(retries, 10), MAX_DELAY)
                await self._end_one(member, queue.hand_back, delay, "a server could not be reached", retried=True)

    # -- its work

    async def _job(self) -> Job:
        held = self._members[0].held
        if held.refused:
            raise DomainError(held.refused)
        return Job(
            id=self._job_id,
            members=[await self._member(member.held) for member in self._members],
            model=await self._model(held),
            loras=[await self._lora(lora) for lora in held.loras],
            vae=await self._vae(held),
        )

    async def _model(self, held: Claim) -> ModelRef | None:
        """The model as the step was claimed with it: another would give a result that its input hash does not name."""
        name = held.step.get("model")
        if not name:
            return None
        model = await models.require(name, held.kind)
        if (model.revision, model.means) != held.model:
            raise ModelChanged
        return self._ref(model)

    async def _lora(self, lora: Lora) -> LoraRef:
        """The LoRA as the step was claimed with it, as with the model."""
        model = await models.require(lora.name, models.LORA)
        if model.revision != lora.revision:
            raise ModelChanged
        ref = self._ref(model)
        return LoraRef(ref.name, ref.path, ref.revision, lora.weight)

    async def _vae(self, held: Claim) -> ModelRef | None:
        """The VAE as the step was claimed with it, run as the model that it is for."""
        if not held.vae:
            return None
        model = await models.require(held.step["vae"], models.VAE)
        if model.revision != held.vae:
            raise ModelChanged
        ref, means = self._ref(model), held.model[1]
        alike = Means(dtype=means.dtype, vae_slicing=means.vae_slicing, vae_tiling=means.vae_tiling)
        return ModelRef(ref.name, ref.path, ref.revision, alike, ref.family)

    async def _member(self, held: Claim) -> messages.Member:
        return messages.Member(
            step=held.step | held.parameters,
            pictures=[await self._picture(sha256) for sha256 in held.pictures],
            picture_hashes=held.pictures,
            consent=await self._consent(held),
        )

    async def _consent(self, held: Claim) -> Agreed | None:
        """What the run's owner agreed to, for a step that speaks with a sample of a voice. Raises Invalid without."""
        found = await consents.behind(held.run_id, held.step)
        return (
            None if found is None else Agreed(found.sha256, found.words, found.given_at.isoformat(timespec="seconds"))
        )

    async def _picture(self, sha256: str) -> bytes:
        try:
            return await self._storage.get(key_of(sha256))
        except NotFound as error:
            raise DomainError("The picture that should come in is gone.") from error

    async def _run(self, serves: Collection[str]) -> None:
        """Run the job in the engine, keep the pages told and begin to publish each result as it comes.

        Raises Stopping, EngineDied, DomainError.
        """
        job = await self._job()
        async with contextlib.aclosing(self._engine.run(job)) as said:
            async for message in said:
                match message:
                    case Loading():
                        self._tell(self._done, self._total, "loading")
                    case Progress(done, total):
                        self._tell(done, total, "running")
                    case Preview(number, done, data, media_type):
                        with contextlib.suppress(*TRANSPORT):
                            await queue.preview(self._members[number].held, done, media_type, data)
                    case Saving():
                        self._tell(self._done, self._total, "saving")
                    case Done():
                        member = self._members[message.member]
                        self._publishing.append(asyncio.create_task(self._publish(member, message, serves)))
                    case Ended():
                        self._alive()
                        return
                    case Failed(code, words, revision):
                        self._refuse(code, words, revision)
        raise EngineDied

    async def _published(self) -> None:
        """Wait until every result is saved. Raises what kept one from it."""
        for publishing in self._publishing:
            await publishing

    def _refuse(self, code: str, words: str, revision: str) -> None:
        match code:
            case "unlike":
                raise OtherFiles(revision, words)
            case "stopped":
                raise Stopping
            case "refused":
                raise DomainError(words)
            case "away":
                raise ConnectionError(words)
            case "memory":
                log.error("step %s ran out of memory\n%s", self._job_id, words)
                raise TooLarge(MEMORY)
            case _:
                raise RuntimeError(f"the engine broke\n{words}")

    async def _publish(self, member: Member, done: Done, serves: Collection[str]) -> None:
        """Upload the files, then finish the step; nothing of a step that nobody wants any more."""
        try:
            if member.wanted:
                made = await self._hold(member, lambda: self._save(done.files))
                await self._hold(member, lambda: self._finish(member, done, made, serves))
                member.ended = True
        except Lost:
            log.warning("step %s is no longer ours", member.held.step_run_id)
            member.lost = True

    async def _save(self, files: list[File]) -> list[Made]:
        return list(await asyncio.gather(*(self._save_one(file) for file in files)))

    async def _save_one(self, file: File) -> Made:
        original, *rest = await asyncio.gather(
            artifacts.record(self._storage, file.data, file.media_type, file.width, file.height),
            *(
                artifacts.record(self._storage, each.data, "image/webp", each.width, each.height)
                for each in file.renditions
            ),
            *(artifacts.record(self._storage, form.data, form.media_type) for form in file.forms),
        )
        small = len(file.renditions)
        for each, sha256 in zip(file.renditions, rest[:small], strict=True):
            await artifacts.add_rendition(original, each.name, sha256)
        for form, sha256 in zip(file.forms, rest[small:], strict=True):
            await artifacts.add_form(original, form.name, sha256)
        return Made(original, file.seed)

    async def _finish(self, member: Member, done: Done, made: list[Made], serves: Collection[str]) -> UUID | None:
        receipt = {**done.receipt, "outputs": [each.sha256 for each in made]}
        timings = {
            "queued": round(member.held.waited, 4),
            "load": done.load,
            "run": done.run,
            "save": round(time.monotonic() - self._saving_since, 4),
        }
        return await queue.finish(member.held, made, done.text, receipt, timings, serves, self._total)

    async def _hold(self, member: Member, act: Callable[[], Awaitable[T]], *, ending: bool = False) -> T:
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
                over = time.monotonic() > until
                if member.lost or leaving or (ending and over):
                    raise Lost from error  # the lease runs out, and another worker takes over
                if over:
                    raise
                if not ending:
                    self._alive()
                log.warning("holding step %s: %s", member.held.step_run_id, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 10.0)

    def _alive(self) -> None:
        """Raise unless a step is still to be published, or all of them are."""
        if self._stopped and not all(member.ended for member in self._members):
            raise Stopping

    # -- its beat

    def _tell(self, done: int, total: int, phase: str) -> None:
        if phase == "saving" and self._phase != "saving":
            self._saving_since = time.monotonic()
        self._done, self._total, self._phase = done, total, phase
        self._changed.set()

    async def _beat(self) -> None:
        """Beat at once when something changed, else every two seconds; stop what must stop."""
        proof = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_EVERY):  # wait_for of Python 3.11 may swallow that it is cancelled
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._prove()
                proof = time.monotonic()
            except TRANSPORT as error:
                log.warning("no beat for step %s: %s", self._job_id, error)
                if time.monotonic() - proof > queue.LEASE:
                    for member in self._members:
                        member.lost = True
            if self._drawing and not self._wanted and not all(member.ended for member in self._members):
                await self._stop_engine()
            await asyncio.sleep(TELL_EVERY)

    async def _prove(self) -> None:
        """Beat for every step that has not ended; drop those that were stopped or taken away."""
        held = [member for member in self._members if not (member.ended or member.lost)]
        said = await queue.beat([member.held for member in held], self._done, self._total, self._phase)
        for member in held:
            news = said.get(member.held.step_run_id)
            member.lost = news is None and not member.ended
            if news is not None and news.cancelled and not member.cancelled:
                member.cancelled = True
                if self._wanted:  # the others go on, so this one need not wait for the model to stop
                    await self._end_one(member, queue.cancelled)
            if member.lost or member.cancelled:
                self._engine.stop(self._job_id, self._members.index(member))

    async def _watch_leaving(self) -> None:
        await self._leaving.wait()
        self._engine.kill()

    async def _stop_engine(self) -> None:
        """Give the engine time to stop; kill it when it does not. Beats go on meanwhile."""
        until = time.monotonic() + STOP_GRACE
        while self._drawing and time.monotonic() < until:
            await asyncio.sleep(1)
            with contextlib.suppress(*TRANSPORT):
                await self._prove()
        if self._drawing:
            self._engine.kill()
