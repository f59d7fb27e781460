"""LoRAs put on a loaded model and taken off again, by diffusers and peft."""

import contextlib
import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import DomainError
from domain.weights import revision_of
from tasks.messages import LoraRef

if TYPE_CHECKING:
    from tasks.loading import Model

NOT_WITH = ("compile", "fuse", "first_block_cache")
"""Means of a model whose layers are no longer those that a LoRA changes."""


def wear(model: "Model", wanted: Sequence[LoraRef]) -> None:
    """Let the model draw with these LoRAs and no others. Raises DomainError with the reason why it cannot."""
    if list(wanted) == model.loras:
        return
    if model.loras:
        _take_off(model)
    if not wanted:
        return
    if not hasattr(model.pipe, "load_lora_weights"):
        raise DomainError(f"The model “{model.ref.name}” takes no LoRAs.")
    if hindering := [name for name in NOT_WITH if getattr(model.ref.means, name)]:
        raise DomainError(f"The model “{model.ref.name}” runs with {hindering[0]} and takes no LoRAs so.")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several at once are meant
            for number, lora in enumerate(wanted):
                _put_on(model, lora, f"lora{number}")
        model.pipe.set_adapters([f"lora{number}" for number in range(len(wanted))], [lora.weight for lora in wanted])
    except BaseException:
        _take_off(model)
        raise
    model.loras = list(wanted)


def _put_on(model: "Model", lora: LoraRef, adapter: str) -> None:
    tensors = _opened(lora)
    try:
        model.pipe.load_lora_weights(tensors, adapter_name=adapter)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise _misfit(model, lora) from error
    if not any(adapter in names for names in model.pipe.get_list_adapters().values()):
        raise _misfit(model, lora)


def _misfit(model: "Model", lora: LoraRef) -> DomainError:
    return DomainError(
        f"The LoRA “{lora.name}” does not fit the model “{model.ref.name}”: it was made for one of another shape."
    )


def _opened(lora: LoraRef) -> dict[str, Any]:
    """The tensors, of the very bytes that were hashed."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(lora.path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DomainError(f"The LoRA “{lora.name}” cannot be read: its file is not on this machine.") from error
    if revision_of({path.name: hashlib.sha256(data).hexdigest()}) != lora.revision:
        raise DomainError(f"The LoRA “{lora.name}” changed since it was registered. Register it again.")
    try:
        return load(data)
    except SafetensorError as error:
        raise DomainError(f"The LoRA “{lora.name}” cannot be opened: {error}") from error


def _take_off(model: "Model") -> None:
    model.loras = []
    with contextlib.suppress(ValueError):  # nothing was put on yet
        model.pipe.unload_lora_weights()
