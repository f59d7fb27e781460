"""What templates say about times, numbers, pictures and lineage."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from web.filters import (
    ago,
    alike,
    initial,
    markdown,
    month,
    number,
    plural,
    ratio,
    rendition,
    seconds,
    sprig,
    srcset,
    unseen,
)

NOW = datetime(2026, 3, 20, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (datetime(2026, 3, 20, 14, 3, tzinfo=UTC), "today, 14:03"),
        (datetime(2026, 3, 20, 1, 3, tzinfo=timezone(timedelta(hours=2))), "yesterday, 23:03"),
        (datetime(2026, 3, 14, 9, 0, tzinfo=UTC), "14 March 2026"),
        (datetime(2025, 12, 31, 9, 0, tzinfo=UTC), "31 December 2025"),
    ],
)
def test_ago(when: datetime, words: str) -> None:
    html = str(ago(when, NOW))
    assert f">{words}</time>" in html
    assert f'datetime="{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"' in html


def test_ago_of_nothing() -> None:
    assert str(ago(None)) == ""
    assert "March 2026" in month(NOW)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("  ", [("··", "2 spaces")]),
        ("\n", [("↵\n", "1 line break")]),
        (" \n\n\t", [("·", "1 space"), ("↵\n↵\n", "2 line breaks"), ("→\t", "1 tab")]),
        ("\u200b\u00a0", [("◦◦", "2 unseen characters")]),
        (" a ", []),
        (",", []),
        ("", []),
    ],
)
def test_what_nobody_sees_is_drawn_and_named(text: str, marks: list[tuple[str, str]]) -> None:
    assert unseen(text) == marks


def test_texts_that_look_alike() -> None:
    assert alike("été", "e\u0301te\u0301")
    assert not alike("été", "été")
    assert not alike("été", "ete")


def test_numbers() -> None:
    assert number(4815162342) == "4\u202f815\u202f162\u202f342"
    assert number(7) == "7"
    assert number(None) == ""
    assert plural(1, "run") == "1 run"
    assert plural(0, "run") == "0 runs"
    assert plural(3, "entry", "entries") == "3 entries"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.42, "0.4 s"),
        (41.83, "41.8 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (None, ""),
    ],
)
def test_seconds(value: float | None, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [
        (512, 512, "1:1"),
        (768, 512, "3:2"),
        (1920, 1080, "16:9"),
        (512, 768, "2:3"),
        (100, 1000, "9:16"),
        (400, 500, "4:5"),
        (640, 480, "4:3"),
        (None, None, "3:2"),
        (5000, 100, "16:9"),
    ],
)
def test_ratio(width: int | None, height: int | None, name: str) -> None:
    assert ratio(width, height) == name


def test_sprig_counts_generations_and_who_grew_from_it() -> None:
    first = str(sprig(1, 0))
    assert 'aria-label="First of its line, no offshoots by others yet"' in first
    assert 'aria-label="First of its line, offshoots by 1 other person"' in str(sprig(1, 1))
    assert first.count('class="dot"') == 0
    third = str(sprig(3, 2))
    assert 'aria-label="Generation 3, offshoots by 2 other people"' in third
    assert third.count('class="dot"') == 2 + 2
    many = str(sprig(40, 900))
    assert 'aria-label="Generation 40, offshoots by 900 other people"' in many
    assert many.count('class="dot"') == 5 + 4


def test_renditions_that_exist_are_offered() -> None:
    assert srcset("/a", 1000) == "/a/320 320w, /a/640 640w"
    assert srcset("/a", 1000, full=True) == "/a/320 320w, /a/640 640w, /a 1000w"
    assert srcset("/a", 128) == "/a/320 128w"
    assert srcset("/a", None).endswith("/a/1280 1280w")
    assert rendition(1000, 640) == 640
    assert rendition(512, 640) == 320
    assert rendition(128, 640) == 320


def test_initial_is_a_letter() -> None:
    assert initial("زينب") == "ز"
    assert initial("_ada") == "A"
    assert initial("") == "·"


def test_markdown_headings_start_below_the_page() -> None:
    assert str(markdown("# A\n\n###### B")) == "<h3>A</h3>\n<h6>B</h6>\n"
