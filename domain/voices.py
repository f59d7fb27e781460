"""The voices of models that speak: which a folder has, and whether it speaks like a sample. Pure but for reading.

A SpeechT5 folder holds its vocoder in `vocoder/`, named voices in `voices/`, each a safetensors file of one vector, and
in `speaker/` the model that makes such a vector of a sample.
"""

from pathlib import Path
from typing import Any

from domain import weights
from domain.errors import Invalid

FAMILY = "SpeechT5ForTextToSpeech"
VOCABULARY = "spm_char.model"
VOCODER, SPEAKER, VOICES = "vocoder", "speaker", "voices"
"""Folders beside a SpeechT5 model's own files."""
MOST = 1_000
"""Voices of one model."""
LONGEST = 80
"""Characters of a voice's name: as many as a step's `voice` has."""


def check(path: Path) -> None:
    """Raise Invalid for a SpeechT5 folder that cannot speak as it is; a model of another family is fine."""
    if weights.family(path) != FAMILY:
        return
    config = weights.config_of(path)
    width = config.get("speaker_embedding_dim", 512)
    fault = _vocabulary_fault(path) or _vocoder_fault(path, config.get("num_mel_bins", 80))
    fault = fault or _speaker_fault(path, width) or _voices_fault(path, width)
    if fault:
        raise Invalid({"path": f"{path.name} {fault}"})


def names(path: Path) -> list[str]:
    """The voices that a step can name: numbers from 0 for VITS, files of `voices/` for SpeechT5; none for one alone."""
    if weights.alone(path) != weights.SPEECH:
        return []
    if weights.family(path) == FAMILY:
        return sorted(file.stem for file in _files(path))
    count = weights.config_of(path).get("num_speakers", 1)
    return [str(number) for number in range(min(count, MOST))] if isinstance(count, int) and count > 1 else []


def takes_sample(path: Path) -> bool:
    """Whether the model speaks like a sample of a voice."""
    return weights.family(path) == FAMILY and (path / SPEAKER).is_dir()


def _files(path: Path) -> list[Path]:
    found = (path / VOICES).glob(f"*{weights.SAFE}")
    return [file for file in found if file.is_file() and not file.name.startswith(".")]


def _vocabulary_fault(path: Path) -> str:
    return "" if (path / VOCABULARY).is_file() else f"has no {VOCABULARY}, so it cannot read"


def _vocoder_fault(path: Path, bins: Any) -> str:
    config = weights.config_of(path / VOCODER)
    if not _holds(path / VOCODER, "SpeechT5HifiGan"):
        return f"has no vocoder: put a SpeechT5HifiGan with {weights.SAFE} weights into its folder {VOCODER}/"
    given = config.get("model_in_dim", 80)
    return "" if given == bins else f"has a vocoder for {given} bands of sound, and the model makes {bins}"


def _speaker_fault(path: Path, width: Any) -> str:
    folder = path / SPEAKER
    if not folder.is_dir():
        return ""
    if not _holds(folder, "WavLMForXVector") or not (folder / "preprocessor_config.json").is_file():
        return (
            f"has a folder {SPEAKER}/ without a WavLMForXVector that can be loaded: config.json, "
            f"preprocessor_config.json and {weights.SAFE} weights belong there"
        )
    given = weights.config_of(folder).get("xvector_output_dim", 512)
    return "" if given == width else f"takes {width} numbers for a voice, and the model in {SPEAKER}/ makes {given}"


def _voices_fault(path: Path, width: Any) -> str:
    files = _files(path)
    if not files and not (path / SPEAKER).is_dir():
        return (
            f"has no voice: put one into {VOICES}/ as a {weights.SAFE} file of {width} numbers, or a WavLMForXVector "
            f"into {SPEAKER}/"
        )
    if len(files) > MOST:
        return f"has {len(files):,} voices; at most {MOST:,}"
    for file in files:
        if len(file.stem) > LONGEST or not file.stem.isprintable() or file.stem != file.stem.strip():
            return f"has a voice whose name is no line of 1 to {LONGEST} characters: {file.stem[:20]!a}"
        tensors = weights.tensors_of(file)
        if [_shape(one, width) for one in tensors.values()] != [True]:
            return f"has a voice that is not one tensor of {width} numbers in F32: {VOICES}/{file.name}"
    return ""


def _shape(tensor: Any, width: Any) -> bool:
    told = tensor if isinstance(tensor, dict) else {}
    return told.get("dtype") == "F32" and told.get("shape") in ([width], [1, width])


def _holds(folder: Path, family: str) -> bool:
    return family in weights.architectures(folder) and any(folder.glob(f"*{weights.SAFE}"))
