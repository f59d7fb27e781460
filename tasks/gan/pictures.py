"""A folder of pictures as what a generator learns from."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})


class Unusable(Exception):
    """What was given cannot be learned from, in words."""


def read(folder: Path, side: int) -> tuple[list[str], Tensor, Tensor]:
    """The names of the classes, the pictures (count, 3, side, side) in bytes and the class of each (count,).

    Each folder in `folder` is a class; pictures that lie in `folder` itself are one, called like it. Each picture is
    cut to a square around its middle. Raises Unusable where there is nothing to learn, or a file is no picture.
    """
    if not folder.is_dir():
        raise Unusable(f"{folder} is no folder.")
    by_class = {inner.name: files(inner) for inner in sorted(folder.iterdir()) if inner.is_dir()}
    by_class = {name: files for name, files in by_class.items() if files}
    loose = files(folder)
    if loose and by_class:
        raise Unusable(f"{folder} has both pictures and folders with pictures: put each picture into a folder.")
    if not loose and not by_class:
        raise Unusable(f"{folder} has no pictures ({', '.join(sorted(ENDINGS))}), and no folder in it has any.")
    by_class = by_class or {folder.resolve().name: loose}
    seen = [picture(file, side) for files in by_class.values() for file in files]
    classes = [place for place, files in enumerate(by_class.values()) for _ in files]
    return list(by_class), torch.stack(seen), torch.tensor(classes)


def files(folder: Path) -> list[Path]:
    """The pictures that lie in a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in ENDINGS)


def picture(file: Path, side: int) -> Tensor:
    """A picture cut to a square around its middle, (3, side, side) in bytes. Raises Unusable."""
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            whole = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise Unusable(f"{file} cannot be opened as a picture.") from error
    return torch.from_numpy(np.array(whole)).permute(2, 0, 1)


def unit(pictures: Tensor) -> Tensor:
    """Bytes as numbers from −1 to 1."""
    return pictures.float().div_(127.5).sub_(1)


def image(picture: Tensor) -> Image.Image:
    """Numbers from −1 to 1 (3, height, width) as a picture."""
    channels = picture.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0)
    return Image.fromarray(channels.contiguous().cpu().numpy())
