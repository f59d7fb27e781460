"""One feed, three clothes: RSS 2.0 with Media RSS, Atom with threads and paging, JSON Feed 1.1."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from feedgen.entry import FeedEntry
from feedgen.ext.base import BaseEntryExtension, BaseExtension
from feedgen.ext.dc import DcEntryExtension, DcExtension
from feedgen.ext.media import MEDIA_NS, MediaEntryExtension, MediaExtension
from feedgen.feed import FeedGenerator
from feedgen.util import xml_elem
from markupsafe import Markup
from msgspec import Struct, field

from domain import licenses
from domain.feeds import Entry, Picture
from web.filters import markdown, rendition

THREAD_NS = "http://purl.org/syndication/thread/1.0"
ATOM_NS = "http://www.w3.org/2005/Atom"
TYPES = {
    "rss": "application/rss+xml; charset=utf-8",
    "atom": "application/atom+xml; charset=utf-8",
    "json": "application/feed+json; charset=utf-8",
}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is escaped."""


class Channel(Struct, frozen=True):
    """A feed without its clothes. Addresses are absolute; `next` and `previous` may be ""."""

    site: str
    site_name: str
    title: str
    about: str
    home: str
    self: str
    first: str
    next: str
    previous: str
    updated: datetime
    entries: list[Entry]

    def page(self, entry: Entry) -> str:
        """The address an entry leads to."""
        if entry.path:
            return self.site + entry.path
        if entry.run_id:
            return f"{self.site}/runs/{entry.run_id}"
        version = f"/versions/{entry.version}" if entry.version else ""
        return self.pipeline(entry.pipeline_id) + version

    def pipeline(self, pipeline_id: object) -> str:
        """A pipeline's address."""
        return f"{self.site}/pipelines/{pipeline_id}"

    def person(self, entry: Entry) -> str:
        """The address of an entry's author."""
        return f"{self.site}/@{entry.handle}"

    def file(self, picture: Picture, width: int | None = None) -> str:
        """A picture's address, or that of its rendition: always the site's, which does not expire."""
        url = f"{self.site}/artifacts/{picture.sha256}"
        return f"{url}/{width}" if width else url


def urn(id_: object) -> str:
    """An entry's id: the same for ever, wherever the site moves."""
    return f"urn:uuid:{id_}"


def clean(text: str) -> str:
    """The text without the characters that XML cannot hold."""
    return _FORBIDDEN.sub("�", text)


def title_of(entry: Entry) -> str:
    """An entry's title; a result carries its number, and so does a version."""
    if entry.version:
        return f"{entry.title}, version {entry.version}"
    return f"{entry.title}, result {entry.number}" if entry.run_id else entry.title


def html_of(channel: Channel, entry: Entry) -> str:
    """The entry as HTML: what its list says of it, picture, prompt, what it grew from, description, license."""
    parts: list[Markup] = []
    if entry.note:
        parts.append(Markup('<p dir="auto">{}</p>').format(entry.note))
    if entry.picture is not None and entry.picture.media_type.startswith(("image/", "model/")):
        shown = channel.file(entry.picture, rendition(entry.picture.width, 640))
        parts.append(
            Markup('<p><a href="{}"><img src="{}" alt="{}"></a></p>').format(channel.page(entry), shown, entry.title)
        )
    if entry.text:
        parts.append(Markup('<blockquote dir="auto">{}</blockquote>').format(entry.text))
    if entry.prompt:
        parts.append(Markup('<p dir="auto">{}</p>').format(entry.prompt))
    if entry.parent_id is not None:
        link = Markup('<p>An offshoot of <a href="{}">{}</a></p>')
        parts.append(link.format(channel.pipeline(entry.parent_id), entry.parent_title))
    if entry.description:
        parts.append(markdown(entry.description))
    parts.append(Markup("<p>{}</p>").format(_facts(entry)))
    return clean("\n".join(parts))


def _facts(entry: Entry) -> str:
    seed = f"seed {entry.seed}" if entry.seed is not None else ""
    return ", ".join(filter(None, (entry.model, seed, licenses.of(entry.license).name)))


# RSS and Atom


class _Paging(BaseExtension):  # type: ignore[misc]
    """RFC 5005 links in RSS; in Atom feedgen writes them itself."""

    def __init__(self) -> None:
        self.links: list[tuple[str, str]] = []

    def extend_rss(self, feed: Any) -> Any:
        for rel, href in self.links:
            xml_elem(f"{{{ATOM_NS}}}link", feed[0], rel=rel, href=href, type="application/rss+xml")
        return feed


