"""Words for numbers and states."""

from uuid import UUID

import pytest

from domain import forecast
from domain.run_pages import StepPage
from web import run_words


@pytest.mark.parametrize(
    ("position", "words"),
    [(1, "first"), (3, "third"), (10, "tenth"), (11, "11th"), (12, "12th"), (21, "21st"), (22, "22nd"), (103, "103rd")],
)
def test_places(position: int, words: str) -> None:
    assert run_words.place(position) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, ""), (0.2, "a moment"), (6.4, "about 6 s"), (89, "about 89 s"), (90, "about 2 min"), (600, "about 10 min")],
)
def test_durations_one_may_rely_on_roughly(value: float | None, words: str) -> None:
    assert run_words.about(value) == words


@pytest.mark.parametrize(("size", "words"), [(812, "812 B"), (40_400, "40 KB"), (1_340_000, "1.3 MB")])
def test_sizes(size: int, words: str) -> None:
    assert run_words.bytes(size) == words


def _step(**given: object) -> StepPage:
    plain: dict[str, object] = {
        "id": UUID(int=1), "ordinal": 2, "kind": "text_to_image", "label": "Draw", "state": "running", "attempt": 1,
        "step": {}, "resolved": {}, "progress": 0, "progress_total": 0, "phase": "running", "error": "",
        "output_text": "", "pictures": [], "place": None, "preview": None, "elapsed": None, "left": None,
        "source": None,
        "receipt": {}, "timings": {},
    }  # fmt: skip
    return StepPage(**{**plain, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"progress": 1, "elapsed": 1.0}, ""),
        ({"progress": 18, "elapsed": 10.0}, "1.8 a second"),
        ({"progress": 10, "elapsed": 25.0}, "2.5 s each"),
        ({"progress": 10, "elapsed": 5.0, "state": "succeeded"}, ""),
    ],
)
def test_speed(given: dict[str, object], words: str) -> None:
    assert run_words.speed(_step(**given)) == words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "running"),
        ({"attempt": 2}, "running, attempt 2"),
        ({"state": "queued", "place": 3, "attempt": 0}, "third in the queue"),
        ({"state": "queued", "attempt": 1}, "in the queue, attempt 2"),
        ({"state": "waiting"}, "waits for step 1"),
        ({"state": "cancelled"}, "stopped"),
        ({"state": "cancelled", "attempt": 0}, "not run"),
        ({"state": "succeeded"}, ""),
    ],
)
def test_marks(given: dict[str, object], words: str) -> None:
    assert run_words.mark(_step(**given)) == words


def test_percent_is_whole_and_never_above_the_top() -> None:
    assert [_step(progress=done, progress_total=28).percent for done in (0, 17, 28, 30)] == [0, 60, 100, 100]


def test_work_grows_with_passes_pixels_pictures_and_factor() -> None:
    plain = {"kind": "text_to_image", "width": 128, "height": 128, "num_inference_steps": 20}
    assert forecast.work({**plain, "num_images_per_prompt": 3}) == 3 * forecast.work(plain)
    assert forecast.work({**plain, "width": 256}) == 2 * forecast.work(plain)
    assert forecast.work({"kind": "upscale", "factor": 4}) == 4 * forecast.work({"kind": "upscale", "factor": 2})
    assert forecast.work({"kind": "prompt_template"}) > 0
    several = {"kind": "gan_image", "num_images": 4, "frames": 48, "layout": "pictures"}
    assert forecast.work({**several, "layout": "walk"}) == 12 * forecast.work(several)
    assert forecast.work(several) == 2 * forecast.work({**several, "num_images": 2})


@pytest.mark.parametrize(("layout", "counted"), [("pictures", "Picture"), ("walk", "Frame")])
def test_a_generator_counts_what_it_draws(layout: str, counted: str) -> None:
    step = _step(kind="gan_image", step={"layout": layout}, progress=2, progress_total=8)
    assert run_words.facts(step, over=False)[0] == (counted, "2 of 8")


def test_a_picture_of_a_class_is_said_by_its_name() -> None:
    assert run_words.alt(_step(label="Generate", step={"class_label": "star"})) == "Generate: star"
    assert run_words.alt(_step(label="Generate", step={"class_label": ""})) == "Result of step 2, generate"


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    assert forecast.total([1.0, 2.5]) == 3.5
    assert forecast.total([1.0, None]) is None
