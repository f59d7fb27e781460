"""The prompt template language."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import template
from domain.template import TemplateError, expand

PLAIN = st.text(st.characters(exclude_characters="{}|_\\", exclude_categories=["Cs"]), max_size=50)


def fill(text: str, seed: int = 0, **variables: str) -> str:
    return expand(text, variables, {"colors": ["red", "blue"], "empty": []}, seed)


@given(PLAIN, st.integers(0, 2**32 - 1))
def test_text_without_signs_stays_as_it_is(text: str, seed: int) -> None:
    assert fill(text, seed) == text


@given(PLAIN, st.text(max_size=100))
def test_variables_go_in_untouched(before: str, value: str) -> None:
    assert fill(before + "{thing}", thing=value) == before + value


@given(st.lists(PLAIN, min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_one_alternative_is_picked_and_the_same_for_the_same_seed(options: list[str], seed: int) -> None:
    text = "{" + "|".join(options) + "}"
    assert fill(text, seed) in options
    assert fill(text, seed) == fill(text, seed)


@given(st.text(max_size=300), st.integers(0, 2**32 - 1))
def test_any_text_is_filled_or_refused_in_words(text: str, seed: int) -> None:
    with contextlib.suppress(TemplateError):
        assert len(fill(text, seed)) <= template.MAX_LENGTH


@given(st.lists(st.sampled_from(["{", "}", "|", "_", "\\", "__colors__", "{thing}", "a"]), max_size=40))
def test_any_heap_of_signs_is_filled_or_refused(parts: list[str]) -> None:
    with contextlib.suppress(TemplateError):
        fill("".join(parts), thing="x")


def test_every_alternative_comes_up_over_the_seeds() -> None:
    assert {fill("{red|blue|}", seed) for seed in range(50)} == {"red", "blue", ""}


def test_alternatives_nest_and_hold_variables_and_draws() -> None:
    assert {fill("{a {x|y}|{thing} __colors__}", seed, thing="t") for seed in range(200)} == {
        "a x",
        "a y",
        "t red",
        "t blue",
    }


def test_escaped_signs_stand_for_themselves() -> None:
    assert fill(r"\{a\|b\} \__colors\__ \\") == r"{a|b} __colors__ " + "\\"


def test_a_variable_is_never_read_as_a_template() -> None:
    assert fill("{thing}", thing="{a|b} __colors__ {thing}") == "{a|b} __colors__ {thing}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{nobody}", r"There is no input called \{nobody\}. Inputs here: \{thing\}"),
        ("a } b", "has no { before it"),
        ("{a|b", "is never closed"),
        ("__nothing__", "There is no list called __nothing__"),
        ("__empty__", "There is no list called __empty__"),
        ("{a|" * 9 + "b" + "}" * 9, "nested more than 8 deep"),
        ("{a|b}" * 1_001, "more than 1,000 choices"),
        ("{thing}" * 12_000, "grows past 40,000 characters"),
    ],
)
def test_what_is_wrong_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        fill(text, thing="four")


def test_a_bomb_of_alternatives_is_stopped() -> None:
    bomb = "x" * 200
    for _ in range(7):
        bomb = "{" + bomb + "|" + bomb + "}"
    with pytest.raises(TemplateError):
        fill(bomb + "{thing}" * 20_000, thing="y" * 10_000)


def test_names_lists_the_variables_asked_for() -> None:
    assert template.names(r"{subject} in {red|blue} \{not} {x|{light}}") == {"subject", "light"}
