"""Which steps one call may run together."""

from typing import Any

import msgspec
import pytest

from domain import prepare, steps
from domain.prepare import Given
from domain.steps import ImageToImage, PromptTemplate, TextToImage, Upscale
from tasks.steps import RUNNERS

SIZES = {"a": (96, 64), "b": (96, 64), "c": (64, 96)}


def key(step: steps.AnyStep, *pictures: str, seed: int = 5, revision: str = "r") -> str:
    given = Given(inputs={}, lists={}, seed=seed, pictures=pictures, sizes=SIZES)
    return prepare.prepare(step, given, revision).batch_key


def test_a_kind_that_may_be_batched_has_a_runner_for_it() -> None:
    for kind, known in steps.KINDS.items():
        assert known.together == (kind in RUNNERS and RUNNERS[kind].together is not None)


def test_words_seed_number_and_what_the_picture_shows_may_differ() -> None:
    redraw = ImageToImage(prompt="a moth")
    other = ImageToImage(prompt="a bee", seed=9, num_images_per_prompt=2, title="Again")
    assert key(redraw, "a")
    assert key(redraw, "a") == key(other, "b", seed=6)


@pytest.mark.parametrize(
    ("change", "picture", "revision"),
    [
        ({}, "c", "r"),
        ({}, "a", "s"),
        ({"strength": 0.5}, "a", "r"),
        ({"scheduler": "DDPMScheduler"}, "a", "r"),
        ({"num_inference_steps": 30}, "a", "r"),
        ({"guidance_scale": 7.0}, "a", "r"),
        ({"negative_prompt": "dogs"}, "a", "r"),
    ],
)
def test_everything_else_keeps_them_apart(change: dict[str, Any], picture: str, revision: str) -> None:
    step = ImageToImage(prompt="a moth")
    other = msgspec.structs.replace(step, **change)
    assert key(step, "a") != key(other, picture, revision=revision) != ""


def test_an_upload_counts_instead_of_what_the_step_before_made() -> None:
    step = ImageToImage(prompt="a moth", upload="c")
    assert key(step, "a") == key(ImageToImage(prompt="a moth"), "c")


@pytest.mark.parametrize("pictures", [(), ("a", "b"), ("of unknown size",)])
def test_none_several_and_unknown_pictures_are_redrawn_alone(pictures: tuple[str, ...]) -> None:
    assert key(ImageToImage(prompt="a moth"), *pictures) == ""


def test_drawing_and_redrawing_do_not_mix() -> None:
    assert key(TextToImage(prompt="a moth")) != key(ImageToImage(prompt="a moth"), "a")


def test_what_calls_no_model_gains_nothing_by_company() -> None:
    assert key(PromptTemplate(template="x")) == key(Upscale(), "a") == ""
