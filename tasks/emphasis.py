"""Prompts with words that count more or less, embedded by compel for the text encoders that it knows."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from domain import emphasis
from domain.errors import DomainError
from tasks.loading import Model

FAMILY = ("StableDiffusion", "AnimateDiff")
"""What the names of pipelines begin with whose prompts compel weighs, if they have a U-Net."""
FLUX_TOKENS = 512
"""That pipelines of Flux read of a prompt, whatever their tokenizer says."""


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
    """compel's, one for each text encoder whose embeddings stand for the words."""

    def embed(self, prompt: str) -> tuple[Any, ...]:
        """Embeddings of shape (1, tokens, width), for models with two encoders also the pooled ones, (1, width). Pooled
        ones say what the whole prompt is about: no weight counts there."""
        import torch

        pieces = emphasis.parts(prompt)
        own = _plain(self.pipe, "".join(text for text, _ in pieces))
        if not emphasis.is_in(prompt):
            return tuple(own)
        texts, weights = [text for text, _ in pieces], [weight for _, weight in pieces]
        device = self.pipe._execution_device
        weighed = [
            provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights], device=device)
            for provider in self.providers
        ]
        return (torch.cat(weighed, -1).to(own[0]), *own[1:])


def _plain(pipe: Any, prompt: str) -> list[Any]:
    """What the pipeline itself makes of a prompt."""
    asked = {"device": pipe._execution_device, "num_images_per_prompt": 1}
    if _is_flux(pipe):
        return list(pipe.encode_prompt(prompt, prompt_2=None, **asked)[:2])
    # of what it returns, every second one is for the negative prompt that it was not given
    made = pipe.encode_prompt(prompt, do_classifier_free_guidance=False, **asked)[::2]
    return [given for given in made if given is not None]


def _embedder(pipe: Any, model: Model) -> _Embedder:
    from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType

    asked: dict[str, Any] = {"device": str(pipe._execution_device)}
    if _is_flux(pipe):
        asked["model_max_length"] = FLUX_TOKENS
        return _Embedder(pipe, [EmbeddingsProvider(pipe.tokenizer_2, pipe.text_encoder_2, **asked)])
    if not type(pipe).__name__.startswith(FAMILY) or getattr(pipe, "unet", None) is None:
        raise DomainError(f"The model “{model.ref.name}” takes no weights of words, such as (red:1.3).")
    pairs = [(pipe.tokenizer, pipe.text_encoder)]
    kept = ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED
    if hasattr(pipe, "text_encoder_2"):
        pairs.append((pipe.tokenizer_2, pipe.text_encoder_2))
        kept = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
    providers = [
        EmbeddingsProvider(words, encoder, returned_embeddings_type=kept, **asked)
        for words, encoder in pairs
        if encoder is not None
    ]
    return _Embedder(pipe, providers)


def _is_flux(pipe: Any) -> bool:
    """Whether it is one of Flux's first generation: T5 embeds the words, CLIP only tells what they are about."""
    return type(pipe).__name__.startswith("Flux") and getattr(pipe, "text_encoder_2", None) is not None
