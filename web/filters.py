"""Jinja filters and small drawings: times, numbers, Markdown, marks of differences, picture ratios, sprigs."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from domain import clock, search_marks
from domain.mentions import HANDLE, MARKDOWN, outside_links
from web.code_colors import CLASSES, FENCES, colored

RATIOS = {"16:9": 1.7778, "3:2": 1.5, "4:3": 1.3333, "1:1": 1.0, "4:5": 0.8, "2:3": 0.6667, "9:16": 0.5625}
WIDTHS = (320, 640, 1280)
"""Renditions that the worker makes, in pixels."""

_COLORED = MarkdownIt("commonmark", {"highlight": colored})
_TAGS = frozenset("a b blockquote br code del em h3 h4 h5 h6 hr i li ol p pre s span strong ul".split())  # noqa: SIM905


def ago(when: datetime | None, now: datetime | None = None) -> Markup:
    """A `<time>`: "today, 14:03", "yesterday, 21:40", or "14 March 2026". Times are UTC."""
    if when is None:
        return Markup("")
    when = when.astimezone(UTC)
    today = (now or datetime.now(UTC)).date()
    clock = f"{when:%H:%M}"
    if when.date() == today:
        words = f"today, {clock}"
    elif when.date() == today - timedelta(days=1):
        words = f"yesterday, {clock}"
    else:
        words = f"{when.day} {when:%B %Y}"
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        f"{when:%Y-%m-%dT%H:%M:%SZ}", f"{when:%Y-%m-%d %H:%M}", words
    )


def month(when: datetime) -> Markup:
    """A `<time>` as coarse as "May 2025"."""
    return Markup('<time datetime="{}">{}</time>').format(f"{when:%Y-%m}", f"{when:%B %Y}")


def number(value: float | None) -> str:
    """Digits in groups of three, with narrow spaces that do not break: 481 516 342."""
    if value is None:
        return ""
    return f"{value:,}".replace(",", "\u202f")


def seconds(value: float | None) -> str:
    """A duration: "0.4 s", "41.8 s", "3 min 20 s", "2 h 5 min"."""
    if value is None:
        return ""
    if value < 60:
        return f"{max(value, 0):.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def plural(count: int, one: str, many: str | None = None) -> str:
    """The count with its noun: "1 run", "2 runs", "3 entries" for `plural(3, "entry", "entries")`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def initial(text: str) -> str:
    """The letter in a face."""
    return next((letter.upper() for letter in text if letter.isalnum()), "·")


@lru_cache(maxsize=512)
def markdown(text: str) -> Markup:
    """Markdown as safe HTML. The only place that marks HTML from people as safe.

    Raw HTML is shown as text, headings start at level 3, pictures are left out, and the result
    is rebuilt from a list of allowed tags: no `on*`, `style`, `hx-*` or `data-hx-*` survives.
    """
    return _rebuilt(MARKDOWN.parse(text))


@lru_cache(maxsize=256)
def answer(text: str) -> Markup:
    """A result's Markdown as safe HTML, the first code in it colored."""
    tokens = MARKDOWN.parse(text)
    for fence in [token for token in tokens if token.type == "fence"][FENCES:]:
        fence.info = ""
    return _rebuilt(tokens, _COLORED)


@lru_cache(maxsize=1024)
def said(text: str, mentioned: tuple[str, ...]) -> Markup:
    """A comment's Markdown as safe HTML: `@handle` is a link where it leads to one of the people `mentioned`."""
    known = {handle.lower(): handle for handle in mentioned}
    tokens = MARKDOWN.parse(text)
    for token in tokens if known else ():
        spoken = {id(one) for one in outside_links(token.children or ())}
        if spoken:
            token.children = [
                part
                for child in token.children or ()
                for part in (_linked(child, known) if id(child) in spoken else [child])
            ]
    return _rebuilt(tokens)


@lru_cache(maxsize=1024)
def plain(text: str) -> str:
    """Markdown's words without their marks, in one line."""
    spoken = [
        "".join(" " if part.type.endswith("break") else part.content for part in token.children or ())
        or token.content * (token.type in ("fence", "code_block"))
        for token in MARKDOWN.parse(text)
    ]
    return " ".join(" ".join(spoken).split())


def marked(text: str) -> Markup:
    """A result's text with what a search matched in `<mark>`; `search_marks.mark` left it no such signs of its own."""
    html = str(escape(text)).replace(search_marks.OPEN, "<mark>").replace(search_marks.CLOSE, "</mark>")
    return Markup(html)  # noqa: S704 - escaped above


_SIGNS = {"\n": ("↵\n", "line break"), "\t": ("→\t", "tab"), " ": ("·", "space")}
_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")


def unseen(text: str) -> list[tuple[str, str]]:
    """What stands for a text that nobody sees, as (marks, words): ("··", "2 spaces"); empty for any other."""
    if any(unicodedata.category(letter) not in _UNSEEN for letter in text):
        return []
    runs = groupby(_SIGNS.get(letter, ("◦", "unseen character")) for letter in text)
    counted = [(mark, words, len(list(run))) for (mark, words), run in runs]
    return [(mark * count, plural(count, words)) for mark, words, count in counted]


