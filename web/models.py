"""The models that this site draws with."""

from typing import Any

from litestar import Request, Response, get

from domain import model_pages, services
from web.render import page


@get("/models", include_in_schema=False)
async def index(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Every model on offer with what it can do, its license and size, and the best that was made with it; and which
    workers are there."""
    shown, served = await model_pages.shown(), await services.services()
    return page(request, "models/index.html", models=shown, services=served)
