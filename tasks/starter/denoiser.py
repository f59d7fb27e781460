"""Teaches the text encoder and the denoiser, together and from nothing or from what they know."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tasks.starter.captions import prompt
from tasks.starter.optimizers import split
from tasks.starter.scenes import Scene
from tasks.starter.schedule import Clock, Mean

SHAPE: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (32, 64, 128, 160),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "resnet_time_scale_shift": "scale_shift",
    "use_linear_projection": True,
    "cross_attention_dim": 128,
    "attention_head_dim": 4,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 4,
    "time_embedding_dim": 256,
}
"""Latents of 32 × 32 are where shapes have their edges and cost most, so that they get few channels and no attention.
What `attention_head_dim` counts are heads. The text acts at the 8 × 8 and 4 × 4 in the middle and, pooled, everywhere:
colors are learned in a third of the time so."""
EDGES = (0.12, 0.72)
"""Between which times, of 0 to 1, edges are drawn: what stands where is known, its outline not yet."""


def new() -> Any:
    """A denoiser that knows nothing."""
    return UNet2DConditionModel(**SHAPE)  # type: ignore[no-untyped-call]


class Core(nn.Module):
    """The inner levels of a denoiser, with a way in and out of their own, for latents of half the size: words and
    shapes are learned there some times faster. What it learns, the denoiser knows."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self._whole = (whole,)  # not a part: its outermost level has nothing to learn here
        self.time_proj, self.time_embedding = whole.time_proj, whole.time_embedding
        self.add_embedding = whole.add_embedding
        self.down_blocks, self.mid_block, self.up_blocks = whole.down_blocks[1:], whole.mid_block, whole.up_blocks[:-1]
        channels, inside = whole.conv_in.in_channels, self.up_blocks[-1].resnets[-1].out_channels
        self.conv_in = nn.Conv2d(channels, self.down_blocks[0].resnets[0].in_channels, 1)
        self.conv_norm_out = nn.GroupNorm(SHAPE["norm_num_groups"], inside)
        self.conv_out = nn.Conv2d(inside, channels, 3, padding=1)

    def forward(self, noisy: Tensor, times: Tensor, words: Tensor) -> UNet2DConditionOutput:
        """As of a UNet2DConditionModel."""
        told = self.time_embedding(self.time_proj(times)) + self.add_embedding(words)
        found = self.conv_in(noisy)
        skipped = [found]
        for block in self.down_blocks:
            found, more = block(found, told, **_attending(block, words))
            skipped += more
        found = self.mid_block(found, told, encoder_hidden_states=words)
        for block in self.up_blocks[:-1]:
            count = len(block.resnets)
            found = block(found, tuple(skipped[-count:]), told, **_attending(block, words))
            del skipped[-count:]
        for resnet in self.up_blocks[-1].resnets:  # and not what makes it larger
            found = resnet(torch.cat([found, skipped.pop()], 1), told)
        return UNet2DConditionOutput(sample=self.conv_out(nn.functional.silu(self.conv_norm_out(found))))

    @torch.no_grad()
    def settle(self) -> None:
        """Make the denoiser's way in give these levels what they had here from the means of four latents each."""
        (whole,) = self._whole
        outermost, channels = whole.down_blocks[0], self.conv_in.in_channels
        nn.init.dirac_(whole.conv_in.weight[:channels])
        nn.init.zeros_(whole.conv_in.bias[:channels])
        for weight in outermost.resnets[-1].conv2.parameters():
            nn.init.zeros_(weight)
        reduce = outermost.downsamplers[0].conv
        nn.init.zeros_(reduce.weight)
        reduce.weight[:, :channels, 1:, 1:] = self.conv_in.weight / 4
        reduce.bias.copy_(self.conv_in.bias)


def _outermost(unet: Any) -> tuple[nn.Module, ...]:
    """What of the outermost level learns: all but what makes latents smaller."""
    out = (unet.up_blocks[-2].upsamplers, unet.up_blocks[-1], unet.conv_norm_out, unet.conv_out)
    return unet.conv_in, unet.down_blocks[0].resnets, *out


def inner(unet: Any) -> list[nn.Parameter]:
    """The weights of a denoiser that are not of its outermost level."""
    outer = {id(weight) for part in _outermost(unet) for weight in part.parameters()}
    return [weight for weight in unet.parameters() if id(weight) not in outer]


