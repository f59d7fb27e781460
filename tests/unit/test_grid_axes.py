"""Reading what somebody typed for a grid's axis, and the cells that come of it."""

import contextlib
import itertools
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import grid_axes, steps, upscalers
from domain.changes import FIXED, applied, told
from domain.grid_axes import HOW, LISTED, Axis, Target
from web import grid_words

RECIPE = steps.Recipe(
    inputs=[
        steps.Input(name="subject", default="boat"),
        steps.Input(name="light", kind="choice", default="fog", choices=["fog", "snow"]),
        steps.Input(name="count", kind="number", default="1"),
    ],
    steps=[steps.PromptTemplate(template="a {subject}"), steps.TextToImage(prompt="{text}"), steps.Upscale()],
)
TARGETS = grid_axes.targets(RECIPE, {"text_to_image": ["other", "starter"]})


def read(key: str, typed: str = "", ticked: tuple[str, ...] = (), most: int = 100) -> list[Any]:
    return grid_axes.axis(TARGETS[key], typed, ticked, most).values


def test_everything_but_names_and_sources_can_be_varied() -> None:
    assert {"seed", "input-subject", "input-light", "s1-template", "s2-guidance_scale", "s3-factor"} <= TARGETS.keys()
    assert not [key for key in TARGETS if key.endswith(("-title", "-source", "-upload"))]
    assert TARGETS["s2-model"].choices == ("other", "starter")
    assert TARGETS["s2-scheduler"].listed
    assert TARGETS["s2-num_inference_steps"].now == 20


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("20, 30, 40", [20, 30, 40]),
        ("20 30\n40; 50", [20, 30, 40, 50]),
        ("10..50 by 10", [10, 20, 30, 40, 50]),
        ("10 to 25 by 10", [10, 20]),
        ("50..10 by 20", [50, 30, 10]),
        ("1…4", [1, 2, 3, 4]),
        ("5, 10..20 by 5, 10", [5, 10, 15, 20]),
        ("20,20, 30", [20, 30]),
    ],
)
def test_numbers_are_lists_and_ranges(typed: str, values: list[int]) -> None:
    assert read("s2-num_inference_steps", typed) == values


def test_classes_are_those_of_the_steps_model() -> None:
    recipe = steps.Recipe(steps=[steps.GanImage(model="small"), steps.GanImage(model="other")])
    found = grid_axes.targets(recipe, {}, {"small": ["fox", "barn owl"], "other": ["star"]})
    assert found["s1-class_label"].choices == ("fox", "barn owl")
    assert grid_axes.axis(found["s1-class_label"], "", ("fox", "barn owl")).values == ["fox", "barn owl"]
    assert "s2-class_label" not in found


