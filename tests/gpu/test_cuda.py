"""On a CUDA device: every means draws the same picture, batches draw what single steps draw, and memory runs out
with words."""

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from domain import models, weights
from domain.means import PLAIN, Means
from domain.steps import TextToImage
from tasks.context import Context
from tasks.engine import Engine
from tasks.loading import Models
from tasks.messages import Done, Ended, Failed, Job, Member, ModelRef
from tasks.steps import text_to_image
from tests import checkpoints

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

STEP = TextToImage(prompt="a red circle", num_inference_steps=12, seed=4, width=128, height=128, guidance_scale=3.0)


def ref(path: Path, means: Means = PLAIN) -> ModelRef:
    return ModelRef("tried", str(path), weights.revision(path), means)


def drawn(loaded: Models, model: ModelRef, *alike: TextToImage) -> list[Any]:
    """The first picture of each step, as arrays of bytes."""
    job = Job(id="x", members=[Member(step={}) for _ in alike], model=model)
    ctx = Context(job, loaded, lambda _: None, lambda _: True)
    results = text_to_image.together(alike, ctx)
    return [np.asarray(result.pictures[0].image).astype(float) for result in results]


def difference(one: Any, other: Any) -> float:
    """Mean absolute difference in steps of 1/255."""
    return float(np.abs(one - other).mean())


@pytest.fixture(scope="module")
def plain(device: str) -> Any:
    return drawn(Models(device), ref(models.STARTER_PATH, Means(dtype="fp32", channels_last=False)), STEP)[0]


def test_it_draws_what_a_cpu_draws(plain: Any) -> None:
    assert difference(drawn(Models("cpu"), ref(models.STARTER_PATH), STEP)[0], plain) <= 1.0


def test_the_defaults_suit_the_device(device: str) -> None:
    import torch

    loaded = Models(device)
    model = loaded.get(ref(models.STARTER_PATH))
    bf16 = torch.cuda.get_device_capability()[0] >= 8
    assert (model.dtype, model.means) == ("bfloat16" if bf16 else "float16", {"channels_last": True})
    assert loaded.budget == torch.cuda.get_device_properties(device).total_memory * 4 // 5


@pytest.mark.parametrize(
    ("means", "tolerance"),
    [
        (Means(), 8.0),
        (Means(dtype="fp16"), 4.0),
        (Means(dtype="fp32", channels_last=True), 1.0),
        (Means(dtype="fp32", fuse=True), 1.0),
        (Means(dtype="fp32", vae_slicing=True), 1.0),
        (Means(dtype="fp32", vae_tiling=True), 1.0),
        (Means(dtype="fp32", offload=True), 1.0),
        (Means(dtype="fp32", compile=True), 1.0),
        (Means(dtype="fp32", compile=True, fuse=True, channels_last=True), 1.0),
    ],
)
def test_every_means_draws_the_same_picture(device: str, plain: Any, means: Means, tolerance: float) -> None:
    assert difference(drawn(Models(device), ref(models.STARTER_PATH, means), STEP)[0], plain) <= tolerance


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_a_batch_draws_what_single_steps_draw(device: str, dtype: Any) -> None:
    loaded, model = Models(device), ref(models.STARTER_PATH, Means(dtype=dtype))
    alike = [msgspec.structs.replace(STEP, seed=seed, prompt=f"a {seed} circle") for seed in range(8)]
    together = drawn(loaded, model, *alike)
    for step, picture in zip(alike, together, strict=True):
        assert difference(drawn(loaded, model, step)[0], picture) <= 1.0


def test_offload_keeps_the_weights_off_the_device(device: str, full_size: Path) -> None:
    import torch

    loaded = Models(device)
    whole = loaded.get(ref(full_size)).bytes
    del loaded
    Models(device).free()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step = msgspec.structs.replace(STEP, width=256, height=256, num_inference_steps=3)
    drawn(Models(device), ref(full_size, Means(offload=True)), step)
    assert torch.cuda.max_memory_allocated() - before < whole / 2


async def test_a_picture_too_large_for_the_device_is_named_and_the_engine_goes_on(device: str, tmp_path: Path) -> None:
    import torch

    small = ref(checkpoints.folder(tmp_path / "model"))
    huge = TextToImage(prompt="x", num_inference_steps=2, seed=1, width=2048, height=2048, num_images_per_prompt=8)
    engine = Engine(device)
    try:
        assert isinstance(await _end(engine, small, STEP), Ended)
        free, _ = torch.cuda.mem_get_info()
        elsewhere = torch.empty(free - (1 << 30), dtype=torch.uint8, device=device)  # leaves a gigabyte
        failed = await _end(engine, small, huge)
        del elsewhere
        torch.cuda.empty_cache()
        after = await _end(engine, small, STEP)
    finally:
        engine.close()
    assert isinstance(failed, Failed)
    assert failed.code == "memory"
    assert "out of memory" in failed.message
    assert isinstance(after, Ended)


async def _end(engine: Engine, model: ModelRef, step: TextToImage) -> Any:
    plain: dict[str, Any] = msgspec.to_builtins(step)
    job = Job(id=secrets.token_hex(4), members=[Member(step=plain)], model=model)
    async with asyncio.timeout(300), contextlib.aclosing(engine.run(job)) as said:
        messages = [message async for message in said]
    assert isinstance(messages[-1], Failed) or any(isinstance(message, Done) for message in messages)
    return messages[-1]
