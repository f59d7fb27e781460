"""Step kinds: forms to structs, recipes checked as a whole, old versions decoding forever."""

from typing import Any

import msgspec
import pytest

from domain import steps
from domain.errors import Invalid
from domain.steps import ImageToImage, Inpaint, Input, PromptTemplate, Recipe, SpeechToText, TextToImage, Upscale
from tasks.steps import RUNNERS


def parse(kind: str, **values: str) -> tuple[Any, dict[str, str]]:
    return steps.parse_step(kind, values, "s1-")


def test_every_kind_that_a_worker_does_has_a_runner() -> None:
    assert RUNNERS.keys() == {kind for kind in steps.KINDS if not steps.asks(kind)}


def test_an_empty_form_gives_the_defaults() -> None:
    step, errors = parse("text_to_image", prompt="a cat", width="", seed="", title=" Sketch ")
    assert errors == {}
    assert step == TextToImage(prompt="a cat", title="Sketch")


def test_values_are_read_as_people_type_them() -> None:
    step, errors = parse("text_to_image", prompt=" a cat ", guidance_scale="2,5", width="256", seed="7", source="2")
    assert errors == {}
    assert (step.prompt, step.guidance_scale, step.width, step.seed, step.source) == (" a cat ", 2.5, 256, 7, 2)
    assert parse("upscale", factor="4", method="bicubic")[0] == Upscale(factor=4, method="bicubic")


@pytest.mark.parametrize(
    ("kind", "field", "value", "words"),
    [
        ("text_to_image", "width", "130", "From 64 to 2,048, a multiple of 8"),
        ("text_to_image", "width", "4096", "From 64 to 2,048, a multiple of 8"),
        ("text_to_image", "width", "wide", "From 64 to 2,048, a multiple of 8"),
        ("text_to_image", "num_inference_steps", "2.5", "From 1 to 150, without a fraction"),
        ("text_to_image", "guidance_scale", "nan", "From 0 to 30"),
        ("text_to_image", "guidance_scale", "inf", "From 0 to 30"),
        ("text_to_image", "seed", "-1", "From 0 to 4,294,967,295, without a fraction"),
        ("text_to_image", "scheduler", "Eval", "Choose one of the list"),
        ("text_to_image", "prompt", "x" * 100_000, "At most 10,000 characters; this has 100,000"),
        ("text_to_image", "model", "m" * 81, "At most 80 characters; this has 81"),
        ("image_to_image", "strength", "0", "More than 0, up to 1"),
        ("image_to_image", "upload", "../../etc", "Choose the picture again"),
        ("upscale", "factor", "3", "Choose one of the list"),
    ],
)
def test_a_bad_value_gets_words_beside_its_field(kind: str, field: str, value: str, words: str) -> None:
    step, errors = parse(kind, **{field: value})
    assert step is None
    assert errors == {f"s1-{field}": words}


def test_an_unknown_kind_is_said() -> None:
    assert parse("teleport") == (None, {"s1-kind": "There is no kind of step called “teleport”"})


@pytest.mark.parametrize(
    ("recipe", "errors"),
    [
        (Recipe(), {"steps": "Add a step first"}),
        (Recipe(steps=[Upscale()]), {"s1-source": "Needs a picture, but there is no step before it"}),
        (
            Recipe(steps=[PromptTemplate(template="x"), ImageToImage()]),
            {"s2-source": "Needs a picture, but step 1 gives text"},
        ),
        (Recipe(steps=[TextToImage(prompt="x", source=2)]), {"s1-source": "Choose a step before this one"}),
        (Recipe(steps=[TextToImage(prompt=" ")]), {"s1-prompt": "Write what to draw"}),
        (Recipe(steps=[PromptTemplate()]), {"s1-template": "Write the template"}),
        (
            Recipe(steps=[Inpaint(upload="0" * 64)]),
            {"s1-mask": "Paint what to repaint, or choose a picture of it"},
        ),
        (
            Recipe(steps=[Inpaint(mask="0" * 64)]),
            {"s1-source": "Needs a picture, but there is no step before it"},
        ),
        (
            Recipe(steps=[TextToImage(prompt="x")] * 30),
            {"steps": "A pipeline has at most 20 steps; this has 30"},
        ),
    ],
)
def test_a_recipe_is_checked_as_a_whole(recipe: Recipe, errors: dict[str, str]) -> None:
    assert steps.check(recipe) == errors
    with pytest.raises(Invalid):
        steps.require(recipe)


