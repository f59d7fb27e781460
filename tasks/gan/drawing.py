"""A trained generator as the steps use it: pictures of seeds and classes, and walks between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from domain import weights
from domain.errors import DomainError
from tasks.gan.generator import ConditionalGenerator
from tasks.gan.pictures import image


@dataclass(frozen=True, slots=True)
class Drawing:
    """A generator that is ready to draw."""

    generator: Any

    @property
    def components(self) -> dict[str, Any]:
        """Its parts by name, as a pipeline of diffusers tells them."""
        return {"generator": self.generator}

    @property
    def classes(self) -> list[str]:
        """What it was trained on."""
        names: list[str] = self.generator.classes
        return names

    @property
    def side(self) -> int:
        """Pixels of a picture's side."""
        side: int = self.generator.side
        return side

    def latents(self, seeds: Sequence[int]) -> Tensor:
        """What each seed is drawn from (count, latents): the same on every device."""
        drawn = [torch.Generator().manual_seed(seed) for seed in seeds]
        return torch.stack([torch.randn(self.generator.latents, generator=chance) for chance in drawn])

    def shares(self, classes: Sequence[str]) -> Tensor:
        """Classes as the generator takes them (count, classes)."""
        return torch.eye(len(self.classes))[[self.classes.index(name) for name in classes]]

    @torch.inference_mode()
    def draw(
        self, latents: Tensor, shares: Tensor, truncation: float, details: Tensor | None = None
    ) -> list[Image.Image]:
        """The pictures of latents and of the share that each class has in each of them, with the details of another
        latent (1, latents) if that is asked for."""
        place = self.generator.start
        finer = None if details is None else details.to(place).expand(len(latents), -1)
        return [image(one.float()) for one in self.generator(latents.to(place), shares.to(place), truncation, finer)]


def open_folder(path: Path, dtype: Any) -> Drawing:
    """Open a folder of diffusers with a generator: safetensors, nothing from elsewhere.

    Raises DomainError for a config.json that describes none, and for weights that lack some: diffusers would draw them
    by chance and go on."""
    weights.check_generator(path)
    generator: Any
    generator, told = ConditionalGenerator.from_pretrained(
        str(path),
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        low_cpu_mem_usage=False,
        output_loading_info=True,
    )
    if any(told.values()):
        raise DomainError("its weights are not those that its config.json describes.")
    return Drawing(generator.eval())


def walk(latents: Tensor, shares: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Latents and shares of each frame of a walk from the first to the next and so on, and back to the first.

    Latents turn as they move (spherical interpolation, White 2016, https://arxiv.org/abs/1609.04468), for those in the
    middle of a straight line are shorter than any that the generator was trained with. Some stretches have a frame
    more than others where they cannot all have as many, so that each latent is met.
    """
    count = len(latents)
    lengths = [frames * (place + 1) // count - frames * place // count for place in range(count)]
    first = torch.arange(count).repeat_interleave(torch.tensor(lengths))
    then, part = (first + 1) % count, torch.cat([torch.arange(length) / length for length in lengths])[:, None]
    return _turned(latents[first], latents[then], part), torch.lerp(shares[first], shares[then], part)


def _turned(one: Tensor, other: Tensor, part: Tensor) -> Tensor:
    cosine = torch.cosine_similarity(one, other, dim=1).clamp(-1 + 1e-6, 1 - 1e-6)[:, None]
    angle = torch.acos(cosine)
    return (torch.sin((1 - part) * angle) * one + torch.sin(part * angle) * other) / torch.sin(angle)
