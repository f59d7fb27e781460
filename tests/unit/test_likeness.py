"""Perceptual hashes: what leaves a picture the same leaves its hash, and other pictures have others."""

import io
import random

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from domain.likeness import BITS, SHADES, Likeness, of

SEEDS = range(12)


def scene(seed: int, size: tuple[int, int] = (512, 384)) -> Image.Image:
    """Soft patches of color with a few shapes: something to recognize, another for each seed."""
    chance = random.Random(seed)
    patches = Image.frombytes("RGB", (6, 5), bytes(chance.randrange(256) for _ in range(90)))
    image = patches.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, r = chance.randrange(size[0]), chance.randrange(size[1]), chance.randrange(20, 90)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(chance.randrange(256) for _ in range(3)))
    return image


def likeness(image: Image.Image) -> Likeness:
    found = of(image)
    assert found is not None
    return found


def distance(one: Image.Image, other: Image.Image) -> int:
    return (likeness(one).phash ^ likeness(other).phash).bit_count()


def shift(one: Image.Image, other: Image.Image) -> int:
    """How far the mean colors are apart, in the channel where they differ most."""
    tints = likeness(one).tint, likeness(other).tint
    return max(abs((tints[0] >> byte & 255) - (tints[1] >> byte & 255)) for byte in (0, 8, 16))


def saved(image: Image.Image, kind: str, **options: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def noisy(image: Image.Image) -> Image.Image:
    chance = random.Random(0)
    grain = Image.frombytes("L", image.size, bytes(chance.randrange(12) for _ in range(image.width * image.height)))
    return ImageChops.add(image, grain.convert("RGB"), offset=-6)


CHANGES = {
    "smaller": lambda image: image.resize((image.width // 3, image.height // 3)),
    "larger": lambda image: image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC),
    "stretched": lambda image: image.resize((image.width, image.width)),
    "jpeg": lambda image: saved(image, "JPEG", quality=40),
    "webp": lambda image: saved(image, "WEBP", quality=50),
    "palette": lambda image: image.quantize(256),
    "noise": noisy,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "with alpha": lambda image: image.convert("RGBA"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_looks_the_same_is_near(seed: int, change: str) -> None:
    image = scene(seed)
    changed = CHANGES[change](image)
    assert distance(image, changed) <= BITS
    assert shift(image, changed) <= SHADES


def test_other_pictures_are_far() -> None:
    scenes = [scene(seed) for seed in SEEDS]
    distances = [distance(one, other) for place, one in enumerate(scenes) for other in scenes[:place]]
    assert min(distances) > 2 * BITS


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180])
def test_a_mirrored_or_turned_picture_is_another(turn: Image.Transpose) -> None:
    image = scene(1)
    assert distance(image, image.transpose(turn)) > BITS


def circle(color: str) -> Image.Image:
    image = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(image).ellipse((20, 30, 90, 100), fill=color)
    return image


def test_the_same_shape_in_another_color_is_told_by_its_color() -> None:
    assert distance(circle("red"), circle("blue")) <= BITS  # what the hash cannot see
    assert shift(circle("red"), circle("blue")) > SHADES


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_a_picture_of_one_shade_has_none(mode: str) -> None:
    assert of(Image.new(mode, (200, 100))) is None


def test_one_pixel_and_a_strip_are_pictures_too() -> None:
    assert of(Image.new("RGB", (1, 1))) is None
    assert of(scene(2).resize((2000, 3))) is not None


def test_every_hash_fits_into_64_bits() -> None:
    hashes = [likeness(scene(seed)).phash for seed in SEEDS]
    assert max(hashes) < 1 << 64
    assert all(28 <= each.bit_count() <= 32 for each in hashes)  # half of the waves are above their median
