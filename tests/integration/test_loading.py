"""Models in memory: what a budget keeps, what will not load and why, and means that draw the same picture."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from domain import machine, models, weights
from domain.errors import DomainError, Invalid
from domain.means import PLAIN, Means
from domain.steps import TextToImage
from tasks import diffusion, loading
from tasks.context import Context
from tasks.converting import convert
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tasks.steps import text_to_image
from tests import checkpoints

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

STEP = TextToImage(prompt="a red circle", num_inference_steps=6, seed=4, width=64, height=64)


def ref(path: Path, means: Means = PLAIN, name: str = "tried") -> ModelRef:
    return ModelRef(name, str(path), weights.revision(path), means)


def drawn(loaded: Models, model: ModelRef, step: TextToImage = STEP) -> Any:
    """The step's picture as an array of bytes."""
    ctx = Context(Job(id="x", members=[Member(step={})], model=model), loaded, lambda _: None, lambda _: True)
    return np.asarray(text_to_image.run(step, ctx).pictures[0].image).astype(float)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights."""
    return checkpoints.folder(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(small, tmp_path / "model"))


@pytest.fixture(scope="module")
def plain() -> Any:
    """The starter's picture with every default."""
    return drawn(Models("cpu"), ref(models.STARTER_PATH))


# -- the budget


def test_a_model_is_as_large_as_its_parameters(small: Path) -> None:
    loaded = Models("cpu")
    model = loaded.get(ref(small))
    parts = (model.pipe.unet, model.pipe.vae, model.pipe.text_encoder)
    counted = sum(each.numel() for part in parts for each in part.parameters()) * 4
    assert counted <= model.bytes < counted * 1.01  # the parts have a few buffers
    half = loaded.get(ref(small, Means(dtype="bf16")))
    assert half.bytes < model.bytes * 0.51


def test_the_one_unused_for_longest_goes_when_the_budget_is_full(small: Path, tmp_path: Path) -> None:
    paths = [Path(shutil.copytree(small, tmp_path / name)) for name in "abc"]
    one = Models("cpu").get(ref(small)).bytes
    loaded = Models("cpu", int(one * 2.5))
    first, second = [loaded.get(ref(path)) for path in paths[:2]]
    assert loaded.get(ref(paths[0])) is first
    loaded.get(ref(paths[2]))
    assert loaded.get(ref(paths[0])) is first
    assert loaded.get(ref(paths[1])) is not second


def test_one_larger_than_the_budget_is_loaded_alone(small: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    loaded = Models("cpu", 1000)
    first = loaded.get(ref(small))
    assert loaded.get(ref(small)) is first
    loaded.get(ref(other))
    assert loaded.get(ref(small)) is not first


def test_other_means_are_another_model(small: Path) -> None:
    loaded = Models("cpu")
    assert loaded.get(ref(small)).dtype == "float32"
    assert loaded.get(ref(small, Means(dtype="bf16"))).dtype == "bfloat16"


def test_by_itself_the_budget_is_half_of_the_machine() -> None:
    assert Models("cpu").budget == machine.memory() // 2


def test_loading_says_what_it_does(small: Path) -> None:
    said: list[str] = []
    loading.load(ref(small), "cpu", said.append)
    assert list(dict.fromkeys(said)) == ["checking", "opening", "placing"]


# -- what will not load


def refused(path: Path, means: Means = PLAIN) -> str:
    with pytest.raises(DomainError) as caught:
        loading.load(ref(path, means), "cpu")
    assert str(path.parent) not in caught.value.message
    assert caught.value.message.startswith("The model “tried” cannot be loaded: ")
    return caught.value.message.removeprefix("The model “tried” cannot be loaded: ")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).unlink(missing_ok=True)
    assert "its tokenizer knows no words" in refused(folder)
    shutil.rmtree(folder / "tokenizer")
    assert "the folder tokenizer is missing" in refused(folder)


def test_a_wrong_class_is_named(folder: Path) -> None:
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("UNet2DConditionModel", "NobodysModel"))
    assert "NobodysModel" in refused(folder)


