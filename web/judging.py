"""What a recipe asks for that the models on offer do not have."""

from collections.abc import Mapping

from domain import steps
from domain.models import ModelChoice
from web import class_labels, lora_help, voice_help


def faults(recipe: steps.Recipe, offered: Mapping[str, list[ModelChoice]]) -> dict[str, str]:
    """By form field, for classes of generators, LoRAs and voices that are not there."""
    return class_labels.faults(recipe, offered) | lora_help.faults(recipe, offered) | voice_help.faults(recipe, offered)
