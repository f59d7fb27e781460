"""A stop in every state: random orders of everything people and workers do, and stops that race with each of them."""

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain import db as database
from domain import queue, runs, steps
from domain.errors import Conflict
from domain.queue import Claim, Lost, Made
from tests.make import Make, Pipeline

CHAIN = [steps.PromptTemplate(template="a"), steps.PromptTemplate(template="b")]
which = st.sampled_from((0, 0, 0, 1, 2))
"""One of the latest, counted from the last: what happened to them is still going on."""


async def accept(pipeline: Pipeline) -> UUID:
    key = secrets.token_hex(8)
    return (await runs.accept(pipeline.version_id, pipeline.owner_id, {}, 1, key, afresh=True)).run_id


async def finish(held: Claim, sha256: str) -> None:
    await queue.finish(held, [Made(sha256)], "words", {"outputs": [sha256]}, {})


async def look(run_id: UUID) -> dict[str, Any]:
    """The run, its steps and how often each thing happened to it."""
    run = await database.fetchrow("SELECT * FROM runs WHERE id = $1", run_id)
    assert run is not None
    found = await database.fetch("SELECT * FROM step_runs WHERE run_id = $1 ORDER BY ordinal", run_id)
    said = [row["name"] for row in await database.fetch("SELECT name FROM events WHERE run_id = $1", run_id)]
    made = await database.fetchval(
        "SELECT count(*) FROM outputs o JOIN step_runs s ON s.id = o.step_run_id WHERE s.run_id = $1", run_id
    )
    return {"run": run, "steps": found, "said": said, "made": made}


def check(seen: dict[str, Any]) -> None:
    """What holds for every run at any moment."""
    run, said = seen["run"], seen["said"]
    states = [row["state"] for row in seen["steps"]]
    active = sum(state in ("queued", "running") for state in states)
    ends = sum(said.count(name) for name in ("run_succeeded", "run_failed", "cancelled"))
    if run["finished_at"] is None:
        assert run["state"] in ("queued", "running"), seen
        assert (active, ends) == (1, 0), seen
    else:
        assert run["state"] in ("succeeded", "failed", "cancelled"), seen
        assert (active, states.count("waiting"), ends) == (0, 0, 1), seen
    assert said.count("succeeded") == states.count("succeeded") == seen["made"], seen
    assert run["state"] != "cancelled" or run["cancel_requested_at"], seen
    for row in seen["steps"]:
        assert row["crash_count"] <= queue.CRASHES, seen


