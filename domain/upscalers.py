"""Families of models that enlarge pictures, and which fields of an `upscale` step each of them takes. Pure."""

from collections.abc import Mapping
from typing import Any

RRDB = "RRDBNet"
"""Networks of the ESRGAN class, which look at the picture alone."""
LATENT = "StableDiffusionLatentUpscalePipeline"
DIFFUSION = "StableDiffusionUpscalePipeline"
LARGEST = 4
"""The largest factor that a step can ask for."""
NATIVE = {LATENT: 2, DIFFUSION: 4}
"""How many times wider and higher these families draw, whatever the weights."""
WORDED = frozenset({"prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "seed"})
TAKEN: dict[str, frozenset[str]] = {
    "": frozenset({"method"}),
    RRDB: frozenset({"model"}),
    LATENT: WORDED | {"model"},
    DIFFUSION: WORDED | {"model", "noise_level"},
}
"""The fields that count with a model of this family, beside those that always do; "" is without a model."""
OPTIONAL = frozenset().union(*TAKEN.values())
LATER = OPTIONAL - {"method"}
"""Fields that recipes saved before there were models do not have."""
USUAL: dict[str, int | float] = {"num_inference_steps": 75, "guidance_scale": 9.0, "noise_level": 20}
"""What is taken where these are left empty, as in diffusers."""


def unused(family: str) -> frozenset[str]:
    """The fields that make no difference with a model of this family."""
    return OPTIONAL - TAKEN.get(family, OPTIONAL)


def idle(field: str, step: Mapping[str, Any]) -> bool:
    """Whether a page need not tell this field of a stored step: the filter, where a model enlarges."""
    return field == "method" and bool(step.get("model"))


def too_far(name: str, native: int, factor: int) -> str:
    """The words for a factor that is more than the model's own; "" for one that is not."""
    return f"{name} enlarges {native} times, not {factor}" if factor > native else ""
