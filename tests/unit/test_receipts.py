"""Receipts: canonical, hashed, and written into pictures as other tools read them."""

import io
import json

from PIL import Image

from domain import receipts
from domain.receipts import Receipt
from tasks import files
from tasks.context import Picture

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


def test_renditions_are_smaller_than_the_picture_but_for_the_first() -> None:
    def sizes(width: int, height: int) -> list[tuple[int, int, int]]:
        made = files.renditions(Image.new("RGB", (width, height)))
        assert [Image.open(io.BytesIO(each.data)).size for each in made] == [(each.width, each.height) for each in made]
        return [(each.name, each.width, each.height) for each in made]

    assert sizes(128, 64) == [(320, 128, 64)]
    assert sizes(320, 320) == [(320, 320, 320)]
    assert sizes(1000, 500) == [(320, 320, 160), (640, 640, 320)]
    assert sizes(2048, 64) == [(320, 320, 10), (640, 640, 20), (1280, 1280, 40)]
