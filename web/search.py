"""Search: a box, filters, results with their matches marked, and suggestions while typing."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get
from markupsafe import Markup
from msgspec import Struct

from domain import licenses, search, search_lines, search_query, search_suggestions
from domain.errors import NotFound, Unavailable
from domain.lists import NO_PAGE
from domain.search import Found
from domain.search_candidates import VALUES
from domain.search_facets import Facet
from domain.search_query import Query
from domain.steps import KINDS as STEPS
from web.filters import plural
from web.gallery import KINDS
from web.render import page, wants_part

ORDERS = {"match": "Best match", "newest": "Newest", "rating": "Best rated", "offshoots": "Most offshoots"}
FACETS = {"kind": "Kind", "model": "Model", "tag": "Tag", "license": "License"}
SHOWN = {"kind": 8, "model": 8, "tag": 12, "license": 8}
"""Values of each facet that are shown at first."""
NAMED = ("model", "tag")
"""Facets that can be typed too."""
RATINGS = {"": "Any rating", ">=3": "3 and more", ">=4": "4 and more", ">=4.5": "4.5 and more"}
_MEDIA = {kind.medium: kind.label for kind in KINDS if kind.medium}
_KNOWN = frozenset({"q", *search_query.FIELDS, *search_query.ENDS, "order", "exactly", "after", "all"})


class Used(Struct, frozen=True):
    """A filter in use, in words, and the address of the search without it."""

    words: str
    url: str


class Choices(Struct, frozen=True):
    """A facet as a group of boxes: what is shown of it, the words of a link to the rest, and where that leads.

    `whole`: every value is shown; `typed`: others can be typed."""

    field: str
    words: str
    values: list[Facet]
    more: str = ""
    url: str = ""
    whole: bool = False
    typed: bool = False


@get("/search", include_in_schema=False)
async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
    """?q= what is typed, the fields of `search_query` as controls, ?from= and ?to= days, ?order=, ?exactly=1, ?after=
    a cursor, ?all= a facet to show every value of.

    What cannot be read is said beside its field with 422; htmx keeps the results it has, everybody else gets those
    of what can be read. A search that takes too long is a 503, with htmx beside the box.
    """
    form = _form(request)
    read = search_query.read(form)
    order = search.order_of(_one(form, "order") or "match")
    part = wants_part(request)
    context = _context(read.query, order, form, read.faults)
    if read.faults and part:
        return _beside(request, 422, context)
    after = _one(form, "after") or None
    exactly = bool(_one(form, "exactly"))
    try:
        found = await search.find(read.query, order, after, exactly=exactly)
    except Unavailable as slow:
        if part:
            return _beside(request, 503, {**context, "faults": {"q": slow.message}})
        raise
    less = await search.culprit(read.query) if not found.total and context["used"] else None
    return page(
        request,
        "search/show.html",
        "more" if after else "answer",
        422 if read.faults else 200,
        {"HX-Push-Url": _address(read.query, order)} if part and not after else {},
        part=part,
        choices=_choices(found, _one(form, "all"), order),
        lines=await search_lines.lines(found),
        later=after is not None,
        less=less and {"words": _words(less.filter), "url": _address(less.filter.rest, order), "of": less},
        exact=_address(read.query, order, exactly="1"),
        **_going_on(found, order, exactly),
        **context,
    )


@get("/search/suggestions", include_in_schema=False)
async def suggest(request: Request[Any, Any, Any]) -> Response[bytes]:
    """How ?q= may go on, or the last of the names in ?model= or ?tag=, as options of a control's list."""
    asked = request.query_params
    named = next((field for field in NAMED if field in asked), None)
    if named:
        texts = await _named(named, asked[named])
    else:
        texts = [one.text for one in await search_suggestions.suggest(asked.get("q", ""))]
    options = Markup("").join(Markup('<option value="{}">').format(text) for text in texts)
    headers = {"Cache-Control": "private, max-age=60", "Vary": "Cookie"}
    return Response(content=options.encode("utf-8", "replace"), media_type="text/html; charset=utf-8", headers=headers)


async def _named(field: str, typed: str) -> list[str]:
    before, _, last = typed.rpartition(",")
    names = await search_suggestions.named(field, last)
    return [f"{before}, {name}" if before else name for name in names]


