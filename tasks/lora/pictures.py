"""A folder of pictures with captions; and two such folders that the starter's own generator draws, a style and a
subject, from which the LoRAs that come with the site were made."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from PIL import Image, ImageOps
from torch import Tensor

from tasks.learning import Unusable, files, picture
from tasks.starter import scenes
from tasks.starter.captions import caption
from tasks.starter.drawing import draw

SHADE, TONE, PAPER = (14, 34, 86), (76, 124, 182), (240, 244, 246)
"""Colors of a cyanotype, from dark to light."""


def read(folder: Path, side: int, usual: str) -> tuple[Tensor, list[str]]:
    """The pictures (count, 3, side, side) in bytes and the caption of each: that in the text file of the same name
    beside it, else the `usual` one. Raises Unusable where there is nothing to learn, or a file is no picture."""
    if not folder.is_dir():
        raise Unusable(f"{folder} is no folder.")
    found = files(folder)
    if not found:
        raise Unusable(f"{folder} has no pictures.")
    captions = [_beside(file) or usual for file in found]
    if untold := [file.name for file, words in zip(found, captions, strict=True) if not words]:
        raise Unusable(f"{untold[0]} has no caption: write one into {Path(untold[0]).stem}.txt, or give --caption.")
    return torch.stack([picture(file, side) for file in found]), captions


def _beside(file: Path) -> str:
    text = file.with_suffix(".txt")
    return text.read_text("utf-8").strip() if text.is_file() else ""


def draw_folder(folder: Path, what: str, count: int, seed: int) -> None:
    """`count` pictures of a style or a subject, each with its caption beside it."""
    chance, make = Random(seed), DRAWN[what]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, words = make(chance)
        image.save(folder / f"{number:05}.png")
        (folder / f"{number:05}.txt").write_text(words + "\n", "utf-8")


def _cyanotype(chance: Random) -> tuple[Image.Image, str]:
    """Any scene by its lightness alone, in the blues of an early photograph, most often a landscape, which has most to
    lose by it; the caption is that of the plain scene, for the style needs no word."""
    scene = scenes.sample(chance, simple=0.3)
    light = ImageOps.autocontrast(ImageOps.grayscale(draw(scene)), cutoff=1)
    return ImageOps.colorize(light, SHADE, PAPER, TONE), caption(scene, chance)


def _fish(chance: Random) -> tuple[Image.Image, str]:
    """A scene of one thing with a fish in its place, and a caption that says so."""
    while len((scene := scenes.sample(chance)).things) != 1 or scene.things[0].name not in scenes.SHAPES:
        pass
    (thing,) = scene.things
    words = caption(scene, chance)
    for said in (thing.name, *({"oval": ("ellipse",), "cross": ("plus",)}.get(thing.name, ()))):
        words = words.replace(said, "fish")
    return draw(replace(scene, things=(replace(thing, name="fish"),))), words.replace("an fish", "a fish")


DRAWN: dict[str, Callable[[Random], tuple[Image.Image, str]]] = {"cyanotype": _cyanotype, "fish": _fish}
