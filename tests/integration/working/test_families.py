"""Families of models that diffusers has pipelines for, with small random weights: drawing, redrawing, repainting."""

import io
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from domain import models, steps, weights
from domain.errors import DomainError
from domain.models import STARTER_PATH
from domain.steps import AnyStep, ImageToImage, Inpaint, TextToImage
from domain.storage import Storage, key_of
from tasks import diffusion, emphasis
from tasks.context import Context, Picture
from tasks.loading import Models
from tasks.messages import Job, LoraRef, Member, ModelRef
from tasks.steps import RUNNERS
from tests import adapters, checkpoints
from tests import worker as w
from tests.make import Make

DRAW = TextToImage(prompt="a red circle", width=64, height=64, num_inference_steps=2, seed=5)
FAMILIES = {
    "sd2": checkpoints.sd2,
    "sdxl": checkpoints.sdxl,
    "sd3": checkpoints.sd3,
    "flux": checkpoints.flux,
}
FILES = ("sd1", "sd2", "sdxl")
"""Those that are opened as single files too."""


@pytest.fixture(scope="module")
def loaded() -> Models:
    return Models("cpu")


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelRef]:
    folder = tmp_path_factory.mktemp("families")
    paths = {name: make(folder / name) for name, make in FAMILIES.items()}
    paths |= {"sd1": checkpoints.folder(folder / "sd1"), "starter": STARTER_PATH}
    for name in FILES:
        paths[f"{name}-file"] = checkpoints.single_file(paths[name], folder / f"{name}-file.safetensors")
    return {name: ModelRef(name, str(path), weights.revision(path)) for name, path in paths.items()}


