"""`make soak N=1000 SEED=7`: a stream of runs, two workers, and faults by a schedule that the seed repeats.

One fault in six meets a process and a server at once. Prints what was accepted, ended, lost, published twice and stuck,
and for each fault how long it took, once its cause was gone, until the runs under way had ended.
Ends with 1 when anything was lost, twice or stuck, or when one fault in a hundred took longer than it may.
"""

import asyncio
import logging
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from domain import db, models, runs, steps
from domain.errors import Conflict
from tests.faults.proxy import BUSY, OPEN, SHUT, SLOW
from tests.faults.stand import AWAY, Stand, Watch, freeze, kept, kill, troubles
from tests.make import Make, Pipeline

WORKERS = 2
RATE = 0.5
"""Runs a second that people start."""
CALM = (4.0, 12.0)
"""Seconds between a healed fault and the next, at least and at most."""
TOGETHER = 1 / 6
"""How often a process and a server meet a fault at the same moment."""
WORK = 15.0
"""Seconds that the runs under way themselves may take, beyond what recovering from a fault may."""
WITHIN = {
    "worker killed": 45.0,
    "worker frozen": 45.0,
    "master killed": 45.0,
    "engine killed": 45.0,
    "deploy": 45.0,
    "dispatcher killed": 10.0,
    "Redis flushed": 35.0,
    "Redis killed": 35.0,
    "PostgreSQL restarted": 30.0,
    "S3 shut": 60.0,
    "S3 slow": 60.0,
    "S3 busy": 60.0,
    "two at once": 105.0,
}
"""Seconds within which each fault is recovered from; of two at once, one after the other."""
HEALING = 150.0
"""Seconds within which the runs under way must end after a fault, else the site is stuck."""
PATIENCE = 300.0
"""Seconds that the last runs have to end after the last fault."""


