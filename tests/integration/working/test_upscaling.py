"""Enlarging with models, from the registry and the composer through the queue into a picture."""

import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from domain import db as database
from domain import forecast, models, runs, steps, upscalers, weights
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.people import Person
from domain.prepare import Given, prepare
from domain.steps import GanImage, TextToImage, Upscale
from domain.storage import Storage, key_of
from domain.told import Said
from tasks import rrdb, upscaling
from tasks.context import Context, Picture, Stopped
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef, Progress
from tasks.steps import upscale
from tests import checkpoints, enlargers
from tests import worker as w
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
LOADED = Models("cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each family."""
    folder = tmp_path_factory.mktemp("enlargers")
    return {
        "x4": enlargers.esrgan(folder / "x4.safetensors"),
        "x2": enlargers.esrgan(folder / "x2.safetensors", fold=2),
        "latent": enlargers.latent(folder / "latent"),
        "words": enlargers.diffusion(folder / "words"),
    }


# on a model


def png(width: int, height: int) -> bytes:
    """Colors by chance."""
    chance = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(chance).save(buffer, "PNG")
    return buffer.getvalue()


Enlarge = Callable[..., Any]


@pytest.fixture
def enlarged(files: dict[str, Path]) -> Enlarge:
    """Runs a step with a model on these pictures: the first that comes out, as an array."""

    def ran(step: Upscale, *pictures: bytes, said: list[Any] | None = None, most: int = 10_000) -> Any:
        path = files[step.model]
        ref = ModelRef(step.model, str(path), weights.revision(path), family=weights.family(path))
        heard: list[Any] = [] if said is None else said
        job = Job(id="tried", members=[Member(step={}, pictures=list(pictures))], model=ref)
        ctx = Context(job, LOADED, heard.append, lambda _: len(heard) < most)
        ctx._next_progress = 0.0
        first = upscale.run(step, ctx).pictures[0]
        assert isinstance(first, Picture)
        return np.asarray(first.image).astype(int)

    return ran


@pytest.mark.parametrize(
    ("name", "factor", "steps_"), [("x4", 4, None), ("x2", 2, None), ("latent", 2, 2), ("words", 4, 1)]
)
def test_every_family_enlarges_a_picture_of_odd_sides(enlarged: Enlarge, name: str, factor: Any, steps_: Any) -> None:
    step = Upscale(model=name, factor=factor, num_inference_steps=steps_, prompt="a red circle", seed=5)
    made = enlarged(step, png(37, 21))
    assert made.shape == (21 * factor, 37 * factor, 3)
    assert np.array_equal(made, enlarged(step, png(37, 21)))
    if steps_:
        others = [msgspec.structs.replace(step, **{name: value}) for name, value in (("seed", 6), ("prompt", "a star"))]
        assert all(not np.array_equal(made, enlarged(one, png(37, 21))) for one in others)


def test_how_much_is_made_up_anew_counts_for_the_family_that_takes_it(enlarged: Enlarge) -> None:
    step = Upscale(model="words", factor=4, num_inference_steps=1, guidance_scale=1.0, seed=5)
    usual, as_told = enlarged(step, png(16, 16)), msgspec.structs.replace(step, noise_level=20)
    assert np.array_equal(usual, enlarged(as_told, png(16, 16)))
    assert not np.array_equal(usual, enlarged(msgspec.structs.replace(step, noise_level=300), png(16, 16)))


def test_a_model_of_four_asked_for_two_is_reduced_and_one_of_two_is_never_asked_for_four(enlarged: Enlarge) -> None:
    whole, half = enlarged(Upscale(model="x4", factor=4), png(20, 12)), enlarged(Upscale(model="x4"), png(20, 12))
    assert half.shape == (24, 40, 3)
    reduced = Image.fromarray(whole.astype(np.uint8)).resize((40, 24), Image.Resampling.LANCZOS)
    assert np.array_equal(half, np.asarray(reduced))
    with pytest.raises(DomainError, match="The model “x2” enlarges 2 times, not 4"):
        enlarged(Upscale(model="x2", factor=4), png(20, 12))


def test_tiles_meet_without_a_seam_and_tell_how_far_they_are(
    enlarged: Enlarge, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, picture = Upscale(model="x2"), png(70, 50)
    whole = enlarged(step, picture)
    monkeypatch.setattr(upscaling, "TILE", 32)
    said: list[Any] = []
    tiled = enlarged(step, picture, said=said)
    assert whole.std() > 20
    assert np.abs(tiled - whole).max() <= 1
    totals = {one.total for one in said if isinstance(one, Progress)}
    assert totals == {6}


@pytest.mark.parametrize(("name", "factor"), [("x4", 4), ("latent", 2), ("words", 4)])
def test_it_stops_in_the_middle(enlarged: Enlarge, monkeypatch: pytest.MonkeyPatch, name: str, factor: Any) -> None:
    monkeypatch.setattr(upscaling, "TILE", 8)
    monkeypatch.setattr("tasks.context.PROGRESS_PAUSE", 0.0)
    said: list[Any] = []
    with pytest.raises(Stopped):
        enlarged(Upscale(model=name, factor=factor, num_inference_steps=9), png(32, 8), said=said, most=2)
    assert 0 < said[-1].done < said[-1].total


def test_what_would_be_too_large_is_refused_before_anything_is_drawn(enlarged: Enlarge) -> None:
    with pytest.raises(DomainError, match="1030 × 10 pixels times 4 is 4120 × 40; a side has at most 4,096 pixels"):
        enlarged(Upscale(model="x4", factor=4), png(10, 10), png(1030, 10))
    with pytest.raises(DomainError, match="draws sides of at most 2,048 pixels, and 600 × 8 times 4 is more"):
        enlarged(Upscale(model="words", factor=2), png(600, 8))


@pytest.mark.parametrize("shape", [{}, {"fold": 2}, {"fold": 4}, {"width": 6, "growth": 3, "blocks": 3}])
def test_a_network_is_built_of_its_tensors_in_either_naming(tmp_path: Path, shape: dict[str, int]) -> None:
    made = enlargers.network(**shape)
    named = made.state_dict()
    old = enlargers.write(tmp_path / "old.safetensors", enlargers.old_names(named))
    new = enlargers.esrgan(tmp_path / "new.safetensors", **shape)
    picture = torch.rand(1, 3, 8, 8)
    assert torch.equal(rrdb.built(enlargers.old_names(named))(picture), rrdb.built(named)(picture))
    assert weights.enlarges(old) == weights.enlarges(new) == made.factor == 4 // shape.get("fold", 1)
    assert {"conv_first.weight", "body.0.rdb3.conv5.bias", "conv_up2.weight", "conv_hr.bias"} <= named.keys()


FIRST, DENSE = "conv_first.weight", "body.0.rdb1.conv1.weight"


@pytest.mark.parametrize(
    "shapes",
    [
        {FIRST: [0, 3, 3, 3], DENSE: [32, 64, 3, 3], "conv_up1.weight": [0]},
        {FIRST: [64, 48, 3, 3], DENSE: [32, 64, 3, 3], "conv_up1.weight": [64, 64, 3, 3]},
        {FIRST: ["64", 3, 3, 3], DENSE: [32, 64, 3, 3], "conv_up1.weight": [0]},
        {FIRST: {"3": 3}, DENSE: [32, 64, 3, 3], "conv_up1.weight": [0]},
        {FIRST: [64, 3, 3, 3], "conv_up1.weight": [0]}
        | {f"body.{number}.rdb1.conv1.weight": [0] for number in range(weights.MOST_TENSORS)},
    ],
)
def test_odd_shapes_are_of_no_network_that_enlarges(tmp_path: Path, shapes: dict[str, Any]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["RRDBNet"]}))
    enlargers.claiming(tmp_path / "model.safetensors", shapes)
    with pytest.raises(Invalid, match="are not those of a network that enlarges"):
        models.check(tmp_path)


