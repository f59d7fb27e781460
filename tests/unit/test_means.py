"""Means are read from plain words, refused by name, and count in a result's identity only where they change it."""

import pytest

from domain import means, prepare, steps
from domain.config import Config, ConfigError
from domain.errors import Invalid
from domain.means import PLAIN, Means
from tests.unit.test_config import NEEDED

GIVEN = prepare.Given(inputs={}, lists={}, seed=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", PLAIN),
        ("dtype=bf16", Means(dtype="bf16")),
        (" compile=1 ; channels_last=0,", Means(compile=True, channels_last=False)),
        ("first_block_cache=0.08;vae_tiling=1", Means(first_block_cache=0.08, vae_tiling=True)),
    ],
)
def test_means_are_read_and_spelled_alike(text: str, expected: Means) -> None:
    assert means.parse(text) == expected == means.parse(means.spell(expected))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed=9", "there is no 'speed'; there are dtype, channels_last"),
        ("dtype=int8", "dtype must be auto, fp32, fp16 or bf16, not 'int8'"),
        ("compile=yes", "compile must be 0 or 1, not 'yes'"),
        ("compile", "compile needs a value"),
        ("fuse=1,fuse=0", "fuse is given twice"),
        ("first_block_cache=2", "first_block_cache must be a number from 0 to 0.5"),
        ("first_block_cache=nan", "first_block_cache must be a number"),
        ("compile=1,offload=1", "compile and offload do not go together"),
        ("compile=1,first_block_cache=0.1", "compile and first_block_cache do not go together"),
        ("offload=1,first_block_cache=0.1", "offload and first_block_cache do not go together"),
    ],
)
def test_what_cannot_be_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        means.parse(text)


def test_a_models_parts_decide_what_it_can_do() -> None:
    with pytest.raises(Invalid, match="needs a model with a transformer"):
        means.check_family(Means(first_block_cache=0.1), {"unet", "vae"})
    with pytest.raises(Invalid, match="is for models with a U-Net"):
        means.check_family(Means(channels_last=True), {"transformer", "vae"})
    means.check_family(Means(first_block_cache=0.1), {"transformer", "vae"})


def test_only_an_approximation_makes_another_result_and_runs_alone() -> None:
    step = steps.TextToImage(prompt="a boat")
    plain = prepare.prepare(step, GIVEN, "r")
    exact = prepare.prepare(step, GIVEN, "r", Means(dtype="bf16", compile=True, fuse=True, vae_slicing=True))
    rough = prepare.prepare(step, GIVEN, "r", Means(first_block_cache=0.1))
    rougher = prepare.prepare(step, GIVEN, "r", Means(first_block_cache=0.2))
    assert plain == exact
    assert plain.batch_key
    assert rough.batch_key == ""  # it decides for a whole batch at once, so neighbors would show in the picture
    assert len({each.input_hash for each in (plain, rough, rougher)}) == 3


def test_the_models_setting_carries_means_and_spells_itself() -> None:
    config = Config.from_env(NEEDED | {"MODELS": "one=/models/one;dtype=bf16;compile=1, two=/models/two"})
    assert config.means == {"one": Means(dtype="bf16", compile=True), "two": PLAIN}
    assert config.models_setting == "one=/models/one;dtype=bf16;compile=1,two=/models/two"
    with pytest.raises(ConfigError, match=r"^MODELS: one: there is no 'speed'"):
        Config.from_env(NEEDED | {"MODELS": "one=/models/one;speed=1"})
