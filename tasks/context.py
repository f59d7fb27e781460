"""What a step sees while it runs: its inputs and a few ways to speak, not the services behind."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from domain import template
from domain.errors import DomainError
from tasks.messages import Job, Preview, Progress, Resolved

if TYPE_CHECKING:
    from tasks.diffusion import Model, Models

PREVIEW_SIDE = 256
FIRST_PREVIEW = 0.75
"""Seconds until the first preview: the page asks once a second, so what is done sooner needs none."""
PREVIEW_PAUSE = 0.33
"""Seconds between two previews, at least."""


class Stopped(Exception):
    """Somebody asked the step to stop, and it did."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An RGB picture that a step made, and the seed it came from, if any."""

    image: Image.Image
    seed: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a step made: a text, or pictures in order."""

    text: str | None = None
    pictures: list[Picture] = field(default_factory=list)
    seed: int | None = None


class Context:
    """Handed to a step's `run`. Lives for one job."""

    def __init__(
        self,
        job: Job,
        models: "Models",
        say: Callable[[Progress | Preview | Resolved], None],
        stopping: Callable[[], bool],
    ) -> None:
        self.seed = job.seed
        self.loading = 0.0
        self._job = job
        self._models = models
        self._say = say
        self._stopping = stopping
        self._next_preview = time.monotonic() + FIRST_PREVIEW

    def fill(self, name: str, text: str, seed: int) -> str:
        """A template of the step with everything put in. Raises DomainError naming the field."""
        variables = {**self._job.inputs, "text": self._job.text}
        try:
            return template.expand(text, variables, self._job.lists, seed)
        except template.TemplateError as error:
            raise DomainError(f"{name.replace('_', ' ').capitalize()}: {error}") from error

    def resolve(self, **parameters: Any) -> None:
        """Say which parameters are really used, templates filled and seeds chosen."""
        self._say(Resolved(parameters))

    def model(self) -> "Model":
        """The step's model, loaded. Raises DomainError when it cannot be."""
        assert self._job.model is not None, "a step that asks for a model has a model field"
        start = time.monotonic()
        try:
            return self._models.get(self._job.model)
        finally:
            self.loading += time.monotonic() - start

    def pictures(self) -> list[Image.Image]:
        """The pictures that come in, RGB, at least one. Raises DomainError."""
        if not self._job.pictures:
            raise DomainError("No picture came in: the step before made none.")
        return [_opened(data) for data in self._job.pictures]

    def progress(self, done: int, total: int) -> None:
        """Say how far the step is, in passes of the model. Raises Stopped when asked to stop."""
        self._say(Progress(done, total))
        if self._stopping():
            raise Stopped

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stopping()

    def preview(self, done: int, draw: Callable[[], Image.Image | None]) -> None:
        """Show a rough picture, unless the last one was too recent. `draw` is called only if it is time.

        A slow `draw` is called less often, so that previews never cost more than a twentieth.
        """
        start = time.monotonic()
        if start < self._next_preview:
            return
        image = draw()
        if image is None:
            return
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=60, method=0)
        self._say(Preview(done, buffer.getvalue()))
        end = time.monotonic()
        self._next_preview = end + max(PREVIEW_PAUSE, 20 * (end - start))


def _opened(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.seek(0)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                clear = image.convert("RGBA")
                white = Image.new("RGBA", clear.size, "white")
                return Image.alpha_composite(white, clear).convert("RGB")
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DomainError("The picture that came in cannot be opened.") from error