@pytest.mark.parametrize(
    ("values", "errors"),
    [
        ({"start": "1:30", "end": "100.5"}, {}),
        ({"start": "soon"}, {"s1-start": "Seconds, or minutes and seconds such as 1:30, up to 60:00"}),
        ({"end": "60:01"}, {"s1-end": "Seconds, or minutes and seconds such as 1:30, up to 60:00"}),
        ({"start": "1:30", "end": "90"}, {"s1-end": "Later than 1:30, where it begins"}),
        ({"end": "0"}, {"s1-end": "Later than 0:00, where it begins"}),
    ],
)
def test_a_part_of_a_sound_is_read(values: dict[str, str], errors: dict[str, str]) -> None:
    step, found = parse("speech_to_text", upload="0" * 64, **values)
    assert (steps.check(Recipe(steps=[step])) if step else found) == errors
    assert (step == SpeechToText(upload="0" * 64, start=90, end=100.5)) == (not errors)


def test_a_recipe_from_before_parts_keeps_its_digest() -> None:
    whole = Recipe(steps=[SpeechToText(upload="0" * 64)])
    assert b'"start"' not in steps.encode(whole)
    assert b'"end"' not in steps.encode(whole)
    cut = Recipe(steps=[SpeechToText(upload="0" * 64, start=90)])
    assert steps.decode(steps.encode(cut)) == cut
    assert steps.digest(cut) != steps.digest(whole)


def test_a_sound_recipe_passes() -> None:
    steps.require(
        Recipe(
            inputs=[Input(name="light", kind="choice", choices=["fog"], default="fog")],
            lists={"colors": ["red"]},
            steps=[TextToImage(prompt="x"), ImageToImage(upload="0" * 64), Upscale(source=1)],
        )
    )


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        (Input(name="text"), "i1-name"),
        (Input(name="n", kind="number", default="many"), "i1-default"),
        (Input(name="c", kind="choice", default="x"), "i1-default"),
        (Input(name="c", kind="choice", choices=["a"], default="x"), "i1-default"),
        (Input(name="long", default="x" * 2_001), "i1-default"),
    ],
)
def test_inputs_are_checked(entry: Input, key: str) -> None:
    assert set(steps.check(Recipe(inputs=[entry], steps=[TextToImage(prompt="x")]))) == {key}


def test_doubled_and_too_many_inputs_are_said() -> None:
    found = steps.check(Recipe(inputs=[Input(name="a")] * 21, steps=[TextToImage(prompt="x")]))
    assert found["inputs"] == "At most 20 inputs"
    assert found["i2-name"] == "Another input has this name"


@pytest.mark.parametrize(
    ("name", "items", "key"),
    [
        ("Bad Name", ["x"], "l1-name"),
        ("a", [], "l1-items"),
        ("a", ["x"] * 501, "l1-items"),
        ("a", ["x" * 501], "l1-items"),
    ],
)
def test_lists_are_checked(name: str, items: list[str], key: str) -> None:
    assert set(steps.check(Recipe(lists={name: items}, steps=[TextToImage(prompt="x")]))) == {key}
    many = Recipe(lists={f"l{number}": ["x"] for number in range(21)}, steps=[TextToImage(prompt="x")])
    assert steps.check(many) == {"lists": "At most 20 lists"}


def test_a_step_takes_the_one_before_unless_it_names_another() -> None:
    recipe = [TextToImage(prompt="x"), Upscale(), Upscale(source=1)]
    assert [steps.source_of(number, recipe) for number in (1, 2, 3)] == [None, 1, 1]


