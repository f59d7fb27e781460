"""From a search to conditions on `search_documents d`: stems of its words, facets and marks of its fields."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from domain import db, search_days
from domain.lists import LISTED, MEDIA
from domain.search_days import Days
from domain.search_query import Query, Range, Term

_STOP_WORDS = """
a an and are as at be but by for from in into is it of on or that the to with
и в во на с со по из к у о об за не а но или от до для что как і й з зі та від
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that say nothing beside others."""


class Compiled(Struct, frozen=True):
    """A query as PostgreSQL reads it: stems, and conditions on facets and marks by the field they come from."""

    stems: str
    ranked: str
    """The stems that must be there, without those that must not."""
    typed: list[str] = []
    groups: dict[str, tuple[str, list[str]]] = {}
    """By field: the column (facets or marks), and values of which one must be there. Groups must all hold."""
    every: list[str] = []
    """Facets that must all be there."""
    no_facets: list[str] = []
    no_marks: list[str] = []
    rating: Range | None = None
    made: Days | None = None
    oldest: int = 0
    newest: int | None = None
    """Numbers of documents between which those days lie."""

    @property
    def narrows(self) -> bool:
        """Whether something that must be there leads through the index."""
        return bool(self.ranked or self.groups or self.every)

    def without(self, field: str) -> "Compiled":
        """The same, if a field did not narrow."""
        groups = {name: group for name, group in self.groups.items() if name != field}
        return msgspec.structs.replace(self, groups=groups)


async def prepare(query: Query) -> Compiled:
    """Look up how words are stemmed, which models a name may mean, and where days lie. A query for each, if any."""
    terms = [term for term in query.terms if term.phrase or term.text.lower() not in STOP_WORDS] or query.terms
    stems, ranked, models = "", "", list[str]()
    if terms or query.without or query.model or query.no_model:
        row = await db.fetchrow(*_looked_up(terms, query.without, [*query.model, *query.no_model]))
        assert row is not None
        stems, ranked, models = row
    oldest, newest = await _numbers(query.made) if query.made else (None, None)
    unwanted = [_kind(value) for value in query.no_kind] + _meant(query.no_model, models)
    unwanted += [f"tag:{value}" for value in query.no_tag] + [f"license:{value}" for value in query.no_license]
    return Compiled(
        stems=stems,
        ranked=ranked,
        typed=[term.text for term in terms],
        groups={field: group for field, group in _groups(query, models).items() if group[1]},
        every=[f"tag:{value}" for value in query.tag],
        no_facets=[value for value in unwanted if not value.startswith("does:")],
        no_marks=[f"by:{value}" for value in query.no_by] + [value for value in unwanted if value.startswith("does:")],
        rating=query.rating,
        made=query.made,
        oldest=oldest or 0,
        newest=newest,
    )


def _numbered(condition: str, way: str) -> str:
    return f"""(SELECT d.number FROM pipelines p JOIN search_documents d ON d.pipeline_id = p.id
        WHERE {LISTED} AND {condition} ORDER BY p.published_at {way}, p.id {way} LIMIT 1)"""  # noqa: S608 - constants only


async def _numbers(days: Days) -> db.Record:
    """The numbers of the first and the last document of these days; None where nothing bounds them."""
    where = Where()
    bounds = published(where, days, "p")
    low = _numbered(bounds[0], "ASC") if days.low else "NULL::bigint"
    high = _numbered(bounds[-1], "DESC") if days.high else "NULL::bigint"
    row = await db.fetchrow(f"SELECT {low}, {high}", *where.args)
    assert row is not None
    return row


_UNWANTED = r"""regexp_replace(search_phrase(${})::text, '(''([^'']|'''')*'')', '\1:ABC', 'g')::tsquery"""
"""A word after a minus is looked for where a result has it (weights A to C), not in what it keeps out or may choose."""


def _looked_up(terms: Sequence[Term], without: Sequence[Term], models: list[str]) -> tuple[Any, ...]:
    wanted = [f"search_phrase(${n})" for n in range(1, len(terms) + 1)]
    unwanted = [_UNWANTED.format(n) for n in range(len(terms) + 1, len(terms) + len(without) + 1)]
    ranked = " && ".join(wanted) or "''::tsquery"
    stems = " && ".join([ranked, *(f"!!{one}" for one in unwanted)])
    last = len(terms) + len(without) + 1
    sql = f"""SELECT ({stems})::text, ({ranked})::text, array(SELECT word FROM unnest(${last}::text[]) given
        CROSS JOIN LATERAL (SELECT word FROM search_words WHERE kind = 'model' AND documents > 0
            AND word >= given AND word < given || U&'\\+10FFFF' ORDER BY word LIMIT 20) w)"""  # noqa: S608 - numbers only
    return sql, *(term.text for term in (*terms, *without)), models


def _groups(query: Query, models: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    kinds = [_kind(value) for value in query.kind]
    groups = {
        "kind": ("facets", [value for value in kinds if not value.startswith("does:")]),
        "does": ("marks", [value for value in kinds if value.startswith("does:")]),
        "model": ("facets", _meant(query.model, models)),
        "license": ("facets", [f"license:{value}" for value in query.license]),
        "by": ("marks", [f"by:{value}" for value in query.by]),
        "seed": ("marks", [f"seed:{value}" for value in query.seed]),
    }
    if query.steps:
        groups["steps"] = ("marks", [f"steps:{n}" for n in range(1, 151) if query.steps.holds(n)] or ["steps:none"])
    if query.rating:
        low, high = query.rating.low or 0, 5 if query.rating.high is None else query.rating.high
        halves = [f"rating:{n / 2:g}" for n in range(11) if low - 0.5 < n / 2 <= high]
        groups["rating"] = ("marks", halves or ["rating:none"])
    if query.made:
        months = search_days.months(query.made, datetime.now(UTC).date())
        groups["made"] = ("marks", [f"made:{month}" for month in months] or ["made:none"])
    return groups


def _kind(value: str) -> str:
    return f"kind:{value}" if value in MEDIA else f"does:{value}"


def _meant(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """The model of each name, or those whose names begin so where there is none."""
    names = dict.fromkeys(
        name for one in asked for name in ([one] if one in known else [one, *(k for k in known if k.startswith(one))])
    )
    return [f"model:{name}" for name in names]


class Where:
    """Conditions with numbered arguments; several may share the arguments of one statement."""

    def __init__(self, args: list[Any] | None = None) -> None:
        self.conditions: list[str] = []
        self.args: list[Any] = [] if args is None else args

    def arg(self, value: Any) -> str:
        """The mark of one more argument."""
        self.args.append(value)
        return f"${len(self.args)}"

    def __str__(self) -> str:
        return " AND ".join(self.conditions)


def conditions(compiled: Compiled, windows: list[str] | None = None, args: list[Any] | None = None) -> Where:
    """The conditions on `search_documents d`, in some windows only if given."""
    where = indexed(compiled, args)
    if compiled.rating:
        span = compiled.rating
        if span.low is not None:
            where.conditions.append(f"d.rating {'>' if span.above else '>='} {where.arg(span.low)}::float8")
        if span.high is not None:
            where.conditions.append(f"d.rating {'<' if span.below else '<='} {where.arg(span.high)}::float8")
    where.conditions += published(where, compiled.made, "d")
    if windows is not None:
        where.conditions.append(f"d.marks && {where.arg(windows)}::text[]")
    return where


def indexed(compiled: Compiled, args: list[Any] | None = None) -> Where:
    """Those of the conditions that the index answers: ratings to half a star, days to a month.

    PostgreSQL estimates by these alone: it would take a rating and its mark for independent."""
    where = Where(args)
    if compiled.stems:
        where.conditions.append(f"d.document @@ {where.arg(compiled.stems)}::text::tsquery")
    where.conditions += [f"d.{column} && {where.arg(values)}::text[]" for column, values in compiled.groups.values()]
    if compiled.every:
        where.conditions.append(f"d.facets @> {where.arg(compiled.every)}::text[]")
    if compiled.no_facets:
        where.conditions.append(f"NOT d.facets && {where.arg(compiled.no_facets)}::text[]")
    if compiled.no_marks:
        where.conditions.append(f"NOT d.marks && {where.arg(compiled.no_marks)}::text[]")
    return where


def published(where: Where, days: Days | None, table: str) -> list[str]:
    """The conditions on the time of publication."""
    found = []
    if days and days.low:
        found.append(f"{table}.published_at >= {where.arg(_midnight(days.low))}")
    if days and days.high:
        found.append(f"{table}.published_at < {where.arg(_midnight(days.high) + timedelta(days=1))}")
    return found


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
