"""Logging in and out."""

from typing import Any

from litestar import Request, Response, get, post

from domain import accounts, gallery
from domain.errors import Invalid
from domain.gallery import Card
from domain.people import Person
from web import auth
from web.forms import read_form
from web.render import page, see_other

FIELDS = ("login", "password", "stay", "next")


@get("/login", include_in_schema=False)
async def new(request: Request[Any, Any, Any], viewer: auth.Viewer | None) -> Response[bytes]:
    """The login form; somebody who is logged in goes on."""
    if viewer is not None:
        return see_other(leave(request) or f"/@{viewer.handle}")
    return page(
        request, "sessions/new.html", form={"next": leave(request)}, errors={}, message="", beside=await beside()
    )


@post("/login", include_in_schema=False)
async def create(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Start a session with a new token, or say once more that the two do not match."""
    form = dict.fromkeys(FIELDS, "") | await read_form(request, allowed=FIELDS)
    try:
        person = await accounts.log_in(form["login"], form["password"])
    except Invalid as invalid:
        del form["password"]
        return page(
            request,
            "sessions/new.html",
            block="form",
            status=422,
            form=form,
            errors=invalid.fields,
            message=str(invalid),
            beside=await beside(),
        )
    return await enter(request, person, stay=form["stay"] == "1", after=auth.local_path(form["next"], "/"))


@post("/logout", include_in_schema=False)
async def delete(request: Request[Any, Any, Any]) -> Response[bytes]:
    """End the session on the server and in the browser."""
    await read_form(request, ())
    token = auth.token_of(request)
    if token:
        await accounts.close_session(token)
    return see_other("/", cookies=[auth.expired(request.app.state.config, "session")])


async def enter(request: Request[Any, Any, Any], person: Person, stay: bool, after: str) -> Response[bytes]:
    """Log `person` in: the old session ends, a new token is set, and the browser goes to `after`."""
    old = auth.token_of(request)
    if old:
        await accounts.close_session(old)
    token = await accounts.open_session(person.id, stay)
    config = request.app.state.config
    max_age = accounts.ABSOLUTE_DAYS * 86_400 if stay else None
    cookies = [auth.cookie(config, "session", token, max_age), auth.expired(config, "visitor")]
    answer = see_other(after, cookies=cookies)
    if request.headers.get("hx-request"):
        answer.status_code = 200
        answer.headers["HX-Redirect"] = answer.headers.pop("Location")
    return answer


async def beside() -> Card | None:
    """A new picture of the gallery to look at while logging in; None when none is large enough."""
    newest = (await gallery.cards(medium="image", limit=8)).cards
    return next((card for card in newest if card.cover_sha256 and (card.cover_width or 0) >= 480), None)


def leave(request: Request[Any, Any, Any]) -> str:
    """Where to go after logging in: the local path in `?next=`, or ""."""
    return auth.local_path(request.query_params.get("next"), "")
