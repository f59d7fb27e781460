"""What a recipe asks for that the models on offer do not have."""

from collections.abc import Mapping

from domain import steps
from domain.models import ModelChoice
from web import class_labels, frame_counts, lora_help, upscaler_help, vae_help, voice_help

JUDGES = (
    class_labels.faults,
    frame_counts.faults,
    lora_help.faults,
    upscaler_help.faults,
    vae_help.faults,
    voice_help.faults,
)


def faults(recipe: steps.Recipe, offered: Mapping[str, list[ModelChoice]]) -> dict[str, str]:
    """By form field, in words."""
    return {field: words for judge in JUDGES for field, words in judge(recipe, offered).items()}
