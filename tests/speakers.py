"""Small models with random weights that speak and listen, in the layout of transformers.

Built here rather than shipped: the real classes load them, and what they say or hear means nothing.
"""

import io
import json
from collections.abc import Sequence
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


def speech_t5(
    folder: Path, *, voices: Sequence[str] = (), speaker: bool = False, vocoder: bool = True, width: int = 8
) -> Path:
    """Make a SpeechT5 of some 30,000 parameters that reads small letters and does not stop before it has to, with a
    vocoder, the named voices, and a model that makes a voice of a sample. A voice is `width` numbers."""
    import torch
    from safetensors.torch import save_file
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5HifiGanConfig

    folder.mkdir(parents=True)
    (folder / "spm_char.model").write_bytes(_letters())
    told = {"tokenizer_class": "SpeechT5Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    torch.manual_seed(0)
    config = SpeechT5Config(
        vocab_size=40,
        hidden_size=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16,
        speech_decoder_postnet_layers=2,
        speaker_embedding_dim=width,
        max_text_positions=200,
        max_speech_positions=500,
        reduction_factor=10,
    )
    model: Any = SpeechT5ForTextToSpeech(config)
    with torch.no_grad():
        model.speech_decoder_postnet.prob_out.bias.fill_(-20.0)
        model.speecht5.decoder.prenet.speaker_embeds_layer.weight.mul_(20.0)
    model.save_pretrained(str(folder))
    if vocoder:
        sizes = {"upsample_rates": [4, 4], "upsample_kernel_sizes": [8, 8], "upsample_initial_channel": 16}
        blocks = {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
        built: Any = SpeechT5HifiGan(SpeechT5HifiGanConfig(model_in_dim=8, **sizes, **blocks))
        with torch.no_grad():
            for name, weight in built.named_parameters():
                if name.endswith("weight"):
                    weight.mul_(20.0)
        built.save_pretrained(str(folder / "vocoder"))
    for name in voices:
        (folder / "voices").mkdir(exist_ok=True)
        save_file({"voice": torch.randn(width)}, str(folder / "voices" / f"{name}.safetensors"))
    if speaker:
        _speaker(folder / "speaker", width)
    return folder


def _letters() -> bytes:
    """A SentencePiece model of single characters: small letters, and a few marks."""
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["abcdefghijklmnopqrstuvwxyz", "a boat, and. a 'boat'"]),
        model_writer=made,
        model_type="char",
        vocab_size=36,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=1,
        bos_id=0,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return made.getvalue()


def _speaker(folder: Path, width: int) -> None:
    """A WavLM of some 20,000 parameters that hears whose voice it is."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8, 8),
        conv_stride=(10, 8, 4),
        conv_kernel=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(16, 16, 16),
        tdnn_kernel=(5, 3, 1),
        tdnn_dilation=(1, 2, 1),
        xvector_output_dim=width,
        num_labels=2,
    )
    WavLMForXVector(config).save_pretrained(str(folder))
    Wav2Vec2FeatureExtractor().save_pretrained(str(folder))


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
