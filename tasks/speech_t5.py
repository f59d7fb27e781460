"""SpeechT5 models: they speak with a voice that is told to them as a vector, one of their folder or that of a sample.

torch and transformers are imported when first needed, so that importing a step costs nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain import sounds as uploaded
from domain import voices, weights
from domain.errors import DomainError
from domain.steps import TextToSpeech
from tasks import sounds
from tasks.context import Context, Sound
from tasks.speech import PART, PAUSE, parts_of, sound, typed

FRAMES_PER_TOKEN = 20
"""Frames of sound that the model makes of a token at most, as transformers counts."""


@dataclass(frozen=True, slots=True)
class SpeechT5:
    """A model, its tokenizer, its vocoder, its own voices by name, and what makes a voice of a sample, if anything."""

    tokenizer: Any
    model: Any
    vocoder: Any
    voices: Mapping[str, Any]
    features: Any = None
    speaker: Any = None

    @property
    def components(self) -> dict[str, Any]:
        """Its parts by name, as a pipeline of diffusers tells them."""
        return {
            "tokenizer": self.tokenizer,
            "speech": self.model,
            "vocoder": self.vocoder,
            **({"speaker": self.speaker} if self.speaker is not None else {}),
        }

    def speak(self, step: TextToSpeech, ctx: Context) -> Sound:
        """The step's text, part by part. Raises DomainError for what cannot be said and for no voice, Stopped in the
        middle of a part."""
        import numpy as np
        import torch

        parts = self._readable(step.prompt)
        rate = self.vocoder.config.sampling_rate
        voice = self._voice(step, ctx)
        silence = np.zeros(round(rate * PAUSE), np.float32)
        spoken: list[Any] = []
        torch.manual_seed(step.seed or 0)
        for done, part in enumerate(parts):
            ctx.progress(done, len(parts))
            with torch.inference_mode(), self._watched(lambda done=done: ctx.progress(done, len(parts))):
                spoken += [self._part(part, voice, step.speed), silence]
        ctx.progress(len(parts), len(parts))
        return sound(np.concatenate(spoken[:-1]), rate, step.seed)

    def named(self, step: TextToSpeech) -> str:
        """The model's own voice that speaks, "" for that of a sample. Raises DomainError for one that it has not."""
        if step.upload or step.voice_of is not None:
            return ""
        if not self.voices:
            raise DomainError("This model has no voice of its own: give it a sample of one.")
        name = step.voice.strip() or next(iter(self.voices))
        if name not in self.voices:
            few = ", ".join(list(self.voices)[:20])
            raise DomainError(f"This model has no voice “{name}”. It has: {few}.")
        return name

    def _part(self, part: str, voice: Any, speed: float) -> Any:
        """One part as an array of numpy. Frames are drawn out or together before they become sound: the pitch stays."""
        from torch.nn.functional import interpolate

        asked = self.tokenizer(part, return_tensors="pt").input_ids.to(self.model.device)
        frames = self.model.generate_speech(asked, voice, maxlenratio=float(FRAMES_PER_TOKEN))
        if speed != 1:
            length = max(round(len(frames) / speed), 1)
            frames = interpolate(frames.T[None], size=length, mode="linear").squeeze(0).T
        return self.vocoder(frames).float().cpu().numpy()

    @contextmanager
    def _watched(self, look: Any) -> Iterator[None]:
        """Look at every frame that is made, so that a person need not wait for the end of a part to stop."""
        hook = self.model.speech_decoder_postnet.feat_out.register_forward_hook(lambda *_: look())
        try:
            yield
        finally:
            hook.remove()

    def _voice(self, step: TextToSpeech, ctx: Context) -> Any:
        """The voice as 1 × n numbers."""
        if name := self.named(step):
            return self.voices[name].to(self.model.device)
        if self.speaker is None:
            raise DomainError("This model speaks with its own voices alone: take the sample out, or choose another.")
        return self._voice_in(sounds.opened(ctx.files()[0], uploaded.RATE))

    def _voice_in(self, sample: Sound) -> Any:
        import torch

        if fault := fault_of(sample):
            raise DomainError(f"{fault}.")
        heard = self.features(sample.samples, sampling_rate=sample.sampling_rate, return_tensors="pt").input_values
        with torch.inference_mode():
            found = self.speaker(heard.to(self.model.device)).embeddings
        return torch.nn.functional.normalize(found, dim=-1)

    def _readable(self, text: str) -> list[str]:
        """The parts of the text that have anything the model can read. Raises DomainError for none."""
        known = self._letters
        text = "\n".join(map(self._spelled, text.split("\n")))
        text = "".join(typed(char, known | {"\n"}) for char in text)
        found = ["".join(char for char in part if char in known) for part in parts_of(text, self._room)]
        found = [" ".join(part.split()) for part in found if any(char.isalnum() for char in part)]
        if not found:
            raise DomainError("The model knows none of the letters of this text: it may speak another language.")
        return found

    def _spelled(self, line: str) -> str:
        """The line with its numbers in words, if the tokenizer writes them out. Raises DomainError for one that it
        cannot."""
        try:
            spelled: str = self.tokenizer.prepare_for_tokenization(line)[0]
        except (IndexError, ValueError) as error:
            raise DomainError("A number in this text cannot be read out: write it in words.") from error
        return spelled

    @property
    def _letters(self) -> set[str]:
        """Every character that the vocabulary has, and the space."""
        pieces = self.tokenizer.sp_model
        read = (n for n in range(pieces.get_piece_size()) if not (pieces.is_control(n) or pieces.is_unknown(n)))
        return {char for n in read for char in pieces.id_to_piece(n)} | {" "}

    @property
    def _room(self) -> int:
        """Characters of a part: as many as the model has places for, in the text and in what it says."""
        config = self.model.config
        frames = int(config.max_speech_positions * config.reduction_factor) // FRAMES_PER_TOKEN
        return max(min(PART, int(config.max_text_positions) - 4, frames - 4), 1)


