"""What a training leaves to look at: losses, grids of samples, a page of both, and the generator as it is."""

import math
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from PIL import Image

from tasks.gan import page
from tasks.gan.pictures import image
from tasks.gan.training import Losses, Training
from tasks.learning import Unusable

ACROSS = 8
"""Samples of each class, side by side."""
DOWN = 4
"""Rows where there is one class only."""
COLUMNS = ("step", *page.NAMES)
_LINE = re.compile(r"(\d+),(\d+\.\d{4}),(\d+\.\d{4})", re.ASCII)


class Watch:
    """Writes into a folder, and goes on where a training that was stopped left it.

    `losses.csv` has the mean losses since the line before; `samples/000100.png` are drawn from the same latents each
    time, a row for each class; `index.html` shows both, and loads itself anew until the `with` ends; `model/` is a
    folder of diffusers with the generator; `training.safetensors` is what going on needs.
    """

    def __init__(self, folder: Path, training: Training) -> None:
        self._folder = folder
        self._training = training
        self._seen: list[Losses] = []
        self._start = time.monotonic()
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        self._lines = self._kept(folder / "losses.csv")

    def __enter__(self) -> Self:
        self._show(running=True)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._show(running=False, fault="" if error is None else str(error) or type(error).__name__)

    def _kept(self, file: Path) -> list[page.Line]:
        """The lines so far. Those of steps that were made but not kept, and what was not written to its end, go."""
        lines = file.read_text("utf-8", "replace").splitlines() if file.is_file() else []
        whole = filter(None, map(_LINE.fullmatch, lines))
        kept = [line for line in whole if int(line[1]) <= self._training.steps]
        file.write_text("\n".join([",".join(COLUMNS), *(line[0] for line in kept), ""]), "utf-8")
        return [page.Line(int(line[1]), float(line[2]), float(line[3])) for line in kept]

    @property
    def behind(self) -> bool:
        """Whether there were steps since what is kept."""
        return bool(self._seen)

    def saw(self, losses: Losses) -> None:
        """After each step."""
        self._seen.append(losses)

    def keep(self) -> str:
        """Write everything after steps that were seen, and tell in a line how it goes.

        Raises Unusable where numbers ran away, and leaves what was kept before as it is: nothing can be learned after
        that.
        """
        training, count = self._training, len(self._seen)
        discriminator, generator = (sum(getattr(one, name) for one in self._seen) / count for name in COLUMNS[1:])
        if not (math.isfinite(discriminator) and math.isfinite(generator) and training.finite):
            raise Unusable(
                f"The losses are no numbers any more at step {training.steps}, and {self._folder} stays as it was "
                "before. Begin anew in another folder, with a lower --rate or a higher --penalty."
            )
        with (self._folder / "losses.csv").open("a", encoding="utf-8") as file:
            file.write(f"{training.steps},{discriminator:.4f},{generator:.4f}\n")
        self._lines.append(page.Line(training.steps, discriminator, generator))
        self._seen.clear()
        training.mean.find_centers()
        samples(training).save(self._folder / "samples" / f"{training.steps:06}.png")
        self._save_model()
        training.save(self._folder / "training.safetensors")
        self._show(running=True)
        return (
            f"{training.steps} steps, {self._minutes:.1f} min: "
            f"discriminator {discriminator:.3f}, generator {generator:.3f}"
        )

    @property
    def _minutes(self) -> float:
        return (time.monotonic() - self._start) / 60

    def _show(self, running: bool, fault: str = "") -> None:
        """Write the page, so that a browser finds a whole one."""
        beside = self._folder / "index.part"
        classes = self._training.settings.classes
        beside.write_text(page.written(self._lines, classes, self._minutes, running, fault), "utf-8")
        beside.replace(self._folder / "index.html")

    def _save_model(self) -> None:
        """Beside it and then in its place, so that whoever opens it meanwhile finds each file whole."""
        beside, folder = self._folder / "model.part", self._folder / "model"
        self._training.mean.save_pretrained(beside)
        folder.mkdir(exist_ok=True)
        for file in beside.iterdir():
            file.replace(folder / file.name)
        beside.rmdir()


@torch.no_grad()
def samples(training: Training) -> Image.Image:
    """A grid of what the mean generator draws, a row for each class."""
    model = training.mean
    rows = list(range(len(model.classes))) if len(model.classes) > 1 else [0] * DOWN
    chance = torch.Generator().manual_seed(training.settings.seed)
    sheet = Image.new("RGB", (model.side * ACROSS, model.side * len(rows)))
    for row, place in enumerate(rows):
        latents = torch.randn(ACROSS, model.latents, generator=chance).to(training.device)
        named = torch.eye(len(model.classes), device=training.device)[place].expand(ACROSS, -1)
        for column, picture in enumerate(model(latents, named)):
            sheet.paste(image(picture), (model.side * column, model.side * row))
    return sheet
