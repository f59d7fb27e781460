"""A model's files from the Hugging Face hub, or a mirror of it, as they were at one commit."""

import re
import shutil
from pathlib import Path, PurePosixPath

from domain import weights
from domain.errors import DomainError, Invalid
from tasks.loading import reason

PINNED = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})@([0-9a-f]{40})")
TOLD = frozenset({".json", ".txt", ".model"})
"""Endings of configurations and tokenizers."""
INDEX = "model_index.json"
MARKS = ".cache"
"""Where the hub's library notes what it has of a folder, to go on from there."""


def fetch(pinned: str, folder: Path, configuration: bool = False) -> Path:
    """Put the files of `OWNER/NAME@COMMIT` into a folder and return it; one that was begun is gone on with.

    Of the weights only safetensors are taken, the plain ones where there are variants, and no whole checkpoint that
    lies beside the parts of a pipeline; with `configuration` no weights at all. The environment's HF_ENDPOINT names a
    mirror, HF_TOKEN who asks. Raises Invalid for what is no such name, a folder that holds something else and a model
    without safetensors; DomainError where the hub does not answer or has no such commit.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    constants.HF_HUB_DISABLE_TELEMETRY = True
    if (named := PINNED.fullmatch(pinned)) is None:
        raise Invalid({"source": f"{pinned[:200]} is no OWNER/NAME@COMMIT with all 40 digits of the commit"})
    repository, commit = named.groups()
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKS).is_dir())):
        raise Invalid({"folder": f"{folder} is there already. Choose a folder that is new or empty"})
    try:
        there = [file.rfilename for file in HfApi().model_info(repository, revision=commit).siblings or []]
        wanted = _wanted(there, configuration)
        if not configuration and not any(name.endswith(weights.SAFE) for name in wanted):
            raise Invalid({"source": f"{repository} has no {weights.SAFE} files at that commit"})
        for name in wanted:
            hf_hub_download(repository, name, revision=commit, local_dir=folder)
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise DomainError(f"{pinned} cannot be fetched: {reason(error, str(folder))}") from error
    shutil.rmtree(folder / MARKS, ignore_errors=True)
    return folder


def _wanted(names: list[str], configuration: bool) -> list[str]:
    """Those of a repository's files that a model is opened with, by their paths."""
    told = [name for name in names if PurePosixPath(name).suffix in TOLD]
    safe = [path for path in map(PurePosixPath, names) if path.suffix == weights.SAFE]
    if configuration:
        return told
    if INDEX in names:
        safe = [path for path in safe if len(path.parts) > 1]
    plain = {path.parent for path in safe if not weights.variant_of(Path(path))}
    return told + [str(path) for path in safe if not weights.variant_of(Path(path)) or path.parent not in plain]
