"""Small checkpoints with random weights, in the two layouts that models come in.

The single file's names are those of CompVis' latent-diffusion code, which checkpoints of
Stable Diffusion 1, 2 and XL keep to this day, and those of OpenCLIP for the text encoders that
were made with it; diffusers' single-file loader translates them back.
"""

import re
import string
from collections.abc import Container
from pathlib import Path
from typing import Any

from domain.models import STARTER_PATH

_LAYERS = 1
"""ResNet layers in each block of the small U-Net."""

_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_WORDS = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPEN_CLIP = {
    "embeddings.token_embedding.": "token_embedding.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.": "ln_final.",
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "self_attn.": "attn.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
}
_OPEN_WIDTH = 64
"""Of our small text encoders of OpenCLIP's kind; the starter's, of CLIP's, is twice as wide."""
_LAST = 23
"""The last layer of OpenCLIP's ViT-H: the files of Stable Diffusion 2 have it, though nothing ever reads it."""


def folder(path: Path) -> Path:
    """A diffusers folder shaped like Stable Diffusion 1.x, far smaller, with the starter's text encoder."""
    from diffusers import DDIMScheduler
    from transformers import CLIPTextModel

    words = CLIPTextModel.from_pretrained(STARTER_PATH / "text_encoder")
    return _stable_diffusion(path, words, DDIMScheduler.from_pretrained(STARTER_PATH / "scheduler"))


def sd2(path: Path) -> Path:
    """A diffusers folder shaped like Stable Diffusion 2.1, far smaller: a text encoder of OpenCLIP's kind, of another
    width than that of 1.x, linear layers around the attention, and v-prediction."""
    import torch
    from diffusers import DDIMScheduler
    from transformers import CLIPTextModel

    torch.manual_seed(6)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )
    return _stable_diffusion(path, CLIPTextModel(_open_clip_config()), scheduler, use_linear_projection=True)


def _open_clip_config() -> Any:
    """Half as wide as the starter's text encoder, which knows the same words."""
    from transformers import CLIPTextConfig

    known = CLIPTextConfig.from_pretrained(STARTER_PATH / "text_encoder").to_dict()
    return CLIPTextConfig(**{**known, "hidden_act": "gelu", "hidden_size": _OPEN_WIDTH, "projection_dim": _OPEN_WIDTH})


def _stable_diffusion(path: Path, text_encoder: Any, scheduler: Any, **unet: Any) -> Path:
    import torch
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTokenizer

    torch.manual_seed(7)
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            sample_size=64,
        ),
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer"),
        unet=UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=_LAYERS,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=text_encoder.config.hidden_size,
            attention_head_dim=4,
            sample_size=8,
            **unet,
        ),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(path)
    return path


def repainting(path: Path) -> Path:
    """The same as one that was made for inpainting: its U-Net takes a picture and a mask along with the noise."""
    from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline, UNet2DConditionModel

    plain = StableDiffusionPipeline.from_pretrained(folder(path.with_name("plain")))
    plain.register_modules(unet=UNet2DConditionModel.from_config({**plain.unet.config, "in_channels": 9}))
    StableDiffusionInpaintPipeline(**plain.components, requires_safety_checker=False).save_pretrained(path)
    return path


def sdxl(path: Path) -> Path:
    """A diffusers folder shaped like Stable Diffusion XL, far smaller: two text encoders, the second of OpenCLIP's kind
    and of another width, and a size among what the U-Net is told."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    first = CLIPTextModel.from_pretrained(STARTER_PATH / "text_encoder", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer")
    torch.manual_seed(7)
    second = CLIPTextModelWithProjection(_open_clip_config())
    StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=_LAYERS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=second.config.projection_dim + 6 * 8,
            cross_attention_dim=first.config.hidden_size + second.config.hidden_size,
            sample_size=32,
        ),
        scheduler=EulerDiscreteScheduler.from_pretrained(STARTER_PATH / "scheduler"),
    ).save_pretrained(path)
    return path


def sd3(path: Path) -> Path:
    """A diffusers folder shaped like Stable Diffusion 3, far smaller and without its T5, which may be left out."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    config = CLIPTextModel.from_pretrained(STARTER_PATH / "text_encoder").config
    tokenizer = CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer")
    torch.manual_seed(7)
    StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=32,
            patch_size=1,
            in_channels=16,
            out_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=2 * config.projection_dim,
            pooled_projection_dim=2 * config.projection_dim,
        ),
        vae=_autoencoder(16),
        text_encoder=CLIPTextModelWithProjection(config),
        text_encoder_2=CLIPTextModelWithProjection(config),
        text_encoder_3=None,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=None,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(path)
    return path


