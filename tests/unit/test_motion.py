"""Scenes that move, and motion modules that learn from them while the model stays as it is."""

from argparse import Namespace
from pathlib import Path
from random import Random

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from PIL import ImageChops

from domain.models import STARTER_PATH
from domain.weights import MOTION
from tasks.motion import clips, training
from tasks.motion.__main__ import encoded
from tasks.starter.drawing import draw
from tasks.starter.scenes import Scene, Thing

CLIPS = [clips.clip(Random(seed)) for seed in range(200)]


def test_clips_begin_with_a_scene_of_the_starter_and_come_back_to_it() -> None:
    for clip in CLIPS:
        assert len(clip) == clips.FRAMES
        assert clip[0] == clips.moved(clip[0], 0)
        again = clips.moved(clip[0], 1)
        for first, last in zip(clip[0].things, again.things, strict=True):
            assert (last.x, last.y, last.radius) == pytest.approx((first.x, first.y, first.radius))


def test_something_is_seen_to_move_and_the_ground_is_not() -> None:
    for clip in CLIPS[:20]:
        first, middle = (draw(clip[number], 64) for number in (0, clips.FRAMES // 4))
        assert ImageChops.difference(first, middle).getbbox()
        bare = [draw(Scene(one.background, (), one.colors, horizon=one.horizon, seed=one.seed), 64) for one in clip[:2]]
        assert not ImageChops.difference(*bare).getbbox()


@pytest.mark.parametrize(
    ("thing", "place", "moves"),
    [
        (Thing("star", 0.28, 0.5, 0.2, "red"), "left", {"x": 0.72}),
        (Thing("star", 0.5, 0.28, 0.2, "red"), "top", {"y": 0.72}),
        (Thing("star", 0.5, 0.5, 0.1, "red", "small"), "", {"radius": 0.2}),
        (Thing("star", 0.5, 0.5, 0.3, "red", "big"), "", {"radius": 0.15}),
        (Thing("ring", 0.5, 0.5, 0.2, "red"), "", {"y": 0.3}),
        (Thing("star", 0.5, 0.5, 0.2, "red"), "center", {"turn": torch.pi / 3}),
    ],
)
def test_where_a_thing_stands_and_how_large_it_is_say_how_it_moves(
    thing: Thing, place: str, moves: dict[str, float]
) -> None:
    (halfway,) = clips.moved(Scene("plain", (thing,), ("white",), place=place), 0.5).things
    told = {name: getattr(halfway, name) for name in ("x", "y", "radius", "turn")}
    before = {name: getattr(thing, name) for name in told}
    assert told == pytest.approx({**before, **moves})


def test_motion_is_learned_and_the_model_stays_as_it_is() -> None:
    pipe = StableDiffusionPipeline.from_pretrained(STARTER_PATH, dtype=torch.float32)
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    motion = training.new()
    latents = torch.randn(3, clips.FRAMES, 4, 4, 4, generator=torch.Generator().manual_seed(1)).half()
    scenes = [clip[0] for clip in CLIPS[:3]]
    training.train(pipe, motion, scenes, latents, steps=3, rate=3e-3, device=torch.device("cpu"))
    assert all(torch.equal(weight, before[name]) for name, weight in pipe.unet.state_dict().items())
    assert any(weight.abs().max() > 0 for name, weight in motion.named_parameters() if "proj_out" in name)


def test_clips_that_were_kept_are_taken_for_no_others(tmp_path: Path) -> None:
    vae = AutoencoderTiny.from_pretrained(STARTER_PATH / "vae", dtype=torch.float32)
    given, cpu = Namespace(clips=tmp_path, processes=1), torch.device("cpu")
    first = encoded(vae, CLIPS[:1], given, cpu)
    assert torch.equal(encoded(vae, CLIPS[:1], given, cpu), first)
    assert len(list(tmp_path.iterdir())) == 1
    assert len(encoded(vae, CLIPS[:2], given, cpu)) == 2


def test_the_starters_motion_is_one_that_was_taught_so() -> None:
    from diffusers import MotionAdapter

    found = MotionAdapter.from_pretrained(STARTER_PATH / MOTION)
    told = found.config
    assert {name: told[name] for name in training.SHAPE}["motion_max_seq_length"] == clips.FRAMES
    assert told.shared_noise == training.SHARED
    assert (STARTER_PATH / MOTION / "diffusion_pytorch_model.safetensors").stat().st_size < 5_000_000
