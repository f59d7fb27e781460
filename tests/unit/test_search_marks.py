"""Matches are marked where they stand, and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from domain.search_corrections import distance
from domain.search_marks import CLOSE, EXCERPT, OPEN, excerpt, likely, mark


def shown(text: str) -> str:
    return text.replace(OPEN, "[").replace(CLOSE, "]")


def test_only_words_that_begin_alike_are_asked_about() -> None:
    assert sorted(likely(["Two boats, a boathouse; the sea"], ["boat"])) == ["boathouse", "boats"]
    assert likely(["Élan"], ["elan"]) == ["Élan"]
    assert likely(["sea"], []) == []


def test_words_are_marked_whole_and_as_they_are_written() -> None:
    assert shown(mark("Harbor, harbors & HARBOR-side", {"Harbor", "harbors", "HARBOR"}, ["harbor"])) == (
        "[Harbor], [harbors] & [HARBOR]-side"
    )
    assert shown(mark("<b>harbor</b>", {"harbor"}, ["harbor"])) == "<b>[harbor]</b>"


def test_scripts_without_spaces_are_marked_as_typed() -> None:
    assert shown(mark("静かな夜の港、灯り", set(), ["夜の港"])) == "静かな[夜の港]、灯り"


def test_marks_of_the_text_itself_are_taken_out() -> None:
    assert mark(f"{OPEN}sea{CLOSE}", set(), []) == "sea"


def test_an_excerpt_begins_a_little_before_the_match() -> None:
    text = "far away " * 60 + f"{OPEN}harbor{CLOSE} " + "and on " * 80
    piece = shown(excerpt(text))
    assert piece.startswith("… ")
    assert piece.endswith(" …")
    assert "[harbor]" in piece
    assert len(piece) <= EXCERPT + 10
    assert excerpt("short") == "short"


@given(st.text(max_size=900), st.lists(st.text(min_size=1, max_size=9), max_size=4))
def test_marks_change_no_letter_and_always_close(text: str, typed: list[str]) -> None:
    marked = mark(text, set(likely([text], typed)), typed)
    assert marked.replace(OPEN, "").replace(CLOSE, "") == text.replace(OPEN, "").replace(CLOSE, "")
    piece = excerpt(marked)
    assert piece.count(OPEN) == piece.count(CLOSE)


def test_slips_between_words() -> None:
    assert distance("harbor", "harbor", 2) == 0
    assert distance("harbur", "harbor", 2) == 1
    assert distance("lantren", "lantern", 2) == 1
    assert distance("ланерн", "фонарь", 2) == 3
    assert distance("sea", "harbor", 2) == 3
