"""What somebody agreed to, and taking it back."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post

from domain import consents
from web.auth import Viewer
from web.forms import read_form
from web.render import page, see_other

_Request = Request[Any, Any, Any]


@get("/consents", include_in_schema=False)
async def index(request: _Request, me: Viewer, after: str | None = None) -> Response[bytes]:
    """The samples of voices that one agreed to, the latest first: ?after=."""
    listed = await consents.mine(me.id, after)
    return page(request, "consents/index.html", listed=listed, later=bool(after), today=consents.WORDS)


@post("/consents/{consent_id:uuid}/withdrawal", status_code=303, include_in_schema=False)
async def withdraw(request: _Request, consent_id: UUID, me: Viewer) -> Response[bytes]:
    """Take one back."""
    await read_form(request, set())
    await consents.withdraw(me.id, consent_id)
    return see_other("/consents")