class _NoExtension(BaseEntryExtension):  # type: ignore[misc]
    """For extensions that speak of the feed alone."""


class _Threads(BaseExtension):  # type: ignore[misc]
    """RFC 4685's namespace."""

    def extend_ns(self) -> dict[str, str]:
        return {"thr": THREAD_NS}


class _ThreadEntry(BaseEntryExtension):  # type: ignore[misc]
    """RFC 4685: what an entry answers to, here the pipeline it grew from. And an entry's links:
    feedgen 1.0 writes their addresses only."""

    def __init__(self) -> None:
        self.parent: tuple[str, str] | None = None
        self.links: list[dict[str, str]] = []

    def extend_atom(self, entry: Any) -> Any:
        if self.parent is not None:
            ref, href = self.parent
            xml_elem(f"{{{THREAD_NS}}}in-reply-to", entry, ref=ref, href=href, type="text/html")
        for link in self.links:
            xml_elem("link", entry, **link)
        return entry


class _CreditsEntry(BaseEntryExtension):  # type: ignore[misc]
    """Media RSS's credit and license, which feedgen leaves out."""

    def __init__(self) -> None:
        self.credit = ""
        self.license: licenses.License | None = None

    def extend_rss(self, entry: Any) -> Any:
        xml_elem(f"{{{MEDIA_NS}}}credit", entry, role="author").text = self.credit
        if self.license is not None:
            mark = xml_elem(f"{{{MEDIA_NS}}}license", entry, type="text/html")
            mark.text = self.license.name
            if self.license.url:
                mark.set("href", self.license.url)
        return entry


def rss(channel: Channel) -> bytes:
    """RSS 2.0 with Media RSS."""
    feed = generator(channel, "rss")
    return bytes(feed.rss_str())


def atom(channel: Channel) -> bytes:
    """Atom 1.0 with RFC 4685 threads and RFC 5005 paging."""
    feed = generator(channel, "atom")
    return bytes(feed.atom_str())


def generator(channel: Channel, kind: str) -> Any:
    """A feed with its entries, for RSS or Atom."""
    feed = FeedGenerator()
    feed.register_extension("media", MediaExtension, MediaEntryExtension, atom=False)
    feed.register_extension("credits", BaseExtension, _CreditsEntry, atom=False)
    feed.register_extension("dc", DcExtension, DcEntryExtension, atom=False)
    feed.register_extension("paging", _Paging, _NoExtension, atom=False)
    feed.register_extension("threads", _Threads, _ThreadEntry, rss=False)
    feed.id(channel.first)
    feed.title(clean(channel.title))
    feed.description(clean(channel.about))
    feed.generator(clean(channel.site_name), uri=channel.site)
    feed.updated(channel.updated)
    feed.lastBuildDate(channel.updated)
    feed.language("en")
    feed.link(href=channel.self, rel="self", type=TYPES[kind].partition(";")[0])
    for rel, href in (("first", channel.first), ("previous", channel.previous), ("next", channel.next)):
        if href:
            feed.link(href=href, rel=rel, type=TYPES[kind].partition(";")[0])
            feed.paging.links.append((rel, href))
    feed.link(href=channel.home, rel="alternate", type="text/html")
    for entry in channel.entries:
        _add(channel, entry, feed.add_entry(order="append"), kind)
    return feed


def _add(channel: Channel, entry: Entry, item: FeedEntry, kind: str) -> None:
    license_ = licenses.of(entry.license)
    item.id(urn(entry.id))
    item.title(clean(title_of(entry)) or "Untitled")
    item.link(href=channel.page(entry), rel="alternate", type="text/html")
    item.published(entry.published)
    item.updated(entry.updated)
    item.content(html_of(channel, entry), type="html")
    item.summary(clean(entry.prompt) or None)
    item.category([{"term": clean(tag)} for tag in entry.tags])
    if kind == "atom":
        _add_atom(channel, entry, item, license_)
    else:
        _add_rss(channel, entry, item, license_)


