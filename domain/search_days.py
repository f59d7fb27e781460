"""Days of publication as people type them: `2026`, `2026-03`, `2026-01..2026-03`, `>2026-05-01` (pure).

A year or month means all of its days. Days are UTC.
"""

import re
from calendar import monthrange
from datetime import date, timedelta

from msgspec import Struct

FIRST = date(2020, 1, 1)
"""Nothing was published before."""
_DAY = timedelta(days=1)
_PERIOD = re.compile(r"((?:19|20|21)\d\d)(?:-(\d{1,2})(?:-(\d{1,2}))?)?", re.ASCII)
_SIGNED = re.compile(r"(>=|<=|>|<|≥|≤|=)?(.*)")


class Days(Struct, frozen=True):
    """Days from `low` to `high`, both included; None: no bound."""

    low: date | None = None
    high: date | None = None


def period(text: str) -> Days | None:
    """The days of a year, of a month or of one day; None for anything else."""
    found = _PERIOD.fullmatch(text)
    if not found:
        return None
    year, first, day = (int(part or 1) for part in found.groups())
    month = first if found[2] else 12
    try:
        low, high = date(year, first, day), date(year, month, day if found[3] else monthrange(year, month)[1])
    except ValueError:
        return None
    return Days(low, high)


def read(text: str) -> Days | None:
    """What somebody typed; None for what is no range of days."""
    text = text.replace(" ", "")
    first, dots, last = text.partition("..")
    if dots:
        return _between(first, last)
    signed = _SIGNED.fullmatch(text)
    assert signed is not None
    sign, meant = signed[1], period(signed[2])
    if meant is None or meant.low is None or meant.high is None:
        return None
    if sign in (">", "<"):
        return Days(low=meant.high + _DAY) if sign == ">" else Days(high=meant.low - _DAY)
    if sign in (">=", "≥", "<=", "≤"):
        return Days(low=meant.low) if sign in (">=", "≥") else Days(high=meant.high)
    return meant


def _between(first: str, last: str) -> Days | None:
    low, high = period(first), period(last)
    if (first and low is None) or (last and high is None) or not (low or high):
        return None
    days = Days(low.low if low else None, high.high if high else None)
    return None if days.low and days.high and days.low > days.high else days


def text(days: Days) -> str:
    """The days as one types them: `read(text(days))` is the same."""
    if days.low is None or days.high is None:
        return f">={days.low}" if days.low else f"<={days.high}"
    names = (f"{days.low:%Y}", f"{days.low:%Y-%m}", f"{days.low}")
    return next((name for name in names if period(name) == days), f"{days.low}..{days.high}")


def months(days: Days, today: date) -> list[str]:
    """The months that the days touch, from `FIRST` to the one after today's, as `2026-03`."""
    low = max(days.low or FIRST, FIRST)
    high = min(days.high or today, today + timedelta(days=31))
    count = (high.year - low.year) * 12 + high.month - low.month + 1
    places = (low.year * 12 + low.month - 1 + n for n in range(max(count, 0)))
    return [f"{place // 12}-{place % 12 + 1:02}" for place in places]
