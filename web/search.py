"""Search: a box, filters, results with their matches marked, and suggestions while typing."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get
from markupsafe import Markup
from msgspec import Struct

from domain import licenses, search, search_marks, search_query
from domain.errors import NotFound
from domain.lists import NO_PAGE
from domain.search_query import Query
from domain.steps import KINDS as STEPS
from web.gallery import KINDS
from web.render import page, wants_part

ORDERS = {"match": "Best match", "newest": "Newest", "rating": "Best rated", "offshoots": "Most offshoots"}
FACETS = {"kind": "Kind", "model": "Model", "license": "License", "tag": "Tag"}
RATINGS = {"": "Any rating", ">=3": "3 and more", ">=4": "4 and more", ">=4.5": "4.5 and more"}
_MEDIA = {kind.medium: kind.label for kind in KINDS if kind.medium}
_KNOWN = frozenset({"q", *search_query.FIELDS, "order", "exactly", "after"})


class Used(Struct, frozen=True):
    """A filter in use, in words, and the address of the search without it."""

    words: str
    url: str


@get("/search", include_in_schema=False)
async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
    """?q= what is typed, the fields of `search_query` as controls, ?order=, ?exactly=1, ?after= a cursor.

    What cannot be read is said beside its field with 422; htmx keeps the results it has, everybody else gets those
    of what can be read.
    """
    form = _form(request)
    read = search_query.read(form)
    order = search.order_of(_one(form, "order") or "match")
    part = wants_part(request)
    context = _context(read.query, order, form, read.faults)
    if read.faults and part:
        headers = {"HX-Retarget": "#find", "HX-Reswap": "outerMorph", "HX-Push-Url": "false"}
        return page(request, "search/faults.html", None, 422, headers, part=True, **context)
    after = _one(form, "after") or None
    exactly = bool(_one(form, "exactly"))
    found = await search.find(read.query, order, after, exactly=exactly, facets=not (part and after))
    lines = await search.lines(found)
    used = search_query.filters(read.query)
    less = await search.culprit(read.query) if not found.total and used else None
    return page(
        request,
        "search/show.html",
        "more" if after else "answer",
        422 if read.faults else 200,
        {"HX-Push-Url": _address(read.query, order)} if part and not after else {},
        part=part,
        found=found,
        lines=[(line, marked(line.title), marked(line.prompt)) for line in lines],
        later=after is not None,
        less=less and {"words": _words(less.filter), "url": _address(less.filter.rest, order), "total": less.total},
        next=_address(read.query, order, after=found.next, exactly="1" if exactly else None) if found.next else "",
        exact=_address(read.query, order, exactly="1"),
        **context,
    )


@get("/search/suggestions", include_in_schema=False)
async def suggest(request: Request[Any, Any, Any]) -> Response[bytes]:
    """How ?q= may go on, as options of the box's list."""
    made = await search.suggest(request.query_params.get("q", ""))
    options = Markup("").join(Markup('<option value="{}">').format(one.text) for one in made)
    headers = {"Cache-Control": "private, max-age=60", "Vary": "Cookie"}
    return Response(content=options.encode("utf-8", "replace"), media_type="text/html; charset=utf-8", headers=headers)


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

    def kept(field: str, clean: str) -> str:
        return " ".join(form.get(field, ()))[:2_000] if field in faults else clean

    said = search_query.write(query)
    return {
        "query": query,
        "said": said,
        "typed": search_query.typed(query),
        "sent": " ".join(form.get("q", ())),
        "orders": ORDERS,
        "order": order,
        "facets": FACETS,
        "ratings": RATINGS,
        "faults": faults,
        "label": label,
        "used": [Used(_words(one), _address(one.rest, order)) for one in search_query.filters(query)],
        "feed_query": urlencode({"q": said, **({"order": order} if order in ("rating", "offshoots") else {})}),
        "values": {
            "q": kept("q", search_query.typed(query)),
            "by": kept("by", " ".join(query.by)),
            "seed": kept("seed", " ".join(str(seed) for seed in query.seed)),
            "steps": kept("steps", search_query.range_text(query.steps) if query.steps else ""),
            "rating": kept("rating", search_query.range_text(query.rating) if query.rating else ""),
        },
    }


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
    words = label(used.field, used.value)
    return f"{names[used.field]} {words}" if used.field in names else words


def marked(text: str) -> Markup:
    """Text with its matches in `<mark>`."""
    first, *rest = text.split(search_marks.OPEN)
    whole = Markup("").join([first])
    for piece in rest:
        match, _, after = piece.partition(search_marks.CLOSE)
        whole += Markup("<mark>{}</mark>{}").format(match, after)
    return whole
