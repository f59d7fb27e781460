"""Teaches the autoencoder: 256 × 256 pictures as 32 × 32 latents of four channels, and back with crisp edges.

Three channels of a latent are the mean color of its 8 × 8 pixels, only the fourth is the network's own. A denoiser
learns such latents as it would learn small pictures: what it has to draw is there to see, at every amount of noise.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from tasks.starter.pictures import unit
from tasks.starter.schedule import Clock, Mean

SHAPE = {
    "encoder_block_out_channels": (32,) * 4,
    "decoder_block_out_channels": (32,) * 4,
    "num_encoder_blocks": (0, 1, 2, 2),
    "num_decoder_blocks": (4, 3, 2, 1),
    "latent_channels": 4,
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
}
CELL = 8
"""Pixels of a side that become one latent."""
CROP = 128
"""Pixels of a side of what is seen at once: edges teach, and most of a picture is flat."""
COLORFUL = 200
"""Pictures from which the spread of colors is taken."""
NOISE = 0.12
"""The most noise on latents, as a part of their spread: a drawn latent is never exactly an encoded one."""


def new() -> Any:
    """An `AutoencoderTiny` that knows nothing."""
    return AutoencoderTiny(**SHAPE)  # type: ignore[no-untyped-call]


def train(
    vae: Any,
    drawn: Tensor,
    *,
    minutes: float = 0,
    steps: int = 0,
    rate: float = 1e-3,
    batch: int = 8,
    keep_latents: bool = False,
    seed: int = 1,
    device: torch.device,
    say: Callable[[str], None] = print,
) -> None:
    """Teach it pictures in bytes (count, 3, 256, 256) for so many minutes or steps.

    With `keep_latents` only what comes back from latents is taught, so that a denoiser which learned them stays good.
    """
    chance = Random(seed)
    vae.to(device, memory_format=torch.channels_last).train()
    weights = list(vae.decoder.parameters() if keep_latents else vae.parameters())
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    clock, mean = Clock(minutes, most=steps), Mean(weights)
    colors = Colors(unit(drawn[:COLORFUL], device))
    while clock.tick(optimizer):
        seen = unit(_whole(drawn, batch, chance) if keep_latents else _crops(drawn, batch, chance), device)
        with torch.autocast(device.type, torch.bfloat16):
            with torch.set_grad_enabled(not keep_latents):
                latents = vae.encode(seen).latents.float()
            noise = torch.randn_like(latents) * torch.rand(len(latents), 1, 1, 1, device=device) * NOISE
            again = vae.decode(latents + noise).sample.float()
        off = (again - seen).abs().mean()
        edges = _edges(again - seen)
        loss = off + functional.mse_loss(again, seen) + 0.5 * edges
        if not keep_latents:
            loss = loss + functional.mse_loss(latents[:, :3], colors(seen)) + 0.01 * _unlike_noise(latents)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.5)
        optimizer.step()
        mean.update(clock.steps)
        if clock.steps % 100 == 0:
            say(f"{clock.steps} steps, {clock.part:.0%}: off by {off:.4f}, edges {edges:.4f}")
    mean.swap()


class Colors:
    """The mean colors of cells of pictures (count, 3, n, n), from −1 to 1, as latents (count, 3, n / 8, n / 8) whose
    channels have mean 0, spread 1 and nothing in common over the pictures that it is made from."""

    def __init__(self, pictures: Tensor) -> None:
        values = functional.avg_pool2d(pictures, CELL).movedim(1, -1).reshape(-1, 3)
        spread, axes = torch.linalg.eigh(values.T.cov())
        self._center = values.mean(0).view(3, 1, 1)
        self._axes = (axes * spread.rsqrt()).T

    def __call__(self, pictures: Tensor) -> Tensor:
        return torch.einsum("ij,bjyx->biyx", self._axes, functional.avg_pool2d(pictures, CELL) - self._center)


def _whole(drawn: Tensor, batch: int, chance: Random) -> Tensor:
    """Whole pictures, as many pixels as `batch` parts have: at a part's edges latents are others than in the whole."""
    count = max(batch * CROP**2 // drawn.shape[-1] ** 2, 1)
    return drawn[chance.sample(range(len(drawn)), count)]


def _crops(drawn: Tensor, batch: int, chance: Random) -> Tensor:
    """Parts of pictures where there is something to see, in bytes."""
    found: list[Tensor] = []
    most = drawn.shape[-1] - CROP
    while len(found) < batch:
        y, x = chance.randint(0, most), chance.randint(0, most)
        crop = drawn[chance.randrange(len(drawn)), :, y : y + CROP, x : x + CROP]
        if crop[:, ::8, ::8].float().std() > 3 or chance.random() < 0.2:
            found.append(crop)
    return torch.stack(found)


def _edges(difference: Tensor) -> Tensor:
    """How different two pictures are from pixel to pixel, across and down."""
    across = difference[..., 1:] - difference[..., :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return across.abs().mean() + down.abs().mean()


def _unlike_noise(latents: Tensor) -> Tensor:
    """Zero where channels have mean 0, spread 1 and nothing in common, as the noise has that a denoiser starts from."""
    values = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    center = values.mean(0)
    spread = (values - center).T @ (values - center) / len(values)
    wide = functional.relu(latents.abs() - 2.7).square().mean()
    return center.square().sum() + (spread - torch.eye(len(center), device=latents.device)).square().sum() + 10 * wide


@torch.no_grad()
def encoded(vae: Any, drawn: Tensor, device: torch.device, batch: int = 8) -> Tensor:
    """Pictures in bytes as latents (count, 4, 32, 32), half precision, on the CPU."""
    vae.to(device).eval()
    with torch.autocast(device.type, torch.bfloat16):
        found = [vae.encode(unit(part, device)).latents for part in torch.split(drawn, batch)]
    return torch.cat(found).half().cpu()


@torch.no_grad()
def likeness(vae: Any, drawn: Tensor, device: torch.device) -> float:
    """The peak signal-to-noise ratio in decibels of pictures in bytes that went there and back: 10 lg (1 / mean square
    error), with black and white one apart."""
    seen = unit(drawn, device)
    again = vae.to(device).eval().decode(vae.encode(seen).latents).sample.clamp(-1, 1)
    return float(-10 * ((again - seen) / 2).square().mean().log10())