@contextmanager
def held(unet: Any, outermost_alone: bool = False) -> Iterator[None]:
    """While it lasts, what a denoiser's inner levels read stays as it was where they learned it, and what else the
    outermost level finds goes to its way out alone. Where only that level learns, they forget nothing either."""
    outermost, channels = unet.down_blocks[0], unet.conv_in.in_channels

    def unread(slope: Tensor) -> Tensor:
        slope = slope.clone()
        slope[:channels] = 0
        return slope

    def cut(_: nn.Module, given: tuple[Tensor]) -> Tensor:
        # where a layer learns whose input has no slope, torch's group normalization crashes on a CPU
        return given[0].detach().requires_grad_(not outermost_alone)

    if outermost_alone:
        unet.requires_grad_(False)
        for part in _outermost(unet):
            part.requires_grad_(True)
    outermost.downsamplers.requires_grad_(False)
    read = (*unet.conv_in.parameters(), *outermost.resnets[-1].conv2.parameters())
    hooks = [weight.register_hook(unread) for weight in read]
    hooks.append(outermost.downsamplers[0].register_forward_pre_hook(cut))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        unet.requires_grad_(True)


def _attending(block: Any, words: Tensor) -> dict[str, Tensor]:
    return {"encoder_hidden_states": words} if getattr(block, "has_cross_attention", False) else {}


def times_of(count: int, edges: float, device: torch.device) -> Tensor:
    """So many of 0 to 1, the part `edges` of them between `EDGES`; spread evenly, for fewer lucky batches."""

    def even(some: int) -> Tensor:
        return (torch.arange(some, device=device) + torch.rand(some, device=device)) / max(some, 1)

    often, (first, last) = round(count * edges), EDGES
    return torch.cat([first + even(often) * (last - first), even(count - often)])


def halved(latents: Tensor) -> Tensor:
    """Latents (count, 4, n, n) at half the size."""
    return torch.cat([nn.functional.avg_pool2d(part.float(), 2) for part in torch.split(latents, 1_000)])


def train(
    pipe: Any,
    scenes: Sequence[Scene],
    latents: Tensor,
    unet: Any = None,
    *,
    minutes: float = 0,
    steps: int = 0,
    rate: float = 3e-3,
    slow: Iterable[nn.Parameter] = (),
    batch: int = 64,
    spread: float = 1,
    coarse: float = 1,
    edges: float = 0,
    seed: int = 2,
    device: torch.device,
    say: Callable[[str], None] = print,
    keep: Callable[[], None] = lambda: None,
) -> None:
    """Teach a StableDiffusionPipeline's two to find latents (count, 4, n, n) behind noise, told by captions of their
    scenes, for so many minutes or steps.

    `unet` learns in place of the pipeline's; of its weights those that are `slow` learn at half the rate. Each time a
    scene is seen it is told in other words. Noise has the standard deviation `spread`: where latents are means of four,
    it is a half. The loss is that of velocity prediction (Salimans and Ho 2022, "Progressive Distillation for Fast
    Sampling of Diffusion Models", appendix D): v = √ᾱ ε − √(1 − ᾱ) x₀, and `coarse` times the same for means of four
    (Hoogeboom et al. 2023, "simple diffusion", section 3.3), which say what is drawn, but are few. `edges` is the part
    of the scenes that are seen at times when edges are drawn, beside those of any time. `keep` is called every ten
    minutes, with the mean weights in place.
    """
    chance = Random(seed)
    batch = min(batch, len(scenes))
    unet, text_encoder, tokenizer = unet or pipe.unet, pipe.text_encoder, pipe.tokenizer
    models = nn.ModuleList([unet, text_encoder]).to(device).train()
    unet.to(memory_format=torch.channels_last)
    weights = list(models.parameters())
    optimizers = split(unet, rate, text_encoder.parameters(), slow)
    clock, mean = Clock(minutes, most=steps), Mean(weights, longest=0.998)
    kept = clock.minutes
    signal = pipe.scheduler.alphas_cumprod.to(device)
    order: list[int] = []
    lost = torch.zeros((), device=device)
    while clock.tick(*optimizers):
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
        noise = torch.randn_like(clean) * spread
        times = times_of(batch, edges, device).mul_(len(signal)).long().clamp_(0, len(signal) - 1)
        root, rest = (part.view(-1, 1, 1, 1) for part in (signal[times].sqrt(), (1 - signal[times]).sqrt()))
        with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            found = unet(root * clean + rest * noise, times, text_encoder(told)[0]).sample
        off = found.float() - (root * noise - rest * clean)
        loss = off.square().mean() + coarse * nn.functional.avg_pool2d(off, 2).square().mean()
        models.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for optimizer in optimizers:
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
