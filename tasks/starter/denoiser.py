"""Teaches the text encoder and the denoiser, together and from nothing or from what they know."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from tasks.starter.captions import prompt
from tasks.starter.scenes import Scene
from tasks.starter.schedule import Clock, Mean


def train(
    pipe: Any,
    scenes: Sequence[Scene],
    latents: Tensor,
    *,
    minutes: float = 0,
    steps: int = 0,
    rate: float = 1.2e-3,
    batch: int = 64,
    seed: int = 2,
    device: torch.device,
    say: Callable[[str], None] = print,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Teach a StableDiffusionPipeline's two to find latents (count, 4, n, n) behind noise, told by captions of their
    scenes, for so many minutes or steps.

    Each time a scene is seen it is told in other words. The loss is that of velocity prediction (Salimans and Ho 2022,
    "Progressive Distillation for Fast Sampling of Diffusion Models", appendix D): v = √ᾱ ε − √(1 − ᾱ) x₀. `keep` is
    called every ten minutes, with the mean weights in place.
    """
    chance = Random(seed)
    batch = min(batch, len(scenes))
    unet, text_encoder, tokenizer = pipe.unet, pipe.text_encoder, pipe.tokenizer
    models = nn.ModuleList([unet, text_encoder]).to(device).train()
    unet.to(memory_format=torch.channels_last)
    weights = list(models.parameters())
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    clock, mean = Clock(minutes, rate, most=steps), Mean(weights, longest=0.998)
    kept = clock.minutes
    signal = pipe.scheduler.alphas_cumprod.to(device)
    order: list[int] = []
    lost = torch.zeros((), device=device)
    while clock.tick(optimizer):
        if len(order) < batch:
            order = chance.sample(range(len(scenes)), len(scenes))
        chosen = [order.pop() for _ in range(batch)]
        told = tokenizer(
            [prompt(scenes[place], chance) for place in chosen],
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids.to(device)
        clean = latents[chosen].to(device, torch.float32).contiguous(memory_format=torch.channels_last)
        noise = torch.randn_like(clean)
        # one time from each of `batch` equal parts, a little more of the noisy ones: fewer lucky batches
        times = (torch.arange(batch, device=device) + torch.rand(batch, device=device)).div_(batch).pow_(0.8)
        times = times.mul_(len(signal)).long().clamp_(0, len(signal) - 1)
        root, rest = (part.view(-1, 1, 1, 1) for part in (signal[times].sqrt(), (1 - signal[times]).sqrt()))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            found = unet(root * clean + rest * noise, times, text_encoder(told)[0]).sample
        loss = nn.functional.mse_loss(found.float(), root * noise - rest * clean)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        mean.update(clock.steps)
        lost += loss.detach()
        if clock.steps % 200 == 0:
            say(f"{clock.steps} steps, {clock.part:.0%}: loss {lost.item() / 200:.4f}")
            lost.zero_()
        if clock.minutes - kept > 10:
            mean.swap()
            keep()
            mean.swap()
            kept = clock.minutes
    mean.swap()
