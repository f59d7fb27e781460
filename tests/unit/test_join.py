"""Joining pictures: cells, gaps and columns; a GIF's frames, times and receipt."""

import io
import json
from collections.abc import Callable
from typing import Any

import av
import pytest
from PIL import Image

from domain import steps
from domain.errors import DomainError
from domain.prepare import Given, prepare
from domain.receipts import Receipt
from domain.steps import Join, Recipe, TextToImage, Upscale
from tasks import animated, files
from tasks.context import Animation, Context, Picture, Stopped
from tasks.loading import Models
from tasks.messages import Job, Member
from tasks.steps import join
from tests.make import png

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
WHITE = (255, 255, 255)
RECEIPT = Receipt(kind="join", code=1, parameters={"layout": "gif"})


def joined(step: Join, *pictures: bytes, wanted: Callable[[int], bool] = lambda _: True) -> Picture | Animation:
    """What a step makes of these, run as the engine runs it."""
    job = Job(id="1/1", members=[Member(step={}, pictures=list(pictures))], model=None)
    context = Context(job, Models("cpu", 0, lambda _: None), lambda _: None, wanted)
    (made,) = join.run(step, context).pictures
    return made


def sheet(step: Join, *pictures: bytes) -> Image.Image:
    made = joined(step, *pictures)
    assert isinstance(made, Picture)
    return made.image


@pytest.mark.parametrize(
    ("step", "count", "size"),
    [
        (Join(), 1, (20, 10)),
        (Join(), 4, (48, 28)),
        (Join(), 5, (76, 28)),
        (Join(columns=2, gap=0), 5, (40, 30)),
        (Join(columns=8), 3, (76, 10)),
        (Join(layout="row", gap=1), 3, (62, 10)),
        (Join(layout="column", gap=1, columns=3), 3, (20, 32)),
    ],
)
def test_a_sheet_has_a_cell_for_each_and_gaps_between(step: Join, count: int, size: tuple[int, int]) -> None:
    assert sheet(step, *[png("red", (20, 10))] * count).size == size


@pytest.mark.parametrize("layout", ["grid", "gif"])
def test_it_stops_between_two_pictures(layout: Any) -> None:
    asked = iter([True, False])
    with pytest.raises(Stopped):
        joined(Join(layout=layout), *[png("red", (20, 10))] * 3, wanted=lambda _: next(asked))


def test_pictures_stand_in_order_with_white_between() -> None:
    made = sheet(Join(gap=4), png("red", (10, 10)), png("green", (10, 10)), png("blue", (10, 10)))
    points = {"first": (5, 5), "second": (19, 5), "third": (5, 19), "empty": (19, 19), "gap": (11, 5)}
    assert [made.getpixel(point) for point in points.values()] == [RED, GREEN, BLUE, WHITE, WHITE]


def test_none_is_cropped_where_they_differ_in_shape() -> None:
    made = sheet(Join(layout="row", gap=0), png("red", (40, 10)), png("blue", (10, 20)))
    assert made.size == (80, 20)
    assert [made.getpixel(point) for point in [(1, 10), (1, 1), (60, 1), (42, 10)]] == [RED, WHITE, BLUE, WHITE]


def test_a_sheet_too_large_says_how_large() -> None:
    words = "8 pictures of 600 × 10 pixels come to 4,856 × 10; a side has at most 4,096 pixels."
    with pytest.raises(DomainError, match=words):
        sheet(Join(layout="row"), *[png("red", (600, 10))] * 8)


@pytest.mark.parametrize(("loop", "said"), [(0, 0), (1, None), (3, 2)])
def test_a_gif_shows_each_for_its_time_and_carries_the_receipt(loop: int, said: int | None) -> None:
    step = Join(layout="gif", frame_ms=200, loop=loop)
    file = files.encode(joined(step, png("red", (40, 20)), png("blue", (20, 20))), RECEIPT)
    assert (file.media_type, file.width, file.height, file.seed) == ("image/gif", 40, 20, None)
    found = Image.open(io.BytesIO(file.data))
    assert (found.format, found.n_frames, found.info["duration"], found.info.get("loop")) == ("GIF", 2, 200, said)
    words, _, content = found.info["comment"].partition(b" ")
    assert (words, json.loads(content)["kind"]) == (b"offshoot", "join")
    frames = []
    for number in range(2):
        found.seek(number)
        frames.append([found.convert("RGB").getpixel(point) for point in [(2, 10), (20, 10)]])
    assert frames == [[RED, RED], [WHITE, BLUE]]
    still = Image.open(io.BytesIO(file.renditions[0].data))
    assert (still.format, still.size, getattr(still, "n_frames", 1)) == ("WEBP", (40, 20), 1)
    assert file == files.encode(joined(step, png("red", (40, 20)), png("blue", (20, 20))), RECEIPT)


@pytest.mark.parametrize("colors", ["own", "shared", "dithered"])
def test_a_gif_takes_the_colors_that_the_step_names(colors: Any) -> None:
    made = joined(Join(layout="gif", colors=colors), png("red", (40, 20)), png("blue", (40, 20)))
    assert isinstance(made, Animation)
    assert made.colors == colors


