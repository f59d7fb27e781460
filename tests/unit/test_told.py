"""What a host says of a model: parameters within their bounds, trigger words, a license."""

import pytest

from domain import defaults, models, told
from domain.errors import Invalid
from domain.told import Said, Told
from web import composer


def test_parameters_are_read_by_their_short_names_and_their_own() -> None:
    read = defaults.parse("steps=30, guidance=7.5\nwidth=512;scheduler=EulerDiscrete", models.IMAGE_KINDS)
    assert read == {
        "num_inference_steps": 30, "guidance_scale": 7.5, "width": 512, "scheduler": "EulerDiscreteScheduler"
    }  # fmt: skip
    assert defaults.spell(read) == "width=512, steps=30, guidance=7.5, scheduler=EulerDiscreteScheduler"
    assert defaults.parse(defaults.spell(read), models.IMAGE_KINDS) == read
    assert defaults.parse("num_inference_steps=30", models.IMAGE_KINDS) == {"num_inference_steps": 30}
    assert defaults.parse("temperature=0,5; tokens=90".replace(",", "."), models.TEXT_KINDS) == {
        "temperature": 0.5, "max_new_tokens": 90
    }  # fmt: skip
    assert defaults.parse(" , ", models.IMAGE_KINDS) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps=0", "steps: from 1 to 150, without a fraction, not '0'"),
        ("steps=many", "steps: from 1 to 150"),
        ("width=100", "width: from 64 to 2,048, a multiple of 8, not '100'"),
        ("scheduler=Best", "scheduler: choose one of the list"),
        ("steps", "steps needs a value, such as steps=20"),
        ("steps=9, num_inference_steps=8", "num_inference_steps is given twice"),
        ("prompt=a boat", "There is no 'prompt' to set. There are width, height, steps, guidance"),
        ("seed=5", "There is no 'seed' to set"),
        ("steps=60, scheduler=LCM", "steps: at most 50 with the LCMScheduler"),
    ],
)
def test_parameters_that_a_step_would_refuse_are_refused(text: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        defaults.parse(text, models.IMAGE_KINDS)
    assert caught.value.fields["defaults"].startswith(words)


def test_a_lora_has_no_parameters() -> None:
    with pytest.raises(Invalid, match="Such a model has no parameters of its own"):
        defaults.parse("steps=9", [models.LORA])


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        told.read(Said("x" * 101, ",".join(str(n) for n in range(21)), "steps=0"), models.IMAGE_KINDS)
    assert sorted(caught.value.fields) == ["defaults", "license", "trigger"]
    with pytest.raises(Invalid):
        told.read(Said(trigger="ink\u202eed"), models.IMAGE_KINDS)
    assert told.read(Said(trigger="می\u200cروم"), models.IMAGE_KINDS)[1] == ["می\u200cروم"]


def test_frames_suit_the_model_that_is_chosen() -> None:
    own = models.ModelChoice(models.STARTER, models.SHIPPED[models.STARTER].defaults)
    larger = models.ModelChoice("larger", {"frames": 25, "longest_side": 1024})
    offered = {"image_to_animation": [larger, own]}
    row = {"s1-kind": "image_to_animation", "s1-model": models.STARTER, "s1-frames": "25", "s1-longest_side": "1024"}
    now = composer.suited(row, 1, offered)
    assert (now["s1-frames"], now["s1-longest_side"]) == ("8", "256")


def test_what_the_files_tell_just_so_is_left_to_them() -> None:
    words = [("Trigger words", ["inked"])]
    same = Said("MIT", " inked ,inked", "steps=30")
    assert told.changed(same, models.IMAGE_KINDS, "MIT", words, {"num_inference_steps": 30}) == Told()
    assert told.changed(Said(), models.IMAGE_KINDS, "MIT", words, {"num_inference_steps": 30}) == Told("", [], {})
    assert told.added(Said(defaults="steps=9"), models.IMAGE_KINDS, {"width": 64}) == Told(
        defaults={"width": 64, "num_inference_steps": 9}
    )
