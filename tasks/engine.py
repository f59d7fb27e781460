"""The process that holds torch, and the worker's handle on it.

A hung kernel, a leak or a crash takes the child, not the worker: it is killed and started anew.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from domain import machine, receipts, steps
from domain.errors import DomainError
from domain.loras import Lora
from domain.weights import OtherFiles
from tasks import diffusion, endpoint, files, memory, meshes
from tasks.context import Away, Context, Mesh, Result, Stopped
from tasks.encoder import Encoders
from tasks.leash import die_with_parent
from tasks.loading import Models, warm_up
from tasks.messages import (
    Done,
    Embed,
    Embedded,
    Ended,
    Failed,
    FromEngine,
    Job,
    Loading,
    ModelRef,
    Saving,
    Stop,
    ToEngine,
    Warm,
    decode_from_engine,
    decode_to_engine,
    encode,
)
from tasks.steps import RUNNERS

log = logging.getLogger(__name__)


LOOK_EVERY = 0.25
"""Seconds between two looks at the memory of a child that works."""
IDLE = 5.0
"""Seconds without a job after which a child gives back the memory that it kept for the next one."""
EVICT_ME_FIRST = "1000"
"""The score by which Linux, out of memory, chooses what to kill: the child before anything else."""


class EngineDied(Exception):
    """The child ended in the middle of a job."""


class EngineSilent(EngineDied):
    """The child said nothing for too long and was killed."""


class EngineTooLarge(EngineDied):
    """The child took more memory than it may and was killed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may do: seconds without a word while it works, bytes of memory, bytes of loaded models (0: auto)."""

    silence: float = 600.0
    memory: int = 0
    models: int = 0

    @property
    def resident(self) -> int:
        """Bytes of memory that the child may hold."""
        return self.memory or machine.memory() * 4 // 5


class Engine:
    """One child at a time, one job at a time. Use it from one event loop."""

    def __init__(self, device: str, warm: ModelRef | None = None, limits: Limits | None = None) -> None:
        self._device = device
        self._warm = warm
        self._limits = limits or Limits()
        self._child: multiprocessing.process.BaseProcess | None = None
        self._killed: type[EngineDied] | None = None
        self._connection: Connection | None = None
        self._heard: asyncio.Queue[FromEngine | None] = asyncio.Queue()
        self._embedded: asyncio.Queue[Embedded | None] = asyncio.Queue()
        self._sender = ThreadPoolExecutor(1, "engine-sender")

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the child unless it runs; it loads torch and the model to warm meanwhile.

        Call it between jobs: one that kept too much memory after its last job makes room for another.
        """
        if self._child is not None and self._child.is_alive() and self._killed is None:
            if not self._too_large():
                return
            log.warning("the engine kept %d MB after its job and is started anew", self.held >> 20)
            self.kill()
        self._forget()
        self._killed = None
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        arguments = (theirs, self._device, self._limits.models)
        self._child = spawn.Process(target=main, args=arguments, name="engine", daemon=True)
        self._child.start()
        theirs.close()
        self._heard, self._embedded = asyncio.Queue(), asyncio.Queue()
        hear = _hearing(self._heard, self._embedded)
        threading.Thread(target=_listen, args=(self._connection, hear, asyncio.get_running_loop()), daemon=True).start()
        if self._warm is not None:
            self._send(Warm(self._warm))

    async def run(self, job: Job) -> AsyncGenerator[FromEngine]:
        """Everything the child says of the job; the last message is Ended or Failed.

        Raises EngineDied when it ends before that: EngineSilent and EngineTooLarge say why it had to.
        Close the iterator (`aclosing`) when leaving early.
        """
        self.start()
        self._send(job)
        ended = False
        watcher = asyncio.create_task(self._watch_memory())
        try:
            while not ended:
                message = await self._next()
                ended = isinstance(message, Ended | Failed)
                yield message
        finally:
            watcher.cancel()
            if not ended:
                self.kill()  # an abandoned job would speak into the next one

    async def embed(self, asked: Embed) -> Embedded:
        """What the child answers, once it has ended the job that it may be at. One call at a time.

        A job that comes meanwhile cuts it short: only the first texts have vectors then.

        Raises EngineDied, also when there is no child: `start` it between jobs.
        """
        if self._child is None:
            raise EngineDied
        self._send(asked)
        answer = await self._embedded.get()
        if answer is None:
            raise EngineDied
        return answer

    async def _next(self) -> FromEngine:
        """What the child says next. Raises EngineDied."""
        try:
            message = await asyncio.wait_for(self._heard.get(), self._limits.silence)
        except TimeoutError:
            log.error("the engine said nothing for %g seconds and is killed", self._limits.silence)
            self.kill(EngineSilent)
            raise EngineSilent from None
        if message is None:
            cause = self._killed or EngineDied
            self._forget()
            raise cause
        return message

    async def _watch_memory(self) -> None:
        """Kill the child as soon as it holds more than it may."""
        while True:
            if self._too_large():
                log.error("the engine holds %d MB, more than it may, and is killed", self.held >> 20)
                self.kill(EngineTooLarge)
                return
            await asyncio.sleep(LOOK_EVERY)

    @property
    def held(self) -> int:
        """Bytes of memory that the child holds."""
        return 0 if self.pid is None else memory.held_by(self.pid)

    def _too_large(self) -> bool:
        return self.held > self._limits.resident

    def stop(self, job_id: str, member: int) -> None:
        """Ask the child to drop a member of the job; it stops at its next pass when none is left."""
        self._send(Stop(job_id, member))

    def kill(self, cause: type[EngineDied] = EngineDied) -> None:
        """End the child at once, whatever it does. The next job starts another."""
        if self._child is not None and self._child.pid is not None and self._child.is_alive():
            self._killed = cause
            self._child.kill()
            self._child.join(5)
            # one that a driver keeps from ending must not be waited for
            self._heard.put_nowait(None)
            self._embedded.put_nowait(None)

    def close(self) -> None:
        """End the child for good: politely when it is idle, else at once."""
        if self._connection is not None and self._child is not None:
            self._connection.close()
            self._child.join(2)
        self.kill()
        self._forget()
        self._sender.shutdown(wait=False)

    def _forget(self) -> None:
        if self._child is not None:
            self._child.join(0.1)
        if self._connection is not None:
            self._connection.close()
        self._child = self._connection = None

    def _send(self, message: ToEngine) -> None:
        """Say something, in order, without waiting: a child that hangs reads nothing, and its pipe fills up."""
        if self._connection is not None:
            self._sender.submit(_deliver, self._connection, encode(message))


