"""The discriminator: a DCGAN's strided convolutions, with a projection of the class at the end.

Radford et al. 2015, https://arxiv.org/abs/1511.06434; Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637; the
spread within a batch as a last channel is of Karras et al. 2018, https://arxiv.org/abs/1710.10196.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2


class Discriminator(nn.Module):
    """How real pictures of −1 to 1 look for their classes: above 0 rather real, below it rather drawn."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        halvings = int(math.log2(side // 4))
        channels = [3, *(min(32 * 2**place, 128) for place in range(halvings))]
        self.steps = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride=2, padding=1) for before, after in pairwise(channels)
        )
        self.last = nn.Conv2d(channels[-1] + 1, channels[-1], 3, padding=1)
        self.seen = nn.Linear(channels[-1] * 16, channels[-1])
        self.real = nn.Linear(channels[-1], 1)
        self.classes = nn.Embedding(classes, channels[-1])
        nn.init.normal_(self.classes.weight, std=1 / math.sqrt(channels[-1]))

    def forward(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """One number for each picture (count, 3, side, side) and the class (count,) that it is to be of."""
        found = pictures
        for step in self.steps:
            found = functional.leaky_relu(step(found), SLOPE)
        spread = (found.var(0, correction=0) + 1e-8).sqrt().mean().expand(len(found), 1, 4, 4)
        found = functional.leaky_relu(self.last(torch.cat([found, spread], 1)), SLOPE)
        found = functional.leaky_relu(self.seen(found.flatten(1)), SLOPE)
        judged: Tensor = self.real(found).squeeze(1) + (self.classes(classes) * found).sum(1)
        return judged
