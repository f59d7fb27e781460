"""Words of a prompt that count more or less."""

import pytest

from domain import emphasis, steps
from domain.steps import Recipe, TextToImage


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a red circle", [("a red circle", 1.0)]),
        ("a (red:1.3) circle", [("a ", 1.0), ("red", 1.3), (" circle", 1.0)]),
        ("(red circle: 0.5 )", [("red circle", 0.5)]),
        ("(red:.5)(blue:2)", [("red", 0.5), ("blue", 2.0)]),
        ("a (small) circle at 12:30", [("a (small) circle at 12:30", 1.0)]),
        ("a (red:warm) circle", [("a (red:warm) circle", 1.0)]),
        ("", []),
    ],
)
def test_a_prompt_is_cut_at_its_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert emphasis.parts(prompt) == parts


def test_a_weight_that_is_too_large_is_told_beside_its_field() -> None:
    recipe = Recipe(steps=[TextToImage(prompt="a (red:1.2) circle", negative_prompt="(blur:30)")])
    assert steps.check(recipe) == {"s1-negative_prompt": "A weight is at most 3; this has 30"}
