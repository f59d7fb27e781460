"""The scenes that the starter model learns from: drawn the same every time, told in words that it has."""

from random import Random

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTokenizer

from domain.models import STARTER_PATH
from domain.vocabulary import read
from tasks.starter import autoencoder, captions, denoiser, drawing, scenes
from tasks.starter.optimizers import Matrices, split
from tasks.starter.pictures import pictures, unit
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
    assert autoencoder.encoded(vae, drawn, cpu).shape == (3, 4, 32, 32)


def test_the_way_back_learns_alone_and_latents_stay_as_they_are() -> None:
    drawn, cpu = pictures(SAMPLES[:4], 1)[..., ::4, ::4], torch.device("cpu")
    vae = autoencoder.new()
    before, latents = autoencoder.likeness(vae, drawn, cpu), autoencoder.encoded(vae, drawn, cpu)
    autoencoder.train(vae, drawn, steps=15, batch=1, keep_latents=True, device=cpu, say=lambda words: None)
    assert autoencoder.likeness(vae, drawn, cpu) > before + 1
    assert torch.equal(autoencoder.encoded(vae, drawn, cpu), latents)


def test_colors_as_latents_are_spread_like_noise_and_as_far_apart_as_in_the_picture() -> None:
    drawn = unit(pictures(SAMPLES[:30], 1), torch.device("cpu"))
    found = autoencoder.Colors(drawn)(drawn)
    assert found.shape == (30, 3, 32, 32)
    values = found.movedim(1, 0).flatten(1)
    assert torch.allclose(values.mean(1), torch.zeros(3), atol=1e-3)
    assert torch.allclose(values.cov(), torch.eye(3), atol=1e-3)


def test_a_new_denoiser_is_built_as_the_starters_is() -> None:
    shipped = UNet2DConditionModel.from_pretrained(STARTER_PATH / "unet")
    built = denoiser.new()
    assert {name: one.shape for name, one in built.named_parameters()} == {
        name: one.shape for name, one in shipped.named_parameters()
    }
    assert built.config.sample_size == shipped.config.sample_size


def test_the_inner_levels_learn_alone_and_see_the_same_inside_the_whole() -> None:
    chance = torch.Generator().manual_seed(1)
    noisy, words = torch.randn(2, 4, 32, 32, generator=chance), torch.randn(2, 77, 128, generator=chance)
    halved, times = denoiser.halved(noisy), torch.tensor([20, 900])
    assert torch.allclose(halved[0, 0, 0, 0], noisy[0, 0, :2, :2].mean())
    whole = denoiser.new()
    core = denoiser.Core(whole)
    seen: list[torch.Tensor] = []
    whole.mid_block.register_forward_hook(lambda module, given, found: seen.append(found))
    with torch.no_grad():
        assert core(halved, times, words).sample.shape == halved.shape
        core.settle()
        assert whole(noisy, times, words).sample.shape == noisy.shape
    assert torch.allclose(seen[0], seen[1], atol=1e-4)


@pytest.mark.parametrize("alone", [True, False])
def test_the_inner_levels_read_the_same_while_the_outermost_learns(alone: bool) -> None:
    chance = torch.Generator().manual_seed(1)
    noisy, words = torch.randn(2, 4, 32, 32, generator=chance), torch.randn(2, 77, 128, generator=chance)
    whole, times = denoiser.new(), torch.tensor([20, 900])
    denoiser.Core(whole).settle()
    read: list[torch.Tensor] = []
    hook = whole.down_blocks[1].register_forward_pre_hook(
        lambda module, given, named: read.append(named["hidden_states"]), with_kwargs=True
    )
    before = {name: weight.detach().clone() for name, weight in whole.named_parameters()}
    with denoiser.held(whole, outermost_alone=alone):
        optimizer = torch.optim.SGD([weight for weight in whole.parameters() if weight.requires_grad], lr=0.1)
        whole(noisy, times, words).sample.square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        whole(noisy, times, words)
    hook.remove()
    assert torch.equal(read[0], read[1])
    learned = {name for name, weight in whole.named_parameters() if not torch.equal(weight, before[name])}
    assert {"conv_in.weight", "conv_out.weight", "down_blocks.0.resnets.0.conv2.weight"} <= learned
    assert ("mid_block.resnets.0.conv1.weight" in learned) is not alone
    assert all(weight.requires_grad for weight in whole.parameters())
    assert not whole.down_blocks[0].downsamplers[0]._forward_pre_hooks


def test_kernels_are_taught_as_matrices_in_the_place_where_they_lie() -> None:
    layers = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.Linear(2, 3)).to(memory_format=torch.channels_last)
    matrices, rest = split(layers, 0.1)
    assert isinstance(matrices, Matrices)
    assert [len(group["params"]) for one in (matrices, rest) for group in one.param_groups] == [2, 2]
    before = [weight.detach().clone() for weight in layers.parameters()]
    (layers[0](torch.ones(1, 4, 3, 3)).square().sum() + layers[1](torch.ones(2)).square().sum()).backward()
    for optimizer in (matrices, rest):
        optimizer.step()
    for weight, was in zip(layers.parameters(), before, strict=True):
        assert weight.grad is not None
        assert ((was - weight) * weight.grad).sum() > 0


def test_matrices_that_are_to_learn_slowly_get_half_of_the_rate() -> None:
    unet = denoiser.new().to(memory_format=torch.channels_last)
    fast, slow, rest = split(unet, 0.4, slow=denoiser.inner(unet))
    assert [one.param_groups[0]["lr"] for one in (fast, slow, rest)] == [0.4, 0.2, 0.1]
    assert len(slow.param_groups[0]["params"]) > 4 * len(fast.param_groups[0]["params"])


def test_times_are_spread_evenly_and_most_of_them_where_edges_are_drawn_if_asked() -> None:
    cpu, (first, last) = torch.device("cpu"), denoiser.EDGES
    even = denoiser.times_of(64, 0, cpu).sort().values
    assert torch.equal((even * 64).long(), torch.arange(64))
    often = denoiser.times_of(64, 0.75, cpu)
    assert ((often[:48] >= first) & (often[:48] <= last)).all()
    assert torch.equal((often[48:] * 16).long(), torch.arange(16))


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
    with denoiser.held(pipe.unet, outermost_alone=True):
        denoiser.train(pipe, SAMPLES[:8], latents, steps=12, rate=2e-2, device=cpu, say=lambda words: None)
    assert loss() < before * 0.8


def test_all_of_the_denoiser_goes_on_learning_but_for_what_its_inner_levels_read() -> None:
    pipe, cpu = StableDiffusionPipeline.from_pretrained(STARTER_PATH, dtype=torch.float32), torch.device("cpu")
    latents = autoencoder.encoded(pipe.vae, pictures(SAMPLES[:8], 1), cpu)
    before = {name: weight.detach().clone() for name, weight in pipe.unet.named_parameters()}
    with denoiser.held(pipe.unet):
        denoiser.train(pipe, SAMPLES[:8], latents, steps=2, device=cpu, say=lambda words: None)
    same = {name for name, weight in pipe.unet.named_parameters() if torch.equal(weight, before[name])}
    assert same == {f"down_blocks.0.downsamplers.0.conv.{part}" for part in ("weight", "bias")}
    assert torch.equal(pipe.unet.conv_in.weight[:4], before["conv_in.weight"][:4])


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
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    clock = Clock(0, warm=1, most=40)
    rates = []
    while clock.tick(optimizer):
        rates.append(optimizer.param_groups[0]["lr"])
    assert len(rates) == 39
    assert rates == sorted(rates, reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02, abs=1e-6)
