"""LoRAs, small changes of a model's weights, as a prompt asks for them: `<lora:ink:0.8>`. Pure."""

import re
from collections.abc import Mapping

from msgspec import Struct

from domain.errors import DomainError

MAX_WEIGHT = 2.0
MOST = 8
"""LoRAs that one prompt can ask for."""
_TAG = re.compile(r"<lora:([\w.-]{1,80})(?::(-?(?:\d{1,4}(?:\.\d{0,6})?|\.\d{1,6})))?>", re.IGNORECASE)
_MEANT = re.compile(r"<lora[^>]*>?", re.IGNORECASE)
_EMPTIED = re.compile(r"\( ?: ?[\d.]{1,8} ?\)")
"""What is left of a LoRA that was weighed like a word."""
HOW = "A LoRA is written <lora:name:0.8>"


class Lora(Struct, frozen=True):
    """A LoRA at work: how much of its change is made, and the hash of its file."""

    name: str
    weight: float
    revision: str = ""


def named(prompt: str) -> dict[str, float]:
    """The weight of each LoRA that the prompt asks for, by name, 1 where none is given; the last of one name counts."""
    return {name: float(weight or 1) for name, weight in _TAG.findall(prompt)}


def without(prompt: str) -> str:
    """The prompt as the model reads it."""
    if not _TAG.search(prompt):
        return prompt
    return " ".join(_EMPTIED.sub(" ", " ".join(_TAG.sub(" ", prompt).split())).split())


def words(text: str) -> str:
    """The text without what asks for a LoRA, be it whole, wrong or yet to be filled in."""
    return _MEANT.sub(" ", text)


def fault(prompt: str) -> str:
    """What is wrong with how the prompt asks for LoRAs, in words; "" for nothing. What a template fills in is not
    looked at."""
    if meant := [text for text in _MEANT.findall(_TAG.sub("", prompt)) if "{" not in text]:
        return f"{HOW}; this has {meant[0][:40]}"
    asked = named(prompt)
    if len(asked) > MOST:
        return f"At most {MOST} LoRAs"
    heavy = [weight for weight in asked.values() if abs(weight) > MAX_WEIGHT]
    return f"A LoRA's weight is from −{MAX_WEIGHT:g} to {MAX_WEIGHT:g}; this has {heavy[0]:g}" if heavy else ""


def unknown(prompt: str, known: Mapping[str, object]) -> str:
    """The words for a LoRA that is not among the known ones; "" for none."""
    missing = [name for name in named(prompt) if name not in known]
    if not missing:
        return ""
    return f"This site has no LoRA called “{missing[0]}”. " + (
        f"It has: {', '.join(sorted(known))}" if known else "It has none"
    )


def resolved(prompt: str, revisions: Mapping[str, str]) -> list[Lora]:
    """The LoRAs of a filled prompt by name, each with its revision; those of weight 0 change nothing.

    Raises DomainError for one that is written wrong or not among the `revisions`.
    """
    if words := fault(prompt) or unknown(prompt, revisions):
        raise DomainError(f"{words}.")
    return [Lora(name, weight, revisions[name]) for name, weight in sorted(named(prompt).items()) if weight]