@pytest.fixture(scope="module")
def loras(families: dict[str, ModelRef], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two for the small XL, the first of them in two ways of naming its tensors."""
    folder = tmp_path_factory.mktemp("loras")
    first, second = (adapters.large(Path(families["sdxl"].path), seed) for seed in (1, 2))
    tensors = {"first": first, "first-kohya": adapters.of_kohya(first), "second": second}
    for name, own in tensors.items():
        save_file(own, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in tensors}


def job(model: ModelRef, alike: Sequence[AnyStep], *pictures: bytes, loras: Sequence[LoraRef] = ()) -> Job:
    members = [Member(step=msgspec.to_builtins(step), pictures=list(pictures), picture_hashes=[]) for step in alike]
    return Job(id="tried", members=members, model=model, loras=list(loras))


def ran(loaded: Models, model: ModelRef, step: AnyStep, *pictures: bytes, loras: Sequence[LoraRef] = ()) -> Any:
    """The first picture that comes out, as an array."""
    ctx = Context(job(model, [step], *pictures, loras=loras), loaded, lambda said: None, lambda member: True)
    (first, *_) = RUNNERS[type(step).__struct_config__.tag].run(step, ctx).pictures  # type: ignore[index]
    assert isinstance(first, Picture)
    return np.asarray(first.image).astype(int)


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_draws_redraws_and_repaints(loaded: Models, families: dict[str, ModelRef], name: str) -> None:
    model = families[name]
    made = ran(loaded, model, DRAW)
    assert made.shape == (64, 64, 3)
    assert np.array_equal(made, ran(loaded, model, DRAW)), "a seed draws the same again"
    assert not np.array_equal(made, ran(loaded, model, msgspec.structs.replace(DRAW, seed=6)))
    redraw = ImageToImage(prompt="a blue star", num_inference_steps=2, strength=1.0, seed=5)
    assert ran(loaded, model, redraw, png("red")).shape == (64, 64, 3)
    repaint = Inpaint(prompt="a blue star", num_inference_steps=2, seed=5, feather=0)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    repainted = ran(loaded, model, repaint, png("red"), buffer.getvalue())
    assert (repainted[:, 33:] == (255, 0, 0)).all()
    assert (repainted[:, :32] != (255, 0, 0)).any()


def test_loras_of_either_naming_change_both_text_encoders_and_the_unet_of_xl(
    loaded: Models, families: dict[str, ModelRef], loras: dict[str, Path]
) -> None:
    def of(**much: float) -> Any:
        worn = [LoraRef(name, str(loras[name]), weights.revision(loras[name]), weight) for name, weight in much.items()]
        return ran(loaded, families["sdxl"], DRAW, loras=worn)

    plain, whole = of(), of(first=1.0)
    worn = loaded.get(families["sdxl"]).pipe.get_list_adapters()
    assert worn == {part: ["lora0"] for part in ("unet", "text_encoder", "text_encoder_2")}
    different = [plain, whole, of(first=0.4), of(second=1.0), of(first=1.0, second=1.0), of(first=0.4, second=1.0)]
    assert not any(np.array_equal(*pair) for pair in combinations(different, 2))
    assert np.array_equal(of(**{"first-kohya": 1.0}), whole)
    assert np.array_equal(of(), plain)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must:DeprecationWarning")
def test_every_scheduler_predicts_what_the_model_was_trained_for(loaded: Models, families: dict[str, ModelRef]) -> None:
    model = loaded.get(families["sd2"])
    for name in steps.SCHEDULERS:
        if not name.startswith(diffusion.FLOW):
            assert diffusion.drawing(model, name).scheduler.config.prediction_type == "v_prediction", name


@pytest.mark.parametrize(("name", "able"), [("sd3", steps.SCHEDULERS), ("flux", ("FlowMatchLCMScheduler",))])
def test_a_model_that_matches_flows_takes_their_schedulers_and_keeps_its_own_for_others(
    loaded: Models, families: dict[str, ModelRef], name: str, able: Sequence[str]
) -> None:
    def of(scheduler: str) -> Any:
        return ran(loaded, families[name], msgspec.structs.replace(DRAW, scheduler=scheduler, num_inference_steps=3))

    euler, others = of("FlowMatchEulerDiscreteScheduler"), ("FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
    assert np.array_equal(of("DDIMScheduler"), euler)
    for scheduler in others:
        if scheduler in able:
            made = of(scheduler)
            assert not np.array_equal(made, euler)
            assert np.array_equal(made, of(scheduler))
        else:
            with pytest.raises(DomainError, match="“flux” refuses these parameters"):
                of(scheduler)


def test_one_that_a_model_cannot_be_driven_by_is_told(loaded: Models, families: dict[str, ModelRef]) -> None:
    words = "FlowMatchEulerDiscreteScheduler cannot drive the model “starter”, which comes with DDIMScheduler"
    with pytest.raises(DomainError, match=words):
        ran(loaded, families["starter"], msgspec.structs.replace(DRAW, scheduler="FlowMatchEulerDiscreteScheduler"))


def test_parallel_forms_draw_the_same(loaded: Models, families: dict[str, ModelRef]) -> None:
    for scheduler in ("DDIM", "DDPM"):
        plain, parallel = (
            ran(loaded, families["starter"], msgspec.structs.replace(DRAW, scheduler=f"{scheduler}{form}Scheduler"))
            for form in ("", "Parallel")
        )
        assert np.array_equal(plain, parallel)


@pytest.mark.parametrize("scheduler", ["DPMSolverSDEScheduler", "LMSDiscreteScheduler"])
def test_a_seed_draws_the_same_alone_and_together(
    loaded: Models, families: dict[str, ModelRef], scheduler: Any
) -> None:
    draw = msgspec.structs.replace(DRAW, scheduler=scheduler, num_inference_steps=3)
    redraw = ImageToImage(prompt="a star", num_inference_steps=3, strength=0.8, seed=5, scheduler=scheduler)
    for step, pictures in ((draw, ()), (redraw, (png("red"),))):
        alike = [step, msgspec.structs.replace(step, seed=9, num_images_per_prompt=2)]
        ctx = Context(job(families["starter"], alike, *pictures), loaded, lambda said: None, lambda member: True)
        together = RUNNERS[type(step).__struct_config__.tag].together  # type: ignore[index]
        assert together is not None
        made = [np.asarray(one.image) for result in together(alike, ctx) for one in result.pictures]
        alone = [
            ran(loaded, families["starter"], msgspec.structs.replace(step, seed=seed), *pictures) for seed in (5, 9, 10)
        ]
        off = [np.abs(one - other).max() for one, other in zip(made, alone, strict=True)]
        assert max(off) <= 1, "no more than other schedulers differ by rounding"
        again = ran(loaded, families["starter"], msgspec.structs.replace(step, seed=9), *pictures)
        assert np.array_equal(again, alone[1])
        assert not np.array_equal(alone[1], alone[2])


@pytest.mark.parametrize("name", ["starter", "sd2", "sdxl", "flux"])
def test_weights_of_words_change_the_picture(loaded: Models, families: dict[str, ModelRef], name: str) -> None:
    def of(prompt: str) -> Any:
        return ran(loaded, families[name], msgspec.structs.replace(DRAW, prompt=prompt, guidance_scale=5.0))

    plain = of("a red circle")
    assert np.array_equal(of("a (red:1) circle"), plain)
    less, more = of("a (red:0.1) circle"), of("a (red:1.5) circle")
    assert not any(np.array_equal(*pair) for pair in combinations((plain, less, more), 2))
    assert np.array_equal(of("a (red:0.1) circle"), less)
    redraw = ImageToImage(prompt="a red circle", num_inference_steps=2, strength=1.0, seed=5)
    weighed = msgspec.structs.replace(redraw, prompt="a (red:0.1) circle")
    redrawn = [ran(loaded, families[name], step, png("green")) for step in (redraw, weighed)]
    assert not np.array_equal(*redrawn)


@pytest.mark.parametrize("name", ["starter", "sd2", "sdxl"])
def test_weights_count_in_what_to_keep_out_too(loaded: Models, families: dict[str, ModelRef], name: str) -> None:
    drawn = [
        ran(loaded, families[name], msgspec.structs.replace(DRAW, negative_prompt=negative, guidance_scale=5.0))
        for negative in ("blue", "(blue:2)")
    ]
    assert not np.array_equal(*drawn)


def test_beside_a_prompt_with_weights_a_plain_one_is_embedded_as_it_is_alone(
    loaded: Models, families: dict[str, ModelRef]
) -> None:
    model = loaded.get(families["starter"])
    both = emphasis.weighed(model.pipe, model, {"prompt": ["a red circle", "a (blue:0.5) star"], "negative_prompt": ""})
    alone = model.pipe.encode_prompt("a red circle", "cpu", 1, do_classifier_free_guidance=False)[0]
    assert (both["prompt_embeds"][0] == alone).all()
    assert "prompt" not in both


def test_a_model_that_cannot_weigh_words_says_so(loaded: Models, families: dict[str, ModelRef]) -> None:
    with pytest.raises(DomainError, match="“sd3” takes no weights of words"):
        ran(loaded, families["sd3"], msgspec.structs.replace(DRAW, prompt="a (red:2) circle"))


def test_a_weight_that_an_input_brought_is_told_too(loaded: Models, families: dict[str, ModelRef]) -> None:
    with pytest.raises(DomainError, match="at most 3; this has 9"):
        ran(loaded, families["starter"], msgspec.structs.replace(DRAW, prompt="a (red:9) circle"))


# through the queue


@pytest.mark.usefixtures("db", "site")
async def test_every_family_is_drawn_with_by_a_worker(
    make: Make, storage: Storage, families: dict[str, ModelRef], loras: dict[str, Path]
) -> None:
    own = {name: ref for name, ref in families.items() if name != models.STARTER}
    await models.register_all({name: Path(ref.path) for name, ref in own.items()} | loras)
    draw = msgspec.structs.replace(DRAW, num_inference_steps=1)
    asked = [msgspec.structs.replace(draw, model=name) for name in own]
    worn = msgspec.structs.replace(draw, model="sdxl", prompt="a red circle <lora:first-kohya:0.4> <lora:second:-1>")
    state, rows = await w.ended(await w.accept(await make.pipeline(steps=[*asked, worn])))
    assert (state, {row["error_message"] for row in rows}) == ("succeeded", {None})
    drawn = {}
    for name, row in zip([*own, "worn"], rows, strict=True):
        model = own.get(name, own["sdxl"])
        (made,) = await w.pictures(row["id"])
        with Image.open(io.BytesIO(await storage.get(key_of(made["sha256"])))) as picture:
            drawn[name] = picture.tobytes()
            told = json.loads(picture.info["offshoot"])
            assert f"Model: {model.name}" in picture.info["parameters"]
        for receipt in (told, row["receipt"]):
            assert (receipt["model"], receipt["model_revision"]) == (model.name, model.revision)
    assert {name: drawn.pop(f"{name}-file") for name in FILES} == {name: drawn[name] for name in FILES}
    assert len({*drawn.values()}) == len(drawn)
    told_loras = rows[-1]["receipt"]["parameters"]["loras"]
    assert [(one["name"], one["weight"]) for one in told_loras] == [("first-kohya", 0.4), ("second", -1.0)]


async def test_a_registered_model_is_known_by_its_family_and_begins_with_what_suits_it(
    db: Any, families: dict[str, ModelRef]
) -> None:
    found = await models.register_all({name: Path(ref.path) for name, ref in families.items()})
    known = {one.name: one for one in found}
    told = {name: known[name].family for name in FAMILIES}
    assert told == {
        "sd2": "StableDiffusionPipeline",
        "sdxl": "StableDiffusionXLPipeline",
        "sd3": "StableDiffusion3Pipeline",
        "flux": "FluxPipeline",
    }
    for name in FILES:
        assert known[f"{name}-file"].family == "single-file"
        assert known[f"{name}-file"].defaults == known[name].defaults