def test_a_network_that_draws_no_larger_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="are not those of a network that enlarges"):
        models.check(enlargers.esrgan(tmp_path / "x1.safetensors", fold=4))
    assert models.check(enlargers.esrgan(tmp_path / "x8.safetensors", doublings=3)).defaults == {"factor": 4}


def test_sizes_that_a_file_only_claims_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = {FIRST: [10**9, 3, 0, 0], DENSE: [10**6, 10**9, 0, 0], "conv_up1.weight": [0]}
    path = enlargers.claiming(tmp_path / "huge.safetensors", huge)
    made: list[torch.device] = []
    monkeypatch.setattr(torch.nn.Conv2d, "reset_parameters", lambda layer: made.append(layer.weight.device))
    with pytest.raises(DomainError, match="its weights are not those of a network of the class RRDBNet"):
        upscaling.opened(path, torch.float32)
    assert {device.type for device in made} == {"meta"}


def test_numbers_that_are_none_make_no_picture(
    enlarged: Enlarge, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = enlargers.network().state_dict()
    named["conv_hr.bias"] += float("nan")
    monkeypatch.setitem(files, "nan", enlargers.write(tmp_path / "nan.safetensors", named))
    with pytest.raises(DomainError, match="The model drew nothing that can be seen"):
        enlarged(Upscale(model="nan", factor=4), png(8, 8))
    whole = {name: tensor.int() for name, tensor in named.items()}
    with pytest.raises(DomainError, match="its weights are not those of a network"):
        upscaling.opened(enlargers.write(tmp_path / "whole.safetensors", whole), torch.float32)


# the kind


def given(seed: int = 1) -> Given:
    return Given(inputs={}, lists={}, seed=seed, pictures=["a" * 64])


def test_what_was_enlarged_without_a_model_is_known_as_before() -> None:
    """The hashes are those of before there were models."""
    plain = prepare(Upscale(factor=4, sharpen=0.5), given(), "")
    assert plain.parameters == {"factor": 4, "method": "lanczos", "sharpen": 0.5}
    assert plain.input_hash == "1e9d504980336018e7f027c31274acabb1da3222f052299a73bbecf5d1a818e9"
    stray = prepare(Upscale(factor=4, sharpen=0.5, prompt="{gone", seed=9, noise_level=3), given(2), "")
    assert stray.input_hash == plain.input_hash
    recipe = steps.Recipe(steps=[TextToImage(prompt="a"), Upscale(sharpen=0.5)], lists={"b": ["1"], "a": ["2"]})
    assert steps.digest(recipe) == "4059005153c8e56c2945027dd32c7649a6bef29e027b89bc2805487eb1925f12"
    assert steps.decode(steps.encode(recipe)) == recipe
    worded = steps.Recipe(steps=[Upscale(model="x4", noise_level=3)])
    assert steps.decode(steps.encode(worded)) == worded


def test_only_what_the_family_takes_counts() -> None:
    def known(family: str, seed: int = 1, **values: Any) -> str:
        return prepare(Upscale(model="any", **values), given(seed), "rev", family=family).input_hash

    assert known(upscalers.RRDB) == known(upscalers.RRDB, 2, prompt="a", noise_level=3, method="bicubic")
    assert known(upscalers.RRDB) != known(upscalers.RRDB, sharpen=0.5)
    assert known(upscalers.LATENT) != known(upscalers.LATENT, 2)
    assert known(upscalers.LATENT) == known(upscalers.LATENT, noise_level=3)
    assert known(upscalers.DIFFUSION) != known(upscalers.DIFFUSION, noise_level=3)
    gone = prepare(Upscale(model="gone"), given(), "")
    assert gone.input_hash != prepare(Upscale(), given(), "").input_hash, "it was not resampled"


def test_it_runs_where_pictures_are_drawn_and_takes_as_long_as_its_steps() -> None:
    assert (Upscale().runs_on, Upscale(model="x4").runs_on, GanImage().runs_on) == ("light", "image", "image")
    works = [
        forecast.work({"kind": "upscale", "model": "a", "factor": 2, "num_inference_steps": n}) for n in (None, 75, 15)
    ]
    assert works == [300, 300, 60]
    assert forecast.work(msgspec.to_builtins(Upscale())) == forecast.work({"kind": "upscale", "factor": 2})


# the registry


async def test_models_that_enlarge_offer_that_alone(db: Any, files: dict[str, Path], tmp_path: Path) -> None:
    found = await models.register_all(files)
    told = {one.name: (one.family, one.kinds, one.defaults) for one in found if one.name in files}
    assert told == {
        "x4": ("RRDBNet", ["upscale"], {"factor": 4}),
        "x2": ("RRDBNet", ["upscale"], {"factor": 2}),
        "latent": ("StableDiffusionLatentUpscalePipeline", ["upscale"], {"factor": 2}),
        "words": ("StableDiffusionUpscalePipeline", ["upscale"], {"factor": 4}),
    }
    for name in ("x4", "latent"):
        with pytest.raises(Invalid, match="only dtype can be chosen for a model that enlarges"):
            models.inspect("mine", files[name], "", (), means=Means(compile=True))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["RRDBNet"]}))
    weight = folder / "model.safetensors"
    weight.write_bytes(files["x4"].read_bytes())
    assert (await models.register("own", folder)).defaults == {"factor": 4}
    ref = ModelRef("own", str(folder), weights.revision(folder), family="RRDBNet")
    assert upscaling.native(LOADED.get(ref)) == 4
    enlargers.write(weight, {"conv_first.weight": torch.zeros(4, 3, 3, 3)})
    with pytest.raises(Invalid, match="are not those of a network that enlarges"):
        await models.register("own", folder)


