"""The composer's form as plain data: there and back, and steps that move."""

import pytest

from domain.models import ModelChoice
from domain.pipelines import Details
from domain.steps import ImageToImage, Input, Join, PromptTemplate, Recipe, TextToImage, Upscale
from web import composer

DRAWING = ("text_to_image", "image_to_image", "text_to_animation")
MODELS = {**{kind: ["starter"] for kind in DRAWING}, "gan_image": ["shapes-gan"]}
RECIPE = Recipe(
    inputs=[Input(name="mood", kind="choice", default="calm", choices=["calm", "wild"])],
    lists={"colors": ["red", "green"]},
    steps=[
        PromptTemplate(template="a {mood} __colors__ sea"),
        TextToImage(prompt="{text}", seed=5, guidance_scale=6.5),
        Upscale(source=2, factor=4),
    ],
)


def form(recipe: Recipe = RECIPE, **more: str) -> composer.Form:
    return composer.form_of(Details("The sea", tags=["sea"]), recipe) | more


def test_a_recipe_goes_into_the_form_and_back():
    composed = composer.read(form(), MODELS)
    assert composed.errors == {}
    assert composed.recipe == RECIPE
    assert composed.details.title == "The sea"


def test_the_starting_points_need_only_words():
    for start in composer.STARTS:
        errors = composer.read(composer.blank(start), MODELS).errors
        assert all(words.startswith(("Write", "Give it")) for words in errors.values()), errors


def test_what_somebody_chose_stays_where_the_usual_model_is_gone():
    models = {"text_to_image": [ModelChoice("a", {"num_inference_steps": 25}), ModelChoice("b", {"width": 768})]}
    chosen = form(Recipe(steps=[TextToImage(prompt="a sea", width=768)]))
    laid = composer.compose(chosen, models).form
    assert (laid["s1-model"], laid["s1-num_inference_steps"], laid["s1-width"]) == ("a", "25", "768")


def kinds(typed: composer.Form) -> list[str]:
    return [typed[f"s{n}-kind"] for n in range(1, 30) if f"s{n}-kind" in typed]


def test_a_step_moves_and_those_that_name_it_follow():
    moved = composer.rearranged(form(), "up-2")
    assert kinds(moved) == ["text_to_image", "prompt_template", "upscale"]
    assert moved["s1-prompt"] == "{text}"
    assert moved["s3-source"] == "1"


def test_both_steps_that_a_join_names_follow():
    drawn = [TextToImage(prompt=prompt) for prompt in ("one", "other")]
    moved = composer.rearranged(form(Recipe(steps=[*drawn, Join(source=1, also=2)])), "up-2")
    assert (moved["s3-source"], moved["s3-also"]) == ("2", "1")
    dropped = composer.rearranged(moved, "drop-1")
    assert (dropped["s2-source"], dropped["s2-also"]) == ("1", "")


def test_a_step_is_dropped_and_nobody_names_it_any_more():
    dropped = composer.rearranged(form(), "drop-2")
    assert kinds(dropped) == ["prompt_template", "upscale"]
    assert dropped["s2-source"] == ""
    assert not any(name.startswith("s3-") for name in dropped)


def test_a_step_is_added_where_the_button_stands():
    added = composer.rearranged(form() | {"add-1-kind": "text_to_image"}, "add-1")
    assert kinds(added) == ["prompt_template", "text_to_image", "text_to_image", "upscale"]
    assert added["s4-source"] == "3"
    assert added["s2-num_inference_steps"] == "20"


@pytest.mark.parametrize(
    "do", ["up-1", "down-3", "up-99", "drop-0", "drop-77", "add-99", "nonsense", "up-x", "drop-input-9"]
)
def test_a_button_that_makes_no_sense_changes_nothing(do: str):
    assert composer.rearranged(form(), do) == form()


