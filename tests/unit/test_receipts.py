"""Receipts: canonical, hashed, and written into pictures as other tools read them."""

import io
import json
import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import msgspec
import pytest
from PIL import Image, ImageSequence

from domain import receipts, steps
from domain.receipts import Receipt
from tasks import animated, files
from tasks.context import Animation, Picture

DRAWN = Receipt(
    kind="text_to_image",
    code=1,
    parameters={
        "prompt": "кіт",
        "negative_prompt": "dog",
        "scheduler": "EulerAncestralDiscreteScheduler",
        "num_inference_steps": 20,
        "guidance_scale": 3.0,
    },
    seed=5,
    model="starter",
    model_revision="abcdef0123456789",
)


def _hash(**parameters: object) -> str:
    return receipts.input_hash("text_to_image", 1, "rev", parameters, [])


def test_order_and_number_spelling_do_not_change_the_hash() -> None:
    assert _hash(prompt="x", guidance_scale=3) == _hash(guidance_scale=3.0, prompt="x")


def test_what_changes_no_result_changes_no_hash() -> None:
    assert _hash(prompt="x", title="Sketch", source=1, upload=None) == _hash(prompt="x")
    assert _hash(prompt="x", model="a name") == _hash(prompt="x", model="another name for the same files")
    assert _hash(prompt="x", negative_prompt="") == _hash(prompt="x")
    unguided = {"prompt": "x", "guidance_scale": 1.0}
    assert _hash(**unguided, negative_prompt="y") == _hash(**unguided)
    assert _hash(prompt="x", guidance_scale=1.5, negative_prompt="y") != _hash(prompt="x", guidance_scale=1.5)


def test_everything_that_matters_changes_the_hash() -> None:
    base = ("text_to_image", 1, "rev", {"prompt": "x", "seed": 5}, ["a"])
    others = [
        ("image_to_image", 1, "rev", {"prompt": "x", "seed": 5}, ["a"]),
        ("text_to_image", 2, "rev", {"prompt": "x", "seed": 5}, ["a"]),
        ("text_to_image", 1, "other", {"prompt": "x", "seed": 5}, ["a"]),
        ("text_to_image", 1, "rev", {"prompt": "y", "seed": 5}, ["a"]),
        ("text_to_image", 1, "rev", {"prompt": "x", "seed": 6}, ["a"]),
        ("text_to_image", 1, "rev", {"prompt": "x", "seed": 5}, ["b"]),
    ]
    assert len({receipts.input_hash(*each) for each in [base, *others]}) == 7


def test_infotext_reads_as_other_tools_write_it() -> None:
    assert receipts.infotext(DRAWN, 7, 128, 64).splitlines() == [
        "кіт",
        "Negative prompt: dog",
        "Steps: 20, Sampler: Euler a, CFG scale: 3, Seed: 7, Size: 128x64, Model hash: abcdef0123, Model: starter, "
        "Version: Offshoot",
    ]
    assert receipts.infotext(Receipt(kind="upscale", code=1, parameters={"factor": 2}), None, 1, 1) == ""


def sampler(scheduler: str) -> str:
    """What the lines for other tools call it."""
    told = msgspec.structs.replace(DRAWN, parameters={**DRAWN.parameters, "scheduler": scheduler})
    return receipts.infotext(told, 7, 128, 64).partition("Sampler: ")[2].partition(",")[0]


@pytest.mark.parametrize("scheduler", steps.SCHEDULERS)
def test_every_scheduler_has_a_name_that_other_tools_know(scheduler: str) -> None:
    assert re.fullmatch(r"(?!\w*Scheduler)\w.*", sampler(scheduler))


def test_what_draws_the_same_has_one_name() -> None:
    assert sampler("DDIMParallelScheduler") == sampler("DDIMScheduler")
    assert (sampler("KDPM2AncestralDiscreteScheduler"), sampler("LCMScheduler")) == ("DPM2 a", "LCM")
    assert sampler("ASchedulerOfTomorrow") == "ASchedulerOfTomorrow"


def test_a_text_carries_its_receipt_where_nobody_is_shown_it() -> None:
    told = {"prompt": "-->\n\n<b>\u2028", "seed": 5}
    written = receipts.in_text("# A *boat* --> sea", "md", told)
    text, _, comment = written.partition("\n\n<!-- offshoot ")
    assert text == "# A *boat* --> sea"
    assert json.loads(comment.removesuffix(" -->")) == told
    assert "-->" not in comment.removesuffix(" -->")

    cues = "WEBVTT\n\n00:00.000 --> 00:01.000\nHello"
    head, note, first = receipts.in_text(cues, "vtt", told).split("\n\n")
    assert (head, first) == ("WEBVTT", "00:00.000 --> 00:01.000\nHello")
    assert json.loads(note.removeprefix("NOTE offshoot ")) == told
    assert "-->" not in note
    assert receipts.in_text("WEBVTT\n\n", "vtt", told).startswith("WEBVTT\n\nNOTE offshoot {")
    assert receipts.in_text("1\n00:00", "srt", told) == "1\n00:00"


def test_a_file_carries_its_receipt() -> None:
    file = files.encode(Picture(Image.new("RGB", (128, 64), "red"), 7), DRAWN)
    picture = Image.open(io.BytesIO(file.data))
    assert picture.info["parameters"].startswith("кіт\n")
    assert json.loads(picture.info["offshoot"])["seed"] == 5
    assert receipts.DIGITAL_SOURCE in picture.info["XML:com.adobe.xmp"]
    assert file == files.encode(Picture(Image.new("RGB", (128, 64), "red"), 7), DRAWN)