def alike(text: str, other: str) -> bool:
    """Whether two texts differ in nothing that can be seen: é is one character or two."""
    return text != other and unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", other)


def _linked(token: Token, known: Mapping[str, str]) -> list[Token]:
    """A token of plain text, cut at the handles of `known` people, which become links."""
    parts: list[Token] = []
    done = 0
    for match in HANDLE.finditer(token.content):
        handle = known.get(match[1].lower())
        if handle is None:
            continue
        parts.append(Token("text", "", 0, content=token.content[done : match.start()]))
        parts.append(Token("link_open", "a", 1, attrs={"href": f"/@{handle}"}))
        parts.append(Token("text", "", 0, content=match[0]))
        parts.append(Token("link_close", "a", -1))
        done = match.end()
    return [*parts, Token("text", "", 0, content=token.content[done:])] if parts else [token]


def _rebuilt(tokens: list[Token], renderer: MarkdownIt = MARKDOWN) -> Markup:
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    html = renderer.renderer.render(tokens, renderer.options, {})
    clean = nh3.clean(
        html,
        tags=set(_TAGS),
        allowed_classes={"span": set(CLASSES.values())},
        attributes={"a": {"href", "title"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow ugc noopener",
    )
    return Markup(clean)  # noqa: S704 - sanitized on the line above


def ratio(width: int | None, height: int | None) -> str:
    """The nearest `data-ar` to a picture's real ratio; 3:2 when it is not known."""
    if not width or not height:
        return "3:2"
    real = width / height
    return min(RATIOS, key=lambda name: max(RATIOS[name] / real, real / RATIOS[name]))


@lru_cache(maxsize=256)
def sprig(generation: int, growers: int) -> Markup:
    """The tiny drawing on a card: a dot per generation, then 0 to 4 twigs for the people who grew something from it."""
    dots = min(generation, 6) - 1
    twigs = min(growers, 4)
    tip = 3 + 6 * dots
    width = tip + (13 if twigs else 4)
    if twigs and not dots:
        width = 16
    line = f'<path d="M3 10H{tip}"/>' if dots else ""
    heights = {0: (), 1: (10,), 2: (5.5, 14.5), 3: (3, 10, 17), 4: (2, 7.3, 12.7, 18)}[twigs]
    branch = "".join(
        f'<path d="M{tip} 10C{tip + 5} 10 {tip + 4} {y:g} {tip + 10} {y:g}"/>'
        f'<circle class="dot" cx="{tip + 10.5:g}" cy="{y:g}" r="1.7"/>'
        for y in heights
    )
    past = "".join(f'<circle class="dot" cx="{3 + 6 * i}" cy="10" r="1.7"/>' for i in range(dots))
    place = "First of its line" if generation <= 1 else f"Generation {generation}"
    grown = (
        f"offshoots by {plural(growers, 'other person', 'other people')}" if growers else "no offshoots by others yet"
    )
    return Markup(  # noqa: S704 - numbers and our own words
        f'<svg class="sprig" viewBox="0 0 {width} 20" width="{width}" height="20" role="img" '
        f'aria-label="{escape(place)}, {escape(grown)}">{line}{branch}{past}'
        f'<circle class="now" cx="{tip}" cy="10" r="3.1"/></svg>'
    )


def rendition(width: int | None, wanted: int) -> int:
    """The rendition to show for an original `width` pixels wide where `wanted` pixels would do."""
    made = [w for w in WIDTHS if width is None or w < width] or [WIDTHS[0]]
    return min((w for w in made if w >= wanted), default=made[-1])


@lru_cache(maxsize=256)
def waveform(peaks: str) -> Markup:
    """A sound as bars around the middle, from its receipt's peaks; it takes its color from the page."""
    loud = bytes.fromhex(peaks) if re.fullmatch(r"(?:[0-9a-f]{2}){1,400}", peaks) else b""
    lines = "".join(
        f"M{4 * at + 2} {30 - max(one * 28 // 255, 1)}V{30 + max(one * 28 // 255, 1)}" for at, one in enumerate(loud)
    )
    return Markup(
        '<svg viewBox="0 0 {} 60" preserveAspectRatio="none" aria-hidden="true"><path fill="none" stroke="currentColor"'
        ' stroke-width="2" d="{}"/></svg>'
    ).format(4 * len(loud), lines)


def srcset(url: str, width: int | None, full: bool = False) -> str:
    """`srcset` of the renditions that exist; `full` adds the original as the largest candidate."""
    made = [w for w in WIDTHS if width is None or w < width]
    if not made:
        return f"{url}/{WIDTHS[0]} {min(width or WIDTHS[0], WIDTHS[0])}w"
    parts = [f"{url}/{w} {w}w" for w in made]
    if full and width:
        parts.append(f"{url} {width}w")
    return ", ".join(parts)


FILTERS: dict[str, Any] = {
    "waveform": waveform,
    "ago": ago,
    "month": month,
    "number": number,
    "seconds": seconds,
    "clock": clock.shown,
    "plural": plural,
    "initial": initial,
    "markdown": markdown,
    "answer": answer,
    "plain": plain,
    "said": said,
    "marked": marked,
    "unseen": unseen,
    "alike": alike,
}