def test_a_file_that_only_looks_like_one_is_said(tmp_path: Path) -> None:
    named = enlargers.network().state_dict()
    path = enlargers.write(tmp_path / "odd.safetensors", {**named, "conv_hr.weight": torch.zeros(1)})
    ref = ModelRef("odd", str(path), weights.revision(path), family="RRDBNet")
    with pytest.raises(DomainError, match="“odd” cannot be loaded: its weights are not those of a network"):
        LOADED.get(ref)


@pytest.mark.parametrize("first", [[4, "3", 3, 3], [4, [3], 3, 3], [], None])
def test_a_header_that_says_odd_things_is_no_trouble(tmp_path: Path, first: Any) -> None:
    head = json.dumps({"conv_first.weight": {"shape": first}, "body.0.rdb1.conv1.weight": 7}).encode()
    odd = tmp_path / "odd.safetensors"
    odd.write_bytes(len(head).to_bytes(8, "little") + head)
    assert weights.enlarges(odd) == 0


# through the queue


@pytest.mark.usefixtures("site")
async def test_a_model_enlarges_what_was_drawn_and_the_file_tells(
    make: Make, db: Any, files: dict[str, Path], storage: Storage
) -> None:
    await models.register_all(files)
    ada = await make.person("ada")
    draw = GanImage(class_label="star", num_images=1, factor=1)
    enlarge = [
        Upscale(model="x2"),
        Upscale(model="words", source=1, factor=4, prompt="a {what}", num_inference_steps=1),
    ]
    pipeline = await make.pipeline(ada, steps=[draw, *enlarge], inputs=[steps.Input(name="what", default="star")])
    state, rows = await w.ended(await w.accept(pipeline))
    assert (state, [row["error_message"] for row in rows]) == ("succeeded", [None] * 3)
    assert [row["queue"] for row in rows] == ["image"] * 3
    made = [(await w.pictures(row["id"]))[0] for row in rows[1:]]
    assert [(one["width"], one["seed"]) for one in made] == [(128, None), (256, 5)]
    assert (rows[1]["progress"], rows[1]["progress_total"]) == (1, 1)
    plain, worded = [await told(storage, one["sha256"]) for one in made]
    assert plain["parameters"] == {"factor": 2, "model": "x2", "sharpen": 0.0}
    assert (plain["model_revision"], plain["seed"]) == (weights.revision(files["x2"]), None)
    assert (
        worded["parameters"] | {"prompt": "a star", "num_inference_steps": 1, "noise_level": 20} == worded["parameters"]
    )
    assert (worded["seed"], "method" in worded["parameters"]) == (5, False)

    again = await make.pipeline(ada, steps=[draw, Upscale(model="x2", title="Again")])
    _, rows = await w.ended(await w.accept(again, seed=5, afresh=False))
    assert [row["state"] for row in rows] == ["reused", "reused"]


