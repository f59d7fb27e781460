"""Models of transformers that write down what is said, as the steps use them.

torch and transformers are imported when first needed, so that importing a step costs nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import DomainError
from domain.steps import SpeechToText
from domain.transcripts import Said
from tasks.context import Context, Sound, Stopped
from tasks.language import storable

RATE = 16_000
"""Samples a second that Whisper hears."""
WINDOW = 30
"""Seconds that it hears at once."""
FRAMES = 100
"""Frames a second that it counts in."""
NO_SPEECH, UNSURE = 0.6, -1.0
"""As OpenAI's own code has it: half a minute is left out where the model thinks more likely than the first that nobody
speaks, and gives its words a smaller average log probability than the second."""


@dataclass(frozen=True, slots=True)
class Whisper:
    """A Whisper model with what it was trained with: features of sounds, and a tokenizer."""

    processor: Any
    model: Any

    @property
    def components(self) -> dict[str, Any]:
        """Its parts by name, as a pipeline of diffusers tells them."""
        return {"tokenizer": self.processor.tokenizer, "hearing": self.model}

    def write_down(self, step: SpeechToText, heard: Sound, ctx: Context) -> tuple[list[Said], str]:
        """What is said, and the code of its language, "" where the model knows one only.

        Raises DomainError for a language that it does not know, Stopped in the middle of it.
        """
        import torch

        whole = len(heard.samples) > WINDOW * RATE
        longer = {"truncation": False, "padding": "longest"} if whole else {}
        prepared = self.processor(heard.samples, sampling_rate=RATE, return_tensors="pt", **longer)
        features = prepared.input_features.to(self.model.device)
        ctx.progress(0, seconds := max(round(len(heard.samples) / RATE), 1))
        with torch.inference_mode():
            spoken = self._language(step, features)
            made = self.model.generate(
                features,
                return_timestamps=True,
                return_segments=True,
                no_speech_threshold=NO_SPEECH,
                logprob_threshold=UNSURE,
                temperature=0.0,
                monitor_progress=lambda frames: ctx.progress(min(int(frames[0, 0]) // FRAMES, seconds), seconds),
                stopping_criteria=[_until_stopped(ctx)],
                **({"language": spoken, "task": step.task} if spoken else {}),
            )
        ctx.progress(seconds, seconds)
        pieces = [self._said(one, len(heard.samples) / RATE) for one in made["segments"][0]]
        return [piece for piece in pieces if piece.text and piece.start < piece.end], spoken

    def _language(self, step: SpeechToText, features: Any) -> str:
        """The code of the language that is spoken: as given, else the likeliest in the first half minute."""
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        config = self.model.generation_config
        known: dict[str, int] = getattr(config, "lang_to_id", None) or {}
        given = step.language.strip().lower()
        if not getattr(config, "is_multilingual", bool(known)):
            if given or step.task == "translate":
                raise DomainError("This model knows English alone: leave Language empty, and translate nothing.")
            return ""
        if not known:
            raise DomainError(
                "The model does not say which languages it knows: its generation_config.json has no lang_to_id. "
                "The host has to add a newer copy of it."
            )
        if given:
            code = TO_LANGUAGE_CODE.get(given, given)
            if f"<|{code}|>" not in known:
                raise DomainError(f"This model does not know the language “{step.language.strip()}”.")
            return code
        found = int(self.model.detect_language(features[:, :, : WINDOW * FRAMES])[0])
        return next((token.strip("<|>") for token, number in known.items() if number == found), "en")

    def _said(self, segment: Any, most: float) -> Said:
        """A piece, cut where the sound ends: one from the silence that Whisper hears after it has no length."""
        text = storable(self.processor.tokenizer.decode(segment["tokens"], skip_special_tokens=True)).strip()
        return Said(min(float(segment["start"]), most), min(float(segment["end"]), most), text)


def _until_stopped(ctx: Context) -> Any:
    """What transformers asks after each token whether to end. Raises Stopped in the middle of a half minute."""
    from transformers import StoppingCriteria

    class UntilStopped(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            import torch

            if ctx.stopping:
                raise Stopped
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    return UntilStopped()


def open_folder(path: Path) -> Whisper:
    """Open a folder of transformers: safetensors, no code of its own, nothing from elsewhere."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    processor = WhisperProcessor.from_pretrained(str(path), **safely)
    model: Any = WhisperForConditionalGeneration.from_pretrained(str(path), use_safetensors=True, **safely)
    return Whisper(processor, model.float().eval())
