"""Muon for weights that are matrices, AdamW for the rest: a third of the steps that AdamW alone needs."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_OUTER = ("conv_in", "conv_out")
"""Layers where something comes in or goes out; orthogonal steps are for those between."""
_SLOWER = 0.25
"""What AdamW gets of the rate of learning."""


def split(
    model: nn.Module, rate: float, others: Iterable[nn.Parameter] = (), slow: Iterable[nn.Parameter] = ()
) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers of a model for a rate of learning, half of it for those matrices that are `slow`; AdamW's also for
    what `others` there are beside it. That one lets nothing decay: weights whose slope is held at zero stay as they
    are."""
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    inner = {name for name, weight in weights if weight.ndim > 1 and not name.startswith(_OUTER)}
    matrices = [weight for name, weight in weights if name in inner]
    rest = [*(weight for name, weight in weights if name not in inner), *others]
    halved = {id(weight) for weight in slow}
    fast = [weight for weight in matrices if id(weight) not in halved]
    slower = [weight for weight in matrices if id(weight) in halved]
    return (
        *(Matrices(some, of) for some, of in ((fast, rate), (slower, rate / 2)) if some),
        torch.optim.AdamW(rest, rate * _SLOWER, betas=(0.9, 0.98), weight_decay=0, fused=True),
    )


class Matrices(torch.optim.Muon):
    """Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") for layers of any kind: the
    kernels of a convolution are one matrix, a row for each channel that comes out. In memory they have to lie as
    `channels_last`."""

    def __init__(self, weights: Sequence[nn.Parameter], rate: float) -> None:
        self._same = [(weight, nn.Parameter(_rows(weight.data))) for weight in weights]
        rows = [row for _, row in self._same]
        super().__init__(rows, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")

    def step(self, closure: Any = None) -> Any:
        """One step against the gradients of the weights."""
        for weight, rows in self._same:
            rows.grad = None if weight.grad is None else weight.grad.movedim(1, -1).flatten(1)
        return super().step(closure)  # type: ignore[no-untyped-call]


def _rows(weight: Tensor) -> Tensor:
    """The same numbers in the same place, as a matrix."""
    return weight.movedim(1, -1).view(len(weight), -1)
