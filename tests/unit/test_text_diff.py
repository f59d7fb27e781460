"""Words as people see them, in every script, and differences that can be applied."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import text_diff
from domain.text_diff import Token, count_words, rising, tokens_of, words


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("п'ять човнів, 3.5 м", ["п'ять", " ", "човнів", ",", " ", "3.5", " ", "м"]),
        ("東京の夜、ネオン", ["東", "京", "の", "夜", "、", "ネオン"]),
        ("👨‍👩‍👧‍👦🇺🇦🇩🇪👍🏽5️⃣", ["👨‍👩‍👧‍👦", "🇺🇦", "🇩🇪", "👍🏽", "5️⃣"]),
        ("नमस्ते क्षत्रिय", ["नमस्ते", " ", "क्षत्रिय"]),
        ("น้ำ", ["น้ำ"]),
        ("e\u0301te\u0301 été", ["e\u0301te\u0301", " ", "été"]),
        ("مَرْحَبًا بك", ["مَرْحَبًا", " ", "بك"]),
        ("a {subject}, __colors__", ["a", " ", "{subject}", ",", " ", "__colors__"]),
        ("a  b\n\nc", ["a", "  ", "b", "\n", "\n", "c"]),
    ],
    ids=["ukrainian", "japanese", "emoji", "hindi", "thai", "accents", "arabic", "template", "spaces"],
)
def test_pieces_are_words_and_whole_characters(text: str, pieces: list[str]):
    assert tokens_of(text) == pieces


def test_one_ideograph_changes_alone():
    assert words("東京の夜", "東京の朝") == [Token("same", "東京の"), Token("removed", "夜"), Token("added", "朝")]


def test_a_family_is_never_cut():
    before, after = "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\u200d\U0001f469\u200d\U0001f466"
    assert words(before, after) == [Token("removed", before), Token("added", after)]


def test_spaces_count():
    assert words("a cat", "a  cat") == [
        Token("same", "a"),
        Token("removed", " "),
        Token("added", "  "),
        Token("same", "cat"),
    ]
    assert [token.op for token in words("a cat", "a cat\n")] == ["same", "added"]


@pytest.mark.parametrize(("text", "count"), [("a red, red boat", 4), ("東京", 2), ("👍🏽 ok!", 2), (", . ; —", 0)])
def test_words_are_counted(text: str, count: int):
    assert count_words([Token("added", text)], "added") == count


TEXTS = st.text(alphabet="ab ,\n東夜e\u0301👍\U0001f3fd\u200d{}", max_size=60)


@given(TEXTS, TEXTS)
def test_applying_the_difference_gives_the_other_side(before: str, after: str):
    found = words(before, after)
    assert "".join(token.text for token in found if token.op != "added") == before
    assert "".join(token.text for token in found if token.op != "removed") == after


@given(TEXTS, TEXTS)
def test_swapping_the_sides_mirrors_the_difference(before: str, after: str):
    def halves(tokens: list[Token], op: str) -> list[str]:
        return [token.text for token in tokens if token.op == op]

    there, back = words(before, after), words(after, before)
    assert halves(there, "same") == halves(back, "same")
    assert halves(there, "added") == halves(back, "removed")
    assert halves(there, "removed") == halves(back, "added")


@given(TEXTS)
def test_a_text_differs_in_nothing_from_itself(text: str):
    assert words(text, text) == ([Token("same", text)] if text else [])


@given(st.lists(st.sampled_from("abcdefgh "), max_size=80), st.lists(st.sampled_from("abcdefgh "), max_size=80))
def test_anchors_alone_lose_nothing(before: list[str], after: list[str]):
    """With nothing left for comparing, only what stands once in either holds them together."""
    found = words("".join(f"{word} " for word in before), "".join(f"{word} " for word in after), text_diff.Work(0))
    assert "".join(token.text for token in found if token.op != "added") == "".join(f"{word} " for word in before)
    assert "".join(token.text for token in found if token.op != "removed") == "".join(f"{word} " for word in after)


@given(st.lists(st.integers(0, 20), max_size=12))
def test_the_longest_rising_row(values: list[int]):
    found = rising(values)
    assert found == sorted(set(found))
    chosen = [values[at] for at in found]
    assert all(left < right for left, right in itertools.pairwise(chosen))
    best = [1] * len(values)
    for at, value in enumerate(values):
        best[at] = 1 + max((best[before] for before in range(at) if values[before] < value), default=0)
    assert len(found) == max(best, default=0)
