"""The models that a site offers, each with the workers that have it and the best of what was made with it."""

import shlex
import time
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from domain import db, defaults, means, models, search, search_query, services, steps
from domain.errors import Unavailable
from domain.gallery import COLUMNS, Card
from domain.models import Model
from domain.services import Worker

BEST = 4
"""Pipelines that are shown of each model in the list of all."""
PREVIEWS = 12
"""Pipelines that are shown on the page of a model."""
SEARCHED = 24
"""Models whose pipelines are looked for: a page must not ask for more."""
SECONDS = 2.0
"""How long that may take for all of them: what is left is shown without."""


class ModelShown(Struct, frozen=True):
    """A model, the best rated of the listed pipelines that use it, and how many there are; `more`: others beside; and
    the workers that have it."""

    model: Model
    best: list[Card]
    total: int
    more: bool
    workers: list[Worker]

    @property
    def asked_by(self) -> list[tuple[str, str]]:
        """(title, value): what a prompt asks for a LoRA with, and the words that call what a model has learned."""
        asked = [("Asked for with", f"<lora:{self.model.name}:0.8>")] if models.LORA in self.model.kinds else []
        called = [("Called by", ", ".join(self.model.trigger))] if self.model.trigger else []
        return [*asked, *called]

    @property
    def devices(self) -> list[str]:
        """What the workers that have it run on, each once."""
        return sorted({worker.device for worker in self.workers})

    @property
    def begins_with(self) -> list[tuple[str, str]]:
        """(title, value): the parameters that its steps begin with."""
        return defaults.titled(self.model.defaults)

    @property
    def adding(self) -> str:
        """The command that registers the same model elsewhere; "" for one that has no files."""
        if self.model.remote:
            return ""
        place = self.model.files[0].name if len(self.model.files) == 1 else "FOLDER"
        options = {
            "license": self.model.license,
            "trigger": ", ".join(self.model.trigger),
            "defaults": defaults.spell(self.model.defaults).replace(", ", ","),
            "means": means.spell(self.model.means).replace(";", ","),
        }
        given = [f"--{name} {shlex.quote(value)}" for name, value in options.items() if value]
        return " ".join(["offshoot models add", self.model.name, shlex.quote(place), *given])

    @property
    def can(self) -> list[str]:
        """What the page calls the kinds of steps that it runs, or what a LoRA or a VAE does."""
        if models.LORA in self.model.kinds:
            return ["Change how others draw, where a prompt asks for it"]
        if models.VAE in self.model.kinds:
            return ["Decode what others draw, where a step asks for it"]
        more = ["Speak like a sample of a voice"] if models.SAMPLE in self.model.kinds else []
        return [steps.KINDS[kind].label for kind in self.model.kinds if kind in steps.KINDS] + more


async def shown() -> list[ModelShown]:
    """Every model on offer, by name. What people made is looked for as long as that is quick."""
    late = time.monotonic() + SECONDS
    every, there = await models.everything(), await services.workers()
    return [
        await _with_best(model, BEST, there)
        if place < SEARCHED and time.monotonic() < late
        else ModelShown(model, [], 0, True, _having(model, there))
        for place, model in enumerate(every)
    ]


async def read(name: str) -> ModelShown:
    """The page of a model on offer. Raises NotFound."""
    return await _with_best(await models.read(name), PREVIEWS, await services.workers())


def _having(model: Model, workers: Sequence[Worker]) -> list[Worker]:
    return [worker for worker in workers if worker.has(model)]


async def _with_best(model: Model, limit: int, workers: Sequence[Worker]) -> ModelShown:
    having = _having(model, workers)
    query = search_query.read({"model": [model.name]}).query
    try:
        found = await search.find(query, "rating", limit=limit, exactly=True, facets=False)
    except Unavailable:
        return ModelShown(model, [], 0, True, having)
    _, meant = found.compiled.groups["model"]
    if meant != [f"model:{model.name.lower()}"]:  # others beside it, whose names only begin like this one's
        return ModelShown(model, [], 0, False, having)
    return ModelShown(model, await _cards(found.ids), found.total, found.more, having)


async def _cards(ids: Sequence[UUID]) -> list[Card]:
    rows = await db.fetch(
        f"""SELECT {COLUMNS} FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
            JOIN pipelines p ON p.id = wanted.id JOIN people o ON o.id = p.owner_id ORDER BY wanted.place""",  # noqa: S608
        ids,
    )
    return [Card(*row) for row in rows]
