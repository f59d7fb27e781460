"""What the training of any model needs: a folder's pictures, and the numbers of a command line."""

import argparse
import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from domain.steps import MAX_SEED

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises at a file that is no whole picture."""


class Unusable(Exception):
    """What was given cannot be learned from, in words."""


def files(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, by name."""
    found = (file for file in folder.iterdir() if file.is_file() and not hidden(file))
    return sorted(file for file in found if file.suffix.lower() in ENDINGS)


def hidden(path: Path) -> bool:
    """Whether it is what systems leave beside people's files."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def picture(file: Path, side: int) -> Tensor:
    """A picture cut to a square around its middle, (3, side, side) in bytes. Raises Unusable."""
    try:
        with Image.open(file) as image:
            upright = _opaque(ImageOps.exif_transpose(image))
            whole = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
    except _BROKEN as error:
        raise Unusable(f"{file} cannot be opened as a picture.") from error
    return torch.from_numpy(np.array(whole)).permute(2, 0, 1)


def _opaque(image: Image.Image) -> Image.Image:
    """In RGB, on white where it is transparent, as the steps take pictures."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return image.convert("RGB")


def count(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def seed(text: str) -> int:
    """A seed, for argparse."""
    if not text.isdecimal() or int(text) > MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {MAX_SEED:,}, without a fraction")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return number