def _autoencoder(latent_channels: int = 4) -> Any:
    """One of few parameters that halves a picture's sides once."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        shift_factor=0.0,
        scaling_factor=1.0,
        sample_size=64,
    )


def flux(path: Path) -> Path:
    """A diffusers folder shaped like Flux, of a few thousand parameters. Its T5 reads letters."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

    text_encoder = CLIPTextModel.from_pretrained(STARTER_PATH / "text_encoder", dtype=torch.float32)
    letters = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase]
    torch.manual_seed(7)
    pipe = FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=text_encoder.config.hidden_size,
            axes_dims_rope=(4, 4, 8),
        ),
        vae=_autoencoder(),
        text_encoder=text_encoder,
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=len(letters), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
        ),
        tokenizer=CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer"),
        tokenizer_2=T5TokenizerFast(vocab=[(letter, 0.0) for letter in letters], extra_ids=0),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    pipe.save_pretrained(path)
    return path


def full_size(path: Path, device: str = "cpu") -> Path:
    """A diffusers folder of the very shape of Stable Diffusion 1.5 (860 million parameters in its U-Net), random
    weights in float32 as that came, with the starter's tokenizer. `device`: where the weights are drawn."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(7)
    words = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768
    )
    with torch.device(device):
        parts = {
            "unet": UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
            "vae": AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=4,
                sample_size=512,
            ),
            "text_encoder": CLIPTextModel(words),
        }
    pipe = StableDiffusionPipeline(
        **parts,
        tokenizer=CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer", model_max_length=77),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(path)
    return path


def single_file(source: Path, path: Path) -> Path:
    """The folder's weights as one file, and its configuration without weights in a folder beside it."""
    import shutil

    from safetensors.torch import load_file, save_file

    parts = {file.parent.name: load_file(file) for file in source.glob("*/*.safetensors")}
    attending = {name.partition(".attentions.")[0] for name in parts["unet"] if ".attentions." in name}
    tensors = {f"model.diffusion_model.{of_unet(name, attending)}": tensor for name, tensor in parts["unet"].items()}
    tensors |= {f"first_stage_model.{name}": tensor for name, tensor in _old_vae(parts["vae"]).items()}
    tensors |= _words(parts["text_encoder"], parts.get("text_encoder_2"))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    shutil.copytree(source, path.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    return path


def _words(first: dict[str, Any], second: dict[str, Any] | None) -> dict[str, Any]:
    """The text encoders of XL where there are two, that of 2 where there is one of its width, else that of 1."""
    if second is not None:
        return _clip("conditioner.embedders.0", first) | _open_clip("conditioner.embedders.1", second)
    if first["final_layer_norm.weight"].shape == (_OPEN_WIDTH,):
        layer = {name: tensor.clone() for name, tensor in first.items() if ".layers.0." in name}
        unread = {name.replace(".0.", f".{_LAST}."): tensor for name, tensor in layer.items()}
        return _open_clip("cond_stage_model", first | unread)
    return _clip("cond_stage_model", first)


def _clip(stem: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {f"{stem}.transformer.text_model.{name}": tensor for name, tensor in tensors.items()}


def _open_clip(stem: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """Queries, keys and values are one tensor there, and the last projection lies on its side."""
    import torch

    made: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
        name = name.removeprefix("text_model.").replace(".q_proj.", ".in_proj_")
        for ours, theirs in _OPEN_CLIP.items():
            name = name.replace(ours, theirs)
        if name == "text_projection.weight":
            name, tensor = "text_projection", tensor.T
        made[f"{stem}.model.{name}"] = tensor
    return made


def vae_file(source: Path, path: Path, *, old: bool) -> Path:
    """The VAE of such a folder as one file, in the names of diffusers, or in the older ones."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(next((source / "vae").glob("*.safetensors")))
    if old:
        tensors = _old_vae(tensors)
        tensors["model_ema.decay"] = tensors["post_quant_conv.bias"].clone()  # as published files may have it
    save_file(tensors, path)
    return path


def kl(path: Path, channels: int = 4, levels: int = 4, scaling_factor: float = 0.18215, seed: int = 11) -> Path:
    """An AutoencoderKL alone, whose latents have so many channels and whose sides shrink `2 ** (levels - 1)` times."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    AutoencoderKL(
        block_out_channels=(32,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        scaling_factor=scaling_factor,
        sample_size=64,
    ).save_pretrained(path)
    return path


def tiny(path: Path, levels: int = 4) -> Path:
    """An AutoencoderTiny alone, of the shape of the starter's with four levels."""
    import torch
    from diffusers import AutoencoderTiny

    torch.manual_seed(12)
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * levels,
        decoder_block_out_channels=(8,) * levels,
        num_encoder_blocks=(1,) * levels,
        num_decoder_blocks=(1,) * levels,
    ).save_pretrained(path)
    return path


def of_unet(name: str, attending: Container[str] = ()) -> str:
    """The first name of a U-Net's part. `attending`: the blocks that have attention."""
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            return _resnet(theirs + name.removeprefix(ours))
    found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    assert found is not None, name
    side, block, part, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if part == "downsamplers":
        return f"input_blocks.{(_LAYERS + 1) * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
    if part == "upsamplers":
        place = 2 if f"up_blocks.{block}" in attending else 1
        return f"output_blocks.{(_LAYERS + 1) * block + _LAYERS}.{place}.{rest}"
    number = (_LAYERS + 1) * block + layer + (side == "down")
    blocks = "input_blocks" if side == "down" else "output_blocks"
    return _resnet(f"{blocks}.{number}.{0 if part == 'resnets' else 1}.{rest}")


def _resnet(name: str) -> str:
    for ours, theirs in _UNET_RESNET.items():
        name = re.sub(rf"(blocks\.\d+\.0|middle_block\.[02])\.{ours}\.", rf"\1.{theirs}.", name)
    return name


def _old_vae(tensors: dict[str, Any]) -> dict[str, Any]:
    """The layers around the attention were convolutions once."""
    last = max(int(found[1]) for name in tensors if (found := re.match(r"decoder\.up_blocks\.(\d)", name)))
    wide = {name for name, tensor in tensors.items() if "attentions" in name and tensor.ndim == 2}
    return {
        _of_vae(name, last): tensor[:, :, None, None].contiguous() if name in wide else tensor
        for name, tensor in tensors.items()
    }


def _of_vae(name: str, last: int) -> str:
    name = re.sub(r"encoder\.down_blocks\.(\d)\.resnets\.", r"encoder.down.\1.block.", name)
    name = re.sub(r"encoder\.down_blocks\.(\d)\.downsamplers\.0\.", r"encoder.down.\1.downsample.", name)
    name = re.sub(r"decoder\.up_blocks\.(\d)\.resnets\.", lambda at: f"decoder.up.{last - int(at[1])}.block.", name)
    name = re.sub(
        r"decoder\.up_blocks\.(\d)\.upsamplers\.0\.", lambda at: f"decoder.up.{last - int(at[1])}.upsample.", name
    )
    for ours, theirs in _VAE_WORDS.items():
        name = re.sub(rf"(^|\.){re.escape(ours)}\.", rf"\1{theirs}.", name)
    return name
