"""A network of the ESRGAN class: residual blocks in residual blocks of dense layers, without batch norm.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", arXiv:1809.00219; that a picture is
folded into channels first where it is to be enlarged less: Wang et al., "Real-ESRGAN", arXiv:2107.10833. The modules
have the names that published checkpoints use.
"""

import re
from collections.abc import Mapping
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from domain.weights import FOLDED

SLOPE = 0.2
"""Of the leaky rectifiers."""
SHARE = 0.2
"""How much of what a block finds is added to what it got."""
_OLD_DENSE = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)")
_OLD_BODY = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
_OLD_END = re.compile(r"model\.(\d+)\.(weight|bias)")


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it found."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for number in range(1, 5):
            setattr(self, f"conv{number}", _conv(width + (number - 1) * growth, growth))
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, given: Tensor) -> Tensor:
        """N × width × H × W, as it comes and goes."""
        found = [given]
        for number in range(1, 5):
            layer: nn.Module = getattr(self, f"conv{number}")
            found.append(F.leaky_relu(layer(torch.cat(found, 1)), SLOPE))
        ended: Tensor = self.conv5(torch.cat(found, 1))
        return given + SHARE * ended


class ResidualBlock(nn.Module):
    """Three dense blocks in a row, and what came in."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(width, growth)
        self.rdb2 = DenseBlock(width, growth)
        self.rdb3 = DenseBlock(width, growth)

    def forward(self, given: Tensor) -> Tensor:
        """N × width × H × W, as it comes and goes."""
        ended: Tensor = self.rdb3(self.rdb2(self.rdb1(given)))
        return given + SHARE * ended


class RRDBNet(nn.Module):
    """Enlarges pictures `2 ** doublings // fold` times; sides must be multiples of `fold`."""

    def __init__(self, width: int = 64, growth: int = 32, blocks: int = 23, doublings: int = 2, fold: int = 1) -> None:
        super().__init__()
        self.fold, self.doublings = fold, doublings
        self.conv_first = _conv(3 * fold**2, width)
        self.body = nn.Sequential(*(ResidualBlock(width, growth) for _ in range(blocks)))
        self.conv_body = _conv(width, width)
        for number in range(1, doublings + 1):
            setattr(self, f"conv_up{number}", _conv(width, width))
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, 3)

    @property
    def factor(self) -> int:
        """How many times wider and higher what comes out is."""
        return int(2**self.doublings // self.fold)

    def forward(self, picture: Tensor) -> Tensor:
        """N × 3 × H × W in 0 to 1; what comes out is near that range, and so many times as wide and high."""
        first = self.conv_first(F.pixel_unshuffle(picture, self.fold) if self.fold > 1 else picture)
        found = first + self.conv_body(self.body(first))
        for number in range(1, self.doublings + 1):
            layer: nn.Module = getattr(self, f"conv_up{number}")
            found = F.leaky_relu(layer(F.interpolate(found, scale_factor=2, mode="nearest")), SLOPE)
        ended: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(found), SLOPE))
        return ended


def built(tensors: Mapping[str, Tensor]) -> RRDBNet:
    """The network that these weights are of, in either naming; its size is read from their shapes, and it takes no
    memory beside theirs.

    Raises KeyError or RuntimeError for weights that are of none.
    """
    named = _renamed(tensors) if "model.0.weight" in tensors else dict(tensors)
    first, dense = named["conv_first.weight"], named["body.0.rdb1.conv1.weight"]
    with torch.device("meta"):
        network = RRDBNet(
            width=first.shape[0],
            growth=dense.shape[0],
            blocks=_many(named, "body.{}.rdb1.conv1.weight", 0),
            doublings=_many(named, "conv_up{}.weight", 1),
            fold=FOLDED[first.shape[1]],
        )
    network.load_state_dict(named, assign=True)
    return network.eval().requires_grad_(False)


def _many(named: Mapping[str, Any], pattern: str, start: int) -> int:
    """How many tensors of this pattern there are, counted up from `start`."""
    return next(number for number in count(start) if pattern.format(number) not in named) - start


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under today's names: the first ESRGAN numbered its layers."""
    ends = sorted({int(found[1]) for name in tensors if (found := _OLD_END.fullmatch(name))})
    names = ["conv_first", *(f"conv_up{number}" for number in range(1, len(ends) - 2)), "conv_hr", "conv_last"]
    called = dict(zip(ends, names, strict=True))
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if found := _OLD_DENSE.fullmatch(name):
            named[f"body.{found[1]}.rdb{found[2]}.conv{found[3]}.{found[4]}"] = tensor
        elif found := _OLD_BODY.fullmatch(name):
            named[f"conv_body.{found[1]}"] = tensor
        elif found := _OLD_END.fullmatch(name):
            named[f"{called[int(found[1])]}.{found[2]}"] = tensor
        else:
            named[name] = tensor
    return named
