"""What the commands that train share: how pictures are read, and which numbers are taken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.gan.__main__ import main as gan
from tasks.learning import Unusable, picture
from tasks.lora.__main__ import main as lora

WHITE, GRAY, RED = (255, 255, 255), (128, 128, 128), (255, 0, 0)


@pytest.mark.parametrize(
    ("image", "color"),
    [
        (Image.new("RGB", (32, 32), RED), RED),
        (Image.new("L", (32, 32), 128), GRAY),
        (Image.new("1", (32, 32), 1), WHITE),
        (Image.new("P", (32, 32), RED), RED),
        (Image.new("RGBA", (32, 32), (255, 0, 0, 0)), WHITE),
        (Image.new("LA", (32, 32), (0, 0)), WHITE),
        (Image.new("LA", (32, 32), (128, 255)), GRAY),
        (Image.fromarray(np.full((32, 32), 0x8080, np.uint16)), GRAY),
    ],
    ids=lambda given: given.mode if isinstance(given, Image.Image) else "",
)
def test_pictures_of_every_mode_are_read(tmp_path: Path, image: Image.Image, color: tuple[int, ...]) -> None:
    image.save(tmp_path / "0.png")
    seen = picture(tmp_path / "0.png", 32)
    assert (seen.shape, tuple(seen[:, 9, 9].tolist())) == ((3, 32, 32), color)


def test_a_clear_color_is_white_and_a_turned_picture_upright(tmp_path: Path) -> None:
    Image.new("P", (32, 32), RED).save(tmp_path / "clear.gif", transparency=0)
    assert picture(tmp_path / "clear.gif", 32).min() == 255
    half = Image.new("RGB", (32, 32))
    half.paste(WHITE, (0, 0, 16, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    half.save(tmp_path / "turned.png", exif=exif)
    seen = picture(tmp_path / "turned.png", 32)
    assert (seen[:, :16].min(), seen[:, 16:].max()) == (255, 0)


def test_a_file_that_breaks_off_in_the_middle_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8)).save(whole)
    data = whole.read_bytes()
    at = data.index(b"IDAT", data.index(b"IDAT") + 4)
    for broken in (data[: len(data) // 2], data[:at] + b"\0\0\0\0" + data[at + 4 :], data[:20]):
        (tmp_path / "broken.png").write_bytes(broken)
        with pytest.raises(Unusable, match=r"broken\.png cannot be opened as a picture"):
            picture(tmp_path / "broken.png", 32)


@pytest.mark.parametrize("main", [gan, lora], ids=["gan", "lora"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--seed=4294967296", "is not from 0 to 4,294,967,295"),
        ("--seed=-1", "is not from 0 to 4,294,967,295"),
        ("--batch=0", "is no whole number above 0"),
        ("--steps=1.5", "is no whole number above 0"),
        ("--rate=nan", "is no number above 0"),
        ("--minutes=-1", "is no number above 0"),
        ("--minutes=inf", "is no number above 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], None], given: str, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "here", "there", *(["out.safetensors"] if main is lora else []), given])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