def test_what_the_steps_model_does_not_take_is_not_varied() -> None:
    recipe = steps.Recipe(steps=[steps.Upscale(model=name) for name in ("", "x4", "worded", "gone")])
    families = {"x4": upscalers.RRDB, "worded": upscalers.DIFFUSION}
    found = grid_axes.targets(recipe, {"upscale": ["x4", "worded"]}, {}, families)
    varied = [{key.partition("-")[2] for key in found if key.startswith(f"s{number}-")} for number in (1, 2, 3, 4)]
    words = {"prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "seed", "noise_level"}
    assert varied[0] == {"factor", "model", "method", "sharpen"}
    assert varied[1] == {"factor", "model", "sharpen"}
    assert varied[2] == {"factor", "model", "sharpen"} | words
    assert varied[3] == {*varied[0], *varied[2]}, "nothing is known of a model that is gone"


def test_whatever_is_typed_has_a_hint() -> None:
    widgets = {field.widget for kind in steps.KINDS for field in steps.fields_of(kind)}
    assert widgets - {*FIXED, *LISTED, "voice", "clock"} <= grid_words.HINTS.keys()


def test_voices_are_ticked_where_the_model_names_them_and_typed_where_not() -> None:
    recipe = steps.Recipe(steps=[steps.TextToSpeech(model="small"), steps.TextToSpeech(model="other")])
    found = grid_axes.targets(recipe, {}, {"small": ["Ann", "Bo"]})
    assert (found["s1-voice"].widget, found["s1-voice"].choices) == ("class", ("Ann", "Bo"))
    assert grid_axes.axis(found["s2-voice"], "0\n3").values == ["0", "3"]
    assert not {"s1-upload", "s1-voice_of"} & found.keys(), "no cell speaks with another sample than the version"


def test_moments_of_a_part_are_numbers() -> None:
    found = grid_axes.targets(steps.Recipe(steps=[steps.SpeechToText(start=5)]), {}, {})
    assert grid_axes.axis(found["s1-start"], "5, 7.5").values == [5, 7.5]
    assert "s1-end" not in found, "what is left empty is not varied"


def test_tenths_come_out_exactly() -> None:
    assert read("s2-guidance_scale", "1..1.5 by 0.1") == [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]


def test_a_seed_may_be_shown_with_narrow_spaces() -> None:
    assert read("seed", "481\u202f516\u202f342, 7") == [481516342, 7]


@pytest.mark.parametrize(
    ("key", "typed", "words"),
    [
        ("s2-num_inference_steps", "twenty", HOW),
        ("s2-num_inference_steps", "10..", HOW),
        ("s2-num_inference_steps", "1e3, 2", HOW),
        ("s2-num_inference_steps", "10..20 by 0", "step above 0"),
        ("s2-num_inference_steps", "20", "at least two"),
        ("s2-num_inference_steps", "", "at least two"),
        ("s2-num_inference_steps", "10, 200", "200: from 1 to 150"),
        ("s2-num_inference_steps", "10, 2.5", "2.5: from 1 to 150, without a fraction"),
        ("s2-width", "64, 65", "65: from 64 to 2,048, a multiple of 8"),
        ("s2-guidance_scale", "-1, 2", "-1: from 0 to 30"),
        ("seed", "1, 5000000000", "5000000000: from 0 to"),
        ("seed", "1.5, 2", "1.5: from 0 to"),
        ("input-count", "1, x", HOW),
    ],
)
def test_what_is_wrong_is_said_with_the_value(key: str, typed: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read(key, typed)


def test_a_range_of_a_thousand_is_refused_before_it_is_made() -> None:
    with pytest.raises(ValueError, match="These are 1,000, and a grid has at most 100 cells"):
        read("seed", "1..1000")
    with pytest.raises(ValueError, match="at most 100 cells"):
        read("seed", "0..999999999999999")


def test_prompts_are_one_a_line_with_commas_and_ranges_in_them() -> None:
    typed = "a boat, by night\n\n  10..50 by 10  \na boat, by night\nлодка"
    assert read("s2-prompt", typed) == ["a boat, by night", "10..50 by 10", "лодка"]
    with pytest.raises(ValueError, match="at most 100"):
        read("s2-prompt", "\n".join(map(str, range(101))))
    with pytest.raises(ValueError, match="at most 10,000 characters"):
        read("s2-prompt", "a\n" + "b" * 10_001)


def test_prompts_of_several_lines_and_none_have_a_line_before_each() -> None:
    assert read("s2-prompt", "---\na boat\nby night\n---\n\n\ta moth\n") == ["a boat\nby night", "a moth"]
    assert read("s2-negative_prompt", "blurry\n---") == ["blurry", ""]
    assert read("s2-negative_prompt", "---\n ---\nugly\nblurry") == ["", "ugly\nblurry"]
    assert read("input-subject", "---\n---\nowl") == ["", "owl"]
    assert read("s2-prompt", "a --- b\n----") == ["a --- b", "----"]
    with pytest.raises(ValueError, match="at least two"):
        read("s2-prompt", "---\na boat\nby night")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("7,5, 8", "7,5 may be one number or two. Write 7.5, or 7, 5"),
        ("7,5; 8,5", "7,5 may be"),
        ("7,5 8,5", "7,5 may be"),
        ("1..2 by 0,5", "0,5 may be"),
    ],
)
def test_a_comma_that_may_be_a_point_is_asked_about(typed: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read("s2-guidance_scale", typed)
    assert read("s2-guidance_scale", "7,5") == [7.0, 5.0], "told beside the field, and again before anything runs"
    assert read("s2-num_inference_steps", "20,30, 40") == [20, 30, 40], "these have no fractions"


def test_axes_of_one_name_are_told_apart_by_their_step() -> None:
    twice = [Axis(key=f"s{n}-factor", title="Factor", step=n, field="factor", values=[2, 4]) for n in (2, 3)]
    assert grid_axes.titles(twice) == ["Factor, step 2", "Factor, step 3"]
    assert grid_axes.titles([twice[0], axis("input-subject", "moth")]) == ["Factor", "subject"]
    assert twice[0].head("Factor", 2) == "Factor 2"
    assert twice[0].head("Factor, step 2", 4) == "Factor, step 2: 4"
    assert axis("s2-negative_prompt", "", "ugly").head("Negative prompt", "") == "Negative prompt (empty)"


def test_no_vae_and_no_model_are_values_with_a_name() -> None:
    recipe = steps.Recipe(steps=[steps.TextToImage(vae="crisp"), steps.Upscale(model="x4"), steps.TextToImage()])
    named = {"text_to_image": ["starter"], "upscale": ["x4"]}
    found = grid_axes.targets(recipe, named, vaes={"text_to_image": ["crisp", "soft"]})
    assert found["s1-vae"].choices == ("", "crisp", "soft")
    assert [found["s2-model"].shown(choice) for choice in found["s2-model"].choices] == ["Resampling", "x4"]
    varied = grid_axes.axis(found["s1-vae"], "", ("soft", ""))
    assert varied.values == ["", "soft"]
    assert [varied.head("Decoder", value) for value in varied.values] == ["Decoder Its own", "Decoder soft"]
    assert grid_axes.decode(grid_axes.encode([varied])) == [varied]
    own = grid_axes.cells([varied], {}, None)[0]
    assert applied(recipe, own.changes).steps[0] == steps.TextToImage()
    assert [one.value for one in told(own.changes, {1: "text_to_image"})] == ["Its own"]
    assert "s3-vae" in found, "a step without one can be varied too"
    assert "s1-vae" not in grid_axes.targets(recipe, named), "there is none to choose"


def test_lists_are_ticked_in_their_own_order() -> None:
    assert read("s2-model", ticked=("starter", "other")) == ["other", "starter"]
    assert read("s3-factor", ticked=("4", "2")) == [2, 4]
    assert read("input-light", ticked=("fog", "snow")) == ["fog", "snow"]
    with pytest.raises(ValueError, match="Tick at least two"):
        read("s2-model", ticked=("starter",))
    with pytest.raises(ValueError, match="Choose from the list"):
        read("s2-model", ticked=("starter", "made-up"))


@given(st.text(max_size=200))
def test_any_text_is_values_or_words(typed: str) -> None:
    for key in ("s2-num_inference_steps", "s2-guidance_scale", "seed", "s2-prompt", "input-count"):
        with contextlib.suppress(ValueError):
            values = read(key, typed)
            assert 2 <= len(values) <= 100
            assert len(set(values)) == len(values)


@given(st.decimals(-1000, 1000, places=2), st.decimals(-1000, 1000, places=2), st.decimals("0.01", 500, places=2))
def test_a_range_goes_from_its_first_number_evenly_and_not_past_its_last(
    first: Decimal, last: Decimal, by: Decimal
) -> None:
    if abs(last - first) / by >= 100:
        with pytest.raises(ValueError, match="at most 100"):
            grid_axes.numbers(f"{first}..{last} by {by}")
        return
    found = [Decimal(text) for text in grid_axes.numbers(f"{first}..{last} by {by}")]
    assert found[0] == first
    assert {abs(after - before) for before, after in itertools.pairwise(found)} <= {by}
    assert min(first, last) <= found[-1] <= max(first, last)
    assert abs(last - found[-1]) < by


def axis(key: str, *values: Any) -> Axis:
    target: Target = TARGETS[key]
    return Axis(key=key, title=target.title, step=target.step, field=target.field, values=list(values))


def test_cells_run_across_then_down() -> None:
    axes = [axis("s2-guidance_scale", 1.0, 2.0, 3.0), axis("input-subject", "moth", "boat")]
    found = grid_axes.cells(axes, {"subject": "fern", "light": "fog"}, 7)
    assert [(cell.column, cell.row) for cell in found] == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]
    assert found[5].changes == {"2": {"guidance_scale": 3.0}}
    assert found[5].inputs == {"subject": "boat", "light": "fog"}
    assert {cell.seed for cell in found} == {7}
    assert [cell.seed for cell in grid_axes.cells([axis("seed", 4, 5)], {}, 7)] == [4, 5]


