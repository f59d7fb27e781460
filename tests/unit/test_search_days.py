"""Days of publication are read as people type them, and written back."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.search_days import Days, months, period, read, text


@pytest.mark.parametrize(
    ("typed", "low", "high"),
    [
        ("2026", "2026-01-01", "2026-12-31"),
        ("2028-02", "2028-02-01", "2028-02-29"),
        ("2026-3-4", "2026-03-04", "2026-03-04"),
        ("=2026-03", "2026-03-01", "2026-03-31"),
        ("2026-01..2026-03", "2026-01-01", "2026-03-31"),
        ("2026 .. 2026-03-02", "2026-01-01", "2026-03-02"),
        ("..2026-03", None, "2026-03-31"),
        ("2026-03..", "2026-03-01", None),
        (">2026-05-01", "2026-05-02", None),
        (">2026", "2027-01-01", None),
        ("≥2026-05", "2026-05-01", None),
        ("<2026-05", None, "2026-04-30"),
        ("<=2026-05", None, "2026-05-31"),
    ],
)
def test_what_people_type(typed: str, low: str | None, high: str | None) -> None:
    low_day, high_day = (date.fromisoformat(day) if day else None for day in (low, high))
    assert read(typed) == Days(low_day, high_day)


@pytest.mark.parametrize(
    "typed",
    ["", "..", ">", "soon", "26", "2026-00", "2026-02-29", "2026-1-1-1", "20260101", "9999", "0000", "2026..2025",
     "2026...", "2026..x", "x..2026", "٢٠٢٦", ">>2026", "2026-03 to 2026-04", "2026..2027..2028"],
)  # fmt: skip
def test_what_is_no_range(typed: str) -> None:
    assert read(typed) is None


DAYS = st.none() | st.dates(date(1900, 1, 2), date(2199, 12, 30))


@given(DAYS, DAYS)
def test_written_and_read_back_it_is_the_same(low: date | None, high: date | None) -> None:
    if low and high and low > high:
        low, high = high, low
    days = Days(low, high)
    if days != Days():
        assert read(text(days)) == days


def test_whole_years_and_months_are_written_short() -> None:
    for typed in ("2026", "2026-02", "2026-02-03", "2026-02-03..2026-02-04"):
        assert text(read(typed) or Days()) == typed


@given(DAYS, DAYS, st.dates(date(2020, 1, 1), date(2199, 11, 1)))
def test_months_hold_their_days(low: date | None, high: date | None, day: date) -> None:
    names = months(Days(low, high), day)
    if (low is None or low <= day) and (high is None or day <= high):
        assert f"{day:%Y-%m}" in names
    assert all(period(name) for name in names)


def test_months_go_from_the_first_to_the_next() -> None:
    assert months(Days(high=date(2020, 2, 1)), date(2026, 5, 4)) == ["2020-01", "2020-02"]
    assert months(Days(low=date(2026, 3, 31)), date(2026, 5, 4)) == ["2026-03", "2026-04", "2026-05"]
    assert months(Days(low=date(2027, 3, 31)), date(2026, 5, 4)) == []
