"""Teaches motion modules what moves in clips; the model that they move stays as it is."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from diffusers import MotionAdapter
from torch import Tensor, nn

from tasks.motion.clips import FRAMES
from tasks.moving import MovingUNet, mixed
from tasks.starter.captions import prompt
from tasks.starter.scenes import Scene
from tasks.starter.schedule import Clock, Mean

SHAPE = {
    "block_out_channels": (48, 96, 128),
    "motion_layers_per_block": 1,
    "motion_transformer_layers_per_block": (1, 1, 0),
    "motion_num_attention_heads": 4,
    "motion_norm_num_groups": 16,
    "motion_max_seq_length": FRAMES,
}
"""Of the starter's motion: none at its smallest layers but the middle one, which keeps it small."""
SHARED = 0.9
"""How much of their noise the frames of a clip have in common: so they show one scene from the first pass on, and the
modules have its motion to learn alone."""


def new() -> Any:
    """A `MotionAdapter` that changes nothing: every frame is drawn as if it were alone."""
    adapter: Any = MotionAdapter(**SHAPE)  # type: ignore[no-untyped-call]
    for name, weight in adapter.named_parameters():
        if "proj_out" in name:
            nn.init.zeros_(weight)
    return adapter


def train(
    pipe: Any,
    motion: Any,
    scenes: Sequence[Scene],
    latents: Tensor,
    *,
    minutes: float = 0,
    steps: int = 0,
    rate: float = 1e-3,
    batch: int = 2,
    seed: int = 1,
    device: torch.device,
    say: Callable[[str], None] = print,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Teach an adapter's modules in a StableDiffusionPipeline with latents (clips, FRAMES, 4, n, n) and the first scene
    of each clip.

    The loss is that of `tasks.starter.denoiser`. `keep` is called every five minutes, with the mean weights in place.
    """
    chance = Random(seed)
    torch.manual_seed(seed)
    unet = MovingUNet(pipe.unet.requires_grad_(False), motion.train()).to(device)
    encoder = pipe.text_encoder.to(device).eval()
    weights = list(motion.parameters())
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    clock, mean = Clock(minutes, rate, warm=20, most=steps), Mean(weights, longest=0.997)
    signal = pipe.scheduler.alphas_cumprod.to(device)
    kept, lost = clock.minutes, 0.0
    while clock.tick(optimizer):
        chosen = chance.sample(range(len(scenes)), batch)
        words = [prompt(scenes[place], chance) for place in chosen]
        with torch.no_grad():
            ids = pipe.tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
            told = encoder(ids.to(device))[0].repeat_interleave(FRAMES, dim=0)
        clean = latents[chosen].to(device, torch.float32).transpose(1, 2)
        noise = mixed(tuple(clean.shape), SHARED, None, device=device)
        times = (torch.arange(len(chosen), device=device) + torch.rand(len(chosen), device=device)) / len(chosen)
        times = (times**0.8 * len(signal)).long().clamp(0, len(signal) - 1)
        root, rest = (part.view(-1, 1, 1, 1, 1) for part in (signal[times].sqrt(), (1 - signal[times]).sqrt()))
        found = unet(root * clean + rest * noise, times, told).sample
        loss = nn.functional.mse_loss(found, root * noise - rest * clean)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        mean.update(clock.steps)
        lost += loss.item()
        if clock.steps % 50 == 0:
            say(f"{clock.steps} steps, {clock.part:.0%}: loss {lost / 50:.4f}")
            lost = 0.0
        if clock.minutes - kept > 5:
            mean.swap()
            keep()
            mean.swap()
            kept = clock.minutes
    mean.swap()