def test_two_parameters_of_one_step_are_changed_together() -> None:
    cell = grid_axes.cells([axis("s2-width", 64, 128), axis("s2-height", 64, 128)], {}, 1)[1]
    assert cell.changes == {"2": {"width": 128, "height": 64}}
    changed = applied(RECIPE, cell.changes)
    assert isinstance(changed.steps[1], steps.TextToImage)
    assert (changed.steps[1].width, changed.steps[1].height) == (128, 64)
    assert changed.steps[0] == RECIPE.steps[0]
    turned = {"2": dict(reversed(cell.changes["2"].items()))}
    assert [(one.step, one.title, one.value) for one in told(turned, {2: "text_to_image"})] == [
        (2, "Width", 128),
        (2, "Height", 64),
    ]
    assert [one.title for one in told({"1": {"gone": 1}}, {1: "no_more"})] == ["gone"]


@pytest.mark.parametrize("changes", [{"4": {"width": 64}}, {"0": {"width": 64}}, {"2": {"nonsense": 1}}])
def test_what_a_recipe_has_not_cannot_be_changed(changes: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(LookupError):
        applied(RECIPE, changes)


def test_axes_survive_being_stored() -> None:
    axes = [axis("s2-guidance_scale", 1.0, 2.5), axis("s3-factor", 2, 4)]
    assert grid_axes.decode(grid_axes.encode(axes)) == axes
