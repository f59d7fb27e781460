"""Teaches motion modules what moves in clips; the model that they move stays as it is."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from diffusers import MotionAdapter
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tasks.motion.clips import FRAMES
from tasks.moving import MovingUNet, mixed
from tasks.starter.captions import prompt
from tasks.starter.optimizers import split
from tasks.starter.scenes import Scene
from tasks.starter.schedule import Clock, Mean

SHAPE = {
    "block_out_channels": (32, 64, 128, 160),
    "motion_layers_per_block": 1,
    "motion_transformer_layers_per_block": (0, 1, 1, 0),
    "motion_num_attention_heads": 4,
    "motion_norm_num_groups": 16,
    "motion_max_seq_length": FRAMES,
}
"""Of the starter's motion: where latents are 16 × 16 and 8 × 8 and in the middle, which keeps it small."""
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
    rate: float = 4e-3,
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
    optimizers = split(motion, rate)
    clock, mean = Clock(minutes, warm=20, most=steps), Mean(weights, longest=0.997)
    signal = pipe.scheduler.alphas_cumprod.to(device)
    kept, lost = clock.minutes, 0.0
    while clock.tick(*optimizers):
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
        with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            found = unet(root * clean + rest * noise, times, told).sample
        loss = nn.functional.mse_loss(found.float(), root * noise - rest * clean)
        motion.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        for optimizer in optimizers:
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
