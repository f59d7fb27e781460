"""Teaches a Stable Diffusion model a style or a subject as a LoRA, and leaves the model's own weights as they are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from tasks.learning import Unusable
from tasks.starter.schedule import Clock

UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "proj_in", "proj_out")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
UNTOLD = 0.1
"""How many captions are left out, for guidance steers away from what is drawn without one."""
AT_ONCE = 8
"""Pictures that are encoded in one call."""


def encoded(pipe: Any, pictures: Tensor, device: torch.device) -> Tensor:
    """Pictures (count, 3, side, side) in bytes as the model's latents."""
    vae = pipe.vae.to(device, torch.float32)
    rows = []
    with torch.inference_mode():
        for part in torch.split(pictures, AT_ONCE):
            made = vae.encode(part.to(device, torch.float32) / 127.5 - 1)
            found = made.latent_dist.mean if hasattr(made, "latent_dist") else made.latents
            rows.append((found * vae.config.scaling_factor).cpu())
    return torch.cat(rows).clone()


def train(
    pipe: Any,
    latents: Tensor,
    captions: Sequence[str],
    *,
    rank: int,
    minutes: float,
    steps: int = 0,
    rate: float = 1e-3,
    batch: int = 16,
    seed: int = 1,
    device: torch.device,
    known: dict[str, Tensor] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Tensor]:
    """The LoRA's tensors, named as diffusers names them, learned from latents and the caption of each; `known` are
    those that it goes on from.

    The changes are those of Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", B A with A
    (rank, in) and B (out, rank), at attention, feed-forward and convolution layers of the U-Net and at those of the
    text encoder. The loss is the model's own: of noise or of velocity, whichever its scheduler says it predicts.
    Raises Unusable for one that predicts anything else.
    """
    from diffusers import DDPMScheduler
    from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict

    torch.manual_seed(seed)
    chance = Random(seed)
    unet, encoder = pipe.unet.to(device).train(), pipe.text_encoder.to(device).train()
    for part, model, layers in (("unet.", unet, UNET_LAYERS), ("text_encoder.", encoder, TEXT_LAYERS)):
        model.requires_grad_(False)
        model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers)))
        own = {name.removeprefix(part): one.float() for name, one in (known or {}).items() if name.startswith(part)}
        if own:
            set_peft_model_state_dict(model, own)
    weights = [one for model in (unet, encoder) for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01)
    noising = DDPMScheduler.from_config(pipe.scheduler.config)  # type: ignore[no-untyped-call]
    if (predicted := noising.config.prediction_type) not in ("epsilon", "v_prediction"):
        raise Unusable(f"A model that predicts “{predicted}” cannot be taught here.")
    clock, lost = Clock(minutes, warm=20, most=steps), 0.0
    while clock.tick(optimizer):
        chosen = [chance.randrange(len(captions)) for _ in range(batch)]
        words = ["" if chance.random() < UNTOLD else captions[place] for place in chosen]
        clean, noise = latents[chosen].to(device), torch.randn(batch, *latents.shape[1:], device=device)
        times = torch.randint(len(noising.betas), (batch,), device=device)
        told = encoder(_tokens(pipe, words, device))[0]
        found = unet(noising.add_noise(clean, noise, times), times, told).sample
        sought = noising.get_velocity(clean, noise, times) if predicted == "v_prediction" else noise
        loss = nn.functional.mse_loss(found, sought)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        lost += loss.item()
        if clock.steps % 50 == 0:
            say(f"{clock.steps} steps, {clock.part:.0%}: loss {lost / 50:.4f}")
            lost = 0.0
    return {
        f"{part}.{name}": tensor.detach().cpu().half().contiguous()
        for part, model in (("unet", unet), ("text_encoder", encoder))
        for name, tensor in get_peft_model_state_dict(model).items()
    }


def _tokens(pipe: Any, words: Sequence[str], device: torch.device) -> Tensor:
    found = pipe.tokenizer(list(words), padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = found.input_ids
    return ids.to(device)


def load(path: Path, rank: int) -> dict[str, Tensor]:
    """The tensors of a LoRA to go on from. Raises Unusable where they have another rank."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    ranks = {len(tensor) for name, tensor in tensors.items() if name.endswith("lora_A.weight")}
    if ranks != {rank}:
        raise Unusable(f"{path} is no LoRA of rank {rank} that this command has made: choose another name.")
    return tensors


def save(path: Path, tensors: dict[str, Tensor], name: str, trigger: str) -> None:
    """Write the LoRA with what ModelSpec says of it in its head."""
    from safetensors.torch import save_file

    told = {"format": "pt", "modelspec.sai_model_spec": "1.0.1", "modelspec.title": name}
    beside = path.with_suffix(".part")
    save_file(tensors, beside, told | ({"modelspec.trigger_phrase": trigger} if trigger else {}))
    beside.replace(path)
