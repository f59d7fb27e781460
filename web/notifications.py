"""A person's notifications: the list, and what has been read."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post

from domain import feeds, notifications
from domain.errors import Invalid
from domain.notifications import Notification
from web import private_feeds
from web.auth import Viewer
from web.forms import read_form
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]


@get("/notifications")
async def index(request: _Request, me: Viewer, after: UUID | None = None) -> Response[bytes]:
    """What happened to one's things, newest first; ?after= the last one of the page before."""
    found = await notifications.listed(me.id, after)
    feed = None if wants_part(request) else await private_feeds.of(request, me, "notifications")
    return page(
        request,
        "notifications/index.html",
        block="more",
        part=wants_part(request),
        listed=found,
        feed=feed,
        after=after,
        target=target,
    )


@post("/notifications/reading")
async def read_all(request: _Request, me: Viewer) -> Response[bytes]:
    """Mark all as read, up to the one in the field `until`: the newest that the page showed."""
    sent = await read_form(request, {"until"})
    try:
        until = UUID(sent.get("until", ""))
    except ValueError:
        raise Invalid({"until": "Load the page again, then press it once more"}) from None
    await notifications.read_all(me.id, until)
    return see_other("/notifications")


@post("/notifications/{notification_id:uuid}/reading")
async def read(request: _Request, notification_id: UUID, me: Viewer) -> Response[bytes]:
    """Mark one as read and go to what it tells of."""
    await read_form(request, ())
    to = target(await notifications.read(notification_id, me.id))
    if request.headers.get("hx-request"):
        return Response(content=b"", status_code=200, headers={"HX-Redirect": to}, media_type="text/html")
    return see_other(to)


async def feed(person_id: UUID, after: str | None) -> feeds.Page:
    """A page of a person's notifications for feed readers. Raises NotFound for a cursor that does not exist."""
    found, next_, previous = await notifications.open_ones(person_id, after)
    return feeds.Page([_entry(one) for one in found], next_, previous)


def _entry(one: Notification) -> feeds.Entry:
    title = f"{one.actor.name or one.actor.handle} {_did(one)}"
    return feeds.other(
        one.id,
        title,
        target(one),
        one.actor.handle,
        one.actor.name,
        one.created_at,
        description=one.excerpt,
        pipeline_id=one.pipeline_id,
    )


def _did(one: Notification) -> str:
    """What the other person did, in words."""
    if one.kind == "fork":
        return f"made an offshoot, {one.title}" + (f", of your {one.parent_title}" if one.parent_title else "")
    did = {"reply": "replied to you on", "mention": "mentioned you on"}.get(one.kind, "commented on your")
    return f"{did} {one.title}" + (f", result {one.number}" if one.number else "")


def target(one: Notification) -> str:
    """The path of what a notification tells of."""
    return f"/comments/{one.comment_id}" if one.comment_id else f"/pipelines/{one.pipeline_id}"