async def told(storage: Storage, sha256: str) -> dict[str, Any]:
    """The receipt inside a picture; only one that was asked for in words has the lines of other tools."""
    with Image.open(io.BytesIO(await storage.get(key_of(sha256)))) as picture:
        found: dict[str, Any] = json.loads(picture.info["offshoot"])
        assert ("parameters" in picture.info) == ("prompt" in found["parameters"])
        assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
    return found


@pytest.mark.usefixtures("site")
async def test_a_run_is_stopped_between_two_tiles(make: Make, db: Any, tmp_path: Path) -> None:
    await models.register_all({})
    await models.register("slow", enlargers.esrgan(tmp_path / "slow.safetensors", width=16, growth=8, blocks=3))
    draw = GanImage(num_images=1, factor=4)
    enlarge = [Upscale(factor=4), Upscale(model="slow", factor=4)]
    pipeline = await make.pipeline(steps=[draw, *enlarge])
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][2]["progress"] > 0 or now["run"]["finished_at"])
    await runs.cancel(run_id, pipeline.owner_id)
    state, rows = await w.ended(run_id)
    assert (state, await w.pictures(rows[2]["id"])) == ("cancelled", [])
    assert 0 < rows[2]["progress"] < rows[2]["progress_total"] == 36


# the composer

FORM = {
    "title": "Large",
    "license": "CC0-1.0",
    "visibility": "public",
    "s1-kind": "gan_image",
    "s1-model": "shapes-gan",
    "s2-kind": "upscale",
}


