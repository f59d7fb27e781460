"""What people type to search, read into a struct and written back (pure).

    harbor "paper lanterns" -fog model:sdxl tag:night steps:>30 rating:>=4 made:2026

Words and phrases must all be there, those after a minus must not. Fields narrow further; most are
also controls of a form, and both say the same. Nothing that people type is ever a pattern.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from domain import licenses, search_days
from domain.errors import Invalid
from domain.lists import MEDIA
from domain.search_days import Days
from domain.steps import KINDS

MAX_LENGTH = 500
"""Characters of the words and phrases."""
MAX_VALUE = 100
"""Characters of a field's value."""
MAX_TYPED = 5_000
"""Characters of the whole text: more than all words and fields within their limits need."""
MAX_TERMS = 24
"""Words and phrases of one search, and as many fields again."""
TOO_LONG = f"At most {MAX_LENGTH} characters of words: a few find more than a whole prompt"
TOO_LONG_VALUE = f"takes at most {MAX_VALUE} characters"
TOO_MANY = f"At most {MAX_TERMS} words and {MAX_TERMS} filters"
NO_DAY = "Enter a day, as in 2026-03-14"
TURNED = "This day is before the first"

LISTS = ("kind", "model", "tag", "by", "license")
FIELDS = (*LISTS, "steps", "seed", "rating", "made")
ONCE = ("steps", "rating", "made")
"""Fields that have one value."""
ENDS = ("from", "to")
"""Two controls that say together what `made:` does."""
SEVERAL = {"by": ", ", "seed": ", ", "model": ",", "tag": ","}
"""Controls that take several values, and the signs between these."""
SYNONYMS = {"gif": "animation", "gifs": "animation", "images": "image", "picture": "image", "3d": "mesh",
            "speech": "audio", "sound": "audio", "texts": "text"}  # fmt: skip
"""Other words for a medium."""

_UNSTORABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_TERM = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)("?)|(\S*))')
_RANGE = re.compile(r"(>=|<=|>|<|≥|≤|=)?(\d{1,9}(?:[.,]\d{1,3})?)")
_BETWEEN = re.compile(r"(\d{1,9}(?:[.,]\d{1,3})?)(?:-|–|\.\.)(\d{1,9}(?:[.,]\d{1,3})?)")
_SIGNS = {"≥": ">=", "≤": "<=", "=": ""}


class Term(Struct, frozen=True):
    """A word, or a phrase of several that must follow each other."""

    text: str
    phrase: bool = False


class Range(Struct, frozen=True):
    """Numbers from `low` to `high`, both included unless said otherwise; None: no bound."""

    low: float | None = None
    high: float | None = None
    above: bool = False
    """Whether `low` itself is too little."""
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether the number is within."""
        if self.low is not None and (value < self.low or (self.above and value == self.low)):
            return False
        return not (self.high is not None and (value > self.high or (self.below and value == self.high)))


class Query(Struct, frozen=True):
    """One search. Of a field's values any one will do, of tags each must be there; `no_` ones none."""

    terms: list[Term] = []
    without: list[Term] = []
    kind: list[str] = []
    model: list[str] = []
    tag: list[str] = []
    by: list[str] = []
    license: list[str] = []
    no_kind: list[str] = []
    no_model: list[str] = []
    no_tag: list[str] = []
    no_by: list[str] = []
    no_license: list[str] = []
    steps: Range | None = None
    seed: list[int] = []
    rating: Range | None = None
    made: Days | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return self == Query()


class Filter(Struct, frozen=True):
    """A field in use: its name, its value in words, and the search without it."""

    field: str
    value: str
    rest: Query


class Read(Struct, frozen=True):
    """What could be read, and the words for every control at fault (`q` is the typed text)."""

    query: Query
    faults: dict[str, str]


def parse(text: str) -> Query:
    """The search that a text says. Raises Invalid, field `q`, with words that name the broken part."""
    found = read({"q": [text]})
    if found.faults:
        raise Invalid(found.faults)
    return found.query


def read(form: Mapping[str, Sequence[str]]) -> Read:
    """The search of a form: `q` as typed, and a control for each field, repeated where several hold.

    What is at fault is left out of the query and named in `faults`.
    """
    parts = _Parts()
    typed = " ".join(form.get("q", ()))
    if len(typed) > MAX_TYPED:
        return Read(Query(), {"q": TOO_LONG})
    for fault in _typed(clean(typed), parts):
        parts.faults.setdefault("q", fault)
    for field in FIELDS:
        for one in _values(form, field):
            if fault := _field(parts, field, field, one):
                parts.faults[field] = fault
    _days(form, parts)
    query = Query(**cast("dict[str, Any]", parts.found))
    if len(words(query)) > MAX_LENGTH:
        return Read(Query(), {**parts.faults, "q": TOO_LONG})
    if len(query.terms) + len(query.without) > MAX_TERMS or parts.fields > MAX_TERMS:
        return Read(Query(), {**parts.faults, "q": TOO_MANY})
    return Read(query, parts.faults)


class _Parts:
    """A query in the making."""

    def __init__(self) -> None:
        self.found: dict[str, list[object] | Range | Days] = {}
        self.faults: dict[str, str] = {}
        self.fields = 0

    def add(self, name: str, value: object) -> None:
        """One more value, each once."""
        values = self.found.setdefault(name, [])
        assert isinstance(values, list)
        if value not in values:
            values.append(value)
            self.fields += name not in ("terms", "without")

    def set(self, field: str, value: Range | Days) -> str:
        """The only value of a field, or the words for why not."""
        if self.found.get(field, value) != value:
            return f"{field}: is said twice; say it once"
        self.fields += field not in self.found
        self.found[field] = value
        return ""


def _values(form: Mapping[str, Sequence[str]], field: str) -> list[str]:
    """What a control says, taken apart where it takes several."""
    said = [clean(value) for value in form.get(field, ())]
    for sign in SEVERAL.get(field, ""):
        said = [part.strip() for value in said for part in value.split(sign)]
    return [value for value in said if value]


def _days(form: Mapping[str, Sequence[str]], parts: _Parts) -> None:
    """The two days of the form, as one range."""
    typed = {end: clean(" ".join(form.get(end, ()))) for end in ENDS}
    found = {end: search_days.period(text) for end, text in typed.items()}
    parts.faults |= {end: NO_DAY for end in ENDS if typed[end] and not found[end]}
    first, last = found["from"], found["to"]
    days = Days(first.low if first else None, last.high if last else None)
    if days.low and days.high and days.low > days.high:
        parts.faults["to"] = TURNED
    elif days != Days() and (fault := parts.set("made", days)):
        parts.faults["from"] = fault


def clean(text: str) -> str:
    """One line of storable text with straight quotation marks."""
    return " ".join(unicodedata.normalize("NFC", _UNSTORABLE.sub("", text)).translate(_QUOTES).split())


def _typed(text: str, parts: _Parts) -> list[str]:
    """Take the typed text apart; the words for what is wrong with it."""
    faults: list[str] = []
    place = 0
    while place < len(text):
        if text[place] == " ":
            place += 1
            continue
        found = _TERM.match(text, place)
        assert found is not None
        place = max(found.end(), place + 1)
        minus, name, quoted, closed, bare = found.groups()
        if quoted is not None and not closed:
            faults.append(f"The quotation mark before “{_short(quoted)}” is never closed")
            continue
        fault = _term(parts, bool(minus), (name or "").lower(), name or "", quoted, bare)
        if fault:
            faults.append(fault)
    return faults


def _term(parts: _Parts, minus: bool, field: str, spelled: str, quoted: str | None, bare: str | None) -> str:
    value = (quoted if quoted is not None else bare or "").strip()
    if field in FIELDS:
        if not value:
            return f"{field}: wants {_WANTS[field]}"
        if minus and field not in LISTS:
            return f"-{field}: cannot be left out; say what it should be, as in {_EXAMPLES[field]}"
        return _field(parts, ("no_" if minus else "") + field, field, value)
    said = f"{spelled}:{value}" if spelled else value
    if quoted is not None and spelled:
        said = f"{spelled} {value}"
    if not any(char.isalnum() for char in said):
        return ""
    parts.add("without" if minus else "terms", Term(said, quoted is not None))
    return ""


_WANTS = {
    "kind": "a kind, as in kind:image",
    "model": "a model’s name, as in model:starter",
    "tag": "a tag, as in tag:night or tag:\"blue hour\"",
    "by": "a person’s handle, as in by:marlow",
    "license": "a license, as in license:CC-BY-4.0",
    "steps": "a number, as in steps:>30",
    "seed": "a whole number, as in seed:42",
    "rating": "a number from 1 to 5, as in rating:>4",
    "made": "a day, month or year, as in made:2026-03 or made:2026-01..2026-03",
}  # fmt: skip
_EXAMPLES = {"steps": "steps:<30", "seed": "seed:42", "rating": "rating:<3", "made": "made:<2026-03"}


def _field(parts: _Parts, name: str, field: str, value: str) -> str:
    """Add a field's value, or the words for why not."""
    if len(value) > MAX_VALUE:
        return f"{field}: {TOO_LONG_VALUE}"
    if field in ONCE:
        span = search_days.read(value) if field == "made" else _number_range(value, field)
        return parts.set(field, span) if span is not None else f"{field}: wants {_WANTS[field]}"
    if field == "seed":
        if not (value.isascii() and value.isdecimal()) or int(value) >= 2**63:
            return f"seed: wants {_WANTS['seed']}"
        parts.add("seed", int(value))
        return ""
    kept = unicodedata.normalize("NFKC", value).casefold() if field == "tag" else value.lower()
    if field == "kind":
        kept = SYNONYMS.get(kept, kept).replace(" ", "_")
        if kept not in MEDIA and kept not in KINDS:
            return f"kind: knows {', '.join(MEDIA)}, not “{_short(value)}”"
    if field == "license":
        kept = kept.replace(" ", "-")
        if kept not in _LICENSES:
            return f"license: knows no “{_short(value)}”; one is written as in license:CC-BY-4.0"
    if field == "by":
        kept = kept.lstrip("@")
    if field == "tag":
        kept = kept.lstrip("#")
    if not kept or '"' in kept:
        return f"{field}: wants {_WANTS[field]}"
    if len(kept) > MAX_VALUE:
        return f"{field}: {TOO_LONG_VALUE}"
    parts.add(name, kept)
    return ""


_LICENSES = {name.casefold(): name for name in licenses.LICENSES}


def license_of(value: str) -> str:
    """The SPDX id, as it is written, of a license in a query."""
    return _LICENSES.get(value, value)


def _number_range(text: str, field: str) -> Range | None:
    span = _range(text, loose=field == "rating")
    return None if span and field == "rating" and not _stars(span) else span


def _range(text: str, loose: bool) -> Range | None:
    """A range as typed: `30`, `>30`, `<=30`, `20-30`. `loose`: a number alone means at least so much."""
    text = text.replace(" ", "")
    between = _BETWEEN.fullmatch(text)
    if between:
        low, high = _number(between[1]), _number(between[2])
        return Range(low, high) if low <= high else None
    found = _RANGE.fullmatch(text)
    if not found:
        return None
    sign, number = _SIGNS.get(found[1] or "", found[1] or ""), _number(found[2])
    if sign.startswith(">"):
        return Range(low=number, above=sign == ">")
    if sign.startswith("<"):
        return Range(high=number, below=sign == "<")
    return Range(low=number) if loose else Range(number, number)


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _stars(span: Range) -> bool:
    return all(bound is None or 0 <= bound <= 5 for bound in (span.low, span.high))


def _short(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"


# and back


def write(query: Query) -> str:
    """The query as one types it: `parse(write(query))` is the same query."""
    return " ".join(filter(None, [typed(query), *(f"{one.field}:{_quoted(one.value)}" for one in filters(query))]))


def typed(query: Query) -> str:
    """The part of it that has no control of its own: words, phrases, and whatever stands after a minus."""
    parts = [f"-{field}:{_quoted(value)}" for field in LISTS for value in getattr(query, f"no_{field}")]
    return " ".join(filter(None, [words(query), *parts]))


def words(query: Query) -> str:
    """Words and phrases, those after a minus last."""
    return " ".join([*map(_said, query.terms), *(f"-{_said(term)}" for term in query.without)])


def filters(query: Query) -> list[Filter]:
    """The fields in use that have a control, in a fixed order, each with the search that lacks it."""
    found: list[Filter] = []
    for field in (*LISTS, "seed"):
        values = getattr(query, field)
        for value in values:
            rest = msgspec.structs.replace(query, **{field: [other for other in values if other != value]})
            found.append(Filter(field, str(value), rest))
    for field in ONCE:
        span = getattr(query, field)
        if span is not None:
            said = search_days.text(span) if field == "made" else range_text(span)
            found.append(Filter(field, said, msgspec.structs.replace(query, **{field: None})))
    return found


def range_text(span: Range) -> str:
    """A range as one types it."""
    if span.low is not None and span.high is not None:
        return f"{span.low:.10g}" if span.low == span.high else f"{span.low:.10g}-{span.high:.10g}"
    if span.low is not None:
        return f"{'>' if span.above else '>='}{span.low:.10g}"
    return f"{'<' if span.below else '<='}{span.high or 0:.10g}"


def _said(term: Term) -> str:
    return f'"{term.text}"' if term.phrase else term.text


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value
