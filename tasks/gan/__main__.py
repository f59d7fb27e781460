"""Trains a generator on a folder of pictures: `python -m tasks.gan train FOLDER OUT --minutes 30`.

FOLDER has a folder of pictures for each class, or pictures straight in it. OUT gets `model/`, to be registered with
`offshoot models add NAME OUT/model`, and while it trains `losses.csv`, grids of samples and a page of both,
`index.html`. Ctrl-C stops it; the same command goes on. `python -m tasks.gan draw FOLDER` draws simple shapes to try it
with.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tasks.gan import pictures, shapes
from tasks.gan.augmentation import WAYS
from tasks.gan.training import Settings, Training
from tasks.gan.watching import Watch
from tasks.learning import Unusable, count, positive, seed

STOP = (signal.SIGINT, signal.SIGTERM)
SIDES = (32, 64, 128, 256)
BEGUN = ("side", "batch", "rate", "penalty", "augment", "seed")
"""Settings that hold from the beginning to the end."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and train or draw."""
    asked = argparse.ArgumentParser(prog="python -m tasks.gan", description=__doc__)
    ways = asked.add_subparsers(required=True)
    train_ = ways.add_parser("train", help="train a generator, or go on training it")
    train_.set_defaults(do=train)
    train_.add_argument("folder", type=Path)
    train_.add_argument("out", type=Path)
    train_.add_argument("--minutes", type=positive, default=30, help="stop after so long")
    train_.add_argument("--steps", type=count, default=10**9, help="stop at this step")
    train_.add_argument("--every", type=count, default=100, help="steps between two lines, grids and copies")
    train_.add_argument("--side", type=int, choices=SIDES, help="pixels of a side; 64 if nothing is said")
    train_.add_argument("--batch", type=count, help="pictures in a step; 32")
    train_.add_argument("--rate", type=positive, help="rate of learning; 0.001")
    train_.add_argument("--penalty", type=float, help="weight of R1; 0.2")
    train_.add_argument("--augment", type=_ways, help=f"any of {','.join(WAYS)}, or none; all of them")
    train_.add_argument("--seed", type=seed, help="where chance starts; 1")
    draw = ways.add_parser("draw", help="draw simple shapes to learn from")
    draw.set_defaults(do=lambda given: shapes.write(given.folder, given.count, given.side, given.seed))
    draw.add_argument("folder", type=Path)
    draw.add_argument("--count", type=count, default=1_000, help="pictures of each shape")
    draw.add_argument("--side", type=int, choices=SIDES, default=64)
    draw.add_argument("--seed", type=seed, default=1)
    given = asked.parse_args(arguments)
    try:
        given.do(given)
    except Unusable as error:
        sys.exit(str(error))


def train(given: argparse.Namespace) -> None:
    """Train until the time is over, the steps are made or someone stops it. Raises Unusable."""
    training, seen, classes = begun(given)
    until = time.monotonic() + given.minutes * 60
    with _told_to_stop() as told, Watch(given.out, training) as watch:
        while training.steps < given.steps and time.monotonic() < until and not told:
            watch.saw(training.step(seen, classes))
            if training.steps % given.every == 0:
                _say(watch.keep())
        if watch.behind:
            _say(watch.keep())


def begun(given: argparse.Namespace) -> tuple[Training, torch.Tensor, torch.Tensor]:
    """The training that OUT holds, or a new one, and what it learns from. Raises Unusable."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen: dict[str, Any] = {name: getattr(given, name) for name in BEGUN if getattr(given, name) is not None}
    kept = given.out / "training.safetensors"
    training = Training.load(kept, device) if kept.is_file() else None
    side = training.settings.side if training else chosen.get("side", 64)
    names, seen, classes = pictures.read(given.folder, side)
    if training is None:
        training = Training(Settings(names, **chosen), device)
    other = [name for name, value in chosen.items() if getattr(training.settings, name) != value]
    if names != training.settings.classes:
        raise Unusable(f"{given.out} has learned {', '.join(training.settings.classes)}, not {', '.join(names)}.")
    if other:
        raise Unusable(
            f"{given.out} was begun with another {', '.join(other)}: leave it out, or choose another folder."
        )
    _say(f"{len(seen)} pictures of {len(names)} classes ({', '.join(names)}), from step {training.steps}")
    return training, seen, classes


def _ways(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(text.split(","))
    if unknown := set(names) - set(WAYS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    return names


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM, as they come; nothing else happens at them."""
    told: list[int] = []
    before = {sign: signal.signal(sign, lambda number, frame: told.append(number)) for sign in STOP}
    try:
        yield told
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
