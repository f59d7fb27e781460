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
