"""How a model is run: numbers, memory layout, compilation, offload. Chosen by the host for each model. Pure."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from domain import weights
from domain.errors import Invalid

FEW: dict[str, tuple[str, tuple[str, ...]]] = {
    weights.LANGUAGE: ("a language model", ("dtype",)),
    weights.GENERATOR: ("a generator", ("dtype",)),
    weights.SPEECH: ("a model that speaks, for it runs in fp32", ()),
    weights.HEARING: ("a model that listens, for it runs in fp32", ()),
    weights.LORA: ("a LoRA", ()),
    weights.VAE: ("a VAE, for it runs as the model that it is taken for", ()),
    weights.UPSCALER: ("a model that enlarges", ("dtype",)),
    weights.RENDERER: ("a model of 3D objects", ("dtype",)),
}
"""Parts whose models can have these means alone, and what such a model is called."""
FLAGS = ("channels_last", "fuse", "compile", "offload", "vae_slicing", "vae_tiling")
MAX_THRESHOLD = 0.5


class Means(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a host chose for a model; what is left out is the default of the device. docs/models.md tells each one."""

    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    channels_last: bool | None = None
    """None: on a CUDA GPU, for models with a U-Net."""
    fuse: bool = False
    compile: bool = False
    offload: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False
    first_block_cache: float = 0.0
    """How much the first block may change from pass to pass for the others to be skipped; 0 skips none."""

    @property
    def look(self) -> dict[str, Any]:
        """The means that change a picture beyond rounding. They count in a result's identity."""
        return {"first_block_cache": self.first_block_cache} if self.first_block_cache else {}


PLAIN = Means()
"""The defaults of the device."""


def parse(text: str) -> Means:
    """Means from `dtype=bf16,compile=1`, separated by commas or semicolons. Raises Invalid naming what is wrong."""
    given: dict[str, Any] = {}
    for entry in filter(None, (part.strip() for part in text.replace(";", ",").split(","))):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if name not in Means.__struct_fields__:
            known = ", ".join(Means.__struct_fields__)
            raise Invalid({"means": f"there is no {name!r}; there are {known}"})
        if not equals or not value:
            raise Invalid({"means": f"{name} needs a value, such as {name}=1"})
        if name in given:
            raise Invalid({"means": f"{name} is given twice"})
        given[name] = _value(name, value)
    try:
        found = msgspec.convert(given, Means)
    except msgspec.ValidationError as error:
        raise Invalid({"means": f"dtype must be auto, fp32, fp16 or bf16, not {given.get('dtype')!r}"}) from error
    _check(found)
    return found


def spell(means: Means) -> str:
    """The means as `parse` reads them, separated by semicolons, as the MODELS setting has them."""
    given = msgspec.to_builtins(means)
    return ";".join(f"{name}={int(value) if isinstance(value, bool) else value}" for name, value in given.items())


def _value(name: str, text: str) -> Any:
    if name in FLAGS:
        if text not in ("0", "1"):
            raise Invalid({"means": f"{name} must be 0 or 1, not {text!r}"})
        return text == "1"
    if name == "first_block_cache":
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= MAX_THRESHOLD:
            raise Invalid({"means": f"{name} must be a number from 0 to {MAX_THRESHOLD}, not {text!r}"})
        return value
    return text


def _check(means: Means) -> None:
    if means.compile and means.offload:
        raise Invalid({"means": "compile and offload do not go together: choose speed or a small card"})
    if means.compile and means.first_block_cache:
        raise Invalid({"means": "compile and first_block_cache do not go together: choose one"})
    if means.offload and means.first_block_cache:
        raise Invalid({"means": "offload and first_block_cache do not go together: choose one"})


def check_family(means: Means, parts: set[str]) -> None:
    """Refuse what a model of these parts cannot do. Raises Invalid."""
    for part in parts & FEW.keys():
        whose, names = FEW[part]
        if means != Means(**{name: getattr(means, name) for name in names}):
            chosen = f"only {' and '.join(names)}" if names else "none"
            raise Invalid({"means": f"{chosen} can be chosen for {whose}"})
    if means.first_block_cache and "transformer" not in parts:
        raise Invalid({"means": "first_block_cache needs a model with a transformer; this one has none"})
    if means.channels_last and parts and "unet" not in parts:
        raise Invalid({"means": "channels_last is for models with a U-Net; this one has none"})