def _beside(request: Request[Any, Any, Any], status: int, context: dict[str, Any]) -> Response[bytes]:
    """The box with what is wrong beside it; the results stay."""
    headers = {"HX-Retarget": "#find", "HX-Reswap": "outerMorph", "HX-Push-Url": "false"}
    return page(request, "search/faults.html", None, status, headers, part=True, **context)


def _form(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    """The controls by name. Raises NotFound for one that search does not have, such as a page number."""
    form: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if value != "":
            form.setdefault(name, []).append(value)
    if not form.keys() <= _KNOWN:
        raise NotFound(NO_PAGE)
    return form


def _one(form: Mapping[str, list[str]], name: str) -> str:
    return form[name][-1] if name in form else ""


def _context(query: Query, order: str, form: Mapping[str, list[str]], faults: Mapping[str, str]) -> dict[str, Any]:
    """What the page shows whatever was found."""
    said = search_query.write(query)
    boxes = [faults[field] for field in FACETS if field in faults]
    clean = {
        "q": search_query.typed(query),
        "by": " ".join(query.by),
        "seed": " ".join(str(seed) for seed in query.seed),
        "steps": search_query.range_text(query.steps) if query.steps else "",
        "rating": search_query.range_text(query.rating) if query.rating else "",
        "from": query.made.low.isoformat() if query.made and query.made.low else "",
        "to": query.made.high.isoformat() if query.made and query.made.high else "",
    }
    return {
        "query": query,
        "said": said,
        "typed": search_query.typed(query),
        "sent": {"q": " ".join(form.get("q", ())), **{field: _one(form, field) for field in NAMED}},
        "orders": ORDERS,
        "order": order,
        "ratings": RATINGS,
        # beside the box stands also what is wrong with the groups of boxes
        "faults": {"q": boxes[0], **faults} if boxes else faults,
        "label": label,
        "most": search_query.MAX_TYPED,
        "used": [Used(_words(one), _address(one.rest, order)) for one in search_query.filters(query)],
        "values": {name: " ".join(form.get(name, ())) if name in faults else value for name, value in clean.items()},
    }


def _going_on(found: Found, order: str, exactly: bool) -> dict[str, Any]:
    """What was found, and how it goes on: with the words that were searched, which may not be those that were typed."""
    next_ = _address(found.query, order, after=found.next, exactly="1" if exactly else None)
    return {
        "found": found,
        "searched": search_query.typed(found.query),
        "next": next_ if found.next else "",
        # best matches are no order of a feed
        "feed_query": urlencode(
            {"q": search_query.write(found.query), **({"order": order} if order in ("rating", "offshoots") else {})}
        ),
    }


def _choices(found: Found, every: str, order: str) -> list[Choices]:
    """The facets as groups of boxes; of the one called `every` all that was counted."""
    groups = [_group(found, field, field == every, order) for field in FACETS]
    steps = [Facet(kind, 0, kind in found.query.kind) for kind in STEPS]
    return [groups[0], Choices("kind", "With a step", steps), *groups[1:]]


def _group(found: Found, field: str, whole: bool, order: str) -> Choices:
    values, words = found.facets.get(field, []), FACETS[field]
    shown = [one for place, one in enumerate(values) if whole or one.chosen or place < SHOWN[field]]
    hidden = len(values) - len(shown)
    more = plural(hidden, f"more {words.lower()}") if len(values) < VALUES else f"More {words.lower()}s"
    url = _address(found.query, order, all=field)
    return Choices(field, words, shown, more if hidden else "", url, whole, field in NAMED)


def _address(query: Query, order: str, **more: str | None) -> str:
    """The address of a search: everything in words, as it would be typed."""
    parts = {"q": search_query.write(query), "order": order if order != "match" else None, **more}
    tail = urlencode({name: value for name, value in parts.items() if value})
    return f"/search?{tail}" if tail else "/search"


def label(field: str, value: str) -> str:
    """A facet's value as the page says it."""
    if field == "kind":
        return _MEDIA.get(value) or (STEPS[value].label if value in STEPS else value)
    if field == "license":
        return licenses.of(search_query.license_of(value)).name
    return value


def _words(used: search_query.Filter) -> str:
    names = {"by": "By", "seed": "Seed", "steps": "Steps", "rating": "Rating", "tag": "Tag", "model": "Model"}
    if used.field == "made":
        return f"Made {used.value.replace('..', ' to ').replace('>=', 'from ').replace('<=', 'until ')}"
    words = label(used.field, used.value)
    return f"{names[used.field]} {words}" if used.field in names else words
