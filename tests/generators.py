"""A small generator with random weights, in the layout of diffusers."""

from pathlib import Path


def generator(
    folder: Path, *, classes: tuple[str, ...] = ("fox", "owl"), channels: tuple[int, ...] = (8, 8, 8)
) -> Path:
    """Make one in `folder`, for pictures of 4 × 4 pixels, twice as many a side with each number behind the first."""
    import torch

    from tasks.gan.generator import ConditionalGenerator

    torch.manual_seed(0)
    made = ConditionalGenerator(list(classes), list(channels), latent_channels=8, style_channels=16)
    made.find_centers()
    made.save_pretrained(folder)
    return folder
