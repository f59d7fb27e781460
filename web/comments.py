"""Comments: a subject's list and form, answers, changes, deletion."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from msgspec import Struct

from domain import comments, subjects, talk
from domain.errors import Invalid, TooMany
from domain.pipelines import PipelinePage
from domain.run_pages import RunPage
from domain.subjects import Subject
from domain.talk import Comment
from web.auth import Viewer
from web.comment_feeds import address_of, name_of
from web.forms import new_key, read_form, read_typed
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]


class Form(Struct, kw_only=True):
    """A form that writes, answers or changes a comment."""

    id: str
    action: str
    label: str
    button: str
    body: str = ""
    error: str = ""
    key: str = ""
    hint: str = ""
    back: str = ""
    """Where giving up leads; "" for the form that is always there."""
    target: str = ""
    swap: str = "outerHTML"


def under_pipeline(found: PipelinePage) -> Subject:
    """The pipeline of a page as a subject."""
    return Subject(
        pipeline_id=found.id,
        run_id=None,
        number=None,
        title=found.title,
        private=found.visibility == "private",
        owner_id=found.owner.id,
        pipeline_owner_id=found.owner.id,
    )


async def beneath(subject: Subject, viewer: Viewer | None, after: UUID | None = None) -> dict[str, Any]:
    """What the templates need to show a subject's comments and the form, in one query."""
    found = await talk.read(subject, viewer.id if viewer else None, viewer.role if viewer else "", after)
    return {**_about(subject), "talk": found, "form": writing(subject)}


async def beneath_run(run: RunPage, viewer: Viewer | None) -> dict[str, Any]:
    """The same for a run's page; nothing unless it is published."""
    if not run.published or not run.pipeline_title:
        return {"talk": None}
    return await beneath(await subjects.run(run.id, viewer.id if viewer else None), viewer)


def writing(subject: Subject, body: str = "", error: str = "") -> Form:
    """The form for a new comment."""
    return Form(
        id="say",
        action=f"{address_of(subject)}/comments",
        label="Your comment",
        button="Post comment",
        body=body,
        error=error,
        key=new_key(),
        target="#comments",
        swap="beforeend",
    )


def _answering(comment: Comment, body: str = "", error: str = "") -> Form:
    to = comment.author.shown if comment.author else "a deleted account"
    start = f"@{comment.author.handle} " if comment.author and comment.is_reply and not comment.mine else ""
    return Form(
        id=f"reply-{comment.id}",
        action=f"/comments/{comment.id}/replies",
        label=f"Your reply to {to}",
        button="Post reply",
        body=body if error else start,
        error=error,
        key=new_key(),
        back=f"/comments/{comment.id}",
        target="closest .slot",
    )


def _changing(comment: Comment, body: str = "", error: str = "") -> Form:
    return Form(
        id=f"edit-{comment.id}",
        action=f"/comments/{comment.id}/edit",
        label="Your comment",
        button="Save",
        body=body if error else comment.body,
        error=error,
        back=f"/comments/{comment.id}",
        target="this",
    )


def _about(subject: Subject) -> dict[str, Any]:
    return {"subject": subject, "about": name_of(subject), "about_url": address_of(subject)}


@get("/pipelines/{pipeline_id:uuid}/comments")
async def of_pipeline(
    request: _Request, pipeline_id: UUID, viewer: Viewer | None, after: UUID | None = None
) -> Response[bytes]:
    """All comments on a pipeline, the oldest first; ?after= the last comment of the page before."""
    return await _index(request, await subjects.pipeline(pipeline_id, viewer.id if viewer else None), viewer, after)


@get("/runs/{run_id:uuid}/comments")
async def of_run(request: _Request, run_id: UUID, viewer: Viewer | None, after: UUID | None = None) -> Response[bytes]:
    """The same for a published run."""
    return await _index(request, await subjects.run(run_id, viewer.id if viewer else None), viewer, after)


async def _index(request: _Request, subject: Subject, viewer: Viewer | None, after: UUID | None) -> Response[bytes]:
    shown = await beneath(subject, viewer, after)
    return page(request, "comments/index.html", block="more", part=wants_part(request), **shown)