def _deliver(connection: Connection, data: bytes) -> None:
    """Write to the child; one that is gone is noticed by whoever listens."""
    try:
        connection.send_bytes(data)
    except OSError:
        log.warning("the engine is gone")


Hear = Callable[[FromEngine | None], None]


def _hearing(heard: "asyncio.Queue[FromEngine | None]", embedded: "asyncio.Queue[Embedded | None]") -> Hear:
    """Vectors to one queue, what is said of jobs to the other; that the child ended, to both."""

    def hear(message: FromEngine | None) -> None:
        if not isinstance(message, Embedded):
            heard.put_nowait(message)
        if message is None or isinstance(message, Embedded):
            embedded.put_nowait(message)

    return hear


def _listen(connection: Connection, hear: Hear, loop: asyncio.AbstractEventLoop) -> None:
    """Carry the child's messages into the loop; None when it ended."""
    message: FromEngine | None
    while True:
        try:
            message = decode_from_engine.decode(connection.recv_bytes())
        except (EOFError, OSError, msgspec.DecodeError):
            message = None
        try:
            loop.call_soon_threadsafe(hear, message)
        except RuntimeError:
            return  # the loop is closed: the worker is leaving
        if message is None:
            return


# -- in the child -----------------------------------------------------------------------------


def main(connection: Connection, device: str, model_memory: int) -> None:
    """Take jobs until the worker closes the pipe."""
    die_with_parent(signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(EVICT_ME_FIRST)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory.keep_freed()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s engine %(levelname)s %(message)s")
    Child(connection, device, model_memory).work()


class Child:
    """The engine's own side: a thread listens while the main thread works."""

    def __init__(self, connection: Connection, device: str, model_memory: int) -> None:
        self._connection = connection
        self._models = Models(device, model_memory, lambda doing: self._say(Loading(doing)))
        self._encoders = Encoders()
        self._inbox: queue.Queue[Job | Warm | Embed | None] = queue.Queue()
        self._stopped: set[tuple[str, int]] = set()
        self._working = False

    def work(self) -> None:
        """Do jobs one after the other."""
        threading.Thread(target=self._listen, daemon=True).start()
        while (message := self._next()) is not None:
            self._working = True
            if isinstance(message, Warm):
                self._warm(message)
            elif isinstance(message, Embed):
                self._say(self._encoders.embed(message, lambda: not self._inbox.empty()))
            else:
                end = self._ended(message)
                if isinstance(end, Failed) and end.code == "memory":
                    self._models.free()
                self._say(end)
                self._stopped.clear()
            self._working = False

    def _next(self) -> Job | Warm | Embed | None:
        try:
            return self._inbox.get(timeout=IDLE)
        except queue.Empty:
            memory.give_back()
            return self._inbox.get()

    def _listen(self) -> None:
        try:
            while True:
                message = decode_to_engine.decode(self._connection.recv_bytes())
                if isinstance(message, Stop):
                    self._stopped.add((message.id, message.member))
                else:
                    self._inbox.put(message)
        except (EOFError, OSError):
            if self._working:
                os._exit(0)  # the worker is gone: whatever runs is of no use to anybody
            self._inbox.put(None)

    def _say(self, message: FromEngine) -> None:
        self._connection.send_bytes(encode(message))

    def _warm(self, message: Warm) -> None:
        """Load the model and draw once, so that the first person does not wait for it."""
        try:
            warm_up(self._models.get(message.model))
        except Exception:
            log.exception("could not warm up %s", message.model.name)

    def _ended(self, job: Job) -> Ended | Failed:
        try:
            self._do(job)
        except OtherFiles as error:
            return Failed("unlike", error.message, error.revision)
        except DomainError as error:
            return Failed("refused", error.message)
        except Stopped:
            return Failed("stopped", "")
        except Away as error:
            return Failed("away", str(error))
        except Exception as error:
            if memory.is_short(error):
                return Failed("memory", traceback.format_exc())
            if _device_is_lost(error):
                log.exception("the device is in no state to go on")
                os._exit(1)  # every later call would fail too: a new process gets a new context
            return Failed("broken", traceback.format_exc())
        return Ended()

    def _do(self, job: Job) -> None:
        """Run the job and say each wanted member's result. The time of a shared call counts to each of them."""
        start = time.monotonic()
        ctx = Context(job, self._models, self._say, lambda member: (job.id, member) not in self._stopped)
        alike = [msgspec.convert(member.step, steps.AnyStep) for member in job.members]
        runner = RUNNERS[steps.kind_of(alike[0])]
        if len(alike) > 1:
            assert runner.together is not None, "only kinds that can run together are batched"
            results = runner.together(alike, ctx)
        else:
            results = [runner.run(alike[0], ctx)]
        ran = time.monotonic() - start - ctx.loading
        self._say(Saving())
        for member in ctx.wanted:
            began = time.monotonic()
            receipt = self._receipt(job, member, alike[member], results[member])
            made = [files.encode(picture, receipt) for picture in results[member].pictures]
            self._say(
                Done(
                    member=member,
                    text=results[member].text,
                    files=made,
                    receipt=msgspec.to_builtins(receipt),
                    load=round(ctx.loading, 4),
                    run=round(ran, 4),
                    encode=round(time.monotonic() - began, 4),
                )
            )

    def _receipt(self, job: Job, member: int, step: steps.AnyStep, result: Result) -> receipts.Receipt:
        model = None if job.model is None else self._models.get(job.model)
        unused = step.unused("" if job.model is None else job.model.family)
        told = {name: value for name, value in msgspec.to_builtins(step).items() if name not in unused}
        return receipts.Receipt(
            kind=steps.kind_of(step),
            code=step.code,
            parameters=receipts.shown({**told, **result.used, **_loras(job), **_vae(job)}),
            seed=getattr(step, "seed", None),
            model="" if job.model is None else job.model.name,
            model_revision="" if job.model is None else job.model.revision,
            device="" if model is None else model.device,
            dtype="" if model is None else model.dtype,
            means={} if model is None else model.means,
            versions={} if model is None else _versions(model.ref, result),
            inputs=job.members[member].picture_hashes,
            batch=receipts.Batch(len(job.members), member) if len(job.members) > 1 else None,
            consent=job.members[member].consent,
        )


def _loras(job: Job) -> dict[str, Any]:
    """The LoRAs as a receipt tells them: by name, weight and revision."""
    worn = [Lora(one.name, one.weight, one.revision) for one in job.loras]
    return {"loras": msgspec.to_builtins(worn)} if worn else {}


def _vae(job: Job) -> dict[str, Any]:
    """The hash of the VAE; its name is the step's own parameter."""
    return {} if job.vae is None else {"vae_revision": job.vae.revision}


def _versions(model: ModelRef, result: Result) -> dict[str, str]:
    """The libraries that decide what a result looks like."""
    found = endpoint.versions() if model.remote else diffusion.versions()
    return found | meshes.versions() if any(isinstance(one, Mesh) for one in result.pictures) else found


def _device_is_lost(error: Exception) -> bool:
    """Whether a kernel failed in a way that spoils everything after it in this process."""
    import torch

    return isinstance(error, torch.AcceleratorError)
