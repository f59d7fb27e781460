"""Word diffs and recipe diffs."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import diff
from domain.steps import ImageToImage, Input, Join, PromptTemplate, Recipe, TextToImage, Upscale

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


def test_the_longest_prompts_take_bounded_work():
    work = diff.Work()
    before, after = "a b " * 2_500, "b a " * 2_500
    tokens = diff.words(before, after, work)
    assert work.left >= 0
    assert "".join(token.text for token in tokens if token.op != "removed") == after


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


def test_both_sources_of_a_join_move_along():
    drawn = [TextToImage(prompt="a"), TextToImage(prompt="b")]
    before, after = [*drawn, Join(source=1, also=2)], [PromptTemplate(template="x"), *drawn, Join(source=2, also=3)]
    assert [step.op for step in diff.changes(recipe_of(*before), recipe_of(*after)).steps] == ["added"] + ["same"] * 3
    alone = diff.changes(recipe_of(*before), recipe_of(*drawn, Join(source=1))).steps[-1]
    assert [(one.name, one.before, one.after) for one in alone.parameters] == [("also", 2, None)]


def test_a_removed_step_and_alike_steps_stay_with_each_other():
    before = Recipe(steps=[TextToImage(prompt="a"), TextToImage(prompt="b", seed=1), Upscale()])
    after = Recipe(steps=[TextToImage(prompt="b", seed=1), Upscale()])
    changes = diff.changes(before, after)
    assert [(step.op, step.before, step.after) for step in changes.steps] == [
        ("removed", 1, None),
        ("same", 2, 1),
        ("same", 3, 2),
    ]


def test_an_added_step_brings_its_words_and_parameters():
    added = TextToImage(title="Sky", prompt="a red kite, high up", width=256, seed=7)
    before, after = recipe_of(PromptTemplate(template="x")), recipe_of(PromptTemplate(template="x"), added)
    there, back = diff.changes(before, after), diff.changes(after, before)
    (change,) = [one for one in there.steps if one.op == "added"]
    assert [(one.name, one.tokens) for one in change.prompts] == [
        ("prompt", [diff.Token("added", "a red kite, high up")])
    ]
    told = {one.name: (one.before, one.after) for one in change.parameters}
    assert (told["width"], told["seed"], told["model"]) == ((None, 256), (None, 7), (None, "starter"))
    assert not told.keys() & {"title", "source", "negative_prompt"}
    assert (there.words_added, there.steps_added, there.parameters) == (5, 1, 0)
    (gone,) = [one for one in back.steps if one.op == "removed"]
    assert gone.prompts[0].tokens == [diff.Token("removed", "a red kite, high up")]
    assert {one.name: (one.after, one.before) for one in gone.parameters} == told
    assert (back.words_removed, back.signs) == (5, 0)


def test_signs_and_spaces_are_a_change_without_words():
    for words in ("a cat, a dog", "a cat\na dog", "a cat a dog "):
        changes = diff.changes(recipe_of(TextToImage(prompt="a cat a dog")), recipe_of(TextToImage(prompt=words)))
        assert (changes.words_added, changes.words_removed, changes.signs) == (0, 0, 1)
        assert not changes.nothing
    changes = diff.changes(recipe_of(TextToImage(prompt="a cat")), recipe_of(TextToImage(prompt="a cat, asleep")))
    assert changes.signs == 0


def test_naming_the_step_before_changes_nothing():
    left = recipe_of(TextToImage(prompt="a"), Upscale(), Upscale(factor=4))
    named = recipe_of(TextToImage(prompt="a"), Upscale(source=1), Upscale(factor=4, source=2))
    assert diff.changes(left, named).nothing
    assert diff.changes(named, left).nothing
    other = recipe_of(TextToImage(prompt="a"), Upscale(), Upscale(factor=4, source=1))
    for before, after, told in ((left, other, (2, 1)), (other, left, (1, 2))):
        changes = diff.changes(before, after)
        assert [(one.name, one.before, one.after) for one in changes.steps[2].parameters] == [("source", *told)]


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


def test_many_long_prompts_are_told_whole():
    def recipe(sign: str) -> Recipe:
        long = "".join(sign if number % 3 else "," for number in range(2_000))
        return Recipe(steps=[TextToImage(prompt=long, negative_prompt=long) for _ in range(20)])

    found = diff.changes(recipe("."), recipe(";"))
    assert found.prompts == 40
    for change in found.steps:
        for prompt in change.prompts:
            assert "".join(token.text for token in prompt.tokens if token.op != "removed").count(";") == 1_333


def test_what_a_page_compares_is_counted_together():
    work = diff.Work(100)
    assert len(diff.words("a b c", "a d c", work)) == 4
    assert work.left == 99
    assert [token.op for token in diff.words("a b c d " * 20, "b a d c " * 20, work)] == ["removed", "added", "same"]


LONG = " ".join(f"word{number % 700} and{number}" for number in range(1_500))


def test_a_long_text_is_compared_by_what_stands_once_in_it():
    assert len(LONG) > 20_000
    after = LONG.replace("and20 ", "ELSE ").replace("and700 ", "").replace(" and1400", " and1400 more")
    tokens = diff.words(LONG, after)
    assert [(token.op, token.text) for token in tokens if token.op != "same"] == [
        ("removed", "and20"),
        ("added", "ELSE"),
        ("removed", "and700 "),
        ("added", " more"),
    ]


def test_what_is_too_long_to_read_is_replaced_whole():
    tokens = diff.words("one two", "one three", diff.Work(characters=15))
    assert tokens == [diff.Token("removed", "one two"), diff.Token("added", "one three")]


def recipe_of(*steps) -> Recipe:
    return Recipe(steps=list(steps))


def test_a_moved_step_is_one_change():
    cat, dog = TextToImage(prompt="a cat asleep on a warm stone wall"), TextToImage(prompt="two dogs in the snow")
    changes = diff.changes(recipe_of(cat, Upscale(), dog), recipe_of(dog, cat, Upscale()))
    assert [(one.op, one.before, one.after, one.moved) for one in changes.steps] == [
        ("moved", 3, 1, True),
        ("same", 1, 2, False),
        ("same", 2, 3, False),
    ]
    assert (changes.steps_moved, changes.steps_added, changes.steps_removed) == (1, 0, 0)
    assert not changes.nothing


def test_a_moved_and_edited_step_is_one_change():
    cat, dog = TextToImage(prompt="a cat asleep on a warm stone wall"), TextToImage(prompt="two dogs in the snow")
    edited = TextToImage(prompt="two old dogs in the deep snow", guidance_scale=5)
    changes = diff.changes(recipe_of(cat, Upscale(), dog), recipe_of(edited, cat, Upscale()))
    first = changes.steps[0]
    assert (first.op, first.before, first.after, first.moved) == ("changed", 3, 1, True)
    assert [one.words_added for one in first.prompts] == [2]
    assert [one.name for one in first.parameters] == ["guidance_scale"]
    assert [one.op for one in changes.steps] == ["changed", "same", "same"]


def test_a_step_with_other_words_in_the_same_place_is_changed():
    changes = diff.changes(
        recipe_of(TextToImage(prompt="a cat"), Upscale()), recipe_of(TextToImage(prompt="blue mountains"), Upscale())
    )
    assert [one.op for one in changes.steps] == ["changed", "same"]


def test_alike_steps_are_not_taken_for_one_another():
    """Inserting at the front leaves the others where they belong, however little their words agree."""
    old = [TextToImage(prompt=words) for words in ("red boats at sea", "green hills far away", "an old tin robot")]
    new = [TextToImage(prompt="a lighthouse"), *(TextToImage(prompt=f"{step.prompt}, at night") for step in old)]
    changes = diff.changes(recipe_of(*old), recipe_of(*new))
    assert [(one.op, one.before, one.after) for one in changes.steps] == [
        ("added", None, 1),
        ("changed", 1, 2),
        ("changed", 2, 3),
        ("changed", 3, 4),
    ]


def test_a_name_vouches_for_a_step():
    old = recipe_of(TextToImage(title="Sky", prompt="gray clouds"), Upscale(), TextToImage(title="Sea", prompt="waves"))
    new = recipe_of(TextToImage(title="Sea", prompt="a calm blue"), Upscale(), TextToImage(title="Sky", prompt="stars"))
    changes = diff.changes(old, new)
    assert {(one.before, one.after) for one in changes.steps} == {(3, 1), (2, 2), (1, 3)}


def test_the_source_of_a_step_follows_the_steps():
    old = recipe_of(TextToImage(prompt="a"), TextToImage(prompt="b"), Upscale(source=1))
    new = recipe_of(TextToImage(prompt="b"), Upscale(source=1))
    changes = diff.changes(old, new)
    assert changes.steps[-1].op == "changed"
    assert [(one.name, one.before, one.after) for one in changes.steps[-1].parameters] == [
        ("source", "1, which is gone", 1)
    ]


def test_the_model_is_a_parameter():
    changes = diff.changes(recipe_of(TextToImage(prompt="a")), recipe_of(TextToImage(prompt="a", model="other")))
    assert [(one.name, one.before, one.after) for one in changes.steps[0].parameters] == [("model", "starter", "other")]


def test_a_list_changes_word_by_word():
    before, after = Recipe(lists={"colors": ["red", "blue"]}), Recipe(lists={"colors": ["red", "deep blue"]})
    assert [one.text for one in diff.changes(before, after).lists[0].tokens if one.op == "added"] == ["deep "]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Input(name="a"), Input(name="a", default="empty text")),
        (Input(name="a", default="number: 3"), Input(name="a", kind="number", default="3")),
        (Input(name="a", default="3"), Input(name="a", kind="number", default="3")),
        (
            Input(name="a", kind="choice", default="x", choices=["x", "y, z"]),
            Input(name="a", kind="choice", default="x", choices=["x", "y", "z"]),
        ),
    ],
)
def test_inputs_that_read_alike_differ(before: Input, after: Input):
    (change,) = diff.changes(Recipe(inputs=[before]), Recipe(inputs=[after])).inputs
    assert change.before != change.after, "and what is shown of them differs too"


def test_one_entry_with_a_comma_is_not_two():
    (change,) = diff.changes(Recipe(lists={"a": ["red, blue"]}), Recipe(lists={"a": ["red", "blue"]})).lists
    assert (change.before, change.after) == ("red, blue", "red\nblue")


ENTRIES = [
    *({"default": text} for text in ("", "3", "number: 3", "text: 3", "empty text", "none")),
    {"kind": "number", "default": "3"},
    {"default": "3", "choices": ["a"]},
    *({"kind": "choice", "default": "a", "choices": choices} for choices in (["a", "b"], ["a, b"], ["a", "a, b"])),
]
ITEMS = [["a", "b"], ["a, b"], ["a"], ["", "a"], ["a", ""]]
NAMES = st.sampled_from(["a", "b"])
DECLARED = st.builds(
    lambda inputs, lists: Recipe(inputs=[Input(name=name, **entry) for name, entry in inputs.items()], lists=lists),
    st.dictionaries(NAMES, st.sampled_from(ENTRIES), max_size=2),
    st.dictionaries(NAMES, st.sampled_from(ITEMS), max_size=2),
)


@given(DECLARED, DECLARED)
def test_exactly_the_inputs_and_lists_that_differ_are_told(before: Recipe, after: Recipe):
    there, back = diff.changes(before, after), diff.changes(after, before)
    sides = [({one.name: one for one in recipe.inputs}, recipe.lists) for recipe in (before, after)]
    for place, changes in enumerate((there.inputs, there.lists)):
        old, new = sides[0][place], sides[1][place]
        names = [one.name for one in changes]
        assert sorted(names) == sorted(name for name in {**old, **new} if old.get(name) != new.get(name))
        assert all(one.before != one.after for one in changes)
        assert {one.name for one in changes if one.before is None} == {*names} - {*old}
        assert {one.name for one in changes if one.after is None} == {*names} - {*new}
    mirrored = [(one.name, one.after, one.before) for one in (*back.inputs, *back.lists)]
    assert sorted(mirrored, key=str) == sorted(
        ((one.name, one.before, one.after) for one in (*there.inputs, *there.lists)), key=str
    )


WORDS = st.lists(st.sampled_from(["cat", "dog", "sea", "at", "night", "red"]), max_size=5).map(" ".join)
STEPS = st.one_of(
    st.builds(TextToImage, prompt=WORDS, guidance_scale=st.sampled_from([3.0, 5.0])),
    st.builds(ImageToImage, prompt=WORDS, title=st.sampled_from(["", "Sky"])),
    st.builds(Upscale, factor=st.sampled_from([2, 4])),
)
RECIPES = st.builds(Recipe, steps=st.lists(STEPS, max_size=6))


@given(RECIPES, RECIPES)
def test_the_changes_make_the_other_recipe(before: Recipe, after: Recipe):
    """Every step of both is told once, and what is told of it makes one of the other."""
    changes = diff.changes(before, after)
    assert sorted(one.before for one in changes.steps if one.before) == list(range(1, len(before.steps) + 1))
    assert [one.after for one in changes.steps if one.after] == list(range(1, len(after.steps) + 1))
    for change in changes.steps:
        if change.before is None or change.after is None:
            continue
        made = msgspec.structs.replace(
            before.steps[change.before - 1],
            **{one.name: one.after for one in change.parameters},
            **{one.name: "".join(t.text for t in one.tokens if t.op != "removed") for one in change.prompts},
        )
        assert made == after.steps[change.after - 1]


@given(RECIPES, RECIPES)
def test_swapping_the_recipes_mirrors_the_changes(before: Recipe, after: Recipe):
    there, back = diff.changes(before, after), diff.changes(after, before)
    other = {"added": "removed", "removed": "added"}
    assert {(one.op, one.before, one.after, one.moved) for one in there.steps} == {
        (other.get(one.op, one.op), one.after, one.before, one.moved) for one in back.steps
    }
    assert (there.words_added, there.words_removed) == (back.words_removed, back.words_added)
    assert (there.steps_moved, there.parameters) == (back.steps_moved, back.parameters)


@given(RECIPES)
def test_a_recipe_differs_in_nothing_from_itself(recipe: Recipe):
    assert diff.changes(recipe, recipe).nothing


@given(st.permutations([TextToImage(prompt=f"a {word}") for word in ("cat", "boat", "hill", "lamp", "road")]))
def test_steps_that_only_changed_places_are_moved_or_same(new: list[TextToImage]):
    old = [TextToImage(prompt=f"a {word}") for word in ("cat", "boat", "hill", "lamp", "road")]
    changes = diff.changes(recipe_of(*old), recipe_of(*new))
    assert {one.op for one in changes.steps} <= {"same", "moved"}
    stay = [one.before for one in changes.steps if not one.moved]
    assert stay == sorted(stay)


def test_twelve_long_steps_against_twelve_are_compared_within_bounds():
    def recipe(sign: str) -> Recipe:
        texts = [
            " ".join(f"w{step * 2_000 + at}{sign if at % 50 == 0 else ''}" for at in range(1_500)) for step in range(12)
        ]
        return Recipe(steps=[TextToImage(prompt=text, negative_prompt=text) for text in texts])

    found = diff.changes(recipe(""), recipe(" x"))
    assert {(one.op, one.before == one.after) for one in found.steps} == {("changed", True)}
    assert (found.prompts, found.words_added, found.words_removed) == (24, 24 * 30, 0)
