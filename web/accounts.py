"""Signing up."""

from typing import Any

from litestar import Request, Response, get, post

from domain import accounts
from domain.errors import Invalid
from web import auth
from web.forms import read_typed
from web.render import page, see_other
from web.sessions import beside, enter, leave

FIELDS = ("email", "handle", "name", "password", "next")


@get("/signup", include_in_schema=False)
async def new(request: Request[Any, Any, Any], viewer: auth.Viewer | None) -> Response[bytes]:
    """The empty form; somebody with an account goes on to their page."""
    if viewer is not None:
        return see_other(f"/@{viewer.handle}")
    return page(request, "accounts/new.html", form={"next": leave(request)}, errors={}, beside=await beside())


@post("/signup", include_in_schema=False)
async def create(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Make the account and log in. What was typed stays on an error, but for the password."""
    sent, errors = await read_typed(request, allowed=FIELDS)
    form = dict.fromkeys(FIELDS, "") | sent
    try:
        if errors:
            raise Invalid(errors)
        person = await accounts.sign_up(form["email"], form["handle"], form["password"], form["name"])
    except Invalid as invalid:
        del form["password"]
        errors, picture = invalid.fields, await beside()
        return page(request, "accounts/new.html", block="form", status=422, form=form, errors=errors, beside=picture)
    return await enter(request, person, stay=True, after=auth.local_path(form["next"], f"/@{person.handle}"))
