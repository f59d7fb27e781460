"""The front page: the gallery in its orders and kinds, page by page."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from litestar import Request, Response, get
from markupsafe import Markup
from msgspec import Struct

from domain import diff, gallery, tags
from domain.errors import Invalid, NotFound
from web import conditional
from web.render import page, wants_part

ORDERS = {
    "newest": ("Newest", "New in the gallery"),
    "trending": ("Trending", "Trending"),
    "best": ("Best this week", "Best this week"),
    "top": ("Top rated", "Top rated"),
    "offshoots": ("Most offshoots", "Most offshoots by others"),
    "grown": ("Most grown", "Most grown lines"),
}
"""The link's words and the list's heading."""


class Kind(Struct, frozen=True):
    """A tab: the medium it keeps to ("" for all), its words, its icon, and what an empty list lacks."""

    medium: str
    label: str
    icon: str
    missing: str


KINDS = (
    Kind("", "All", "", "Nothing here yet"),
    Kind("image", "Images", "image", "No images yet"),
    Kind("animation", "Animations", "film", "No animations yet"),
    Kind("mesh", "3D", "cube", "No 3D models yet"),
    Kind("text", "Text", "words", "No texts yet"),
    Kind("audio", "Speech", "sound", "No speech yet"),
)
OPENING_FRESH = 1.0
_KNOWN = frozenset({"order", "kind", "tag", "after"})


@get("/", include_in_schema=False)
async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The gallery: ?order=newest|trending|best|top|offshoots|grown, ?kind=, ?tag=, ?after= a cursor."""
    asked = query_of(request)
    tag, feed = asked.get("tag"), "/gallery/feed"
    if tag is not None:
        tag = known_tag(tag)
        feed = f"{tag_address(tag)}/feed"
    opening = await _opening(request) if not asked and not wants_part(request) else ""
    return await listing(request, asked, tag=tag, base="/", feed=feed, opening=opening)


_openings: dict[int, tuple[float, Markup]] = {}


async def _opening(request: Request[Any, Any, Any]) -> Markup:
    """The branch that opens the gallery, as HTML that is the same for everybody; empty without one.

    It may be `OPENING_FRESH` seconds old: finding it in a large gallery takes longer than the page.
    """
    app = id(request.app)
    kept = _openings.get(app)
    if kept is not None and kept[0] > time.monotonic():
        return kept[1]
    branch = await gallery.branch()
    template = request.app.state.templates.get_template("gallery/branch.html")
    html = Markup(template.render(branch=branch, grown=changed_words) if branch else "")  # noqa: S704 - escaped there
    _openings[app] = time.monotonic() + OPENING_FRESH, html
    return html


async def listing(
    request: Request[Any, Any, Any],
    asked: Mapping[str, str],
    *,
    tag: str | None,
    base: str,
    feed: str,
    opening: str = "",
    follow: object = None,
) -> Response[bytes]:
    """One page of cards at the address `base`; to htmx only the cards to append and the next pager.

    `follow` is the button of what the list is about (`web.follows.Button`), where it can be followed."""
    order, kind = asked.get("order", "newest"), asked.get("kind", "")
    found = await gallery.cards(order, kind or None, tag, after=asked.get("after"))
    shown = Shown(base, feed, order, kind, tag)
    response = page(
        request,
        "gallery/show.html",
        block="more",
        part=wants_part(request),
        list=found,
        later="after" in asked,
        opening=opening,
        follow=follow,
        frame=_frame(request, shown),
        **shown.context,
    )
    return conditional.tagged(request, response)


class Shown(Struct, frozen=True):
    """Which list: its address, its feeds' address without the ending, order, medium and tag."""

    base: str
    feed: str
    order: str
    medium: str
    tag: str | None

    @property
    def titled(self) -> bool:
        """Whether the page is about the tag, and not the gallery kept to one."""
        return self.base != "/"

    @property
    def context(self) -> dict[str, Any]:
        """The names that templates use."""
        kind = next(one for one in KINDS if one.medium == self.medium)
        heading = " · ".join(filter(None, (ORDERS[self.order][1], kind.label if kind.medium else "", self.tag)))
        return {
            "order": self.order,
            "kind": kind,
            "tag": self.tag,
            "titled": self.titled,
            "name": f"Tagged {self.tag}" if self.titled else heading,
            "to": self.to,
        }

    def to(self, **change: str | None) -> str:
        """The address of the list with another order, kind or place."""
        tag = None if self.titled else self.tag
        return address(self.base, {"order": self.order, "kind": self.medium, "tag": tag, **change})


class Frame(Struct, frozen=True):
    """What stands round a list's cards, as HTML that is the same for everybody."""

    alternates: Markup
    heading: Markup
    tabs: Markup


_frames: dict[tuple[int, Shown], Frame] = {}
FRAMES = 256


def _frame(request: Request[Any, Any, Any], shown: Shown) -> Frame:
    """Made once for each list: it knows neither the reader nor the cards."""
    key = id(request.app), shown
    if key not in _frames or request.app.state.templates.auto_reload:
        if len(_frames) >= FRAMES:
            _frames.clear()
        template = request.app.state.templates.get_template("gallery/frame.html")
        query = query_string({"order": shown.order, "kind": shown.medium})
        context = template.new_context(
            {**shown.context, "feed": shown.feed, "query": query, "orders": ORDERS, "kinds": KINDS}
        )
        blocks = ("".join(template.blocks[name](context)) for name in ("alternates", "heading", "tabs"))
        _frames[key] = Frame(*(Markup(html) for html in blocks))  # noqa: S704 - escaped in the template
    return _frames[key]


def query_of(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The query's words, empty ones left out. Raises NotFound for words that no list has, such as a page number."""
    asked = {name: value for name, value in request.query_params.items() if value != ""}
    if not asked.keys() <= _KNOWN:
        raise NotFound("There is no such page. The list begins at its first page.")
    return asked


def known_tag(text: str) -> str:
    """A tag as it is kept. Raises NotFound for one that cannot exist."""
    try:
        kept = tags.normalize([text])
    except Invalid:
        kept = []
    if not kept:
        raise NotFound("There is no such tag.")
    return kept[0]


def tag_address(tag: str) -> str:
    """The address of everything under a kept tag."""
    return f"/tags/{quote(tag, safe='')}"


def address(base: str, query: Mapping[str, str | None]) -> str:
    """A list's address; the usual order and empty words are left out."""
    tail = query_string(query)
    return f"{base}?{tail}" if tail else base


def query_string(query: Mapping[str, str | None]) -> str:
    """The query without what goes without saying."""
    return urlencode({name: value for name, value in query.items() if value and (name, value) != ("order", "newest")})


class Changed(Struct, frozen=True):
    """The first words that a fork's prompt lost and won, and how many more places changed."""

    removed: str
    added: str
    more: int


SHOWN = 60
"""Characters of a change in the opening."""


@lru_cache(maxsize=64)
def changed_words(before: str, after: str) -> Changed:
    """What a fork changed in the prompt, short enough for one line."""
    changes: list[list[str]] = []
    fresh = True
    for token in diff.words(before, after):
        if token.op == "same":
            fresh = True
            continue
        if fresh:
            changes.append(["", ""])
            fresh = False
        changes[-1][token.op == "added"] += token.text
    if not changes:
        return Changed("", "", 0)
    removed, added = (_short(text.strip()) for text in changes[0])
    return Changed(removed, added, len(changes) - 1)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1].rstrip() + "…"
