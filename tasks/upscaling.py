"""Models that enlarge pictures: networks of the ESRGAN class tile by tile, diffusers pipelines pass by pass.

torch and diffusers are imported when first needed, so that importing a step costs nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from domain import upscalers
from domain.errors import DomainError
from domain.steps import Upscale
from tasks.context import Context

if TYPE_CHECKING:
    from tasks.loading import Model

TILE = 192
"""Pixels of a tile's side, before it is enlarged."""
OVERLAP = 16
"""Pixels around a tile that the network sees too: what lies further away hardly counts."""
MULTIPLE = 64
"""Sides that the diffusers pipelines take are multiples of so many pixels."""
MAX_DRAWN = 2048
"""Pixels of the longest side that these can draw: all of it is in memory at once."""
Box = tuple[int, int, int, int]


@dataclass(slots=True)
class Rrdb:
    """A network that looks at the picture alone."""

    network: Any
    dtype: Any

    @property
    def components(self) -> dict[str, Any]:
        """Its parts, as a pipeline of diffusers names them."""
        return {"network": self.network}

    @property
    def factor(self) -> int:
        """How many times wider and higher it draws."""
        return int(self.network.factor)

    def enlarge(self, picture: Image.Image, ctx: Context, done: int, total: int) -> Image.Image:
        """The RGB picture at the network's own factor. `done` of `total` tiles were before it. Raises Stopped."""
        made = Image.new("RGB", (picture.width * self.factor, picture.height * self.factor))
        for number, inner in enumerate(boxes(picture.size), done):
            ctx.progress(number, total)
            made.paste(self._tile(picture, inner), (inner[0] * self.factor, inner[1] * self.factor))
            ctx.preview(number + 1, total, lambda member: made.resize(picture.size, Image.Resampling.BOX))
        return made

    def _tile(self, picture: Image.Image, inner: Box) -> Image.Image:
        """What becomes of this part, drawn with some of what is around it."""
        import numpy as np
        import torch

        outer = _around(inner, picture.size)
        pixels = np.asarray(picture.crop(outer), np.float32).transpose(2, 0, 1)[None] / 255
        width, height = outer[2] - outer[0], outer[3] - outer[1]
        odd = (0, -width % self.network.fold, 0, -height % self.network.fold)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            given = torch.nn.functional.pad(torch.from_numpy(pixels), odd, mode="replicate")
            drawn = self.network(given.to(device, self.dtype))[0].float()
        if not drawn.isfinite().all():
            raise DomainError("The model drew nothing that can be seen. Whoever hosts it can try dtype=fp32.")
        drawn = drawn.clamp(0, 1).mul(255).round()
        whole = Image.fromarray(drawn.byte().permute(1, 2, 0).cpu().numpy())
        left, upper = inner[0] - outer[0], inner[1] - outer[1]
        part = (left, upper, left + inner[2] - inner[0], upper + inner[3] - inner[1])
        return whole.crop(tuple(side * self.factor for side in part))  # type: ignore[arg-type]


def opened(path: Path, dtype: Any) -> Rrdb:
    """The network of a file, or of a folder with one. Raises DomainError for tensors of another make."""
    from safetensors.torch import load_file

    from tasks import rrdb

    file = next(iter(sorted(path.glob("*.safetensors")))) if path.is_dir() else path
    try:
        return Rrdb(rrdb.built(load_file(file)).to(dtype), dtype)
    except (KeyError, RuntimeError) as error:
        raise DomainError(f"its weights are not those of a network of the class {upscalers.RRDB}.") from error


def boxes(size: tuple[int, int]) -> Iterator[Box]:
    """The tiles of a picture: left, upper, right and lower, row by row."""
    for upper in range(0, size[1], TILE):
        for left in range(0, size[0], TILE):
            yield left, upper, min(left + TILE, size[0]), min(upper + TILE, size[1])


def _around(inner: Box, size: tuple[int, int]) -> Box:
    left, upper, right, lower = inner
    return (
        max(left - OVERLAP, 0),
        max(upper - OVERLAP, 0),
        min(right + OVERLAP, size[0]),
        min(lower + OVERLAP, size[1]),
    )


def native(model: "Model") -> int:
    """How many times wider and higher the model draws. Raises DomainError for one that does not enlarge."""
    if isinstance(model.pipe, Rrdb):
        return model.pipe.factor
    family = type(model.pipe).__name__
    if family not in upscalers.NATIVE:
        raise DomainError(f"The model “{model.ref.name}” does not enlarge pictures.")
    return upscalers.NATIVE[family]


def words(step: Upscale, family: str) -> dict[str, Any]:
    """What a model of this family is told beside the prompts, the usual where nothing was."""
    asked = {name: getattr(step, name) for name in upscalers.USUAL if name in upscalers.TAKEN[family]}
    return {name: upscalers.USUAL[name] if value is None else value for name, value in asked.items()}


def drawn(
    step: Upscale, model: "Model", picture: Image.Image, seed: int, ctx: Context, part: int, parts: int
) -> Image.Image:
    """The picture at the factor of a diffusers pipeline, which is asked once. `part` of `parts` pictures.

    Raises Stopped, and DomainError for a picture that is too large or parameters that it refuses.
    """
    import torch

    factor = native(model)
    if max(picture.size) * factor > MAX_DRAWN:
        raise DomainError(
            f"The model “{model.ref.name}” draws sides of at most {MAX_DRAWN:,} pixels, and {picture.width} × "
            f"{picture.height} times {factor} is more."
        )
    told = words(step, type(model.pipe).__name__)
    total = told["num_inference_steps"]

    def after_pass(index: int, _timestep: Any, _latents: Any) -> None:
        ctx.progress(part * total + min(index + 1, total), total * parts)

    model.pipe.scheduler = type(model.scheduler).from_config(model.scheduler.config)
    ctx.progress(part * total, total * parts)
    with torch.inference_mode():
        try:
            made = model.pipe(
                prompt=step.prompt,
                negative_prompt=step.negative_prompt or None,
                image=_padded(picture),
                generator=torch.Generator("cpu").manual_seed(seed),
                callback=after_pass,
                **told,
            )
        except ValueError as error:
            raise DomainError(f"The model “{model.ref.name}” refuses these parameters: {error}") from error
    image: Image.Image = made.images[0]
    return image.crop((0, 0, picture.width * factor, picture.height * factor))


def _padded(picture: Image.Image) -> Image.Image:
    """With its last line and column repeated to sides that the pipelines take."""
    import numpy as np

    right, lower = -picture.width % MULTIPLE, -picture.height % MULTIPLE
    return Image.fromarray(np.pad(np.asarray(picture), ((0, lower), (0, right), (0, 0)), mode="edge"))
