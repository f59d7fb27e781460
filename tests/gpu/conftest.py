"""These tests need a CUDA device and are skipped, with the reason, where there is none."""

from pathlib import Path

import pytest

from tests import checkpoints


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    """The device that they draw on."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    return "cuda"


@pytest.fixture(scope="session")
def full_size(device: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the shape of Stable Diffusion 1.5 with random weights."""
    return checkpoints.full_size(tmp_path_factory.mktemp("full-size") / "model", device)
