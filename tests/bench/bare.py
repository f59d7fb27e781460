"""The starter model called without anything round it: what ours is measured against."""

import os
from typing import Any

from tasks.worker import SPINS
from tests.bench.processes import ROOT


def pipeline() -> Any:
    """The starter's diffusers pipeline, as its folder describes it, on the device that a worker would choose."""
    os.environ["GOMP_SPINCOUNT"] = SPINS  # as the worker: idle threads must not spin beside its own
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        ROOT / "tasks/weights/starter", local_files_only=True, dtype=torch.float32
    )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device())


def device() -> str:
    """A CUDA GPU where there is one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
