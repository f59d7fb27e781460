"""LoRAs as the composer offers and judges them."""

from collections.abc import Collection, Iterable, Mapping

from domain import loras, steps
from domain.models import LORA, ModelChoice
from domain.vocabulary import Words

USUAL = 0.8
"""The weight that is offered."""


def takes(kind: str, field: str) -> bool:
    """Whether the field is a prompt that can ask for LoRAs."""
    return field == "prompt" and steps.KINDS.get(kind) in steps.DRAWING


def choices(offered: Iterable[ModelChoice]) -> list[tuple[str, str]]:
    """How each LoRA is asked for, and the words that call what it has learned."""
    return [(f"<lora:{one.name}:{USUAL}>", ", ".join(_trigger(one))) for one in offered]


def faults(recipe: steps.Recipe, offered: Mapping[str, Collection[ModelChoice]]) -> dict[str, str]:
    """By form field, for prompts that ask for a LoRA which is not there."""
    known = {one.name: one for one in offered.get(LORA, ())}
    return {
        f"s{number}-prompt": words
        for number, step in enumerate(recipe.steps, 1)
        if isinstance(step, steps.DRAWING) and (words := loras.unknown(step.prompt, known))
    }


def read(prompt: str, texts: Collection[str], offered: Collection[ModelChoice]) -> tuple[list[str], Words]:
    """Of what may come out of a prompt, the texts that a model reads, and the words that LoRAs bring to the model's
    own: those that are asked for, and those whose name may be filled in."""
    asked = {name for text in (prompt, *texts) for name in (text, *loras.named(text))}
    wanted = [one for one in offered if one.name in asked]
    names = {one.name for one in wanted}
    brought = [
        (group, [word for phrase in phrases for word in phrase.lower().split()])
        for one in wanted
        for group, phrases in one.words
    ]
    return [loras.words(text) for text in texts if text not in names], brought


def _trigger(lora: ModelChoice) -> list[str]:
    return [word for _, words in lora.words for word in words]
