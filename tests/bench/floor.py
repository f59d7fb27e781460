"""The floors that the site's pages are measured against, in a process of their own.

`python -m tests.bench.floor PORT`: `/gallery` runs the gallery's own SQL and its cards template and
does nothing else; `/plain` answers a few bytes of text.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from litestar import Litestar, Request, Response, get

from domain import db, gallery
from domain.config import Config
from web.assets import Assets
from web.render import environment

CARDS = '{% from "macros.html" import cards %}<ul class="gallery" id="list">{{ cards(found) }}</ul>'


@get("/gallery")
async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The newest 24 cards, bare."""
    found = await gallery.cards("newest")
    html: str = request.app.state.cards.render(found=found.cards)
    return Response(html.encode(), media_type="text/html; charset=utf-8")


@get("/plain", sync_to_thread=False)
def plain() -> Response[bytes]:
    """As little as an answer can be."""
    return Response(b"plain", media_type="text/plain")


def create_app(config: Config) -> Litestar:
    """The floor's application."""

    @asynccontextmanager
    async def connected(app: Litestar) -> AsyncIterator[None]:
        await db.bind(config.database_url)
        app.state.cards = environment(config, Assets(reload=False)).from_string(CARDS)
        yield
        await db.unbind()

    return Litestar([show, plain], lifespan=[connected], openapi_config=None, logging_config=None)


if __name__ == "__main__":
    app = create_app(Config.from_env())
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, loop="uvloop")
