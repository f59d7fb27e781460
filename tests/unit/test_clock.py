"""Moments in a sound, as people write and read them."""

import re

import pytest

from domain import clock


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1:30", 90), (" 1:30.5 ", 90.5), ("0:07,25", 7.25), ("0", 0), ("90.25", 90.25)]
)
def test_a_moment_is_read(text: str, seconds: float) -> None:
    assert clock.read(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:5", "1:60", "-3", "1:2:3", "1:", "nan", "1e3", "٣"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        clock.read(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (5.5, "0:05.5"), (59.999, "1:00"), (90.25, "1:30.25"), (3725, "62:05")]
)
def test_a_moment_is_shown(seconds: float, text: str) -> None:
    assert clock.shown(seconds) == text
