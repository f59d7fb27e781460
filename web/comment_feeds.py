"""Feeds of comments: what was written last about a pipeline or a result."""

from typing import Any
from uuid import UUID

import msgspec
from feedgen.entry import FeedEntry
from litestar import Request, Response
from msgspec import Struct

from domain import feeds, subjects, talk
from domain.errors import NotFound
from domain.lists import NO_PAGE
from domain.subjects import Subject
from domain.talk import Comment
from web.feed_formats import Author, Channel, Item, clean, generator, json_feed, urn
from web.feeds import BEGAN, at, channel_of, conditionally, kind_of, parameters
from web.filters import plain, said

_Request = Request[Any, Any, Any]


@at("/pipelines/{pipeline_id:uuid}/comments")
async def of_pipeline(request: _Request, pipeline_id: UUID) -> Response[bytes]:
    """Comments on a pipeline, newest first: ?after=."""
    return await _feed(request, await subjects.pipeline(pipeline_id, None))


@at("/runs/{run_id:uuid}/comments")
async def of_run(request: _Request, run_id: UUID) -> Response[bytes]:
    """Comments on a published run, newest first: ?after=."""
    return await _feed(request, await subjects.run(run_id, None))


def name_of(subject: Subject) -> str:
    """A subject's title; a result carries its number, as in the feeds of results."""
    return f"{subject.title}, result {subject.number}" if subject.run_id else subject.title


def address_of(subject: Subject) -> str:
    """The path of the subject's page."""
    return f"/runs/{subject.run_id}" if subject.run_id else f"/pipelines/{subject.pipeline_id}"


async def _feed(request: _Request, subject: Subject) -> Response[bytes]:
    page = await talk.newest(subject, _after(request))
    name, home = name_of(subject), address_of(subject)
    around = feeds.Page([], page.next, page.previous)
    channel = channel_of(request, around, f"{name} · Comments", f"What people say of “{name}”.", home, {})
    updated = max((one.edited_at or one.created_at for one in page.comments), default=BEGAN)
    channel = msgspec.structs.replace(channel, updated=updated)
    kind = kind_of(request)
    body = (
        json_feed(channel, [_item(channel, one, name) for one in page.comments])
        if kind == "json"
        else _xml(channel, page.comments, name, kind)
    )
    return conditionally(request, body, updated)


def _after(request: _Request) -> UUID | None:
    after = parameters(request, "after").get("after")
    try:
        return UUID(after) if after else None
    except ValueError:
        raise NotFound(NO_PAGE) from None


def _title(comment: Comment, name: str) -> str:
    answered = f" to {comment.to.shown}" if comment.is_reply and comment.to else ""
    return f"{_author(comment)}{answered} on {name}"


def _author(comment: Comment) -> str:
    """Their name. Whose account is gone has no words left, so they are in no feed."""
    assert comment.author is not None
    return comment.author.shown


def _person(channel: Channel, comment: Comment) -> str:
    assert comment.author is not None
    return f"{channel.site}/@{comment.author.handle}"


def _html(channel: Channel, comment: Comment) -> str:
    """The words as HTML; links to people are the site's."""
    return clean(said(comment.body, comment.mentioned).replace('<a href="/@', f'<a href="{channel.site}/@'))


def _xml(channel: Channel, comments: list[Comment], name: str, kind: str) -> bytes:
    feed = generator(channel, kind)
    for comment in comments:
        _add(feed.add_entry(order="append"), channel, comment, name, kind)
    return bytes(feed.atom_str() if kind == "atom" else feed.rss_str())


def _add(item: FeedEntry, channel: Channel, comment: Comment, name: str, kind: str) -> None:
    item.id(urn(comment.id))
    item.title(clean(_title(comment, name)))
    item.link(href=f"{channel.site}/comments/{comment.id}", rel="alternate", type="text/html")
    item.published(comment.created_at)
    item.updated(comment.edited_at or comment.created_at)
    item.content(_html(channel, comment), type="html")
    item.summary(clean(plain(comment.body)))
    if kind == "rss":
        item.dc.dc_creator(clean(_author(comment)))
        return
    item.author({"name": clean(_author(comment)), "uri": _person(channel, comment)})
    if comment.is_reply:
        item.threads.parent = (urn(comment.thread_id), f"{channel.site}/comments/{comment.thread_id}")


class _Answer(Struct, omit_defaults=True):
    """Our own data: the comment that began the thread, for a reply."""

    about: str
    in_reply_to: str | None = None


class _Said(Item):
    answer: _Answer = msgspec.field(name="_offshoot")


def _item(channel: Channel, comment: Comment, name: str) -> _Said:
    return _Said(
        id=urn(comment.id),
        url=f"{channel.site}/comments/{comment.id}",
        title=clean(_title(comment, name)),
        content_html=_html(channel, comment),
        date_published=comment.created_at,
        date_modified=comment.edited_at or comment.created_at,
        authors=[Author(clean(_author(comment)), _person(channel, comment))],
        answer=_Answer(channel.home, f"{channel.site}/comments/{comment.thread_id}" if comment.is_reply else None),
    )
