"""The models that this site draws with: all of them, and each on a page of its own."""

from typing import Any

import msgspec
from litestar import Request, Response, get

from domain import means, model_pages, services, steps
from domain.model_pages import ModelShown
from web.render import page

_Request = Request[Any, Any, Any]


@get("/models", include_in_schema=False)
async def index(request: _Request) -> Response[bytes]:
    """Every model on offer with what it can do, its license and size, and the best that was made with it; and which
    workers are there."""
    shown, served = await model_pages.shown(), await services.services()
    return page(request, "models/index.html", models=shown, services=served)


@get("/models/{name:str}", include_in_schema=False)
async def show(request: _Request, name: str) -> Response[bytes]:
    """A model with everything that the registry knows of it, but for where its files lie."""
    found = await model_pages.read(name)
    kind = next((kind for kind in found.model.kinds if kind in steps.KINDS), "")
    return page(request, "models/show.html", one=found, m=found.model, kind=kind, means=means.spell(found.model.means))


@get("/models/{name:str}/model.json", include_in_schema=False)
async def as_json(name: str) -> Response[bytes]:
    """The same for programs."""
    found = await model_pages.read(name)
    content = msgspec.json.format(msgspec.json.encode(_plain(found)), indent=2)
    return Response(content=content, media_type="application/json", headers={"Cache-Control": "private, no-cache"})


def _plain(found: ModelShown) -> dict[str, Any]:
    model = found.model
    return {
        "name": model.name,
        "family": model.family,
        "kinds": model.kinds,
        "license": model.license,
        "trigger_words": model.trigger,
        "defaults": model.defaults,
        "means": msgspec.to_builtins(model.means),
        "revision": model.revision,
        "bytes": model.bytes,
        "files": msgspec.to_builtins(model.files),
        "host": model.host,
        "workers": len(found.workers),
        "devices": found.devices,
    }