def test_shapes_that_do_not_fit_are_told(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 4', '"in_channels": 5'))
    assert "conv_in.weight" in refused(folder)


def test_a_broken_configuration_is_told(folder: Path) -> None:
    (folder / "vae" / "config.json").write_text("{")
    assert "config.json" in refused(folder)


def test_changed_and_missing_files_are_told(folder: Path) -> None:
    model = ref(folder)
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(DomainError, match="its files changed since it was registered"):
        loading.load(model, "cpu")
    shutil.rmtree(folder)
    with pytest.raises(DomainError, match="its files are not on this machine"):
        loading.load(model, "cpu")


def test_a_converted_checkpoint_draws_the_same_picture(small: Path, tmp_path: Path) -> None:
    """In the numbers that it came in, with a configuration from elsewhere."""
    file = checkpoints.single_file(small, tmp_path / "one.safetensors")
    halved = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(halved, file)
    config = shutil.move(file.with_suffix(""), tmp_path / "config")
    with pytest.raises(DomainError, match=r"one\.safetensors cannot be converted: .* is no diffusers folder"):
        convert(file, tmp_path / "made", tmp_path)
    (tmp_path / "made").mkdir()
    made = convert(file, tmp_path / "made", Path(config))
    assert all(each.stat().st_mode & 0o044 == 0o044 for each in (made, *made.rglob("*"))), "others may run the worker"
    assert 0.9 < weights.loaded_size(made) / weights.loaded_size(file) < 1.1, "half the numbers stay half"
    shutil.copytree(config, file.with_suffix(""))
    assert (drawn(Models("cpu"), ref(made)) == drawn(Models("cpu"), ref(file))).all()
    with pytest.raises(Invalid, match="is there already"):
        convert(file, made)


def test_nothing_but_a_checkpoint_is_converted(small: Path, tmp_path: Path) -> None:
    lora = models.SHIPPED["fish"].path
    with pytest.raises(Invalid, match=r"fish\.safetensors is a LoRA"):
        convert(lora, tmp_path / "made")
    pickled = tmp_path / "model.ckpt"
    pickled.write_bytes(b"\x80\x04.")
    for wrong, words in ((pickled, "model.ckpt is refused"), (small, "is no file"), (tmp_path / "gone", "is no file")):
        with pytest.raises(Invalid, match=words):
            convert(wrong, tmp_path / "made")
    part = next((small / "unet").glob("*.safetensors"))
    with pytest.raises(DomainError, match="cannot be converted: a single file must be a whole checkpoint"):
        convert(part, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_single_file_that_is_no_checkpoint_is_told(small: Path) -> None:
    assert "must be a whole checkpoint" in refused(small / "unet" / "diffusion_pytorch_model.safetensors")


def test_a_single_file_whose_configuration_is_not_whole_is_told(folder: Path, tmp_path: Path) -> None:
    file = checkpoints.single_file(folder, tmp_path / "file.safetensors")
    shutil.rmtree(tmp_path / "file" / "tokenizer")
    assert "the folder tokenizer is missing" in refused(file)


def test_a_folder_that_has_one_variant_only_loads_it(folder: Path) -> None:
    before = drawn(Models("cpu"), ref(folder))
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert weights.variant(folder) == "fp16"
    assert np.array_equal(drawn(Models("cpu"), ref(folder)), before)


# -- means


@pytest.mark.parametrize(
    ("means", "force", "tolerance"),
    [
        (Means(dtype="bf16"), {}, 8.0),
        (Means(channels_last=True), {"channels_last": True}, 1.0),
        (Means(fuse=True), {"fuse": True}, 1.0),
        (Means(vae_slicing=True), {"vae_slicing": True}, 1.0),
        (Means(vae_tiling=True), {"vae_tiling": True}, 1.0),
    ],
    ids=["bf16", "channels_last", "fuse", "vae_slicing", "vae_tiling"],
)
def test_every_means_draws_the_same_picture(plain: Any, means: Means, force: dict[str, Any], tolerance: float) -> None:
    loaded = Models("cpu")
    model = ref(models.STARTER_PATH, means)
    assert np.abs(drawn(loaded, model) - plain).mean() <= tolerance
    assert loaded.get(model).means == force


def test_compiled_it_draws_the_same_picture(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    whole = torch.nn.Module.compile  # building kernels takes minutes on a CPU, so they are only traced
    monkeypatch.setattr(torch.nn.Module, "compile", lambda part: whole(part, backend="eager"))
    loaded = Models("cpu")
    model = ref(small, Means(compile=True))
    said: list[str] = []
    assert loading.load(model, "cpu", said.append).means == {"compile": True}
    assert said[-1] == "compiling"
    step = msgspec.structs.replace(STEP, num_inference_steps=2)
    assert np.abs(drawn(loaded, model, step) - drawn(loaded, ref(small), step)).mean() <= 1.0


def test_a_cache_skips_blocks_and_forgets_them_after_each_call(tmp_path: Path) -> None:
    folder = checkpoints.flux(tmp_path / "flux")
    loaded = Models("cpu")
    exact, always = ref(folder), ref(folder, Means(first_block_cache=0.5))
    plain = drawn(loaded, exact)
    blocks = loaded.get(always).pipe.transformer.single_transformer_blocks
    passes: list[int] = []
    blocks[-1].norm.register_forward_hook(lambda *_: passes.append(1))
    first = drawn(loaded, always)
    assert 0 < len(passes) < STEP.num_inference_steps
    assert np.array_equal(drawn(loaded, always), first)
    assert np.abs(first - plain).mean() > 0
    assert loaded.get(always).means == {"first_block_cache": 0.5}
    with pytest.raises(DomainError, match="cannot do this with its first_block_cache"):
        diffusion.redrawing(loaded.get(always), "DDIMScheduler")


@pytest.mark.parametrize(
    ("means", "words"),
    [
        (Means(dtype="fp16"), "dtype=fp16 needs a GPU"),
        (Means(offload=True), "offload=1 needs a CUDA GPU"),
        (Means(first_block_cache=0.1), "first_block_cache does not work with this kind of model"),
    ],
)
def test_means_that_cannot_be_used_here_are_told(small: Path, means: Means, words: str) -> None:
    assert words in refused(small, means)
