"""A single-file checkpoint becomes a diffusers folder: as it lies, without a registry."""

import tempfile
from pathlib import Path
from typing import Any

from domain import weights
from domain.errors import DomainError, Invalid
from tasks import loading


def convert(file: Path, folder: Path, config: Path | None = None) -> Path:
    """Write the checkpoint as a diffusers folder of safetensors in the numbers that it has, and return the folder.

    `config`: a diffusers folder's JSON and tokenizer files, no weights; else those of the folder beside the file, as
    where it is loaded. Raises Invalid for what is no such file, anything pickled (which is never opened), and a folder
    that is not empty; DomainError where the configuration is missing or does not fit.
    """
    file, folder = file.expanduser().resolve(), folder.expanduser().resolve()
    if not file.is_file():
        raise Invalid({"path": f"{file} is no file"})
    weights.files_of(file)
    if weights.is_lora(file):
        raise Invalid({"path": f"{file.name} is a LoRA: it is registered as it is, and needs no folder"})
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Invalid({"folder": f"{folder} is there already. Choose a folder that is new or empty"})
    pipe = _opened(file, config and config.expanduser().resolve())
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
        made = Path(beside) / folder.name
        pipe.save_pretrained(made, safe_serialization=True)
        for file in weights.files_of(made).values():  # safetensors writes for nobody else, and a worker may be another
            file.chmod((made / "model_index.json").stat().st_mode)
        made.rename(folder)
    return folder


def _opened(file: Path, config: Path | None) -> Any:
    loading.quiet()
    try:
        pipe = loading.open_file(file, loading.dtype_of(file), config)
        loading.check_words(pipe)
    except Exception as error:  # whatever diffusers makes of a configuration that does not fit
        raise DomainError(f"{file.name} cannot be converted: {loading.reason(error, str(file))}") from error
    return pipe
