"""The generator: a DCGAN's trunk of transposed convolutions, told what to draw by styles as in StyleGAN2.

Radford et al. 2015, https://arxiv.org/abs/1511.06434; Karras et al. 2020, https://arxiv.org/abs/1912.04958.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Of what is below zero, in LeakyReLU."""
AVERAGED = 2_000
"""Latents of each class whose styles are averaged for truncation."""


class ConditionalGenerator(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Latents and classes as RGB pictures of −1 to 1. `channels` are those at 4 × 4 pixels, 8 × 8 and so on."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, classes: list[str], channels: list[int], latent_channels: int = 64, style_channels: int = 128
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.embedding = nn.Parameter(torch.randn(len(classes), latent_channels))
        self.mapping = nn.Sequential(
            nn.Linear(2 * latent_channels, style_channels),
            nn.LeakyReLU(SLOPE),
            nn.Linear(style_channels, style_channels),
            nn.LeakyReLU(SLOPE),
        )
        self.start = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.first = StyledConv(channels[0], channels[0], style_channels, larger=False)
        self.blocks = nn.ModuleList(StyledConv(before, after, style_channels) for before, after in pairwise(channels))
        self.colors = nn.ModuleList(nn.Conv2d(count, 3, 1) for count in channels)
        self.register_buffer("centers", torch.zeros(len(classes), style_channels))

    @property
    def side(self) -> int:
        """Pixels of a picture's side."""
        return int(4 * 2 ** (len(self.config["channels"]) - 1))

    @property
    def latents(self) -> int:
        """Numbers that a picture is drawn from."""
        return int(self.config["latent_channels"])

    @property
    def classes(self) -> list[str]:
        """Their names, in order."""
        return list(self.config["classes"])

    def forward(
        self, latents: Tensor, classes: Tensor, truncation: float = 1.0, details: Tensor | None = None
    ) -> Tensor:
        """Pictures (count, 3, side, side) of latents (count, latents) and of the part that each class has in each of
        them (count, classes). `truncation` moves their styles toward the mean one of the class: 1 not at all, 0 all
        the way. `details` (count, latents) stand in for the latents in the finer half of the layers, which is
        StyleGAN's style mixing."""
        styles = [self.style(latents, classes)]
        styles.append(styles[0] if details is None else self.style(details, classes))
        if truncation < 1:
            styles = [torch.lerp(classes @ self.centers, style, truncation) for style in styles]
        found = self.first(self.start.expand(len(latents), -1, -1, -1), styles[0])
        picture = self.colors[0](found)
        for place, (block, color) in enumerate(zip(self.blocks, self.colors[1:], strict=True)):
            found = block(found, styles[2 * place >= len(self.blocks)])
            wider = functional.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
            picture = wider + color(found)
        return torch.tanh(picture)

    def style(self, latents: Tensor, classes: Tensor) -> Tensor:
        """What the latents and classes mean to every layer."""
        named = functional.normalize(classes @ self.embedding) * math.sqrt(self.latents)
        style: Tensor = self.mapping(torch.cat([latents, named], dim=1))
        return style

    @torch.no_grad()
    def find_centers(self) -> None:
        """Average the styles of many latents of each class, which is what truncation moves toward."""
        chance = torch.Generator().manual_seed(0)
        latents = torch.randn(AVERAGED, self.latents, generator=chance).to(self.start)
        for place, one in enumerate(torch.eye(len(self.classes)).to(self.start)):
            self.centers[place] = self.style(latents, one.expand(AVERAGED, -1)).mean(0)


class StyledConv(nn.Module):
    """A convolution whose channels come in scaled by a style and go out with spread 1 (weight demodulation), twice as
    wide and high if it is `larger`."""

    def __init__(self, before: int, after: int, style_channels: int, larger: bool = True) -> None:
        super().__init__()
        self.larger = larger
        shape = (before, after, 4, 4) if larger else (after, before, 3, 3)
        taps = 4 if larger else 9
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(taps * before))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale = nn.Linear(style_channels, before)
        nn.init.ones_(self.scale.bias)

    def forward(self, found: Tensor, style: Tensor) -> Tensor:
        scale: Tensor = self.scale(style)
        found = found * scale[:, :, None, None]
        squares = self.weight.square().sum((2, 3))
        if self.larger:
            found = _smooth(functional.conv_transpose2d(found, self.weight, stride=2, padding=1))
            squares = squares / 4
        else:
            found = functional.conv2d(found, self.weight, padding=1)
            squares = squares.T
        spread = (scale.square() @ squares + 1e-8).rsqrt()
        found = found * spread[:, :, None, None] + self.bias[:, None, None]
        return functional.leaky_relu(found, SLOPE) * math.sqrt(2)


def _smooth(found: Tensor) -> Tensor:
    """Blurred by 1, 2, 1 across and down: transposed convolutions leave a pattern of dots."""
    return functional.avg_pool2d(functional.avg_pool2d(found, 2, 1, padding=1), 2, 1)


def new(classes: list[str], side: int, **shape: Any) -> ConditionalGenerator:
    """One that knows nothing, for pictures of 64 × 64 or another power of two."""
    wide = {4: 128, 8: 96, 16: 64, 32: 48, 64: 24, 128: 16, 256: 8}
    made: ConditionalGenerator = ConditionalGenerator(classes, [wide[at] for at in wide if at <= side], **shape)
    return made