def _add_atom(channel: Channel, entry: Entry, item: Any, license_: licenses.License) -> None:
    item.author({"name": clean(entry.name or entry.handle), "uri": channel.person(entry)})
    item.rights(license_.name)
    if license_.url:
        item.threads.links.append({"rel": "license", "href": license_.url})
    if entry.parent_id is not None:
        item.threads.parent = (urn(entry.parent_id), channel.pipeline(entry.parent_id))
    if entry.picture is not None:
        picture = entry.picture
        enclosure = {"rel": "enclosure", "href": channel.file(picture), "type": picture.media_type}
        item.threads.links.append({**enclosure, "length": str(picture.bytes)})


def _add_rss(channel: Channel, entry: Entry, item: Any, license_: licenses.License) -> None:
    item.dc.dc_creator(clean(entry.name or entry.handle))
    item.credits.credit = clean(entry.name or entry.handle)
    item.credits.license = license_
    picture = entry.picture
    if picture is None:
        return
    item.enclosure(channel.file(picture), str(picture.bytes), picture.media_type)
    size = {"width": str(picture.width), "height": str(picture.height)} if picture.width and picture.height else {}
    medium = picture.media_type.partition("/")[0]
    content = {"url": channel.file(picture), "type": picture.media_type, "fileSize": str(picture.bytes), **size}
    item.media.content(
        {**content, "medium": medium if medium in ("image", "audio", "video") else "document"}, group=None
    )
    item.media.thumbnail({"url": channel.file(picture, 320)}, group=None)


# JSON Feed


class Author(Struct):
    """Whom an item is by."""

    name: str
    url: str


class _Attachment(Struct, omit_defaults=True):
    url: str
    mime_type: str
    size_in_bytes: int


class _Made(Struct, omit_defaults=True):
    """Our own data: how it was made, and where it grew from."""

    prompt: str
    model: str
    pipeline_url: str
    seed: int | None = None
    parent_url: str | None = None
    generation: int = 1
    license: str | None = None


class Item(Struct, omit_defaults=True, kw_only=True):
    """What every item has. Kinds of items add their own data, as `_offshoot`."""

    id: str
    url: str
    title: str
    content_html: str
    date_published: datetime
    date_modified: datetime
    authors: list[Author]


class _Result(Item):
    made: _Made | None = field(name="_offshoot", default=None)
    summary: str | None = None
    image: str | None = None
    tags: list[str] = []
    attachments: list[_Attachment] = []


class _About(Struct):
    about: str


class _Feed(Struct, omit_defaults=True):
    version: str
    language: str
    title: str
    home_page_url: str
    feed_url: str
    description: str
    items: Sequence[Item]
    offshoot: _About | None = field(default=None, name="_offshoot")
    next_url: str | None = None


def json_feed(channel: Channel, items: Sequence[Item], about: _About | None = None) -> bytes:
    """JSON Feed 1.1 of these items."""
    return msgspec.json.encode(
        _Feed(
            version="https://jsonfeed.org/version/1.1",
            language="en",
            title=clean(channel.title),
            home_page_url=channel.home,
            feed_url=channel.self,
            description=clean(channel.about),
            next_url=channel.next or None,
            items=items,
            offshoot=about,
        )
    )


def json(channel: Channel) -> bytes:
    """JSON Feed 1.1, with how things were made under `_offshoot`."""
    return json_feed(channel, [_item(channel, entry) for entry in channel.entries], _About(channel.site))


def _item(channel: Channel, entry: Entry) -> _Result:
    picture = entry.picture
    still = picture is not None and picture.media_type.startswith("image/")
    return _Result(
        id=urn(entry.id),
        url=channel.page(entry),
        title=clean(title_of(entry)),
        content_html=html_of(channel, entry),
        summary=clean(entry.prompt) or None,
        image=channel.file(picture) if picture is not None and still else None,
        date_published=entry.published,
        date_modified=entry.updated,
        authors=[Author(clean(entry.name or entry.handle), channel.person(entry))],
        tags=entry.tags,
        attachments=[_Attachment(channel.file(picture), picture.media_type, picture.bytes)] if picture else [],
        made=_made(channel, entry) if entry.pipeline_id else None,
    )


def _made(channel: Channel, entry: Entry) -> _Made:
    return _Made(
        prompt=clean(entry.prompt),
        model=entry.model,
        seed=entry.seed,
        pipeline_url=channel.pipeline(entry.pipeline_id),
        parent_url=channel.pipeline(entry.parent_id) if entry.parent_id else None,
        generation=entry.generation,
        license=entry.license,
    )


WRITERS = {"rss": rss, "atom": atom, "json": json}
