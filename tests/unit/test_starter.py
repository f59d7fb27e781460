"""The scenes that the starter model learns from: drawn the same every time, told in words that it has."""

from random import Random

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizer

from domain.models import STARTER_PATH
from domain.vocabulary import read
from tasks.starter import autoencoder, captions, denoiser, drawing, scenes
from tasks.starter.pictures import pictures
from tasks.starter.schedule import Clock, Mean

SAMPLES = [scenes.sample(Random(seed)) for seed in range(400)]


def test_a_scene_is_drawn_the_same_every_time() -> None:
    for scene in SAMPLES[:20]:
        assert drawing.draw(scene).tobytes() == drawing.draw(scene).tobytes()


def test_every_kind_of_thing_and_ground_is_there_and_can_be_seen() -> None:
    seen = {thing.name for scene in SAMPLES for thing in scene.things}
    assert seen == {*scenes.SHAPES, *scenes.SKY, *scenes.GROUND}
    assert {scene.background for scene in SAMPLES} == set(scenes.BACKGROUNDS)
    for scene in SAMPLES[:40]:
        with_things, without = (
            drawing.draw(one, 64) for one in (scene, scenes.Scene(scene.background, (), scene.colors))
        )
        assert with_things.tobytes() != without.tobytes()


def test_things_stand_inside_the_picture() -> None:
    for scene in SAMPLES:
        for thing in scene.things:
            assert 0 < thing.x < 1
            assert 0 < thing.y < 1


def test_captions_use_words_that_the_model_knows_alone() -> None:
    chance = Random(1)
    tokenizer = CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer")
    known = {word for _, words in read(STARTER_PATH) for word in words}
    said = {word for scene in SAMPLES for word in captions.caption(scene, chance).replace(",", " ").split()}
    assert said - known <= {"picture", "drawing", "image", "painting", "photo"}
    assert {word for word in said if len(tokenizer(word).input_ids) != 3} == set()


def test_one_prompt_in_ten_says_nothing() -> None:
    chance = Random(2)
    empty = sum(not captions.prompt(scene, chance) for scene in SAMPLES * 5)
    assert 0.07 < empty / 2000 < 0.13


def test_relations_are_told_as_they_are_drawn() -> None:
    for scene in SAMPLES:
        if scene.relation not in ("above", "left"):
            continue
        first, second = scene.things
        near = (first.y, second.y) if scene.relation == "above" else (first.x, second.x)
        assert near[0] < near[1]


def test_the_autoencoder_learns() -> None:
    drawn = pictures(SAMPLES[:3], 1)
    assert drawn.shape == (3, 3, 256, 256)
    vae = autoencoder.new()
    cpu = torch.device("cpu")
    before = autoencoder.likeness(vae, drawn, cpu)
    autoencoder.train(vae, drawn, steps=12, batch=2, device=cpu, say=lambda words: None)
    assert autoencoder.likeness(vae, drawn, cpu) > before + 1
    assert autoencoder.encoded(vae, drawn, cpu).shape == (3, 4, 16, 16)


def test_the_way_back_learns_alone_and_latents_stay_as_they_are() -> None:
    drawn, cpu = pictures(SAMPLES[:4], 1)[..., ::4, ::4], torch.device("cpu")
    vae = autoencoder.new()
    before, latents = autoencoder.likeness(vae, drawn, cpu), autoencoder.encoded(vae, drawn, cpu)
    autoencoder.train(vae, drawn, steps=15, batch=1, keep_latents=True, device=cpu, say=lambda words: None)
    assert autoencoder.likeness(vae, drawn, cpu) > before + 1
    assert torch.equal(autoencoder.encoded(vae, drawn, cpu), latents)


def test_the_denoiser_learns() -> None:
    pipe, cpu = StableDiffusionPipeline.from_pretrained(STARTER_PATH, dtype=torch.float32), torch.device("cpu")
    latents = autoencoder.encoded(pipe.vae, pictures(SAMPLES[:8], 1), cpu)
    torch.nn.init.zeros_(pipe.unet.conv_out.weight)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    signal = pipe.scheduler.alphas_cumprod[500]
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    told = pipe.text_encoder(pipe.tokenizer([""] * 8, padding="max_length", return_tensors="pt").input_ids)[0]

    @torch.no_grad()
    def loss() -> float:
        found = pipe.unet(noisy, 500, told).sample
        wanted = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        return float((found - wanted).square().mean())

    before = loss()
    denoiser.train(pipe, SAMPLES[:8], latents, steps=12, rate=4e-3, device=cpu, say=lambda words: None)
    assert loss() < before * 0.8


def test_the_mean_swaps_with_the_weights() -> None:
    layer = torch.nn.Linear(2, 2)
    mean = Mean(layer.parameters())
    first = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.add_(1)
    mean.update(1)
    mean.swap()
    assert torch.all(layer.weight > first)
    assert torch.all(layer.weight < first + 1)
    mean.swap()
    assert torch.equal(layer.weight, first + 1)


def test_the_rate_falls_and_the_time_ends() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    clock = Clock(0, rate=1, warm=1, most=40)
    rates = []
    while clock.tick(optimizer):
        rates.append(optimizer.param_groups[0]["lr"])
    assert len(rates) == 39
    assert rates == sorted(rates, reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02, abs=1e-6)