async def test_the_composer_offers_models_and_keeps_what_they_take(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, files: dict[str, Path]
) -> None:
    await models.register_all({})
    await log_in(client, await make.person("ada"))
    await client.post("/pipelines", data={**FORM, "do": "draft"})
    plain = (await client.get("/pipelines/new")).text
    assert "s2-factor" in plain
    assert not re.search(r's2-(?:model|prompt|noise_level|seed)"', plain), "there is no model to choose"
    lost = await client.post("/pipelines", data={**FORM, "s2-model": "old", "do": "save"})
    assert re.search('Resampling</option><option value="old" selected[^>]*>old \\(gone\\)</option>', lost.text)

    await models.register_all(files)
    sent = {**FORM, "s2-model": "x2", "s2-factor": "4", "s2-prompt": "{gone", "s2-noise_level": "9999", "do": "save"}
    refused = await client.post("/pipelines", data=sent)
    assert refused.status_code == 422
    assert "x2 enlarges 2 times, not 4" in refused.text
    assert "From 0 to 350" not in refused.text, "that model takes no noise level"
    assert '<option value="" data-parts="method">Resampling</option>' in refused.text
    assert '<option value="words" data-parts="noise words">words</option>' in refused.text
    assert '<option value="x2" selected data-parts="">x2</option>' in refused.text
    assert 'value="9999"' in refused.text, "what was typed stays"

    worded = {**sent, "s2-model": "words", "s2-prompt": "a star"}
    refused = await client.post("/pipelines", data=worded)
    assert "From 0 to 350" in refused.text
    gone = await client.post("/pipelines", data={**FORM, "s2-model": "gone", "do": "save"})
    assert "Choose one of the list" in gone.text

    kept = await client.post("/pipelines", data={**sent, "s2-factor": "2"})
    assert kept.status_code == 303
    shown = (await client.get(kept.headers["location"])).text
    assert "<dt>Model</dt><dd><bdi>x2</bdi></dd>" in shown
    assert not re.search("<dt>(?:Method|Sampling steps|Noise level)</dt>", shown)
    recipe = await database.fetchval("SELECT recipe FROM versions")
    assert recipe["steps"][1]["model"] == "x2"
    assert not {"prompt", "noise_level"} & recipe["steps"][1].keys()


async def test_a_step_begins_without_a_model_also_where_there_are_some(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, files: dict[str, Path]
) -> None:
    await models.register_all({"x4": files["x4"]})
    await log_in(client, await make.person("ada"))
    none = '<option value="" selected data-parts="method">Resampling</option>'
    assert none in (await client.get("/pipelines/new", params={"start": "redraw"})).text
    chosen = (await client.get("/pipelines/new", params={"model": "x4"})).text
    assert '<input type="hidden" name="s1-kind" value="text_to_image">' in chosen, "there must be something to enlarge"
    assert re.search('<select id="s2-model".*<option value="x4" selected', chosen)
    sent = {**FORM, "add-2-kind": "upscale", "do": "add-2"}
    assert (await client.post("/pipelines", data=sent, follow_redirects=True)).text.count(none) == 2


async def test_what_steps_begin_with_does_not_change_what_a_model_takes(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, files: dict[str, Path]
) -> None:
    await models.register_all({name: files[name] for name in ("x2", "x4")})
    await models.tell("x4", Said(defaults="factor=2"))
    await models.tell("x2", Said(defaults="sharpen=0.5"))
    await log_in(client, await make.person("ada"))
    refused = await client.post("/pipelines", data={**FORM, "s2-model": "x2", "s2-factor": "4", "do": "save"})
    assert "x2 enlarges 2 times, not 4" in refused.text
    kept = await client.post("/pipelines", data={**FORM, "s2-model": "x4", "s2-factor": "4", "do": "save"})
    assert kept.status_code == 303
    varied = (await client.get(kept.headers["location"] + "/grids")).text
    assert 'value="s2-sharpen"' in varied
    assert 'value="s2-noise_level"' not in varied, "it looks at the picture alone"
    with pytest.raises(Invalid, match="noise_level needs a value, such as noise_level=20"):
        await models.tell("x4", Said(defaults="noise_level"))


async def test_pages_of_files_that_draw_nothing_alone(
    client: httpx.AsyncClient, db: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    await models.register("x4", files["x4"])
    await models.register("tiny", checkpoints.tiny(tmp_path / "tiny"))
    enlarging, decoding = [(await client.get(f"/models/{name}")).text for name in ("x4", "tiny")]
    assert "offshoot models add x4 x4.safetensors --defaults factor=4" in enlarging
    assert "/pipelines/new?model=x4" in enlarging
    assert "offshoot models add tiny FOLDER" in decoding
    assert "/pipelines/new?model=tiny" not in decoding, "no step runs with it alone"
