"""What both trainings share: a clock that sets the rate of learning, and a slow mean of the weights."""

import math
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LAST = 0.02
"""What the rate of learning falls to, as a part of the highest."""


class Clock:
    """Minutes of training, or as many steps as `most`, all in one cosine: the rates that optimizers come with are the
    highest, after `warm` steps, or a tenth of them."""

    def __init__(self, minutes: float, warm: int = 100, most: int = 0) -> None:
        self.steps = 0
        self._start = time.monotonic()
        self._length = minutes
        self._warm = min(warm, most // 10 or 1) if most else warm
        self._most = most

    @property
    def minutes(self) -> float:
        """How long it has been."""
        return (time.monotonic() - self._start) / 60

    @property
    def part(self) -> float:
        """How much of it is over, 0 to 1."""
        return min(1, self.steps / self._most if self._most else self.minutes / self._length)

    def tick(self, *optimizers: torch.optim.Optimizer) -> bool:
        """Set the rates of the next step; False when the time is over."""
        self.steps += 1
        cosine = 0.5 * (1 + math.cos(math.pi * self.part))
        part = min(1, self.steps / self._warm) * (cosine * (1 - LAST) + LAST)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = group.setdefault("highest", group["lr"]) * part
        return self.part < 1


class Mean:
    """An exponential mean of weights, which draws better than the last of them; short at first, `longest` later."""

    def __init__(self, weights: Iterable[nn.Parameter], longest: float = 0.999) -> None:
        self._weights: list[Tensor] = list(weights)
        self._means = [weight.detach().clone() for weight in self._weights]
        self._longest = longest

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After each step of training, the first is 1."""
        torch._foreach_lerp_(self._means, self._weights, 1 - min(self._longest, step / (step + 20)))

    @torch.no_grad()
    def swap(self) -> None:
        """Put the means where the weights are and keep the weights; twice is as it was."""
        for weight, mean in zip(self._weights, self._means, strict=True):
            kept: Tensor = weight.detach().clone()
            weight.copy_(mean)
            mean.copy_(kept)