@post("/pipelines/{pipeline_id:uuid}/comments", status_code=200)
async def write_on_pipeline(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Write about a pipeline. Form fields `body`, and `key`, which makes a form sent twice one comment."""
    subject = await subjects.pipeline(pipeline_id, me.id)
    return await _submit(
        request,
        me,
        subject,
        lambda body, error: writing(subject, body, error),
        lambda body, key: comments.on_pipeline(pipeline_id, me.id, body, key),
    )


@post("/runs/{run_id:uuid}/comments", status_code=200)
async def write_on_run(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """Write about a published run; fields as above."""
    subject = await subjects.run(run_id, me.id)
    return await _submit(
        request,
        me,
        subject,
        lambda body, error: writing(subject, body, error),
        lambda body, key: comments.on_run(run_id, me.id, body, key),
    )


@get("/comments/{comment_id:uuid}")
async def show(comment_id: UUID, viewer: Viewer | None) -> Response[bytes]:
    """To the page where the comment stands."""
    return see_other(await _place(comment_id, viewer))


@get("/comments/{comment_id:uuid}/replies")
async def new_reply(request: _Request, comment_id: UUID, me: Viewer) -> Response[bytes]:
    """The form for an answer, with what it answers above it."""
    subject, comment = await talk.one(comment_id, me.id, me.role)
    return _show_form(request, subject, _answering(comment), comment)


@post("/comments/{comment_id:uuid}/replies", status_code=200)
async def reply(request: _Request, comment_id: UUID, me: Viewer) -> Response[bytes]:
    """Answer a comment; fields as above."""
    subject, comment = await talk.one(comment_id, me.id, me.role)
    return await _submit(
        request,
        me,
        subject,
        lambda body, error: _answering(comment, body, error),
        lambda body, key: comments.reply(comment_id, me.id, body, key),
        comment,
    )


@get("/comments/{comment_id:uuid}/edit")
async def edit(request: _Request, comment_id: UUID, me: Viewer) -> Response[bytes]:
    """The form with one's own words."""
    subject, comment = await talk.one(comment_id, me.id, me.role)
    comments.require_author(comment.author.id if comment.author else None, me.id)
    return _show_form(request, subject, _changing(comment))


@post("/comments/{comment_id:uuid}/edit", status_code=200)
async def save(request: _Request, comment_id: UUID, me: Viewer) -> Response[bytes]:
    """Change one's own words; field `body`."""
    subject, comment = await talk.one(comment_id, me.id, me.role)

    async def keep(body: str, key: str) -> UUID:
        await comments.edit(comment_id, me.id, body)
        return comment_id

    return await _submit(request, me, subject, lambda body, error: _changing(comment, body, error), keep)


@get("/comments/{comment_id:uuid}/deletion")
async def confirm_deletion(request: _Request, comment_id: UUID, me: Viewer) -> Response[bytes]:
    """The question whether to delete."""
    subject, comment = await talk.one(comment_id, me.id, me.role)
    comments.require_deleter(subject, comment.author.id if comment.author else None, me.id, me.role)
    return page(request, "comments/deletion.html", comment=comment, **_about(subject))


@post("/comments/{comment_id:uuid}/deletion")
async def delete(request: _Request, comment_id: UUID, me: Viewer) -> Response[bytes]:
    """Take the comment away."""
    await read_form(request, ())
    subject = await comments.delete(comment_id, me.id, me.role)
    return see_other(f"{address_of(subject)}#talk")


async def _submit(
    request: _Request,
    me: Viewer,
    subject: Subject,
    form: Callable[[str, str], Form],
    keep: Callable[[str, str], Awaitable[UUID]],
    answered: Comment | None = None,
) -> Response[bytes]:
    """Keep what was typed, or show the form with it again and what is wrong. To htmx the new comment alone."""
    sent, errors = await read_typed(request, ("body", "key"))
    body, status = sent.get("body", ""), 422
    if not errors:
        try:
            comment_id = await keep(body, sent.get("key", "")[:100])
        except Invalid as invalid:
            errors = invalid.fields
        except TooMany as error:
            errors, status = {"body": error.message}, error.status
    if errors:
        return _show_form(request, subject, form(body, next(iter(errors.values()))), answered, status)
    if not wants_part(request):
        return see_other(await _place(comment_id, me))
    _, comment = await talk.one(comment_id, me.id, me.role)
    count = await talk.count(subject)
    blank = form("", "")
    return page(request, "comments/written.html", comment=comment, form=blank, count=count, **_about(subject))


def _show_form(
    request: _Request, subject: Subject, form: Form, answered: Comment | None = None, status: int = 200
) -> Response[bytes]:
    """The form on a page of its own; to htmx the form alone, which takes the place of what was sent."""
    headers = {"HX-Retarget": f"#{form.id}", "HX-Reswap": "outerHTML"} if status != 200 else {}
    return page(
        request,
        "comments/form.html",
        block="form",
        part=wants_part(request),
        status=status,
        headers={**headers, "Cache-Control": "no-store"},
        form=form,
        answered=answered,
        **_about(subject),
    )


async def _place(comment_id: UUID, viewer: Viewer | None) -> str:
    """The address of the page that a comment stands on, and of its place there."""
    place = await talk.place(comment_id, viewer.id if viewer else None)
    url = address_of(place.subject)
    if place.after is not None:
        url = f"{url}/comments?after={place.after}"
    return f"{url}#comment-{comment_id}"