# animations

FRAMES = [Image.new("RGB", (64, 48), (20 * number, 90, 200 - 10 * number)) for number in range(12)]
MOVING = Animation(FRAMES, Fraction(1, 12), 0, 7)
LINES = receipts.infotext(DRAWN, 7, 64, 48)


def inside_image(data: bytes) -> tuple[str, str]:
    """What Pillow finds in a WebP for other tools, and the label."""
    with Image.open(io.BytesIO(data)) as image:
        comment = image.getexif().get_ifd(animated.EXIF_IFD).get(animated.USER_COMMENT, b"")
        label = image.getxmp().get("xmpmeta", {}).get("RDF", {}).get("Description", {}).get("DigitalSourceType", "")
        return comment.removeprefix(b"UNICODE\0").decode("utf-16-be"), label


def inside_video(data: bytes) -> dict[str, str]:
    """What FFmpeg finds in an MP4 or a GIF."""
    with av.open(io.BytesIO(data), options={"export_xmp": "1"}) as file:
        return dict(file.metadata)


def written(form: Any, receipt: Receipt = DRAWN, **values: Any) -> bytes:
    data = files.encode(replace(MOVING, format=form, **values), receipt).data
    assert data == files.encode(replace(MOVING, format=form, **values), receipt).data
    return data


def test_a_webp_tells_other_tools_and_that_a_model_made_it() -> None:
    assert inside_image(written("webp")) == (LINES, receipts.DIGITAL_SOURCE)
    exif = Image.open(io.BytesIO(written("webp"))).getexif()
    assert json.loads(exif[animated.IMAGE_DESCRIPTION].removeprefix("offshoot ")) == msgspec.to_builtins(DRAWN)


@pytest.mark.parametrize(("loop", "extension"), [(0, b"NETSCAPE2.0"), (1, b"XMP DataXMP")])
def test_a_gif_tells_other_tools_and_that_a_model_made_it(loop: int, extension: bytes) -> None:
    data = written("gif", loop=loop)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["comment"].decode() == LINES
        assert image.info["extension"][0] == extension, "the last one before the first frame"
        assert image.n_frames == len(FRAMES)
    assert json.loads(inside_video(data)["comment"].removeprefix("offshoot ")) == msgspec.to_builtins(DRAWN)
    start = data.index(b"!\xff\x0bXMP DataXMP") + 14
    packet, _, rest = data[start:].partition(b"\x01\xff\xfe")
    assert packet.decode() == receipts.xmp()
    assert rest.startswith(bytes(range(0xFD, -1, -1)) + b"\0!")


def test_an_mp4_tells_other_tools_and_that_a_model_made_it() -> None:
    told = inside_video(written("mp4"))
    assert told["comment"] == LINES
    assert json.loads(told["description"].removeprefix("offshoot ")) == msgspec.to_builtins(DRAWN)
    assert told["xmp"] == receipts.xmp()


def test_what_no_model_made_is_not_said_to_be() -> None:
    joined = Receipt(kind="join", code=1, parameters={"layout": "gif"})
    assert inside_image(written("webp", joined)) == ("", "")
    assert {"comment", "xmp"}.isdisjoint(inside_video(written("mp4", joined)))
    assert b"XMP DataXMP" not in written("gif", joined)
    assert Image.open(io.BytesIO(written("gif", joined))).info["comment"].startswith(b'offshoot {"kind":"join"')


@pytest.mark.parametrize("rate", [Fraction(7), Fraction(12), Fraction(24), Fraction(1000, 83)])
def test_an_mp4_has_the_exact_rate(rate: Fraction) -> None:
    with av.open(io.BytesIO(written("mp4", seconds=1 / rate))) as file:
        (stream,) = file.streams.video
        assert stream.average_rate == rate
        assert file.duration == pytest.approx(12_000_000 / rate, abs=1), "in microseconds"
        times = [frame.pts * frame.time_base for frame in file.decode(video=0)]
    assert times == pytest.approx([number / rate for number in range(12)], abs=1e-4)


@pytest.mark.parametrize(
    ("form", "lengths"), [("gif", {80, 90}), ("webp", {83, 84})], ids=["hundredths", "milliseconds"]
)
def test_what_a_format_cannot_count_evens_out(form: str, lengths: set[int]) -> None:
    with Image.open(io.BytesIO(written(form))) as image:
        shown = [frame.info["duration"] for frame in ImageSequence.all_frames(image)]
    assert (set(shown), sum(shown)) == (lengths, 1000)


def test_renditions_are_smaller_than_the_picture_but_for_the_first() -> None:
    def sizes(width: int, height: int) -> list[tuple[int, int, int]]:
        made = files.renditions(Image.new("RGB", (width, height)))
        assert [Image.open(io.BytesIO(each.data)).size for each in made] == [(each.width, each.height) for each in made]
        return [(each.name, each.width, each.height) for each in made]

    assert sizes(128, 64) == [(320, 128, 64)]
    assert sizes(320, 320) == [(320, 320, 320)]
    assert sizes(1000, 500) == [(320, 320, 160), (640, 640, 320)]
    assert sizes(2048, 64) == [(320, 320, 10), (640, 640, 20), (1280, 1280, 40)]
