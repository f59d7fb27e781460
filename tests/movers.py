"""Small models with random weights that draw animations, in the layouts of diffusers."""

from pathlib import Path

import torch

from domain.models import STARTER_PATH
from domain.weights import MOTION
from tests import checkpoints

FRAMES = 6
"""That the motion modules can tell apart."""


def adapter(path: Path, channels: tuple[int, ...]) -> Path:
    """A motion adapter for a U-Net of these channels, changing much."""
    from diffusers import MotionAdapter

    torch.manual_seed(3)
    made = MotionAdapter(
        block_out_channels=channels,
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=32,
        motion_max_seq_length=FRAMES,
    )
    made.save_pretrained(path)
    return path


def beside(path: Path) -> Path:
    """A folder of Stable Diffusion with a motion adapter beside its parts, which its index does not name."""
    adapter(checkpoints.folder(path) / MOTION, (32, 64))
    return path


def whole(path: Path) -> Path:
    """A folder of AnimateDiff, as diffusers saves it."""
    from diffusers import AnimateDiffPipeline, MotionAdapter, StableDiffusionPipeline

    still = StableDiffusionPipeline.from_pretrained(checkpoints.folder(path / "still"), dtype=torch.float32)
    motion = MotionAdapter.from_pretrained(adapter(path / "motion", (32, 64)))
    parts = {name: still.components[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    AnimateDiffPipeline(**parts, motion_adapter=motion).save_pretrained(path / "whole")
    return path / "whole"


def video(path: Path) -> Path:
    """A folder shaped like Stable Video Diffusion, far smaller."""
    from diffusers import (
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        StableVideoDiffusionPipeline,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(3)
    sees = CLIPVisionConfig(
        hidden_size=32,
        projection_dim=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=37,
        patch_size=32,
    )
    StableVideoDiffusionPipeline(
        vae=AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4
        ),
        image_encoder=CLIPVisionModelWithProjection(sees),
        unet=UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=8,
            in_channels=8,
            out_channels=4,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            cross_attention_dim=32,
            num_attention_heads=(2, 4),
            projection_class_embeddings_input_dim=96,
            addition_time_embed_dim=32,
            num_frames=FRAMES,
        ),
        scheduler=EulerDiscreteScheduler.from_pretrained(STARTER_PATH / "scheduler"),
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
    ).save_pretrained(path)
    return path
