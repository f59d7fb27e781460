"""LoRAs for tests: the starter's layers, changed by chance and at once enough to be seen."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from domain.models import STARTER_PATH
from tasks.lora import training

RANK = 2


def trained(
    steps: int = 2, known: dict[str, torch.Tensor] | None = None, rate: float = 1e-3
) -> dict[str, torch.Tensor]:
    """What so many steps on two pictures teach the starter, or what it knows already."""
    pipe = StableDiffusionPipeline.from_pretrained(STARTER_PATH, dtype=torch.float32, use_safetensors=True)
    device, pictures = torch.device("cpu"), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    pictures[1] = 255
    latents = training.encoded(pipe, pictures, device)
    captions = ["a red circle", "a blue star"]
    return training.train(
        pipe, latents, captions, rank=RANK, minutes=0, steps=steps, rate=rate, batch=2, known=known, device=device
    )


def strong(tensors: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """The same with changes by chance instead of small ones."""
    chance = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=chance).mul(0.15).half() if ".lora_B." in name else tensor
        for name, tensor in tensors.items()
    }


def write(path: Path, tensors: dict[str, torch.Tensor], trigger: str = "") -> Path:
    """The LoRA as a file."""
    training.save(path, tensors, path.stem, trigger)
    return path


def opened(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of such a file."""
    return training.load(path, RANK)


def picture(path: Path, color: str, caption: str = "") -> None:
    """Something to learn from."""
    Image.new("RGB", (96, 64), color).save(path)
    if caption:
        path.with_suffix(".txt").write_text(caption)