def machine(loop: asyncio.AbstractEventLoop, pipeline: Pipeline, sha256: str) -> type[RuleBasedStateMachine]:
    """A machine whose rules run in the tests' loop; the machine itself lives in a thread."""

    def do(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runs: list[UUID] = []
            self.claims: list[Claim] = []
            self.made_when_stopped: dict[UUID, int] = {}

        def _ours(self, held: Claim) -> bool:
            row = do(database.fetchrow("SELECT state, attempt FROM step_runs WHERE id = $1", held.step_run_id))
            return bool(row["state"] == "running" and row["attempt"] == held.attempt)

        def _end(self, number: int, verb: Any, *args: Any, **options: Any) -> None:
            """A worker's last word about a step counts exactly while the step is its own."""
            held = self.claims[-1 - number % len(self.claims)]
            ours = self._ours(held)
            try:
                do(verb(held, *args, **options))
            except Lost:
                assert not ours
            else:
                assert ours

        @initialize()
        def begin(self) -> None:
            """Two runs, one of them under way: there is something to stop from the first step on."""
            self.runs += [do(accept(pipeline)), do(accept(pipeline))]
            self.claim(1)

        @rule()
        def accept(self) -> None:
            if len(self.runs) < 8:
                self.runs.append(do(accept(pipeline)))

        @rule(room=st.integers(1, 3))
        def claim(self, room: int) -> None:
            found = do(queue.claim("light", secrets.token_hex(2), room=room))
            for held in found:
                assert held.run_id not in self.made_when_stopped
            self.claims += found

        @precondition(lambda self: self.claims)
        @rule(number=which, progress=st.integers(0, 9))
        def beat(self, number: int, progress: int) -> None:
            held = self.claims[-1 - number % len(self.claims)]
            ours = self._ours(held)
            news = do(queue.beat([held], progress, 9, "running")).get(held.step_run_id)
            assert (news is not None) == ours
            assert news is None or news.cancelled == (held.run_id in self.made_when_stopped)

        @precondition(lambda self: self.claims)
        @rule(number=which)
        def finish(self, number: int) -> None:
            self._end(number, finish, sha256)

        @precondition(lambda self: self.claims)
        @rule(number=which)
        def fail(self, number: int) -> None:
            self._end(number, queue.fail, "broken", "It broke")

        @precondition(lambda self: self.claims)
        @rule(number=which, crashed=st.booleans())
        def hand_back(self, number: int, crashed: bool) -> None:
            self._end(number, queue.hand_back, 0, "leaving", crashed=crashed)

        @precondition(lambda self: self.claims)
        @rule(number=which)
        def reap(self, number: int) -> None:
            """The worker is silent for longer than its lease."""
            held = self.claims[-1 - number % len(self.claims)]
            ours = self._ours(held)
            past = "UPDATE step_runs SET lease_until = now() - interval '1 s' WHERE id = $1 AND state = 'running'"
            if ours:
                do(database.execute(past, held.step_run_id))
            assert do(queue.reap()) == ours
            assert not self._ours(held)

        @rule(number=which)
        def cancel(self, number: int) -> None:
            latest = [*self.runs, *(held.run_id for held in self.claims)]
            run_id = latest[-1 - number]
            before = do(look(run_id))
            over = before["run"]["state"] in ("succeeded", "failed")
            try:
                do(runs.cancel(run_id, pipeline.owner_id))
            except Conflict:
                assert over
                return
            assert not over
            self.made_when_stopped.setdefault(run_id, before["made"])
            running = any(row["state"] == "running" for row in before["steps"])
            assert do(look(run_id))["run"]["state"] == ("running" if running else "cancelled")

        @precondition(lambda self: self.claims)
        @rule(verb=st.sampled_from(("finish", "fail", "hand_back", "reap")))
        def cancel_then(self, verb: str) -> None:
            """A stop right before a worker's last word."""
            self.cancel(0)
            match verb:
                case "finish":
                    self.finish(0)
                case "fail":
                    self.fail(0)
                case "hand_back":
                    self.hand_back(0, crashed=True)
                case _:
                    self.reap(0)

        @invariant()
        def every_run_is_whole(self) -> None:
            for run_id in self.runs:
                seen = do(look(run_id))
                check(seen)
                if run_id in self.made_when_stopped:
                    assert seen["run"]["state"] in ("running", "cancelled"), seen
                    assert seen["made"] == self.made_when_stopped[run_id], seen

        def teardown(self) -> None:
            """Whatever happened, workers that go on bring every run to its end."""
            past = "UPDATE step_runs SET lease_until = now() - interval '1 s' WHERE state = 'running'"
            do(database.execute(past))
            do(queue.reap())
            while held := do(queue.claim("light", "last", room=4)):
                for each in held:
                    do(finish(each, sha256))
            self.every_run_is_whole()
            for run_id in self.runs:
                assert do(look(run_id))["run"]["finished_at"] is not None

    return Machine


async def test_a_stop_holds_in_every_order(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(steps=CHAIN)
    picture = await make.artifact()
    built = machine(asyncio.get_running_loop(), pipeline, picture.sha256)
    few = settings(
        max_examples=50,
        stateful_step_count=20,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(run_state_machine_as_test, built, settings=few)


VERBS = ("claim", "beat", "finish", "fail", "hand_back", "crash", "reap", "cancelled", "cancel")
ROUNDS = 20


@pytest.mark.parametrize("verb", VERBS)
async def test_a_stop_races_with_everything(make: Make, db: Any, verb: str) -> None:
    pipeline = await make.pipeline(steps=CHAIN)
    sha256 = (await make.artifact()).sha256
    for number in range(ROUNDS):
        run_id = await accept(pipeline)
        held = [] if verb == "claim" else await queue.claim("light", "w")
        if verb == "reap":
            await database.execute("UPDATE step_runs SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        rivals = [_rival(verb, held, pipeline, run_id, sha256) for _ in range(2)]
        stop = runs.cancel(run_id, pipeline.owner_id)
        racing = [stop, *rivals] if number % 2 else [*rivals, stop]
        for answer in await asyncio.gather(*racing, return_exceptions=True):
            assert not isinstance(answer, BaseException) or isinstance(answer, Conflict | Lost), repr(answer)
        await _settled(run_id)
        seen = await look(run_id)
        check(seen)
        state = seen["run"]["state"]
        assert state == "cancelled" or (verb, state) == ("fail", "failed")


def _rival(verb: str, held: list[Claim], pipeline: Pipeline, run_id: UUID, sha256: str) -> Coroutine[Any, Any, Any]:
    match verb:
        case "claim":
            return queue.claim("light", "w")
        case "beat":
            return queue.beat(held, 1, 2, "running")
        case "finish":
            return finish(held[0], sha256)
        case "fail":
            return queue.fail(held[0], "broken", "It broke")
        case "hand_back":
            return queue.hand_back(held[0], 0, "leaving")
        case "crash":
            return queue.hand_back(held[0], 0, "", crashed=True)
        case "reap":
            return queue.reap()
        case "cancelled":
            return _told(held[0])
    return runs.cancel(run_id, pipeline.owner_id)


async def _told(held: Claim) -> None:
    """A worker that stops once a beat says so."""
    for _ in range(200):
        news = (await queue.beat([held], 1, 2, "running")).get(held.step_run_id)
        if news is None:
            return
        if news.cancelled:
            await queue.cancelled(held)
            return
        await asyncio.sleep(0.005)


async def _settled(run_id: UUID) -> None:
    """If a worker still holds the run, it is silent until its lease runs out."""
    await database.execute(
        "UPDATE step_runs SET lease_until = now() - interval '1 s' WHERE run_id = $1 AND state = 'running'", run_id
    )
    await queue.reap()
