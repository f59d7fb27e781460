"""What a step sees while it runs: its inputs and a few ways to speak, not the services behind."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from domain.errors import DomainError
from tasks import loras, vaes
from tasks.messages import Job, Preview, Progress

if TYPE_CHECKING:
    from tasks.loading import Model, Models

PROGRESS_PAUSE = 0.2
"""Seconds between two words of progress, at least: each takes a core from the model for a moment."""
PREVIEW_SIDE = 256
FIRST_PREVIEW = 0.75
"""Seconds until the first preview: the page asks once a second, so what is done sooner needs none."""
WORTH_A_PREVIEW = 1.0
"""Seconds of work that must be left, for the same reason."""
PREVIEW_PAUSE = 0.33
"""Seconds between two previews, at least."""


class Stopped(Exception):
    """Nobody wants the result any more, and the step stopped."""


class Away(Exception):
    """A server that the step needs does not answer, or not now: another try may help."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An RGB picture that a step made, and the seed it came from, if any."""

    image: Image.Image
    seed: int | None


@dataclass(frozen=True, slots=True)
class Animation:
    """RGB pictures of one size, each shown for so many `seconds`, exactly; `loop` times over, 0 without end. `format`
    is that of its file, `colors` are those of a GIF: 256 of each frame's own, or 256 for all, dithered or not."""

    frames: list[Image.Image]
    seconds: Fraction
    loop: int
    seed: int | None
    format: Literal["gif", "webp", "mp4"] = "gif"
    colors: Literal["own", "shared", "dithered"] = "own"


@dataclass(frozen=True, slots=True)
class Mesh:
    """A surface that a step made: N × 3 vertices, z up, M × 3 faces, a linear RGB color in 0 to 1 for each vertex, and
    square RGB pictures of it from all around, the front first."""

    vertices: Any
    faces: Any
    colors: Any
    views: list[Image.Image]
    seed: int | None


@dataclass(frozen=True, slots=True)
class Sound:
    """One channel of sound: float32 from -1 to 1, in an array of numpy, so many a second."""

    samples: Any
    sampling_rate: int
    seed: int | None


Made = Picture | Animation | Sound | Mesh
"""What becomes a file."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a step made: a text, or files in order. `used` tells parameters that came out otherwise than asked."""

    text: str | None = None
    pictures: Sequence[Made] = ()
    used: dict[str, Any] = field(default_factory=dict)


class Context:
    """Handed to a step's `run`. Lives for one job, whose members are counted from 0."""

    def __init__(
        self,
        job: Job,
        models: "Models",
        say: Callable[[Progress | Preview], None],
        wanted: Callable[[int], bool],
    ) -> None:
        self.loading = 0.0
        self._job = job
        self._models = models
        self._say = say
        self._wanted = wanted
        self._next_progress = 0.0
        self._first: tuple[float, int] | None = None
        self._next_preview = time.monotonic() + FIRST_PREVIEW

    def model(self) -> "Model":
        """The step's model, loaded, with the step's LoRAs and VAE. Raises DomainError when it cannot be."""
        assert self._job.model is not None, "a step that asks for a model has a model field"
        start = time.monotonic()
        try:
            vae = self._models.get(self._job.vae) if self._job.vae else None  # first: whoever comes last stays loaded
            model = self._models.get(self._job.model)
            vaes.wear(model, vae)
            loras.wear(model, self._job.loras)
            return model
        finally:
            self.loading += time.monotonic() - start

    def pictures(self, member: int = 0) -> list[Image.Image]:
        """The pictures that come in, RGB, at least one. Raises DomainError."""
        return _all_opened(self._job.members[member].pictures)

    def files(self, member: int = 0) -> Sequence[bytes]:
        """What comes in as it is stored, at least one file. Raises DomainError."""
        if not self._job.members[member].pictures:
            raise DomainError("Nothing came in: the step before made no file.")
        return self._job.members[member].pictures

    def masked(self) -> tuple[list[Image.Image], Image.Image]:
        """The same, and the mask that comes after them, RGB; what is clear of it is black. Raises DomainError."""
        *found, mask = self._job.members[0].pictures
        return _all_opened(found), _opened(mask, "black")

    def progress(self, done: int, total: int) -> None:
        """Say how far the step is, in passes of the model. Raises Stopped when nobody wants it any more."""
        now = time.monotonic()
        self._first = self._first or (now, done)
        if now >= self._next_progress or done == total:
            self._say(Progress(done, total))
            self._next_progress = now + PROGRESS_PAUSE
        if self.stopping:
            raise Stopped

    @property
    def stopping(self) -> bool:
        """Whether every member was stopped."""
        return not self.wanted

    @property
    def wanted(self) -> list[int]:
        """The members that were not stopped."""
        return [member for member in range(len(self._job.members)) if self._wanted(member)]

    def preview(self, done: int, total: int, draw: Callable[[int], Image.Image | None]) -> None:
        """Show each member's rough picture after `done` of `total` passes, unless the last ones were too recent or
        the step is nearly done. `draw` is called only if it is time.

        A slow `draw` is called less often, so that previews never cost more than a fortieth.
        """
        start = time.monotonic()
        if start < self._next_preview or self._left(start, done, total) < WORTH_A_PREVIEW:
            return
        for member in self.wanted:
            image = draw(member)
            if image is not None:
                self._say(Preview(member, done, _small(image)))
        end = time.monotonic()
        self._next_preview = end + max(PREVIEW_PAUSE, 40 * (end - start))

    def written(self, done: int, total: int, text: Callable[[], str]) -> None:
        """Show the text so far, after `done` of at most `total` tokens, unless it was shown too recently. `text` is
        called only if it is time."""
        start = time.monotonic()
        if start >= self._next_preview and self._left(start, done, total) >= WORTH_A_PREVIEW:
            shown = text().encode()
            for member in self.wanted if shown else ():
                self._say(Preview(member, done, shown, "text/plain"))
            self._next_preview = start + PREVIEW_PAUSE

    def _left(self, now: float, done: int, total: int) -> float:
        """About how many seconds the passes that remain will take."""
        since, before = self._first or (now, done)
        return (now - since) / max(done - before, 1) * (total - done)


def _small(image: Image.Image) -> bytes:
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=60, method=0)
    return buffer.getvalue()


def _all_opened(found: Sequence[bytes]) -> list[Image.Image]:
    if not found:
        raise DomainError("No picture came in: the step before made none.")
    return [_opened(data) for data in found]


def _opened(data: bytes, ground: str = "white") -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.seek(0)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                clear = image.convert("RGBA")
                return Image.alpha_composite(Image.new("RGBA", clear.size, ground), clear).convert("RGB")
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DomainError("The picture that came in cannot be opened.") from error