def test_an_animated_webp_keeps_colors_times_and_the_receipt() -> None:
    step = Join(layout="webp", frame_ms=200, loop=3)
    file = files.encode(joined(step, png("red", (40, 20)), png("blue", (40, 20))), RECEIPT)
    assert (file.media_type, file.width, file.height) == ("image/webp", 40, 20)
    found = Image.open(io.BytesIO(file.data))
    assert (found.format, found.n_frames, found.info["loop"]) == ("WEBP", 2, 3)
    words, _, content = found.getexif()[animated.IMAGE_DESCRIPTION].partition(" ")
    assert (words, json.loads(content)["kind"]) == ("offshoot", "join")
    found.seek(1)
    found.load()
    assert found.info["duration"] == 200
    assert found.convert("RGB").getpixel((20, 10)) == pytest.approx(BLUE, abs=6)
    assert file == files.encode(joined(step, png("red", (40, 20)), png("blue", (40, 20))), RECEIPT)


def test_an_mp4_has_even_sides_its_times_and_the_receipt() -> None:
    step = Join(layout="mp4", frame_ms=250)
    file = files.encode(joined(step, *[png(color, (41, 20)) for color in ("red", "green", "blue")]), RECEIPT)
    assert (file.media_type, file.width, file.height) == ("video/mp4", 42, 20)
    with av.open(io.BytesIO(file.data)) as found:
        words, _, content = found.metadata["description"].partition(" ")
        assert (words, json.loads(content)["kind"]) == ("offshoot", "join")
        (stream,) = found.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(found.decode(video=0))
        assert [float(frame.time) for frame in frames] == [0, 0.25, 0.5]
        assert float(found.duration) / 1e6 == pytest.approx(0.75)
        pictures = [frame.to_image() for frame in frames]
    assert [one.size for one in pictures] == [(42, 20)] * 3
    for picture, color in zip(pictures, (RED, GREEN, BLUE), strict=True):
        assert picture.getpixel((20, 10)) == pytest.approx(color, abs=24)
    still = Image.open(io.BytesIO(file.renditions[0].data))
    assert (still.format, still.size) == ("WEBP", (42, 20))
    again = files.encode(joined(step, *[png(color, (41, 20)) for color in ("red", "green", "blue")]), RECEIPT)
    assert again.data == file.data


def test_what_comes_out_depends_on_the_layout() -> None:
    draw = TextToImage(prompt="x", num_images_per_prompt=4)
    assert (Join().made, Join(layout="gif").made, draw.made) == ("image", "animation", "image")
    assert steps.check(Recipe(steps=[draw, Join(), Upscale()])) == {}
    errors = steps.check(Recipe(steps=[draw, Join(layout="gif"), Upscale()]))
    assert errors == {"s3-source": "Needs a picture, but step 2 gives an animation"}


@pytest.mark.parametrize(
    ("stored", "medium"),
    [
        ({"kind": "join", "layout": "gif"}, "animation"),
        ({"kind": "join", "layout": "webp"}, "animation"),
        ({"kind": "join", "layout": "mp4"}, "animation"),
        ({"kind": "join"}, "image"),
        ({"kind": "prompt_template", "template": "x"}, "text"),
        ({"kind": "upscale", "a field of tomorrow": 1}, "image"),
        ({"kind": "a kind of tomorrow"}, "image"),
    ],
)
def test_stored_steps_tell_their_medium(stored: dict[str, object], medium: str) -> None:
    assert steps.medium_of(stored) == medium


def test_pictures_of_two_steps_come_in_and_each_must_give_some() -> None:
    draw = TextToImage(prompt="x")
    words = steps.PromptTemplate(template="x")
    assert steps.sources_of(3, [draw, draw, Join(source=1, also=2)]) == [1, 2]
    assert steps.sources_of(3, [draw, draw, Join(also=1)]) == [2, 1]
    assert steps.check(Recipe(steps=[draw, draw, Join(source=1, also=2)])) == {}
    for join_, errors in (
        (Join(source=1, also=3), {"s3-also": "Choose a step before this one"}),
        (Join(source=1, also=1), {"s3-also": "The output of step 1 comes in already"}),
        (Join(source=1, also=2), {"s3-also": "Needs a picture, but step 2 gives text"}),
        (Join(source=2, also=1), {"s3-source": "Needs a picture, but step 2 gives text"}),
    ):
        assert steps.check(Recipe(steps=[draw, words, join_])) == errors
    assert steps.check(Recipe(steps=[Join()])) == {"s1-source": "Needs a picture, but there is no step before it"}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (Join(layout="gif", gap=3), Join(layout="gif", columns=5), True),
        (Join(layout="gif", frame_ms=100), Join(layout="gif"), False),
        (Join(layout="gif", colors="shared"), Join(layout="gif"), False),
        (Join(layout="webp", colors="shared"), Join(layout="webp"), True),
        (Join(frame_ms=100), Join(loop=3, colors="dithered"), True),
        (Join(layout="mp4", loop=3), Join(layout="mp4"), True),
        (Join(layout="webp", loop=3), Join(layout="webp"), False),
        (Join(layout="webp"), Join(layout="mp4"), False),
        (Join(columns=2), Join(columns=3), False),
        (Join(layout="row", columns=2), Join(layout="row"), True),
        (Join(layout="row", gap=1), Join(layout="column", gap=1), False),
        (Join(source=1, also=2), Join(), True),
    ],
)
def test_what_makes_no_difference_is_no_part_of_the_hash(one: Join, other: Join, equal: bool) -> None:
    given = Given(inputs={}, lists={}, seed=1, pictures=["a" * 64, "b" * 64])
    assert (prepare(one, given, "").input_hash == prepare(other, given, "").input_hash) == equal
