"""VAEs that stand in for a model's own: the kind, the registry, the composer. Through the queue: `test_loras.py`."""

import io
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import torch
from diffusers import AsymmetricAutoencoderKL, AutoencoderKL
from PIL import Image

from domain import models, steps, vaes, weights
from domain.errors import DomainError, Invalid
from domain.means import PLAIN, Means
from domain.models import STARTER_PATH
from domain.people import Person
from domain.prepare import Given, prepare
from domain.steps import AnyStep, ImageToImage, Inpaint, TextToImage
from tasks.context import Context, Picture
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tasks.steps import RUNNERS
from tasks.vaes import opened
from tests import checkpoints, enlargers
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
DRAW = TextToImage(prompt="a red circle", width=64, height=64, num_inference_steps=2, seed=5)
LOADED = Models("cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The starter, one with smaller latents, a model of the shape of Stable Diffusion 1, and VAEs that fit some of them
    or none."""
    folder = tmp_path_factory.mktemp("vaes")
    sd1 = checkpoints.folder(folder / "sd1")
    small = Path(shutil.copytree(STARTER_PATH, folder / "small"))
    checkpoints.tiny(small / "vae", levels=5)
    return {
        "starter": STARTER_PATH,
        "sd1": sd1,
        "small": small,
        "tiny": checkpoints.tiny(folder / "tiny"),
        "deep": checkpoints.kl(folder / "deep", levels=5),
        "other": checkpoints.kl(folder / "other"),
        "xl": checkpoints.kl(folder / "xl", scaling_factor=0.13025),
        "wide": checkpoints.kl(folder / "wide", channels=16),
        "file": checkpoints.vae_file(sd1, folder / "file.safetensors", old=False),
        "old": checkpoints.vae_file(sd1, folder / "old.safetensors", old=True),
    }


# on a model


@pytest.fixture
def drawn(files: dict[str, Path]) -> Callable[..., Any]:
    """Runs a step on a model with a VAE, "" for its own: the first picture that comes out, as an array."""

    def ref(name: str, means: Means = PLAIN) -> ModelRef:
        return ModelRef(name, str(files[name]), weights.revision(files[name]), means)

    def ran(step: AnyStep, vae: str = "", *pictures: bytes, model: str = "starter", means: Means = PLAIN) -> Any:
        member = Member(step=msgspec.to_builtins(step), pictures=list(pictures))
        job = Job(id="tried", members=[member], model=ref(model, means), vae=ref(vae) if vae else None)
        context = Context(job, LOADED, lambda said: None, lambda member: True)
        (first, *_) = RUNNERS[steps.kind_of(step)].run(step, context).pictures
        assert isinstance(first, Picture)
        return np.asarray(first.image).astype(int)

    return ran


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(buffer, "PNG")
    return buffer.getvalue()


def test_another_vae_decodes_and_leaves_the_model_as_it_was(drawn: Callable[..., Any]) -> None:
    plain, tiny, other = drawn(DRAW), drawn(DRAW, "tiny"), drawn(DRAW, "other")
    assert tiny.shape == other.shape == (64, 64, 3)
    assert not np.array_equal(plain, tiny)
    assert not np.array_equal(tiny, other)
    assert np.array_equal(drawn(DRAW), plain)
    assert np.array_equal(drawn(DRAW, "tiny"), tiny)
    assert np.array_equal(drawn(DRAW), plain)


def test_it_encodes_what_is_redrawn_and_repainted_too(drawn: Callable[..., Any]) -> None:
    redraw = ImageToImage(prompt="a blue star", num_inference_steps=2, strength=0.5, seed=5)
    repaint = Inpaint(prompt="a blue star", num_inference_steps=2, seed=5, feather=0)
    for step, given in ((redraw, (png("red"),)), (repaint, (png("red"), png("white")))):
        plain = drawn(step, "", *given)
        assert not np.array_equal(drawn(step, "tiny", *given), plain)
        assert np.array_equal(drawn(step, "", *given), plain)


def test_a_vae_is_laid_as_each_model_is_that_it_stands_in_for(
    drawn: Callable[..., Any], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []
    monkeypatch.setattr(AutoencoderKL, "decode", noting(kept, AutoencoderKL.decode))
    for channels_last in (True, False, True):
        drawn(DRAW, "other", model="sd1", means=Means(channels_last=channels_last))
    assert kept == [False, True, False]


def noting(kept: list[bool], decode: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and whether weights lie one after the other."""

    def noted(vae: Any, *given: Any, **more: Any) -> Any:
        kept.append(vae.decoder.mid_block.resnets[0].conv1.weight.is_contiguous())
        return decode(vae, *given, **more)

    return noted


@pytest.mark.parametrize("name", ["file", "old"])
def test_a_file_without_a_configuration_is_read_by_its_shapes(drawn: Callable[..., Any], name: str) -> None:
    plain = drawn(DRAW, model="sd1")
    assert np.array_equal(drawn(DRAW, name, model="sd1"), plain), "it is the model's own"
    assert not np.array_equal(drawn(DRAW, "other", model="sd1"), plain)


@pytest.mark.parametrize(
    ("model", "vae", "means", "words"),
    [
        ("sd1", "wide", Means(), "“wide” does not fit the model “sd1”: its latents have 16 channels"),
        ("sd1", "deep", Means(), "it makes 16 pixels of a latent’s side, and the model needs 8"),
        ("sd1", "xl", Means(), "its latents have a scaling of 0.13025, and the model’s one of 0.18215"),
        ("small", "other", Means(), "it makes 8 pixels of a latent’s side, and the model needs 16"),
        ("starter", "tiny", Means(vae_tiling=True), ""),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_and_leaves_the_model_as_it_was(
    drawn: Callable[..., Any], model: str, vae: str, means: Means, words: str
) -> None:
    plain = drawn(DRAW, model=model, means=means)
    if words:
        with pytest.raises(DomainError, match=re.escape(words)):
            drawn(DRAW, vae, model=model, means=means)
    else:
        assert not np.array_equal(drawn(DRAW, vae, model=model, means=means), plain)
    assert np.array_equal(drawn(DRAW, model=model, means=means), plain)


def test_a_model_with_a_decoder_of_another_kind_keeps_it(
    drawn: Callable[..., Any], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LOADED.get(ModelRef("sd1", str(files["sd1"]), weights.revision(files["sd1"])))
    monkeypatch.setattr(model.pipe, "vae", AsymmetricAutoencoderKL(norm_num_groups=32))
    with pytest.raises(DomainError, match="“sd1” has a decoder of another kind, which none stands in for"):
        drawn(DRAW, "other", model="sd1")


def test_files_that_changed_are_not_opened(files: dict[str, Path]) -> None:
    tiny = ModelRef("tiny", str(files["tiny"]), "0" * 64)
    starter = ModelRef("starter", str(STARTER_PATH), weights.revision(STARTER_PATH))
    job = Job(id="tried", members=[Member(step=msgspec.to_builtins(DRAW))], model=starter, vae=tiny)
    with pytest.raises(DomainError, match="“tiny” cannot be loaded: its files changed since it was registered"):
        Context(job, LOADED, lambda said: None, lambda member: True).model()


# the kind


def test_it_counts_by_its_files_and_nothing_counts_without_it() -> None:
    given = Given(inputs={}, lists={}, seed=1)
    plain = prepare(TextToImage(prompt="a"), given, "")
    assert (plain.input_hash, plain.batch_key, "vae" in plain.parameters) == (
        "2c4041efe7e80457ae04c3e1d68f2215b83c828310a9f25a191b00258a38ec50",
        "8d5f7f8ef9a1c8842f7f86af4789ce664c68073957ec302f3182055dfa971e3d",
        False,
    ), "the hashes are those of before there were others"
    one, same, other = (
        prepare(TextToImage(prompt="a", vae=name), given, "", vae=revision)
        for name, revision in (("x", "1"), ("y", "1"), ("x", "2"))
    )
    assert one.input_hash == same.input_hash
    assert len({plain.input_hash, one.input_hash, other.input_hash}) == 3
    assert len({plain.batch_key, one.batch_key, other.batch_key}) == 3
    with pytest.raises(DomainError, match="This site has no decoder called “x”"):
        prepare(TextToImage(prompt="a", vae="x"), given, "")
    assert b"vae" not in steps.encode(steps.Recipe(steps=[TextToImage(prompt="a")]))


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({"scaling_factor": float("nan"), "shift_factor": float("-inf")}, {"channels": 4, "shrinks": 2}),
        ({"scaling_factor": 10**400, "shift_factor": True}, {"channels": 4, "shrinks": 2}),
        ({"scaling_factor": "0.18", "shift_factor": None}, {"channels": 4, "shrinks": 2, "shift": 0.0}),
        ({"latent_channels": True}, {}),
        ({"latent_channels": 10**9}, {}),
        ({"block_out_channels": [32] * 20_000}, {}),
    ],
)
def test_a_configuration_may_tell_anything(told: dict[str, Any], known: dict[str, float]) -> None:
    assert vaes.latents(vaes.KL, {"block_out_channels": [32, 32], **told}) == known


@pytest.mark.parametrize("shape", [[8], ["8", 4, 3, 3], {"8": 4}, None, [32, 10**9, 3, 3]])
async def test_a_file_may_tell_anything(db: Any, tmp_path: Path, shape: Any) -> None:
    named = {f"{part}.conv_in.weight": shape for part in ("encoder", "decoder")}
    path = enlargers.claiming(tmp_path / "odd.safetensors", named)
    await models.register("odd", path)
    assert (await models.read("odd")).limits == {}


def test_sizes_that_a_file_only_claims_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {f"{part}.conv_in.weight": [1024, 1024, 0, 0] for part in ("encoder", "decoder")}
    named |= {"encoder.down.0.block.0.conv1.weight": [1024, 1024, 0, 0]}
    path = enlargers.claiming(tmp_path / "huge.safetensors", named)
    made: list[str] = []
    monkeypatch.setattr(torch.nn.Conv2d, "reset_parameters", lambda layer: made.append(layer.weight.device.type))
    with pytest.raises(DomainError, match="its weights are not those of an AutoencoderKL"):
        opened(path, torch.float32)
    assert {*made} == {"meta"}


# the registry and the composer


async def test_vaes_are_known_by_their_files(db: Any, files: dict[str, Path], client: httpx.AsyncClient) -> None:
    found = {name: await models.register(name, files[name]) for name in ("tiny", "xl", "file", "old")}
    assert {one.family for one in found.values()} == set(vaes.FAMILIES)
    assert {tuple(one.kinds) for one in found.values()} == {("vae",)}
    assert found["tiny"].limits == {"channels": 4, "shrinks": 8}
    assert found["xl"].limits == {"channels": 4, "shrinks": 8, "scaling": 0.13025, "shift": 0.0}
    assert found["file"].limits == found["old"].limits == {"channels": 4, "shrinks": 8}
    assert await models.names("text_to_image") == []
    with pytest.raises(Invalid, match="none can be chosen for a VAE"):
        models.inspect("mine", files["tiny"], "", (), means=Means(dtype="fp16"))
    whole = checkpoints.single_file(files["sd1"], files["file"].with_name("whole.safetensors"))
    assert (weights.family(whole), weights.latents_of(whole)["scaling"]) == ("single-file", 0.18215)
    told = json.loads((files["xl"] / "config.json").read_text())
    odd = files["xl"].with_name("odd")
    odd.mkdir()
    (odd / "config.json").write_text(json.dumps({**told, "_class_name": "AsymmetricAutoencoderKL"}))
    with pytest.raises(Invalid, match="of VAEs only AutoencoderKL and AutoencoderTiny are taken"):
        models.inspect("odd", odd, "", ())
    assert "Decode what others draw" in (await client.get("/models")).text


async def test_the_composer_offers_those_that_fit_and_names_those_that_do_not(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, files: dict[str, Path]
) -> None:
    await models.register_all({"wide": files["wide"]})
    await log_in(client, await make.person("ada"))
    assert "s1-vae" not in (await client.get("/pipelines/new")).text, "none that is here fits a model that is here"
    await models.register_all({name: files[name] for name in ("small", "tiny", "deep")})
    page = (await client.get("/pipelines/new")).text
    offered = re.search(r'<select id="s1-vae".*?</select>', page)
    assert offered is not None
    assert re.findall(r'value="([^"]*)"', offered[0]) == ["", "deep", "tiny"]

    sent = {"title": "A boat", "license": "CC0-1.0", "visibility": "public", "s1-kind": "text_to_image"}
    sent |= {"s1-model": "starter", "s1-prompt": "a boat", "do": "save"}
    refused = await client.post("/pipelines", data={**sent, "s1-vae": "deep"})
    assert refused.status_code == 422
    assert "deep does not fit starter: it makes 16 pixels of a latent’s side, and the model needs 8" in refused.text
    assert '<option value="deep" selected>' in refused.text
    refused = await client.post("/pipelines", data={**sent, "s1-vae": "gone"})
    assert "This site has no decoder called “gone”" in refused.text
    kept = await client.post("/pipelines", data={**sent, "s1-vae": "tiny"})
    assert kept.status_code == 303
    assert "<dt>Decoder</dt>" in (await client.get(kept.headers["location"])).text


async def test_a_grid_varies_them_with_the_models_own_among_them(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, files: dict[str, Path]
) -> None:
    await models.register_all({name: files[name] for name in ("starter", "small", "tiny", "deep", "wide")})
    ada = await make.person("ada")
    await log_in(client, ada)
    path = f"/pipelines/{(await make.pipeline(ada, steps=[DRAW])).id}/versions/1/grids"
    asked = {"x": "s1-vae", "x-for": "s1-vae", "seed": "5"}
    page = (await client.get(path, params={"x": "s1-vae"})).text
    boxes = re.findall(r'type="checkbox" name="(x-\d)" value="([^"]*)"><bdi>([^<]*)</bdi>', page)
    assert boxes == [("x-0", "", "Its own"), ("x-1", "deep", "deep"), ("x-2", "tiny", "tiny")]
    fits = await client.post(path, data=asked | {"x-0": "", "x-2": "tiny", "do": "estimate"})
    assert "Run 2 cells" in fits.text
    assert "Its own, tiny" in fits.text
    misfit = await client.post(path, data=asked | {"x-0": "", "x-1": "deep", "do": "estimate"})
    assert misfit.status_code == 422
    assert "deep: deep does not fit starter" in misfit.text
    assert 'name="x-0" value="" checked' in misfit.text, "what was ticked stays"
