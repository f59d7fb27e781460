"""What people type to search, read into a struct and written back (pure).

    harbor "paper lanterns" -fog model:sdxl tag:night steps:>30 rating:>=4

Words and phrases must all be there, those after a minus must not. Fields narrow further; most are
also controls of a form, and both say the same. Nothing that people type is ever a pattern.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

from domain import licenses
from domain.errors import Invalid
from domain.lists import MEDIA
from domain.steps import KINDS

MAX_LENGTH = 500
MAX_TERMS = 24
"""Words, phrases and fields of one search."""
MAX_STEPS = 10_000
TOO_LONG = f"At most {MAX_LENGTH} characters: a few words find more than a whole prompt"
TOO_MANY = f"At most {MAX_TERMS} words and fields"

LISTS = ("kind", "model", "tag", "by", "license")
FIELDS = (*LISTS, "steps", "seed", "rating")
SEVERAL = ("by", "seed")
"""Controls that take several values, separated by spaces or commas."""
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
    if len(typed) > MAX_LENGTH:
        return Read(Query(), {"q": TOO_LONG})
    for fault in _typed(clean(typed), parts):
        parts.faults.setdefault("q", fault)
    for field in FIELDS:
        for value in form.get(field, ()):
            if len(value) > MAX_LENGTH:
                parts.faults[field] = TOO_LONG
                continue
            kept = clean(value)
            for one in kept.replace(",", " ").split() if field in SEVERAL else filter(None, [kept]):
                fault = _field(parts, field, field, one)
                if fault:
                    parts.faults[field] = fault
    if parts.count > MAX_TERMS:
        return Read(Query(), {**parts.faults, "q": TOO_MANY})
    return Read(Query(**cast("dict[str, Any]", parts.found)), parts.faults)


class _Parts:
    """A query in the making."""

    def __init__(self) -> None:
        self.found: dict[str, list[object] | Range] = {}
        self.faults: dict[str, str] = {}
        self.count = 0

    def add(self, name: str, value: object) -> None:
        """One more value, each once."""
        values = self.found.setdefault(name, [])
        assert isinstance(values, list)
        if value not in values:
            values.append(value)
            self.count += 1


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
    words = f"{spelled}:{value}" if spelled else value
    if quoted is not None and spelled:
        words = f"{spelled} {value}"
    if not any(char.isalnum() for char in words):
        return ""
    parts.add("without" if minus else "terms", Term(words, quoted is not None))
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
}  # fmt: skip
_EXAMPLES = {"steps": "steps:<30", "seed": "seed:42", "rating": "rating:<3"}


def _field(parts: _Parts, name: str, field: str, value: str) -> str:
    """Add a field's value, or the words for why not."""
    if field in ("steps", "rating"):
        span = _range(value, loose=field == "rating")
        if span is None or (field == "rating" and not _stars(span)):
            return f"{field}: wants {_WANTS[field]}"
        before = parts.found.get(field)
        if before is not None and before != span:
            return f"{field}: is said twice; say it once"
        parts.found[field] = span
        parts.count += 1
        return ""
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
    parts.add(name, kept)
    return ""


_LICENSES = {name.casefold(): name for name in licenses.LICENSES}


def license_of(value: str) -> str:
    """The SPDX id, as it is written, of a license in a query."""
    return _LICENSES.get(value, value)


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
    parts = [_said(term) for term in query.terms]
    parts += [f"-{_said(term)}" for term in query.without]
    parts += [f"-{field}:{_quoted(value)}" for field in LISTS for value in getattr(query, f"no_{field}")]
    return " ".join(parts)


def filters(query: Query) -> list[Filter]:
    """The fields in use that have a control, in a fixed order, each with the search that lacks it."""
    found: list[Filter] = []
    for field in (*LISTS, "seed"):
        values = getattr(query, field)
        for value in values:
            rest = msgspec.structs.replace(query, **{field: [other for other in values if other != value]})
            found.append(Filter(field, str(value), rest))
    for field in ("steps", "rating"):
        span = getattr(query, field)
        if span is not None:
            found.append(Filter(field, range_text(span), msgspec.structs.replace(query, **{field: None})))
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
