"""Word diffs and recipe diffs."""

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from domain import diff
from domain.steps import Input, PromptTemplate, Recipe, TextToImage, Upscale

DUSK = "A small harbor at dusk, three boats at rest, flat gouache, wide view"
NIGHT = "A small harbor after midnight, three boats at rest, a full moon, flat gouache, wide view"


def test_words_that_came_and_went_are_whole_phrases():
    assert [(token.op, token.text) for token in diff.words(DUSK, NIGHT)] == [
        ("same", "A small harbor "),
        ("removed", "at dusk"),
        ("added", "after midnight"),
        ("same", ", three boats at rest"),
        ("added", ", a full moon"),
        ("same", ", flat gouache, wide view"),
    ]


def test_equal_texts_have_no_changes():
    assert [token.op for token in diff.words(DUSK, DUSK)] == ["same"]
    assert diff.words("", "") == []


def test_from_nothing_and_to_nothing():
    assert diff.words("", "a cat") == [diff.Token("added", "a cat")]
    assert diff.words("a cat", "") == [diff.Token("removed", "a cat")]


def test_words_of_any_script_are_words():
    tokens = diff.words("Тихий ранок у порту", "Тихий вечір у порту")
    assert [(token.op, token.text) for token in tokens] == [
        ("same", "Тихий "),
        ("removed", "ранок"),
        ("added", "вечір"),
        ("same", " у порту"),
    ]


@given(st.text(alphabet="ab ,\n{}|", max_size=60), st.text(alphabet="ab ,\n{}|", max_size=60))
def test_nothing_is_lost_between_the_two(before: str, after: str):
    tokens = diff.words(before, after)
    assert "".join(token.text for token in tokens if token.op != "added") == before
    assert "".join(token.text for token in tokens if token.op != "removed") == after
    assert all(left.op != right.op for left, right in itertools.pairwise(tokens))


def test_the_longest_prompts_take_no_time():
    before, after = "a b " * 2_500, "b a " * 2_500
    start = time.perf_counter()
    diff.words(before, after)
    assert time.perf_counter() - start < 2


def test_parameters_and_prompts_of_a_step():
    before = Recipe(steps=[TextToImage(prompt=DUSK, guidance_scale=7.5), Upscale()])
    after = Recipe(steps=[TextToImage(prompt=NIGHT, guidance_scale=6.5), Upscale()])
    changes = diff.changes(before, after)
    assert [step.op for step in changes.steps] == ["changed", "same"]
    assert (changes.words_added, changes.words_removed) == (5, 2)
    assert [(one.name, one.before, one.after) for one in changes.steps[0].parameters] == [("guidance_scale", 7.5, 6.5)]
    assert ("Factor", 2) in changes.unchanged
    assert not changes.nothing


def test_an_added_step_moves_sources_without_changing_them():
    before = Recipe(steps=[TextToImage(prompt="a"), TextToImage(prompt="b"), Upscale(source=1)])
    after = Recipe(
        steps=[PromptTemplate(template="x"), TextToImage(prompt="a"), TextToImage(prompt="b"), Upscale(source=2)]
    )
    changes = diff.changes(before, after)
    assert [step.op for step in changes.steps] == ["added", "same", "same", "same"]
    assert (changes.steps_added, changes.steps_removed, changes.parameters) == (1, 0, 0)
    assert changes.steps[0].label == "Write the prompt"


def test_a_removed_step_and_alike_steps_stay_with_each_other():
    before = Recipe(steps=[TextToImage(prompt="a"), TextToImage(prompt="b", seed=1), Upscale()])
    after = Recipe(steps=[TextToImage(prompt="b", seed=1), Upscale()])
    changes = diff.changes(before, after)
    assert [(step.op, step.before, step.after) for step in changes.steps] == [
        ("removed", 1, None),
        ("same", 2, 1),
        ("same", 3, 2),
    ]


def test_inputs_and_lists():
    before = Recipe(inputs=[Input(name="when", default="dusk")], steps=[TextToImage(prompt="a")])
    after = Recipe(
        inputs=[Input(name="when", default="dawn")], lists={"colors": ["red"]}, steps=[TextToImage(prompt="a")]
    )
    changes = diff.changes(before, after)
    assert [(one.name, one.before, one.after) for one in changes.inputs] == [("when", "dusk", "dawn")]
    assert [(one.name, one.before, one.after) for one in changes.lists] == [("colors", None, "red")]
    assert changes.parameters == 2


def test_the_same_recipe_changes_nothing():
    recipe = Recipe(steps=[TextToImage(prompt="a"), Upscale()])
    assert diff.changes(recipe, recipe).nothing


def test_many_long_prompts_take_no_time_either():
    def recipe(sign: str) -> Recipe:
        long = "".join(sign if number % 3 else "," for number in range(2_000))
        return Recipe(steps=[TextToImage(prompt=long, negative_prompt=long) for _ in range(20)])

    began = time.perf_counter()
    found = diff.changes(recipe("."), recipe(";"))
    assert time.perf_counter() - began < 1
    assert found.prompts == 40
    for change in found.steps:
        for prompt in change.prompts:
            assert "".join(token.text for token in prompt.tokens if token.op != "removed").count(";") == 1_333


def test_what_a_page_compares_is_counted_together():
    work = diff.Work(100)
    assert len(diff.words("a b c", "a d c", work)) == 4
    assert work.left == 99
    assert [token.op for token in diff.words("a b c d " * 20, "b a d c " * 20, work)] == ["removed", "added", "same"]