@pytest.mark.parametrize("step", [steps.GanImage(layout="walk"), steps.Join(source=1, layout="gif")])
def test_a_recipe_from_before_a_gif_had_a_choice_of_colors_is_the_same(step: Any) -> None:
    recipe = Recipe(steps=[TextToImage(prompt="a cat"), step])
    assert b"colors" not in steps.encode(recipe)
    assert steps.encode(steps.decode(steps.encode(recipe))) == steps.encode(recipe)
    chosen = Recipe(steps=[TextToImage(prompt="a cat"), msgspec.structs.replace(step, colors="shared")])
    assert steps.digest(chosen) != steps.digest(recipe)
    assert steps.decode(steps.encode(chosen)) == chosen


def test_old_versions_decode_and_equal_recipes_have_one_digest() -> None:
    old = b'{"steps": [{"kind": "text_to_image", "prompt": "a cat"}]}'
    recipe = steps.decode(old)
    assert recipe == Recipe(steps=[TextToImage(prompt="a cat")])
    assert steps.digest(recipe) == steps.digest(steps.convert(msgspec.to_builtins(recipe)))
    assert steps.digest(recipe) != steps.digest(Recipe(steps=[TextToImage(prompt="a dog")]))
    with pytest.raises(msgspec.ValidationError):
        steps.decode(b'{"steps": [{"kind": "text_to_image", "surprise": 1}]}')


def test_fields_tell_a_form_all_it_needs() -> None:
    fields = {field.name: field for field in steps.fields_of("text_to_image")}
    assert {"title", "source", "prompt", "model"} <= fields.keys()
    width = fields["width"]
    assert (width.widget, width.minimum, width.maximum, width.multiple_of, width.whole) == ("number", 64, 2048, 8, True)
    assert fields["scheduler"].choices == steps.SCHEDULERS
    assert fields["prompt"].widget == "prompt"
    assert steps.kind_of(TextToImage()) == "text_to_image"


@pytest.mark.parametrize("value", ["", "nan", "inf", "-Infinity", "1e309", "1_0", "١", "0x1", "1,5", "12 apples"])
def test_an_input_that_is_no_number_is_named(value):
    with pytest.raises(ValueError, match="Enter a number, such as"):
        steps.check_input(steps.Input(name="n", kind="number"), value)


@pytest.mark.parametrize("value", ["0", "-1", "+2.5", ".5", "5.", "1e-3", " 12 ", "9" * 300])
def test_numbers_are_taken_as_they_are_typed(value):
    assert steps.check_input(steps.Input(name="n", kind="number"), value) == value


@pytest.mark.parametrize("passes", range(1, 151))
def test_a_strength_that_takes_no_sampling_step_is_refused(passes: int) -> None:
    def words(strength: float) -> str:
        given = {"upload": "0" * 64, "num_inference_steps": passes, "strength": strength}
        said = {steps.check(Recipe(steps=[kind(**given)])).get("s1-strength", "") for kind in (ImageToImage, Inpaint)}
        assert len(said) == 1
        return said.pop()

    said = words(0.9 / passes)
    assert f" or more with {passes} sampling step" in said
    assert words(float(said.split()[0])) == ""
    assert words(1) == ""


@pytest.mark.parametrize(("scheduler", "passes", "ok"), [("LCMScheduler", 50, True), ("TCDScheduler", 51, False)])
def test_schedulers_of_distilled_models_take_few_passes(scheduler: Any, passes: int, ok: bool) -> None:
    drawing = TextToImage(prompt="x", scheduler=scheduler, num_inference_steps=passes)
    redrawing = ImageToImage(upload="0" * 64, scheduler=scheduler, num_inference_steps=passes)
    for step in (drawing, redrawing):
        errors = steps.check(Recipe(steps=[step]))
        assert errors == ({} if ok else {"s1-num_inference_steps": f"At most 50 with the {scheduler}"})
