"""Small models with random weights that speak and listen, in the layout of transformers.

Built here rather than shipped: the real classes load them, and what they say or hear means nothing.
"""

import json
from pathlib import Path
from typing import Any

LETTERS = "_abcdefghijklmnopqrstuvwxyz '-"


def vits(folder: Path, *, voices: int = 1, **tokenizer: Any) -> Path:
    """Make one of some 100,000 parameters that reads English letters."""
    import torch
    from transformers import VitsConfig, VitsModel

    folder.mkdir(parents=True)
    vocabulary = {letter: number for number, letter in enumerate(LETTERS)} | {"<unk>": len(LETTERS)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    told = {"tokenizer_class": "VitsTokenizer", "phonemize": False, "pad_token": "_", "unk_token": "<unk>", **tokenizer}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    torch.manual_seed(0)
    config = VitsConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=17,
        prior_encoder_num_flows=2,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        duration_predictor_filter_channels=16,
        depth_separable_num_layers=1,
        upsample_initial_channel=32,
        num_speakers=voices,
        speaker_embedding_size=8 if voices > 1 else 0,
        leaky_relu_slope=0.9,
    )
    VitsModel(config).save_pretrained(str(folder))
    return folder


def whisper(folder: Path, *, tokens: int = 24) -> Path:
    """Make one of some 60,000 parameters that knows English and Ukrainian and writes up to so many tokens at once.

    It hears two seconds at a time, lest all that it writes down were later than a short sound ends.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|uk|>", "<|translate|>", "<|transcribe|>"]
    marks += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    times = [f"<|{at / 50:.2f}|>" for at in range(1501)]
    number = {token: at for at, token in enumerate([*letters, *marks, *times])}
    tokenizer: Any = WhisperTokenizer(vocab={letter: number[letter] for letter in letters}, merges=[])
    tokenizer.add_tokens(marks, special_tokens=True)
    tokenizer.add_tokens(times)
    assert tokenizer.convert_tokens_to_ids("<|0.00|>") == number["<|0.00|>"]
    tokenizer.save_pretrained(str(folder))
    WhisperFeatureExtractor(feature_size=80).save_pretrained(str(folder))
    end, start = number["<|endoftext|>"], number["<|startoftranscript|>"]
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(number),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=tokens,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    model: Any = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        max_length=tokens,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        no_timestamps_token_id=number["<|notimestamps|>"],
        prev_sot_token_id=number["<|startofprev|>"],
        is_multilingual=True,
        lang_to_id={"<|en|>": number["<|en|>"], "<|uk|>": number["<|uk|>"]},
        task_to_id={"transcribe": number["<|transcribe|>"], "translate": number["<|translate|>"]},
        max_initial_timestamp_index=50,
        begin_suppress_tokens=[end],
        suppress_tokens=[number[one] for one in [*letters, *times[101:]] if not (one.isalpha() and one.isascii())],
    )
    model.save_pretrained(str(folder))
    return folder
