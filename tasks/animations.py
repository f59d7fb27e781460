"""What the steps that draw animations share."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from PIL import Image

from domain.errors import DomainError
from domain.steps import ImageToAnimation, TextToAnimation
from tasks.context import Animation
from tasks.loading import Model

AT_ONCE = 8
"""Frames that are decoded in one call."""


def check_frames(pipe: Any, model: Model, frames: int) -> None:
    """Raise DomainError for more frames than the model's motion modules can tell apart."""
    parts = (getattr(pipe, "motion_adapter", None), pipe.unet)
    told = (getattr(part.config, "motion_max_seq_length", None) for part in parts if part is not None)
    most = next(filter(None, told), frames)
    if frames > most:
        raise DomainError(
            f"The model “{model.ref.name}” draws animations of at most {most} frames, and this has {frames}."
        )


def of(frames: Sequence[Image.Image], step: TextToAnimation | ImageToAnimation, seed: int) -> Animation:
    """The frames as the step wants them shown."""
    return Animation([*frames], Fraction(1, step.fps), step.loop, seed, step.format, step.colors)
