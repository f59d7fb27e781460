"""A folder of pictures as what a generator learns from."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from domain import weights
from tasks.learning import ENDINGS, Unusable, files, hidden, picture


def read(folder: Path, side: int) -> tuple[list[str], Tensor, Tensor]:
    """The names of the classes, the pictures (count, 3, side, side) in bytes and the class of each (count,).

    Each folder in `folder` is a class; pictures that lie in `folder` itself are one, called like it. Each picture is
    cut to a square around its middle. Raises Unusable where there is nothing to learn, a file is no picture, or a
    folder's name is none for a class.
    """
    if not folder.is_dir():
        raise Unusable(f"{folder} is no folder.")
    inside = sorted(inner for inner in folder.iterdir() if inner.is_dir() and not hidden(inner))
    by_class = {inner.name: files(inner) for inner in inside}
    by_class = {name: found for name, found in by_class.items() if found}
    loose = files(folder)
    if loose and by_class:
        raise Unusable(f"{folder} has both pictures and folders with pictures: put each picture into a folder.")
    if not loose and not by_class:
        raise Unusable(f"{folder} has no pictures ({', '.join(sorted(ENDINGS))}), and no folder in it has any.")
    by_class = by_class or {folder.resolve().name: loose}
    if fault := weights.classes_fault(list(by_class)):
        raise Unusable(f"{folder} names no classes: {fault}.")
    every = [(file, place) for place, found in enumerate(by_class.values()) for file in found]
    seen = torch.empty(len(every), 3, side, side, dtype=torch.uint8)
    for row, (file, _) in zip(seen, every, strict=True):
        row.copy_(picture(file, side))
    return list(by_class), seen, torch.tensor([place for _, place in every])


def unit(pictures: Tensor) -> Tensor:
    """Bytes as numbers from −1 to 1."""
    return pictures.float().div_(127.5).sub_(1)


def image(picture: Tensor) -> Image.Image:
    """Numbers from −1 to 1 (3, height, width) as a picture."""
    channels = picture.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0)
    return Image.fromarray(channels.contiguous().cpu().numpy())
