"""What tests of search share: pipelines to find, and what is found as titles."""

from typing import Any

from domain import search, search_documents, search_query
from domain.steps import TextToImage
from tests.make import Make, Pipeline

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}
STEP = frozenset(TextToImage.__struct_fields__) - {"title"}


async def drawn(make: Make, title: str, prompt: str = "a red circle", owner: Any = None, **more: Any) -> Pipeline:
    """A published pipeline that draws a prompt; `more` are fields of its step and columns of the pipeline."""
    step = {name: more.pop(name) for name in list(more) if name in STEP}
    steps = [TextToImage(prompt=prompt, **step)]
    return await make.pipeline(owner, title=title, steps=steps, published=True, **more)


async def titles(db: Any, text: str, order: str = "match", **more: Any) -> list[str]:
    """What a search finds, as titles in order."""
    found = await search.find(search_query.parse(text), order, exactly=True, **more)
    rows = await db.fetch("SELECT id, title FROM pipelines")
    names = {row["id"]: row["title"] for row in rows}
    return [names[id_] for id_ in found.ids]


async def counted() -> None:
    """Wait until words and names are counted."""
    while await search_documents.catch_up():
        pass
