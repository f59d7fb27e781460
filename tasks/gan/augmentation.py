"""Changes to real and drawn pictures alike before they are judged, so that few pictures are not learned by heart.

Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training, https://arxiv.org/abs/2006.10738.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional

SHIFT = 0.125
"""How far a picture moves at most, as a part of its side."""
HOLE = 0.5
"""The side of the square that is cut out, the same way."""


def augmented(pictures: Tensor, names: tuple[str, ...], chance: Generator) -> Tensor:
    """The pictures (count, 3, side, side), each changed in its own way by what `names` says."""
    for name in names:
        pictures = WAYS[name](pictures, chance)
    return pictures


def _random(pictures: Tensor, chance: Generator) -> Tensor:
    """A number from 0 to 1 for each picture."""
    return torch.rand(len(pictures), 1, 1, 1, generator=chance).to(pictures)


def _color(pictures: Tensor, chance: Generator) -> Tensor:
    """Brighter or darker, more or less saturated, with more or less contrast."""
    pictures = pictures + (_random(pictures, chance) - 0.5)
    gray = pictures.mean(1, keepdim=True)
    pictures = (pictures - gray) * (_random(pictures, chance) * 2) + gray
    middle = pictures.mean((1, 2, 3), keepdim=True)
    return (pictures - middle) * (_random(pictures, chance) + 0.5) + middle


def _translation(pictures: Tensor, chance: Generator) -> Tensor:
    """Moved across and down; what comes in is empty."""
    count, _, height, width = pictures.shape
    most = round(width * SHIFT)
    padded = functional.pad(pictures, (most, most, most, most))
    moved = torch.randint(0, 2 * most + 1, (2, count), generator=chance).to(pictures.device)
    rows = (moved[0, :, None] + torch.arange(height, device=pictures.device))[:, :, None]
    columns = (moved[1, :, None] + torch.arange(width, device=pictures.device))[:, None, :]
    each = torch.arange(count, device=pictures.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows, columns].permute(0, 3, 1, 2)


def _cutout(pictures: Tensor, chance: Generator) -> Tensor:
    """Without a square."""
    count, _, _, side = pictures.shape
    middle = torch.randint(0, side + 1, (2, count, 1), generator=chance)
    inside = (torch.arange(side) - middle).abs() < side * HOLE / 2
    hole = inside[0, :, :, None] & inside[1, :, None, :]
    return pictures * (~hole).unsqueeze(1).to(pictures)


WAYS = {"color": _color, "translation": _translation, "cutout": _cutout}
