"""LoRAs put on a loaded model and taken off again, by diffusers and peft."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import DomainError
from domain.weights import OtherFiles, revision_of
from tasks import memory
from tasks.messages import LoraRef

if TYPE_CHECKING:
    from tasks.loading import Model

NOT_WITH = ("compile", "fuse", "first_block_cache", "offload")
"""Means of a model whose layers are no longer those that a LoRA changes, or not always in one place."""


def wear(model: "Model", wanted: Sequence[LoraRef]) -> None:
    """Let the model draw with these LoRAs and no others. Raises DomainError with the reason why it cannot."""
    if list(wanted) == model.loras:
        return
    _refuse(model, wanted)
    worn, model.loras = model.loras, None  # until all is done: what was begun has to be taken off before anything else
    if worn != []:
        model.pipe.unload_lora_weights()
    try:
        _put_on(model, wanted)
    except BaseException:
        model.pipe.unload_lora_weights()
        model.loras = []
        raise
    model.loras = list(wanted)


def _refuse(model: "Model", wanted: Sequence[LoraRef]) -> None:
    if not wanted:
        return
    if not hasattr(model.pipe, "load_lora_weights"):
        raise DomainError(f"The model “{model.ref.name}” takes no LoRAs.")
    if hindering := [name for name in NOT_WITH if getattr(model.ref.means, name)]:
        raise DomainError(f"The model “{model.ref.name}” runs with {hindering[0]} and takes no LoRAs so.")


def _put_on(model: "Model", wanted: Sequence[LoraRef]) -> None:
    if not wanted:
        return
    names = [f"lora{number}" for number in range(len(wanted))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several at once are meant
        for name, lora in zip(names, wanted, strict=True):
            _add(model, lora, name)
    model.pipe.set_adapters(names, [lora.weight for lora in wanted])


def _add(model: "Model", lora: LoraRef, adapter: str) -> None:
    import torch

    tensors = _opened(lora)
    try:
        model.pipe.load_lora_weights(tensors, adapter_name=adapter)
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        if memory.is_short(error) or isinstance(error, torch.AcceleratorError):
            raise
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
        words = f"The LoRA “{lora.name}” cannot be read: its file is not on this machine."
        raise OtherFiles(lora.revision, words) from error
    if revision_of({path.name: hashlib.sha256(data).hexdigest()}) != lora.revision:
        raise OtherFiles(lora.revision, f"The LoRA “{lora.name}” changed since it was registered. Register it again.")
    try:
        return load(data)
    except SafetensorError as error:
        raise DomainError(f"The LoRA “{lora.name}” cannot be opened: {error}") from error
