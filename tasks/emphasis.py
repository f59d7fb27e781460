"""Prompts with words that count more or less, embedded by compel for models with CLIP text encoders."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from domain import emphasis
from domain.errors import DomainError
from tasks.loading import Model

FAMILY = ("StableDiffusion", "AnimateDiff")
"""What the names of pipelines begin with whose prompts compel weighs, if they have a U-Net."""


def weighed(pipe: Any, model: Model, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a pipeline's call with embeddings instead of prompts, if a prompt weighs its words.

    Prompts that do not are embedded by the pipeline itself, so that they draw what they draw alone. Raises DomainError
    for a weight that is too large, and for a model whose text encoders compel does not know.
    """
    asked = {name: arguments[name] for name in ("prompt", "negative_prompt") if arguments.get(name)}
    every = [text for given in asked.values() for text in _listed(given)]
    if not any(map(emphasis.is_in, every)):
        return dict(arguments)
    for fault in filter(None, map(emphasis.fault, every)):
        raise DomainError(f"{fault}.")
    embedder = _embedder(pipe, model)
    made = {name: value for name, value in arguments.items() if name not in asked}
    for name, given in asked.items():
        made |= _stacked(name, [embedder.embed(text) for text in _listed(given)])
    return made


def _listed(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def _stacked(name: str, rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """The rows' embeddings, and their pooled ones where there are such, as the pipeline calls them."""
    import torch

    stem = name.removesuffix("prompt")
    names = (f"{stem}prompt_embeds", f"{stem}pooled_prompt_embeds")
    return {key: torch.cat(tensors) for key, tensors in zip(names, zip(*rows, strict=True), strict=False)}


class _Embedder(NamedTuple):
    pipe: Any
    providers: list[Any]
    """compel's, one for each text encoder."""

    def embed(self, prompt: str) -> tuple[Any, ...]:
        """Embeddings of shape (1, tokens, width), for models with two encoders also the pooled ones, (1, width). Pooled
        ones say what the whole prompt is about: no weight counts there."""
        import torch

        pieces = emphasis.parts(prompt)
        plain = "".join(text for text, _ in pieces)
        # of what it returns, every second one is for the negative prompt that it was not given
        own = [given for given in self.pipe.encode_prompt(plain, **self._asked)[::2] if given is not None]
        if not emphasis.is_in(prompt):
            return tuple(own)
        texts, weights = [text for text, _ in pieces], [weight for _, weight in pieces]
        device = self.pipe._execution_device
        weighed = [
            provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights], device=device)
            for provider in self.providers
        ]
        return (torch.cat(weighed, -1).to(own[0]), *own[1:])

    @property
    def _asked(self) -> dict[str, Any]:
        device = self.pipe._execution_device
        return {"device": device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}


def _embedder(pipe: Any, model: Model) -> _Embedder:
    from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType

    if not type(pipe).__name__.startswith(FAMILY) or getattr(pipe, "unet", None) is None:
        raise DomainError(f"The model “{model.ref.name}” takes no weights of words, such as (red:1.3).")
    pairs = [(pipe.tokenizer, pipe.text_encoder)]
    kept = ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED
    if hasattr(pipe, "text_encoder_2"):
        pairs.append((pipe.tokenizer_2, pipe.text_encoder_2))
        kept = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
    providers = [
        EmbeddingsProvider(words, encoder, returned_embeddings_type=kept, device=str(pipe._execution_device))
        for words, encoder in pairs
        if encoder is not None
    ]
    return _Embedder(pipe, providers)