def fault_of(sample: Sound) -> str:
    """What keeps a sound from being the sample of a voice, in words; "" for nothing."""
    import numpy as np

    whole = np.rint(sample.samples * 32_768).clip(-32_768, 32_767).astype(np.int16)
    seconds, loud = len(whole) / sample.sampling_rate, uploaded.loud(memoryview(whole)) / sample.sampling_rate
    return uploaded.sample_fault(seconds, loud)


def open_folder(path: Path) -> SpeechT5:
    """Open a folder of transformers and those in it: safetensors, no code of its own, nothing from elsewhere."""
    from safetensors.torch import load_file
    from transformers import (
        SpeechT5ForTextToSpeech,
        SpeechT5HifiGan,
        SpeechT5Tokenizer,
        Wav2Vec2FeatureExtractor,
        WavLMForXVector,
    )

    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    there = {**safely, "use_safetensors": True}
    tokenizer = SpeechT5Tokenizer.from_pretrained(str(path), **safely)
    model: Any = SpeechT5ForTextToSpeech.from_pretrained(str(path), **there)
    vocoder: Any = SpeechT5HifiGan.from_pretrained(str(path / voices.VOCODER), **there)
    files = {name: path / voices.VOICES / f"{name}{weights.SAFE}" for name in voices.names(path)}
    own = {name: next(iter(load_file(file).values())).reshape(1, -1) for name, file in files.items()}
    if not voices.takes_sample(path):
        return SpeechT5(tokenizer, model.float().eval(), vocoder.float().eval(), own)
    features = Wav2Vec2FeatureExtractor.from_pretrained(str(path / voices.SPEAKER), **safely)
    speaker: Any = WavLMForXVector.from_pretrained(str(path / voices.SPEAKER), **there)
    return SpeechT5(tokenizer, model.float().eval(), vocoder.float().eval(), own, features, speaker.float().eval())
