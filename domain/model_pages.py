"""The models that a site offers, each with the best of what was made with it."""

import time
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from domain import db, models, search, search_query, steps
from domain.errors import Unavailable
from domain.gallery import COLUMNS, Card
from domain.models import Model

BEST = 4
"""Pipelines that are shown of each model."""
SEARCHED = 24
"""Models whose pipelines are looked for: a page must not ask for more."""
SECONDS = 2.0
"""How long that may take for all of them: what is left is shown without."""


class ModelShown(Struct, frozen=True):
    """A model, the best rated of the listed pipelines that use it, and how many there are; `more`: others beside."""

    model: Model
    best: list[Card]
    total: int
    more: bool

    @property
    def asked_by(self) -> list[tuple[str, str]]:
        """Of a LoRA (title, value): what a prompt asks for it with, and the words that call what it has learned."""
        if models.LORA not in self.model.kinds:
            return []
        called = [("Called by", ", ".join(words)) for _, words in self.model.words]
        return [("Asked for with", f"<lora:{self.model.name}:0.8>"), *called]

    @property
    def can(self) -> list[str]:
        """What the page calls the kinds of steps that it runs, or what a LoRA does."""
        if models.LORA in self.model.kinds:
            return ["Change how others draw, where a prompt asks for it"]
        more = ["Speak like a sample of a voice"] if models.SAMPLE in self.model.kinds else []
        return [steps.KINDS[kind].label for kind in self.model.kinds if kind in steps.KINDS] + more


async def shown() -> list[ModelShown]:
    """Every model on offer, by name. What people made is looked for as long as that is quick."""
    late = time.monotonic() + SECONDS
    every = await models.everything()
    return [
        await _with_best(model) if place < SEARCHED and time.monotonic() < late else ModelShown(model, [], 0, True)
        for place, model in enumerate(every)
    ]


async def _with_best(model: Model) -> ModelShown:
    query = search_query.read({"model": [model.name]}).query
    try:
        found = await search.find(query, "rating", limit=BEST, exactly=True, facets=False)
    except Unavailable:
        return ModelShown(model, [], 0, True)
    _, meant = found.compiled.groups["model"]
    if meant != [f"model:{model.name.lower()}"]:  # others beside it, whose names only begin like this one's
        return ModelShown(model, [], 0, False)
    return ModelShown(model, await _cards(found.ids), found.total, found.more)


async def _cards(ids: Sequence[UUID]) -> list[Card]:
    rows = await db.fetch(
        f"""SELECT {COLUMNS} FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
            JOIN pipelines p ON p.id = wanted.id JOIN people o ON o.id = p.owner_id ORDER BY wanted.place""",  # noqa: S608
        ids,
    )
    return [Card(*row) for row in rows]