def test_inputs_and_lists_come_and_go():
    more = composer.rearranged(form(), "add-input")
    assert more["i2-name"] == ""
    assert composer.rearranged(more, "drop-input-1").get("i1-name") == ""
    assert "l2-name" in composer.rearranged(form(), "add-list")
    assert "l1-name" not in composer.rearranged(form(), "drop-list-1")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("s2-width", "100", "multiple of 8"),
        ("s2-width", "99999", "From 64 to 2,048"),
        ("s2-num_inference_steps", "many", "From 1 to 150"),
        ("s2-num_inference_steps", "2.5", "without a fraction"),
        ("s2-guidance_scale", "40", "From 0 to 30"),
        ("s2-guidance_scale", "nan", "From 0 to 30"),
        ("s2-seed", "-1", "From 0 to"),
        ("s2-scheduler", "Mine", "Choose one"),
        ("s2-model", "gone", "Choose one"),
        ("s2-prompt", "x" * 100_000, "At most 10,000 characters"),
        ("s2-prompt", "a {nobody} sea", "no input called"),
        ("s2-prompt", "a {open sea", "never closed"),
        ("s1-template", "{" * 20 + "a" + "}" * 20, "nested"),
        ("s1-template", "{a|b}" * 1_500, "more than 1,000 choices"),
        ("s1-template", "__none__", "no list called"),
        ("s3-source", "3", "before this one"),
        ("s3-source", "9", "before this one"),
        ("s3-source", "1", "Needs a picture"),
        ("s3-factor", "3", "Choose one"),
        ("s2-kind", "teleport", "no kind of step"),
        ("i1-name", "Not A Name", "Small letters"),
        ("i1-default", "sleepy", "Choose one of"),
        ("i1-kind", "secret", "Choose one"),
        ("l1-items", " \n ", "one entry a line"),
        ("l1-name", "Bad Name", "Small letters"),
        ("title", "   ", "Give it a title"),
        ("title", "x" * 121, "At most 120"),
        ("tags", "<b>", "signs in it"),
        ("license", "Mine-1.0", "Choose one"),
        ("visibility", "friends", "Choose one"),
        ("note", "x" * 201, "At most 200"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(field: str, value: str, words: str):
    typed = form(**{field: value})
    errors = composer.read(composer.tidy(typed), MODELS).errors
    assert words in errors[field], errors
    laid = composer.compose(typed, {}, errors)
    assert any(anchor in (field, "step-2") for anchor, _ in laid.summary)
    assert laid.form[field] == value


def test_an_expansion_bomb_in_an_input_is_stopped():
    bomb = Recipe(inputs=[Input(name="b", default="x" * 2_000)], steps=[TextToImage(prompt="{b}" * 3_000)])
    errors = composer.read(form(bomb), MODELS).errors
    assert "grows past 40,000" in errors["s1-prompt"]


def test_thirty_steps_are_too_many():
    typed = form(Recipe(steps=[TextToImage(prompt="a") for _ in range(30)]))
    assert "at most 20 steps; this has 30" in composer.read(typed, MODELS).errors["steps"]


def test_every_fault_is_shown_at_once():
    typed = form(**{"title": "", "s1-template": "{", "s2-width": "9", "s3-source": "7"})
    assert {"title", "s1-template", "s2-width", "s3-source"} <= set(composer.read(typed, MODELS).errors)


def test_only_the_composers_own_fields_are_known():
    for name in form():
        assert composer.knows(name), name
    for name in ("owner_id", "s1-owner", "s0-kind", "s100-kind", "role", "i1-", "x1-name", "digest"):
        assert not composer.knows(name), name


def test_the_parents_values_stand_beside_changed_ones():
    parent = Recipe(steps=[TextToImage(prompt="a calm sea", guidance_scale=3)])
    typed = form(Recipe(steps=[TextToImage(prompt="a wild sea", guidance_scale=6.5), Upscale()]))
    laid = composer.compose(typed, {}, None, parent)
    params = {control.key: control for control in laid.rows[0].params}
    assert params["s1-guidance_scale"].was == "3"
    assert params["s1-width"].was == ""
    assert [token.op for token in laid.rows[0].prompts[0].tokens] == ["same", "removed", "added", "same"]
    assert [row.changed for row in laid.rows] == ["changed", "added"]
    assert laid.changes is not None
    assert laid.changes.steps_added == 1


def test_pictures_stay_when_steps_move():
    typed = form(Recipe(steps=[TextToImage(prompt="a"), ImageToImage(prompt="b", upload="0" * 64)]))
    moved = composer.rearranged(typed, "up-2")
    assert moved["s1-upload"] == "0" * 64
    assert composer.compose(moved, {}).rows[0].files[0].value == "0" * 64
    assert composer.rearranged(moved, "clear-upload-1")["s1-upload"] == ""
    assert composer.rearranged(moved, "clear-upload-9") == moved


@pytest.mark.parametrize("value", [7.1234567, 0.1 + 0.2, 1e-7, 30.0, 0.0, 6.5])
def test_a_number_comes_back_exactly(value: float):
    recipe = Recipe(steps=[TextToImage(prompt="a", guidance_scale=value)])
    assert composer.read(form(recipe), MODELS).recipe == recipe
    assert "." not in composer.as_typed(30.0)


def test_only_fields_of_the_steps_kind_belong_to_it():
    typed = form()
    assert composer.stray(typed, [*typed, "title", "i1-name"]) == []
    assert composer.stray(typed, ["s2-factor", "s3-factor", "s2-upload-file", "s4-prompt"]) == [
        "s2-factor",
        "s2-upload-file",
        "s4-prompt",
    ]
    assert composer.stray({"s1-kind": "teleport"}, ["s1-kind", "s1-factor", "s1-upload-file"]) == []
    assert composer.stray({"s1-kind": "image_to_image"}, ["s1-upload-file", "s1-upload"]) == []
