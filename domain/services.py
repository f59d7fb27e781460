"""Which workers are there, what they serve, which models they have and how busy they are."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from domain import db, loras, models, steps
from domain.models import Model

ANNOUNCE = 10.0
"""Seconds between two words of a worker that it is there."""
GONE = 45
"""Seconds without a word after which it counts as gone."""
FORGOTTEN = 86_400
"""Seconds after which nothing is known of it any more."""
_THERE = f"seen_at > clock_timestamp() - interval '{GONE} s'"


def unserved(queue: str, kind: str) -> str:
    """SQL: whether no worker is there for a kind of steps in a queue (two expressions). One that does not say which
    kinds it runs counts as running all of its queues."""
    return f"NOT EXISTS (SELECT FROM workers w WHERE {_serves(queue, kind)})"


def unable(queue: str, kind: str, needs: str) -> str:
    """SQL: whether no worker that is there for a kind of steps in a queue has all of the models (three expressions).
    One that does not say what it has counts as having everything, and a model that is not registered is asked of
    nobody."""
    return f"""NOT EXISTS (SELECT FROM workers w WHERE {_serves(queue, kind)}
        AND (w.models IS NULL OR w.models @> array(
            SELECT m.name || '@' || m.revision FROM models m WHERE m.name = ANY ({needs}) AND m.removed_at IS NULL)))"""  # noqa: S608


def _serves(queue: str, kind: str) -> str:
    return f"{queue} = ANY (w.queues) AND (w.kinds IS NULL OR {kind} = ANY (w.kinds)) AND w.{_THERE}"


def kinds_of(queues: Collection[str], known: Iterable[str]) -> list[str]:
    """The kinds among those that a worker's own code has a runner for (`known`) that steps of its queues may be."""
    return sorted(kind for kind in known if steps.KINDS[kind].queues() & {*queues})


class Worker(Struct, frozen=True):
    """One that is there. `models` has a stamp of each that it has; None: it does not say."""

    owner: str
    queues: list[str]
    device: str
    models: list[str] | None

    def has(self, model: Model) -> bool:
        """Whether it can run steps with the model."""
        if self.models is None:
            return bool(queues_of(model) & {*self.queues})
        return models.stamp(model.name, model.revision) in self.models


def queues_of(model: Model) -> set[str]:
    """The queues that steps with the model are in."""
    drawn = {models.LORA, models.VAE, *models.UPSCALE_KINDS}
    known = [kind for kind in model.kinds if kind in drawn or kind in steps.KINDS]
    return {"image" if kind in drawn else steps.KINDS[kind].queue for kind in known}


class Missing(Struct, frozen=True):
    """What keeps a recipe's steps waiting: kinds that no worker is there for, as the site calls them, and models that
    none of those that are there has, each once. False for nothing."""

    kinds: list[str] = []
    models: list[str] = []

    @property
    def named(self) -> list[str]:
        """All of it."""
        return [*self.kinds, *self.models]

    def __bool__(self) -> bool:
        return bool(self.named)


class Service(Struct, frozen=True):
    """A queue: the kinds of steps that run in it, how many workers serve it, and how many steps run and wait.
    `unknown` are those of the kinds that no worker which is there can run."""

    queue: str
    kinds: list[str]
    unknown: list[str]
    workers: int
    devices: list[str]
    running: int
    waiting: int


async def announce(
    owner: str,
    queues: Sequence[str],
    device: str,
    having: Sequence[Model] | None = None,
    kinds: Sequence[str] | None = None,
) -> None:
    """Say that this worker is there, which models and kinds of steps it can run, and forget those long gone."""
    await db.execute(
        """
        WITH gone AS (DELETE FROM workers WHERE seen_at < clock_timestamp() - make_interval(secs => $4))
        INSERT INTO workers (owner, queues, device, models, kinds, seen_at)
        VALUES ($1, $2, $3, $5, $6, clock_timestamp())
        ON CONFLICT (owner) DO UPDATE SET queues = excluded.queues, device = excluded.device,
            models = excluded.models, kinds = excluded.kinds, seen_at = excluded.seen_at
        """,
        owner,
        list(queues),
        device,
        FORGOTTEN,
        None if having is None else [models.stamp(one.name, one.revision) for one in having],
        None if kinds is None else list(kinds),
    )