class Soak:
    """One soak: people who start runs, somebody who breaks things, and the account at the end."""

    def __init__(self, stand: Stand, number: int, seed: int) -> None:
        self.stand = stand
        self.number = number
        self.people = random.Random(seed)
        self.chance = random.Random(seed + 1)
        self.accepted: list[UUID] = []
        self.stuck: list[str] = []
        self.healed: dict[str, list[float]] = defaultdict(list)
        self.faults: dict[str, Callable[[], Awaitable[None]]] = {
            "worker killed": self.worker_killed,
            "worker frozen": self.worker_frozen,
            "master killed": self.master_killed,
            "engine killed": self.engine_killed,
            "deploy": self.deploy,
            "dispatcher killed": self.dispatcher_killed,
            "Redis flushed": self.redis_flushed,
            "Redis killed": self.redis_killed,
            "PostgreSQL restarted": self.postgres_restarted,
            "S3 shut": lambda: self.s3(SHUT),
            "S3 slow": lambda: self.s3(SLOW),
            "S3 busy": lambda: self.s3(BUSY),
        }

    async def work(self) -> bool:
        """Run it all; whether every promise was kept."""
        await db.bind(self.stand.config.database_url)
        await models.register_all({})
        await self.stand.dispatch()
        await self.stand.crew(WORKERS)
        watch = Watch()
        async with watch.looking():
            arriving = asyncio.create_task(self._arrive())
            while not arriving.done():
                await asyncio.wait([arriving], timeout=self.chance.uniform(*CALM))
                if not arriving.done():
                    await self._break(self._choose())
            await arriving
            await self._all_ended()
        good = await self._account(watch)
        await db.unbind()
        return good

    def _choose(self) -> list[str]:
        if self.chance.random() >= TOGETHER:
            return [self.chance.choice(list(self.faults))]
        servers = [name for name in self.faults if name.startswith(("Redis", "PostgreSQL", "S3"))]
        processes = [name for name in self.faults if name not in servers]
        return [self.chance.choice(processes), self.chance.choice(servers)]

    # -- people

    async def _arrive(self) -> None:
        make = Make(lambda: self.stand.storage)
        pipelines = [await make.pipeline(steps=chain) for chain in CHAINS]
        for number in range(self.number):
            pipeline = self.people.choice(pipelines)
            cancel = self.people.random() < 0.1
            seed = self.people.choice((number, number // 2))  # half of them may be known already
            await asyncio.sleep(self.people.expovariate(RATE))
            await self._start(pipeline, number, seed, cancel)

    async def _start(self, pipeline: Pipeline, number: int, seed: int, cancel: bool) -> None:
        """Press Run, again while the site answers that it cannot; then perhaps Stop."""

        async def press() -> UUID:
            key = f"soak-{number}"
            asked = await runs.accept(pipeline.version_id, pipeline.owner_id, {}, seed, key, afresh=seed == number)
            return asked.run_id

        run_id = await kept(press, 120)
        self.accepted.append(run_id)
        if cancel:
            await asyncio.sleep(self.people.uniform(0, 2))
            with suppress(Conflict):
                await kept(lambda: runs.cancel(run_id, pipeline.owner_id), 120)

    # -- faults

    async def _break(self, names: list[str]) -> None:
        """Let one fault happen, or two, and see how long the runs under way then take to end."""
        print(f"{len(self.accepted):6} runs in: {' and '.join(names)}", flush=True)
        await asyncio.gather(*(self.faults[name]() for name in names))
        name = names[0] if len(names) == 1 else "two at once"
        since = time.monotonic()
        await self.stand.dispatch()
        waiting = await kept(self._under_way)
        if not await self._have_ended(waiting, HEALING):
            self.stuck.append(f"{name}: runs that were under way had not ended after {HEALING:.0f} s")
        self.healed[name].append(time.monotonic() - since)
        await self.stand.crew(WORKERS)

    async def _under_way(self) -> list[UUID]:
        return [row["id"] for row in await db.fetch("SELECT id FROM runs WHERE state = 'running'")]

    async def _have_ended(self, ids: list[UUID], seconds: float) -> bool:
        """Whether all of these runs ended within so many seconds."""
        until = time.monotonic() + seconds
        left = await kept(lambda: self._left(ids))
        while left and time.monotonic() < until:
            await asyncio.sleep(0.1)
            left = await kept(lambda: self._left(ids))
        return not left

    async def _left(self, ids: list[UUID]) -> int:
        found: int = await db.fetchval("SELECT count(*) FROM runs WHERE id = ANY($1) AND finished_at IS NULL", ids)
        return found

    async def worker_killed(self) -> None:
        kill(self.chance.choice(self.stand.workers))
        self.stand.hire()

    async def worker_frozen(self) -> None:
        worker = self.chance.choice(self.stand.workers)
        family = freeze(worker)
        await asyncio.sleep(self.chance.uniform(5, 40))
        for one in family:
            one.resume()

    async def master_killed(self) -> None:
        worker = self.chance.choice(self.stand.workers)
        worker.family()[0].kill()
        self.stand.hire()

    async def engine_killed(self) -> None:
        max(self.chance.choice(self.stand.workers).family(), key=lambda one: one.memory_info().rss).kill()

    async def deploy(self) -> None:
        for worker in list(self.stand.workers):
            self.stand.hire()
            await asyncio.to_thread(worker.end, 60)

    async def dispatcher_killed(self) -> None:
        self.stand.dispatchers.pop().kill()
        await asyncio.sleep(self.chance.uniform(0, 3))

    async def redis_flushed(self) -> None:
        self.stand.flush_redis()

    async def redis_killed(self) -> None:
        await self.stand.stop_redis()
        await asyncio.sleep(self.chance.choice((1, 10, 60)))
        self.stand.start_redis()

    async def postgres_restarted(self) -> None:
        await self.stand.stop_postgres()
        await asyncio.sleep(self.chance.uniform(0, 10))
        self.stand.start_postgres()

    async def s3(self, mode: str) -> None:
        self.stand.door.turn(mode)
        await asyncio.sleep(self.chance.uniform(2, 20))
        self.stand.door.turn(OPEN)

    # -- the account

    async def _all_ended(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with suppress(*AWAY):
                if not await db.fetchval("SELECT count(*) FROM runs WHERE finished_at IS NULL"):
                    return
            await asyncio.sleep(0.5)

    async def _account(self, watch: Watch) -> bool:
        found = await troubles(self.stand.storage, watch, self.accepted)
        states = await db.fetch("SELECT state, count(*) AS runs FROM runs GROUP BY state ORDER BY state")
        ended = sum(row["runs"] for row in states if row["state"] in ("succeeded", "failed", "cancelled"))
        alive = await db.fetch("SELECT id, state FROM runs WHERE finished_at IS NULL")
        stuck = [*self.stuck, *found.stuck, *(f"run {row['id']} stays {row['state']}" for row in alive)]
        print(f"\n{'accepted':24}{len(self.accepted):8}")
        by_state = ", ".join(f"{row['runs']} {row['state']}" for row in states)
        print(f"{'ended':24}{ended:8}   {by_state}")
        for name, words in (
            ("lost", found.lost),
            ("published twice", found.twice),
            ("stuck", stuck),
            ("unreadable", found.unreadable),
            ("progress that fell", found.fallen),
        ):
            print(f"{name:24}{len(words):8}")
            for line in words[:20]:
                print(f"    {line}")
        self._print_failures(await db.fetch(_FAILURES))
        return self._print_recovery() and not (found or stuck)

    def _print_recovery(self) -> bool:
        """A line for each fault; whether all of them were recovered from in time."""
        print(f"\n{'recovery, seconds':24}{'times':>8}{'p50':>8}{'p99':>8}{'at most':>10}")
        late = []
        for name, seconds in sorted(self.healed.items()):
            worst = statistics.quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
            most = WITHIN[name] + WORK
            late += [name] if worst > most else []
            print(f"{name:24}{len(seconds):8}{statistics.median(seconds):8.1f}{worst:8.1f}{most:10.0f}")
        print(f"{'too late':24}{', '.join(late) or 'none'}")
        return not late

    def _print_failures(self, rows: list[db.Record]) -> None:
        for row in rows:
            print(f"    {row['steps']} failed: {row['error_message']}")


_FAILURES = "SELECT error_message, count(*) AS steps FROM step_runs WHERE state = 'failed' GROUP BY error_message"
WORDS = steps.PromptTemplate(template="a {red|green|blue} boat")
CHAINS: list[list[steps.AnyStep]] = [
    [WORDS, WORDS],
    [WORDS, steps.TextToImage(prompt="{text}", num_inference_steps=8, width=64, height=64)],
    [steps.TextToImage(prompt="a boat", num_inference_steps=20, width=64, height=64), steps.Upscale()],
    [steps.TextToImage(prompt="a house", num_inference_steps=60, width=64, height=64, num_images_per_prompt=2)],
]


def main(given: list[str]) -> int:
    """`N=1000 SEED=7`, in any order; a seed is drawn where none is given."""
    named = dict(word.split("=", 1) for word in given if "=" in word)
    number = int(named.get("N") or 1000)
    seed = int(named.get("SEED") or random.randrange(10**9))
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)  # it tells at length that PostgreSQL is away
    print(f"soak: {number} runs, SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="offshoot-soak-") as folder:
        Path(folder).chmod(0o755)
        stand = Stand(Path(folder))
        try:
            return 0 if asyncio.run(Soak(stand, number, seed).work()) else 1
        finally:
            stand.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
