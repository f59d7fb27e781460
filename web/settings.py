"""What a person sets: their profile, and the theme of this browser."""

from typing import Any

from litestar import Request, Response, get, post

from domain import people
from domain.errors import Invalid
from web import auth
from web.forms import read_form, read_typed
from web.render import THEMES, page, see_other

YEAR = 365 * 86_400


@get("/settings/profile", include_in_schema=False)
async def profile(request: Request[Any, Any, Any], me: auth.Viewer) -> Response[bytes]:
    """The form with name and about text."""
    person = await people.by_id(me.id)
    form = {"name": person.name, "about": person.about}
    return page(request, "settings/profile.html", form=form, errors={}, preview=person.about)


@post("/settings/profile", include_in_schema=False)
async def save_profile(request: Request[Any, Any, Any], me: auth.Viewer) -> Response[bytes]:
    """Keep name and about text, then show the profile."""
    sent, errors = await read_typed(request, allowed=("name", "about"))
    form = {"name": "", "about": ""} | sent
    if not errors:
        try:
            await people.edit(me.id, form["name"], form["about"])
        except Invalid as invalid:
            errors = invalid.fields
    if errors:
        return page(request, "settings/profile.html", block="form", status=422, form=form, errors=errors, preview="")
    if request.headers.get("hx-request"):
        return Response(content=b"", headers={"HX-Redirect": f"/@{me.handle}"}, media_type="text/html")
    return see_other(f"/@{me.handle}")


@post("/settings/theme", include_in_schema=False)
async def theme(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Remember light, dark or auto in this browser."""
    form = await read_form(request, allowed=("theme", "next"))
    chosen = form.get("theme", "auto")
    if chosen not in THEMES:
        raise Invalid({"theme": "Auto, light or dark"})
    config = request.app.state.config
    cookie = auth.cookie(config, "theme", chosen, YEAR) if chosen != "auto" else auth.expired(config, "theme")
    if request.headers.get("hx-request"):
        return Response(content=b"", status_code=204, media_type="text/plain", cookies=[cookie])
    return see_other(auth.local_path(form.get("next")), cookies=[cookie])
