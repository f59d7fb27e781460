"""Models that enlarge pictures, of the real classes with few random weights."""

import json
from pathlib import Path
from typing import Any

from domain.models import STARTER_PATH


def network(**shape: int) -> Any:
    """A network of the ESRGAN class, four times unless told otherwise, whose pictures are neither black nor white."""
    import torch

    from tasks.rrdb import RRDBNet

    torch.manual_seed(3)
    made = RRDBNet(**{"width": 4, "growth": 2, "blocks": 2, **shape}).requires_grad_(False)
    for name, tensor in made.state_dict().items():
        tensor.mul_(1.5 if name.endswith("weight") else 0)
    made.conv_last.bias += 0.5
    return made


def write(path: Path, named: Any) -> Path:
    """The tensors as a file."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in named.items()}, path)
    return path


def claiming(path: Path, shapes: dict[str, Any]) -> Path:
    """A file whose header tells of tensors with these shapes, and that has none of their numbers."""
    told = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    head = json.dumps(told)
    path.write_bytes(len(head).to_bytes(8, "little") + head.encode())
    return path


def esrgan(path: Path, **shape: int) -> Path:
    """Such a network as one file, under the names that Real-ESRGAN has."""
    return write(path, network(**shape).state_dict())


def old_names(named: dict[str, Any]) -> dict[str, Any]:
    """The names that ESRGAN had first, of a network that enlarges four times."""
    ends = {"conv_first": 0, "conv_up1": 3, "conv_up2": 6, "conv_hr": 8, "conv_last": 10}
    blocks = 1 + max(int(name.split(".")[1]) for name in named if name.startswith("body."))
    found: dict[str, Any] = {}
    for name, tensor in named.items():
        part, *_, kind = name.split(".")
        if part == "body":
            _, block, dense, layer, _ = name.split(".")
            found[f"model.1.sub.{block}.RDB{dense[-1]}.{layer}.0.{kind}"] = tensor
        elif part == "conv_body":
            found[f"model.1.sub.{blocks}.{kind}"] = tensor
        else:
            found[f"model.{ends[part]}.{kind}"] = tensor
    return found


def _autoencoder(levels: int, scaling_factor: float = 0.18215) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        scaling_factor=scaling_factor,
        sample_size=64,
    )


def _words() -> dict[str, Any]:
    import torch
    from transformers import CLIPTextModel, CLIPTokenizer

    return {
        "text_encoder": CLIPTextModel.from_pretrained(STARTER_PATH / "text_encoder", dtype=torch.float32),
        "tokenizer": CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer"),
    }


def latent(path: Path) -> Path:
    """A folder of a StableDiffusionLatentUpscalePipeline."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline, UNet2DConditionModel

    words = _words()
    size = words["text_encoder"].config.hidden_size
    torch.manual_seed(7)
    unet = UNet2DConditionModel(
        act_fn="gelu",
        attention_head_dim=8,
        norm_num_groups=None,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        time_cond_proj_dim=128 + size,
        conv_in_kernel=1,
        conv_out_kernel=1,
        cross_attention_dim=size,
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
        up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
        in_channels=8,
        out_channels=5,
        mid_block_type=None,
        only_cross_attention=False,
        resnet_time_scale_shift="scale_shift",
        time_embedding_type="fourier",
        timestep_post_act="gelu",
    )
    StableDiffusionLatentUpscalePipeline(
        vae=_autoencoder(4), unet=unet, scheduler=EulerDiscreteScheduler(prediction_type="sample"), **words
    ).save_pretrained(path)
    return path


def diffusion(path: Path) -> Path:
    """A folder of a StableDiffusionUpscalePipeline."""
    import torch
    from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline, UNet2DConditionModel

    words = _words()
    torch.manual_seed(7)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        in_channels=7,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=words["text_encoder"].config.hidden_size,
        attention_head_dim=8,
        use_linear_projection=True,
        num_class_embeds=400,
    )
    StableDiffusionUpscalePipeline(
        vae=_autoencoder(3, 0.08333),
        unet=unet,
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(prediction_type="v_prediction"),
        max_noise_level=350,
        **words,
    ).save_pretrained(path)
    return path
