"""VAEs, which turn a model's latents into a picture and back, taken instead of the model's own. Pure."""

from collections.abc import Mapping
from typing import Any

KL = "AutoencoderKL"
TINY = "AutoencoderTiny"
FAMILIES = (KL, TINY)
MOST_LEVELS = 8
"""Of a VAE, whose latents are 128 times narrower then."""
MOST_CHANNELS = 1_024
MOST = 1e6
"""Of a scaling or shift: a configuration may tell any number, and some that are none."""
Latents = Mapping[str, float]
"""What latents are like: `channels`; `shrinks`, how many pixels of a side are one of them; `scaling` and `shift` by
which they were brought to the range that a model draws in, as far as that is told."""


def latents(family: str, config: Mapping[str, Any]) -> Latents:
    """What the configuration of a VAE tells of its latents; nothing for one that is not of these families.

    A tiny one makes and takes latents as the model draws them, so that its own scaling says nothing.
    """
    blocks = config.get("encoder_block_out_channels") or config.get("block_out_channels")
    channels = config.get("latent_channels", 4)
    if family not in FAMILIES or not isinstance(blocks, list | tuple) or not 1 <= len(blocks) <= MOST_LEVELS:
        return {}
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
        return {}
    told: dict[str, Any] = {"channels": channels, "shrinks": 2 ** (len(blocks) - 1)}
    if family == KL:
        told |= {"scaling": config.get("scaling_factor", 0.18215), "shift": config.get("shift_factor") or 0.0}
    return {name: value for name, value in told.items() if type(value) in (int, float) and abs(value) < MOST}


def misfit(model: Latents, vae: Latents) -> str:
    """What keeps a VAE from taking a model's latents, in words; "" for nothing, as far as both are known."""
    both = {
        name: (model[name], vae[name])
        for name in ("channels", "shrinks", "scaling", "shift")
        if {name} <= model.keys() & vae.keys()
    }
    off = {name: pair for name, pair in both.items() if abs(pair[0] - pair[1]) > 1e-4}
    if "channels" in off:
        return "its latents have {1} channels, and the model’s have {0}".format(*off["channels"])
    if "shrinks" in off:
        return "it makes {1} pixels of a latent’s side, and the model needs {0}".format(*off["shrinks"])
    if off:
        name, (wanted, given) = next(iter(off.items()))
        return f"its latents have a {name} of {given:g}, and the model’s one of {wanted:g}"
    return ""
