"""A still denoiser with motion modules in it: what AnimateDiff does to a U-Net, for every U-Net of diffusers.

diffusers' own `UNetMotionModel.from_unet2d` leaves out some of what a `UNet2DConditionModel` can have, such as the
starter's pooled text and its scale and shift of times.
"""

from typing import Any

import diffusers
import torch
from diffusers.models.unets.unet_motion_model import UNetMotionOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn


class MovingUNet(nn.Module):
    """A `UNet2DConditionModel` that sees all frames of a clip, (clips, channels, frames, height, width), at once.

    Each frame goes through the layers it always had. After each attention, or after each residual layer of a block
    without attention, the adapter's motion module lets every place look at itself in the other frames (Guo et al. 2023,
    "AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without Specific Tuning"). The still U-Net
    keeps its weights, and draws what it always drew when it is called by itself.
    """

    def __init__(self, still: Any, motion: Any) -> None:
        """`still` is a UNet2DConditionModel, `motion` a MotionAdapter. Raises ValueError for one that was made for a
        U-Net of other blocks or channels."""
        super().__init__()
        self.still = still
        self.motion = motion
        self._frames = 0
        """Of the clip that is seen now; 0 while the still U-Net is called by itself."""
        for layer, module in _pairs(still, motion):
            layer.register_forward_hook(self._then(module))

    @property
    def config(self) -> Any:
        """The still U-Net's."""
        return self.still.config

    @property
    def dtype(self) -> Any:
        """The still U-Net's."""
        return self.still.dtype

    @property
    def device(self) -> Any:
        """The still U-Net's."""
        return self.still.device

    def forward(self, sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, **rest: Any) -> UNetMotionOutput:
        """What is predicted of each frame. `encoder_hidden_states` stand there once for each, those of a clip side by
        side; `timestep` is one, or one for each clip."""
        clips, frames = sample.shape[0], sample.shape[2]
        if getattr(timestep, "ndim", 0):
            timestep = timestep.expand(clips).repeat_interleave(frames)
        self._frames = frames
        try:
            found = self.still(sample.transpose(1, 2).flatten(0, 1), timestep, encoder_hidden_states, **rest).sample
        finally:
            self._frames = 0
        return UNetMotionOutput(sample=found.unflatten(0, (clips, frames)).transpose(1, 2))

    def _then(self, module: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, found: Any) -> Any:
            if not self._frames:
                return found
            if isinstance(found, tuple):
                return (module(found[0], num_frames=self._frames), *found[1:])
            return module(found, num_frames=self._frames)

        return hook


def _pairs(still: Any, motion: Any) -> list[tuple[nn.Module, nn.Module]]:
    """Each layer of the U-Net with the motion module that comes after it; one without any attention says nothing."""
    blocks = [*zip(still.down_blocks, motion.down_blocks, strict=True)]
    blocks += zip(still.up_blocks, motion.up_blocks, strict=True)
    if motion.mid_block is not None:
        blocks.append((still.mid_block, motion.mid_block))
    for block, modules in blocks:
        if any(one.norm.num_channels != block.resnets[0].out_channels for one in modules.motion_modules):
            raise ValueError("its modules have other channels than the layers before them")
    return [
        pair
        for block, modules in blocks
        for pair in zip(getattr(block, "attentions", None) or block.resnets, modules.motion_modules, strict=True)
        if pair[1].transformer_blocks
    ]


def mixed(shape: tuple[int, ...], share: float, generators: Any, **where: Any) -> Tensor:
    """Noise (clips, channels, frames, height, width) of variance 1, of which the frames of a clip have a share in
    common (Ge et al. 2023, "Preserve Your Own Correlation: A Noise Prior for Video Diffusion Models")."""
    common = randn_tensor((*shape[:2], 1, *shape[3:]), generator=generators, **where)
    own = randn_tensor(shape, generator=generators, **where)
    made: Tensor = share**0.5 * common + (1 - share) ** 0.5 * own
    return made


class AnimateDiffPipeline(diffusers.AnimateDiffPipeline):
    """One that starts from noise which its frames share, as its motion adapter was taught to."""

    def prepare_latents(
        self,
        batch_size: int,
        num_channels_latents: int,
        num_frames: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: Any,
        latents: Tensor | None = None,
    ) -> Tensor:
        """The noise that every frame begins as."""
        own: Any = self
        sides = (height // own.vae_scale_factor, width // own.vae_scale_factor)
        shape, share = (batch_size, num_channels_latents, num_frames, *sides), own.motion_adapter.config.shared_noise
        noise = mixed(shape, share, generator, device=device, dtype=dtype)
        scaled: Tensor = noise * own.scheduler.init_noise_sigma
        return scaled


class AnimateDiffVideoToVideoPipeline(diffusers.AnimateDiffVideoToVideoPipeline):
    """The same that starts from a picture, which all of its video's frames are."""

    def prepare_latents(
        self, *, video: Tensor, timestep: Tensor, dtype: torch.dtype, device: torch.device, generator: Any, **_: Any
    ) -> Tensor:
        """The picture behind noise, once for each frame; `video` is (1, frames, 3, height, width)."""
        own: Any = self
        encoded: Tensor = own.encode_video(video[0, :1], generator[0]) * own.vae.config.scaling_factor
        shape = (1, encoded.shape[1], video.shape[1], *encoded.shape[2:])
        noise = mixed(shape, own.motion_adapter.config.shared_noise, generator, device=device, dtype=dtype)
        noisy: Tensor = own.scheduler.add_noise(encoded[:, :, None].to(dtype).expand(shape), noise, timestep)
        return noisy
