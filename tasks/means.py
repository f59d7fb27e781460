"""A model's means put into force on a loaded diffusers pipeline, each in a function of its own."""

import inspect
from typing import Any

from domain.errors import DomainError
from domain.means import Means


def dtype(means: Means, device: str) -> Any:
    """The torch type of the weights. Raises DomainError for one that the device cannot use."""
    import torch

    kind = device.partition(":")[0]
    name = means.dtype
    if name == "auto":
        name = {"cpu": "fp32", "cuda": "bf16" if _has_bf16(device) else "fp16"}.get(kind, "fp16")
    if name == "bf16" and kind == "cuda" and not _has_bf16(device):
        raise DomainError("dtype=bf16 needs a GPU of compute capability 8.0 or newer. Use fp16.")
    if name == "fp16" and kind == "cpu":
        raise DomainError("dtype=fp16 needs a GPU. Use fp32 or bf16 on a CPU.")
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def _has_bf16(device: str) -> bool:
    """Whether the GPU computes in bfloat16 itself; before compute capability 8.0 it is only imitated."""
    import torch

    return device.startswith("cuda") and torch.cuda.get_device_capability(device)[0] >= 8


def place(pipe: Any, means: Means, device: str) -> dict[str, Any]:
    """Put the pipeline on the device with its means. Returns those in force, less the dtype.

    Raises DomainError for what this model or device cannot do.
    """
    force: dict[str, Any] = {}
    denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if means.fuse:
        _fuse(denoiser)
        force["fuse"] = True
    if _wants_channels_last(pipe, means, device):
        _lay_channels_last(pipe)
        force["channels_last"] = True
    force |= ready_vae(pipe, means)
    if means.first_block_cache:
        _cache(pipe, means.first_block_cache)
        force["first_block_cache"] = means.first_block_cache
    if means.offload:
        _offload(pipe, device)
        force["offload"] = True
    else:
        pipe.to(device)
    if means.compile:
        _compile(denoiser)
        force["compile"] = True
    return force


def _fuse(denoiser: Any) -> None:
    """Query, key and value as one product. The separate weights stay in memory beside it."""
    if not hasattr(denoiser, "fuse_qkv_projections"):
        raise DomainError("fuse=1 does nothing for this model: its projections cannot be fused.")
    denoiser.fuse_qkv_projections()


def _wants_channels_last(pipe: Any, means: Means, device: str) -> bool:
    has_unet = getattr(pipe, "unet", None) is not None
    return has_unet and (device.startswith("cuda") if means.channels_last is None else means.channels_last)


def _lay_channels_last(pipe: Any) -> None:
    for part in (pipe.unet, getattr(pipe, "vae", None)):
        if part is not None:
            lay_channels_last(part)


def lay_channels_last(part: Any, wanted: bool = True) -> None:
    """Let convolutions read the channels of a pixel side by side, as tensor cores want them, or no longer; those over
    frames too, which models of videos have beside them, stay as they are."""
    import torch

    for weight in part.parameters():
        if weight.dim() == 4:
            layout = torch.channels_last if wanted else torch.contiguous_format
            weight.data = weight.data.to(memory_format=layout)


def ready_vae(pipe: Any, means: Means) -> dict[str, Any]:
    """Let its VAE decode pictures one by one, or in overlapping tiles. Returns what is in force."""
    vae = getattr(pipe, "vae", None)
    if vae is not None and hasattr(vae, "spatial_scale_factor"):
        # AutoencoderTiny takes it to be 8, however often it halves a side
        vae.spatial_scale_factor = pipe.vae_scale_factor
    force: dict[str, Any] = {}
    for name, wanted in (("slicing", means.vae_slicing), ("tiling", means.vae_tiling)):
        if wanted:
            try:
                getattr(vae, f"enable_{name}")()
            except (AttributeError, NotImplementedError) as error:
                raise DomainError(f"vae_{name}=1 does nothing for this model: its decoder cannot do that.") from error
            force[f"vae_{name}"] = True
    return force


def _cache(pipe: Any, threshold: float) -> None:
    """Skip the blocks after the first in passes where the first changes little. An approximation."""
    from diffusers import FirstBlockCacheConfig

    transformer: Any = getattr(pipe, "transformer", None)
    if not hasattr(transformer, "enable_cache") or not tells_halves_apart(type(pipe)):
        raise DomainError("first_block_cache does not work with this kind of model.")
    transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))  # type: ignore[no-untyped-call]


def tells_halves_apart(family: type[Any]) -> bool:
    """Whether the pipeline tells a cache which half of the guidance runs; without that, caches fail."""
    return "cache_context" in inspect.getsource(family.__call__)


def _offload(pipe: Any, device: str) -> None:
    """Keep the weights in RAM; each layer visits the GPU for its turn, the next one on its way meanwhile."""
    import torch

    if not device.startswith("cuda"):
        raise DomainError(f"offload=1 needs a CUDA GPU, and this worker runs on {device}.")
    cpu, gpu = torch.device("cpu"), torch.device(device)
    pipe.enable_group_offload(onload_device=gpu, offload_device=cpu, offload_type="leaf_level", use_stream=True)


def _compile(denoiser: Any) -> None:
    """Compile the part that runs in every pass. It happens at the first call: the warm-up."""
    denoiser.compile()
