"""Following people, tags and pipelines, and the list of all that one follows."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

from litestar import Request, Response, get, post
from msgspec import Struct

from domain import bookmarks, follows, people
from domain.errors import Invalid, NotFound
from web.auth import Viewer, local_path, viewer_of
from web.forms import read_form
from web.gallery import known_tag, tag_address
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]


class Button(Struct, frozen=True):
    """A follow button: where it sends, whether it is pressed, how many follow (None: not said), what is followed."""

    url: str
    pressed: bool
    count: int | None
    what: str


@post("/{handle:str}/follow", status_code=200, include_in_schema=False)
async def person(request: _Request, handle: str, me: Viewer) -> Response[bytes]:
    """`/@handle/follow`, form field `followed`: 1 follows, 0 does not any more."""
    if not handle.startswith("@"):
        raise NotFound
    found = await people.by_handle(handle[1:])
    form = await _read(request)
    if form["followed"] == "1":
        await follows.follow_person(me.id, found.id)
    else:
        await follows.unfollow_person(me.id, found.id)
    base = f"/@{found.handle}"
    return _answer(request, form, base, Button(f"{base}/follow", form["followed"] == "1", None, found.shown))


@post("/tags/{tag:str}/follow", status_code=200, include_in_schema=False)
async def tag(request: _Request, tag: str, me: Viewer) -> Response[bytes]:
    """A tag, form field `followed`: 1 or 0."""
    kept = known_tag(tag)
    form = await _read(request)
    if form["followed"] == "1":
        await follows.follow_tag(me.id, kept)
    else:
        await follows.unfollow_tag(me.id, kept)
    base = tag_address(kept)
    return _answer(request, form, base, Button(f"{base}/follow", form["followed"] == "1", None, kept))


@post("/pipelines/{pipeline_id:uuid}/follow", status_code=200, include_in_schema=False)
async def pipeline(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """A pipeline, form field `followed`: 1 or 0."""
    form = await _read(request)
    if form["followed"] == "1":
        await follows.follow_pipeline(me.id, pipeline_id)
    else:
        await follows.unfollow_pipeline(me.id, pipeline_id)
    base = f"/pipelines/{pipeline_id}"
    if not wants_part(request):
        return see_other(local_path(form.get("next"), f"{base}#follow"))
    marks = await bookmarks.marks(pipeline_id, me.id)
    return _answer(request, form, base, of_pipeline(pipeline_id, marks))


@get("/follows", include_in_schema=False)
async def index(request: _Request, me: Viewer, after: str | None = None) -> Response[bytes]:
    """Whom and what one follows, the latest first: ?after=."""
    listed = await follows.mine(me.id, after)
    return page(request, "follows/index.html", listed=listed, later=bool(after), address_of=_address_of)


def of_pipeline(pipeline_id: UUID, marks: bookmarks.Marks) -> Button:
    """The button on a pipeline's page."""
    url = f"/pipelines/{pipeline_id}/follow"
    return Button(url, marks.followed, marks.followers, "its offshoots, versions and results")


async def of_person(viewer: Viewer | None, found: people.Person) -> Button | None:
    """The button on a profile; none on one's own. One query for who is logged in."""
    if viewer is not None and viewer.id == found.id:
        return None
    pressed = viewer is not None and await follows.follows_person(viewer.id, found.id)
    return Button(f"/@{found.handle}/follow", pressed, None, found.shown)


async def of_tag(request: _Request, kept: str) -> Button:
    """The button on a tag's page. One query for who is logged in."""
    viewer = viewer_of(request)
    pressed = viewer is not None and await follows.follows_tag(viewer.id, kept)
    return Button(f"{tag_address(kept)}/follow", pressed, None, kept)


def _address_of(followed: follows.Followed) -> str:
    """The page of what is followed."""
    if followed.kind == "person":
        return f"/@{quote(followed.handle)}"
    return tag_address(followed.tag) if followed.kind == "tag" else f"/pipelines/{followed.pipeline_id}"


async def _read(request: _Request) -> dict[str, str]:
    form = await read_form(request, {"followed", "next"})
    if form.get("followed") not in ("0", "1"):
        raise Invalid({"followed": "1 to follow, 0 to stop"})
    return form


def _answer(request: _Request, form: dict[str, str], base: str, button: Button) -> Response[bytes]:
    """The button for htmx, else the page in `next` or that of what is followed."""
    if not wants_part(request):
        return see_other(local_path(form.get("next"), f"{base}#follow"))
    return page(request, "follows/button.html", block="button", follow=button)
