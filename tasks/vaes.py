"""VAEs put into a loaded model in place of its own, and its own put back.

torch and diffusers are imported when first needed, so that importing a step costs nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain import vaes, weights
from domain.errors import DomainError
from domain.vaes import Latents
from tasks import means

if TYPE_CHECKING:
    from tasks.loading import Model

_DOWN = re.compile(r"encoder\.(?:down_blocks|down)\.(\d+)\.(?:resnets|block)\.(\d+)\.conv1\.weight")


@dataclass(frozen=True, slots=True)
class Vae:
    """A loaded VAE, and what its latents are like."""

    module: Any
    latents: Latents

    @property
    def components(self) -> dict[str, Any]:
        """Its parts, as a pipeline of diffusers names them."""
        return {"vae": self.module}


def opened(path: Path, dtype: Any) -> Vae:
    """The VAE of a folder or of one file. Raises DomainError for tensors of another make."""
    import diffusers

    family = weights.family(path)
    if path.is_dir():
        config = json.loads((path / "config.json").read_text("utf-8"))
        module = getattr(diffusers, family).from_pretrained(
            str(path), torch_dtype=dtype, use_safetensors=True, local_files_only=True, variant=None
        )
        return Vae(module.eval(), vaes.latents(family, config))
    return _of_file(path, family, dtype)


def _of_file(path: Path, family: str, dtype: Any) -> Vae:
    """Of a file without a configuration: the sizes are read from the tensors' shapes."""
    import diffusers
    import torch
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from safetensors.torch import load_file

    tensors = load_file(path)
    try:
        config = (
            _config(tensors) if family == vaes.KL else {"latent_channels": tensors["decoder.layers.0.weight"].shape[1]}
        )
        with torch.device("meta"):  # shapes that a file only claims take no memory
            module = getattr(diffusers, family)(**config)
        if "encoder.down.0.block.0.conv1.weight" in tensors:
            tensors = convert_ldm_vae_checkpoint(tensors, module.config)  # type: ignore[no-untyped-call]
        module.load_state_dict(tensors, assign=True)
    except (KeyError, RuntimeError, ValueError) as error:
        raise DomainError(f"its weights are not those of an {family}.") from error
    return Vae(module.to(dtype).eval(), weights.latents_of(path))


def _config(tensors: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {
        (int(found[1]), int(found[2])): tensor.shape[0]
        for name, tensor in tensors.items()
        if (found := _DOWN.fullmatch(name))
    }
    blocks = next(number for number in count() if (number, 0) not in sizes)
    return {
        "block_out_channels": [sizes[number, 0] for number in range(blocks)],
        "down_block_types": ["DownEncoderBlock2D"] * blocks,
        "up_block_types": ["UpDecoderBlock2D"] * blocks,
        "layers_per_block": sum(block == 0 for block, _ in sizes),
        "latent_channels": tensors["decoder.conv_in.weight"].shape[1],
        "use_quant_conv": "quant_conv.weight" in tensors,
        "use_post_quant_conv": "post_quant_conv.weight" in tensors,
    }


def wear(model: "Model", wanted: "Model | None") -> None:
    """Let the model draw with this VAE, or with its own. Raises DomainError with the reason why it cannot."""
    if wanted is not None:
        _put_in(model, wanted)
    elif model.vae is not None:
        _set(model, model.vae)
        model.vae = None


def _put_in(model: "Model", wanted: "Model") -> None:
    own = model.vae or getattr(model.pipe, "vae", None)
    if own is None:
        raise DomainError(f"The model “{model.ref.name}” has no decoder that another could stand in for.")
    if type(own).__name__ not in vaes.FAMILIES:
        raise DomainError(f"The model “{model.ref.name}” has a decoder of another kind, which none stands in for.")
    if model.ref.means.offload:
        raise DomainError(f"The model “{model.ref.name}” runs with offload and takes no other decoder so.")
    if words := vaes.misfit(vaes.latents(type(own).__name__, own.config), wanted.pipe.latents):
        raise DomainError(f"The decoder “{wanted.ref.name}” does not fit the model “{model.ref.name}”: {words}.")
    vae = wanted.pipe.module
    if "scaling" not in wanted.pipe.latents and type(vae).__name__ == type(own).__name__ == vaes.KL:
        vae.register_to_config(scaling_factor=own.config.scaling_factor, shift_factor=own.config.shift_factor)
    model.vae = own
    _set(model, vae)
    means.ready_vae(model.pipe, model.ref.means)
    means.lay_channels_last(vae, "channels_last" in model.means)  # it may come from a model that is run otherwise


def _set(model: "Model", vae: Any) -> None:
    for pipe in {id(pipe): pipe for pipe in (model.pipe, *model.others.values())}.values():
        pipe.vae = vae
