"""Drawn scenes as tensors, by as many processes as there are cores."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.starter.drawing import SIDE, draw
from tasks.starter.scenes import Scene


def _drawn(scene: Scene) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(draw(scene))


def pictures(scenes: Sequence[Scene], processes: int) -> Tensor:
    """The scenes as (count, 3, 256, 256), bytes."""
    found = torch.empty(len(scenes), SIDE, SIDE, 3, dtype=torch.uint8)
    with _at_work(processes) as each:
        for place, drawn in enumerate(each(_drawn, scenes)):
            found[place] = torch.from_numpy(drawn.copy())
    return found.permute(0, 3, 1, 2)


@contextmanager
def _at_work(processes: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """`map`, by so many processes; by this one where one is enough."""
    if processes == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield partial(pool.imap, chunksize=32)


def unit(drawn: Tensor, device: torch.device) -> Tensor:
    """Bytes as numbers from −1 to 1, as autoencoders take them."""
    return drawn.to(device, torch.float32).div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
