"""LoRAs for tests: the starter's layers, changed by chance and at once enough to be seen."""

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from domain.models import STARTER_PATH
from tasks.lora import training
from tests import checkpoints

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


def large(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """Changes by chance of a Stable Diffusion XL folder's U-Net and both text encoders, named as peft does."""
    from diffusers import StableDiffusionXLPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    torch.manual_seed(seed)
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    made: dict[str, torch.Tensor] = {}
    for part in ("unet", "text_encoder", "text_encoder_2"):
        layers = ["to_q", "to_out.0"] if part == "unet" else ["q_proj", "out_proj"]
        model = getattr(pipe, part)
        model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=layers, init_lora_weights=False))
        made |= {f"{part}.{name}": tensor for name, tensor in get_peft_model_state_dict(model).items()}
    return made


def of_kohya(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same in the names of kohya's scripts, which call the U-Net's blocks as the first checkpoints do, and with an
    alpha that halves what is twice as large."""
    made: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        part, _, layer = name.partition(".")
        layer, which = layer.removesuffix(".weight").rsplit(".lora_", 1)
        if part == "unet":
            stem = f"lora_unet_{checkpoints.of_unet(layer)}"
        else:
            stem = f"lora_te{'2' if part.endswith('2') else '1'}_text_model.{layer.removeprefix('text_model.')}"
        stem = stem.replace(".", "_")
        made |= {f"{stem}.lora_down.weight": tensor} if which == "A" else {f"{stem}.lora_up.weight": 2 * tensor}
        made[f"{stem}.alpha"] = torch.tensor(RANK / 2)
    return made


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
