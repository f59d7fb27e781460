"""Models of transformers that speak, as the steps use them.

torch and transformers are imported when first needed, so that importing a step costs nothing.
"""

import re
import textwrap
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import DomainError
from domain.steps import TextToSpeech
from tasks.context import Context, Sound

MAX_SPOKEN = 5_000
"""Characters of a text that is spoken at once: some six minutes."""
PART = 300
"""Characters that a model speaks in one go: attention over more takes memory, and training saw less."""
PAUSE = 0.2
"""Seconds of silence between two parts."""
_TYPED = {"'": "‘’‚‛‹›", '"': "“”„‟«»", "-": "‐‑‒–—―", "...": "…", " ": "\u00a0"}
_PLAIN = str.maketrans({mark: typed for typed, marks in _TYPED.items() for mark in marks})
"""Marks that typesetting brings, and what is typed for them."""
_ENDS = re.compile(r"(?<=[.!?…;:])\s+|(?<=[。！？])|\s*\n\s*")


@dataclass(frozen=True, slots=True)
class Vits:
    """A VITS model, such as those of MMS, and the tokenizer that it was trained with."""

    tokenizer: Any
    model: Any

    @property
    def components(self) -> dict[str, Any]:
        """Its parts by name, as a pipeline of diffusers tells them."""
        return {"tokenizer": self.tokenizer, "speech": self.model}

    def speak(self, step: TextToSpeech, ctx: Context) -> Sound:
        """The step's text, part by part. Raises DomainError for what cannot be said, Stopped between two parts."""
        import numpy as np
        import torch

        parts = self._readable(step.prompt)
        config = self.model.config
        voice = {"speaker_id": number_of(step.voice, config.num_speakers), "speaking_rate": config.speaking_rate}
        voice["speaking_rate"] *= step.speed
        silence = np.zeros(round(config.sampling_rate * PAUSE), np.float32)
        spoken: list[Any] = []
        torch.manual_seed(step.seed or 0)
        ctx.progress(0, len(parts))
        for done, part in enumerate(parts, 1):
            asked = self.tokenizer(part, return_tensors="pt").to(self.model.device)
            with torch.inference_mode():
                made = self.model(**asked, **voice).waveform[0]
            spoken += [made.float().cpu().numpy(), silence]
            ctx.progress(done, len(parts))
        return sound(np.concatenate(spoken[:-1]), config.sampling_rate, step.seed)

    def _readable(self, text: str) -> list[str]:
        """The parts of the text that have anything the model can read. Raises DomainError for none."""
        known = set(self.tokenizer.get_vocab())
        if self.tokenizer.is_uroman:
            text = text.translate(_PLAIN)
            if not text.isascii():
                raise DomainError("This model reads Latin letters alone. Write the text in Latin letters.")
        text = "".join(char if char in known else char.translate(_PLAIN) for char in text)
        found = [part for part in parts_of(text) if self._is_read(part)]
        if not found:
            raise DomainError("The model knows none of the letters of this text: it may speak another language.")
        return found

    def _is_read(self, part: str) -> bool:
        """Whether the tokenizer leaves anything of it that is spoken."""
        left: str = self.tokenizer.prepare_for_tokenization(part)[0]
        known = set(self.tokenizer.get_vocab()) - set(self.tokenizer.all_special_tokens)
        return any(char.isalnum() and char in known for char in left)

    def named(self, step: TextToSpeech) -> str:
        """The number of the voice that speaks, "" where there is only one. Raises DomainError as `number_of` does, and
        for a sample of another voice."""
        if step.upload or step.voice_of is not None:
            raise DomainError("This model speaks with its own voices alone: take the sample out, or choose another.")
        number = number_of(step.voice, self.model.config.num_speakers)
        return str(number) if self.model.config.num_speakers > 1 else ""


def typed(char: str, known: Container[str]) -> str:
    """The character as the model knows it: plainly typed, or small, where it does not know it as it is."""
    for one in (char, char.translate(_PLAIN), char.lower(), char.upper()):
        if all(part in known for part in one):
            return one
    return char


def parts_of(text: str, most: int = PART) -> list[str]:
    """The text in sentences, those longer than `most` characters cut between words. Raises DomainError for too much."""
    if len(text) > MAX_SPOKEN:
        raise DomainError(f"The text has {len(text):,} characters; at most {MAX_SPOKEN:,} are spoken at once.")
    return [part for sentence in _ENDS.split(text) for part in textwrap.wrap(sentence, most)]


def number_of(voice: str, voices: int) -> int:
    """The voice of this number, the first for none. Raises DomainError for one that the model does not have."""
    if not voice.strip():
        return 0
    if voices < 2:
        raise DomainError("This model has one voice: leave Voice empty.")
    if not voice.strip().isdecimal() or int(voice) >= voices:
        raise DomainError(f"This model has the voices 0 to {voices - 1}, and no “{voice.strip()}”.")
    return int(voice)


def sound(samples: Any, sampling_rate: int, seed: int | None) -> Sound:
    """What a model said. Raises DomainError where that are no numbers."""
    import numpy as np

    if not np.isfinite(samples).all():
        raise DomainError("The model made no sound that can be heard. Try another seed.")
    return Sound(samples, sampling_rate, seed)


def open_folder(path: Path) -> Vits:
    """Open a folder of transformers: safetensors, no code of its own, nothing from elsewhere."""
    from transformers import VitsModel, VitsTokenizer

    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = VitsTokenizer.from_pretrained(str(path), **safely)
    if tokenizer.phonemize:
        raise DomainError(
            "its tokenizer wants a phonemizer, which this site does not run. Take a model that reads letters, such as "
            "those of MMS."
        )
    model: Any = VitsModel.from_pretrained(str(path), use_safetensors=True, **safely)
    return Vits(tokenizer, model.float().eval())
