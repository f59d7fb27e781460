"""Causal language models of transformers, as the steps use them.

torch and transformers are imported when first needed, so that importing a step costs nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from domain.errors import DomainError
from domain.steps import TextToText
from tasks.context import Context

_BETWEEN = re.compile(r"(?<!\\)\|")
_MEANT = {r"\n": "\n", r"\|": "|"}
_ESCAPED = re.compile(r"\\[n|]")


@dataclass(frozen=True, slots=True)
class Language:
    """A model and the tokenizer that it was trained with."""

    tokenizer: Any
    model: Any

    @property
    def components(self) -> dict[str, Any]:
        """Its parts by name, as a pipeline of diffusers tells them."""
        return {"tokenizer": self.tokenizer, "language": self.model}

    def write(self, step: TextToText, ctx: Context) -> tuple[str, int]:
        """The model's answer to the step's prompt, and of how many tokens it is.

        Raises DomainError where the prompt leaves no room for an answer, Stopped when nobody wants it any more.
        """
        import torch

        tokenizer, ends = self.tokenizer, stops(step)
        asked = _asked(tokenizer, step.system, step.prompt).to(self.model.device)
        length = asked["input_ids"].shape[1]
        most = _room(self.model, length, step.max_new_tokens)
        torch.manual_seed(step.seed or 0)
        with torch.inference_mode():
            made = self.model.generate(
                **asked,
                **_sampling(step),
                **({"stop_strings": ends, "tokenizer": tokenizer} if ends else {}),
                max_new_tokens=most,
                streamer=_streamer(tokenizer, most, ctx),
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            )
        answer = made[0, length:]
        text = _decoded(tokenizer, answer)
        for end in ends:
            text = text.partition(end)[0]
        return written(text), len(answer)


def open_folder(path: Path, dtype: Any) -> Language:
    """Open a folder of transformers: safetensors, no code of its own, nothing from elsewhere."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    safely = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(str(path), **safely)
    model: Any = AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype, use_safetensors=True, **safely)
    return Language(tokenizer, model.eval())


def written(text: str) -> str:
    """The text as it is kept. Raises DomainError for none: nobody could use it, and it would be reused."""
    if not text.strip():
        raise DomainError("The model wrote nothing. Try another seed, or let it write more.")
    return text.strip()


def stops(step: TextToText) -> list[str]:
    """What the text ends before. `\\n` is a line's end and `\\|` a line upright."""
    found = [_ESCAPED.sub(lambda part: _MEANT[part[0]], one.strip()) for one in _BETWEEN.split(step.stop)]
    return [one for one in found if one]


def storable(text: str) -> str:
    """The text without the one character that the database cannot hold."""
    return text.replace("\0", "")


def _decoded(tokenizer: Any, tokens: Any) -> str:
    return storable(tokenizer.decode(tokens, skip_special_tokens=True))


def _asked(tokenizer: Any, system: str, prompt: str) -> Any:
    """The prompt as the model was taught to be asked: by its chat template, if it has one."""
    told = [{"role": "system", "content": system}] if system.strip() else []
    plain = "\n\n".join(part for part in (system, prompt) if part.strip())
    if not tokenizer.chat_template:
        return tokenizer(plain, return_tensors="pt")
    chat = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    try:
        return tokenizer.apply_chat_template([*told, {"role": "user", "content": prompt}], **chat)
    except TemplateError:  # a template that knows no system's words
        return tokenizer.apply_chat_template([{"role": "user", "content": plain}], **chat)


def _room(network: Any, length: int, wanted: int) -> int:
    """Tokens that fit behind so many. Raises DomainError for none."""
    window: int | None = getattr(network.config, "max_position_embeddings", None)
    if not window:
        return wanted
    if length >= window:
        raise DomainError(f"The prompt has {length:,} tokens, and this model reads and writes {window:,} in all.")
    return min(wanted, window - length)


def _sampling(step: TextToText) -> dict[str, Any]:
    if step.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": step.temperature, "top_p": step.top_p, "top_k": 0}


def _streamer(tokenizer: Any, most: int, ctx: Context) -> Any:
    """What hears each token, tells how far the text is and shows it. Raises Stopped in the middle of it."""
    from transformers.generation.streamers import BaseStreamer

    class Told(BaseStreamer):
        def __init__(self) -> None:
            self._tokens: list[int] | None = None

        def put(self, value: Any) -> None:
            if self._tokens is None:  # the prompt comes first
                self._tokens = []
                ctx.progress(0, most)
                return
            self._tokens += value.flatten().tolist()
            done = min(len(self._tokens), most)
            ctx.progress(done, most)
            ctx.written(done, most, self._text)

        def end(self) -> None:
            ctx.progress(most, most)

        def _text(self) -> str:
            return _decoded(tokenizer, self._tokens)

    return Told()