async def workers() -> list[Worker]:
    """Those that are there."""
    rows = await db.fetch(f"SELECT owner, queues, device, models FROM workers w WHERE w.{_THERE} ORDER BY owner")  # noqa: S608
    return [msgspec.convert(dict(row), Worker) for row in rows]


async def leave(owner: str) -> None:
    """Say that this worker is gone."""
    await db.execute("DELETE FROM workers WHERE owner = $1", owner)


async def services() -> list[Service]:
    """Every queue that has kinds of steps which workers run, in the order of these kinds."""
    kinds: dict[str, dict[str, str]] = {}
    for name, kind in steps.KINDS.items():
        if not kind.asks:
            kinds.setdefault(kind.queue, {})[name] = kind.label
    rows = await db.fetch(
        f"""
        SELECT wanted.queue, there.workers, there.devices, array(
                SELECT kind FROM jsonb_array_elements_text(wanted.holds -> 'kinds') AS kind
                WHERE there.workers > 0 AND {unserved("wanted.queue", "kind")}) AS unknown,
            (SELECT count(*) FROM step_runs s WHERE s.state = 'running' AND s.queue = wanted.queue) AS running,
            (SELECT count(*) FROM step_runs s WHERE s.state = 'queued' AND s.queue = wanted.queue) AS waiting
        FROM unnest($1::text[], $2::jsonb[]) WITH ORDINALITY AS wanted (queue, holds, place) CROSS JOIN LATERAL (
            SELECT count(*) AS workers, coalesce(array_agg(DISTINCT w.device ORDER BY w.device), '{{}}') AS devices
            FROM workers w WHERE wanted.queue = ANY (w.queues) AND w.{_THERE}
        ) there
        ORDER BY wanted.place
        """,  # noqa: S608 - constants only
        list(kinds),
        [{"kinds": list(names)} for names in kinds.values()],
    )
    return [_service(row, kinds[row["queue"]]) for row in rows]


def _service(row: db.Record, labels: Mapping[str, str]) -> Service:
    unknown = [labels[kind] for kind in row["unknown"]]
    return Service(**{**row, "kinds": list(labels.values()), "unknown": unknown})


async def missing(*recipes: steps.Recipe) -> Missing:
    """What of the recipes no worker runs now. A step waits for one worker that has all of its models."""
    run = (step for recipe in recipes for step in recipe.steps if not step.asks)
    wanted = list({(step.label, step.runs_on, *needs(step)): step for step in run}.values())  # a grid repeats them
    rows = await db.fetch(
        f"""SELECT {unserved("queue", "kind")} AS unserved, {unable("queue", "kind", "needs")} AS unable
            FROM unnest($1::text[], $2::text[], $3::jsonb[]) WITH ORDINALITY AS wanted (queue, kind, named, place),
                LATERAL (
                SELECT array(SELECT jsonb_array_elements_text(named -> 'needs')) AS needs
            ) AS needed
            ORDER BY place""",  # noqa: S608 - constants only
        [step.runs_on for step in wanted],
        [steps.kind_of(step) for step in wanted],
        [{"needs": needs(step)} for step in wanted],
    )
    judged = list(zip(wanted, rows, strict=True))
    return Missing(
        list(dict.fromkeys(step.label for step, row in judged if row["unserved"])),
        list(
            dict.fromkeys(" with ".join(needs(step)) for step, row in judged if row["unable"] and not row["unserved"])
        ),
    )


def needs(step: steps.AnyStep) -> list[str]:
    """The models that a step needs as far as it names them: its own, its VAE, and the LoRAs of its prompt."""
    named = [name for field in steps.MODELS if (name := getattr(step, field, ""))]
    return [*named, *loras.named(step.prompt)] if isinstance(step, steps.DRAWING) else named
