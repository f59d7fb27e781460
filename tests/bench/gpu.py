"""Pictures per second on a CUDA device: diffusers called as its first page shows it, against this site's engine.

A pipeline of the shape of Stable Diffusion 1.5 with random weights, 512 × 512 pixels, 30 passes. Speed does not
depend on what the weights know. Skipped, with a word, where there is no CUDA device.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from domain import weights
from domain.means import PLAIN, Means
from domain.steps import TextToImage
from tasks.context import Context
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tasks.steps import text_to_image
from tests import checkpoints

STEP = TextToImage(prompt="a red circle", width=512, height=512, num_inference_steps=30, guidance_scale=7.5, seed=1)
BATCHES = (1, 2, 4, 8, 16)
ROUNDS = 3
BEST = Means(compile=True, fuse=True)


def measure(place: Path) -> dict[str, Any]:
    """Pictures per second of each way, and their ratios. Empty without a CUDA device."""
    import torch

    if not torch.cuda.is_available():
        print("gpu: skipped, there is no CUDA device here")
        return {}
    return compared(checkpoints.full_size(place / "model", "cuda"), "cuda", STEP, BATCHES)


def compared(folder: Path, device: str, step: TextToImage, batches: tuple[int, ...]) -> dict[str, Any]:
    """The measurements of the model at `folder`."""
    import torch

    default = _default(folder, device, step, None)
    half = _default(folder, device, step, torch.bfloat16)
    ours = {batch: _ours(folder, device, step, batch, PLAIN) for batch in batches}
    best = {batch: _ours(folder, device, step, batch, BEST) for batch in batches}
    at, top = max(best.items(), key=lambda each: each[1])
    return {
        "gpu: diffusers by default": {"pictures": default},
        "gpu: diffusers in bf16": {"pictures": half},
        "gpu: ours, one at a time": {"pictures": ours[batches[0]]},
        "gpu: ours, best batch": {"pictures": max(ours.values()), "batches": ours},
        "gpu: ours, compiled and fused, best batch": {"pictures": top, "batch": at, "batches": best},
        "gpu: ours at best / diffusers by default": {"ratio": top / default},
        "gpu: ours at best / diffusers in bf16": {"ratio": top / half},
    }


def _default(folder: Path, device: str, step: TextToImage, dtype: Any) -> float:
    """`from_pretrained`, `to`, call; `dtype` None as when it is not mentioned."""
    from diffusers import DiffusionPipeline

    given = {} if dtype is None else {"dtype": dtype}
    pipe = DiffusionPipeline.from_pretrained(str(folder), local_files_only=True, **given).to(device)
    pipe.set_progress_bar_config(disable=True)

    def call() -> None:
        pipe(
            step.prompt,
            width=step.width,
            height=step.height,
            num_inference_steps=step.num_inference_steps,
            guidance_scale=step.guidance_scale,
        )

    return 1 / _seconds(call, device)


def _ours(folder: Path, device: str, step: TextToImage, batch: int, means: Means) -> float:
    loaded = Models(device)
    model = ModelRef("bench", str(folder), weights.revision(folder), means)
    alike = [msgspec.structs.replace(step, seed=seed) for seed in range(batch)]

    def call() -> None:
        job = Job(id="bench", members=[Member(step={}) for _ in alike], model=model)
        text_to_image.together(alike, Context(job, loaded, lambda _: None, lambda _: True))

    return batch / _seconds(call, device)


def _seconds(call: Callable[[], None], device: str) -> float:
    """The quickest of a few calls after one to warm up."""
    import torch

    call()
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - began)
    return min(took)
