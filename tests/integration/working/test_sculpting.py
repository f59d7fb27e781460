"""3D objects by ShapE, through Redis and dramatiq into a worker, with small models of random weights."""

import io
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from domain import models, run_pages, runs, steps, weights
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.people import Person
from domain.storage import Storage, key_of
from tasks import loading, shap_e
from tasks.context import Context, Mesh, Stopped
from tasks.loading import Model, Models
from tasks.messages import Job, Member, ModelRef
from tests import meshes
from tests import worker as w
from tests.make import Make

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
SMALL: dict[str, Any] = {"num_inference_steps": 2, "frame_size": 32, "grid_size": 32}
ASKED = steps.TextTo3D(prompt="a red {thing}", model="words", seed=3, **SMALL)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of random weights: from words, from pictures, and one that finds nothing."""
    place = tmp_path_factory.mktemp("shap-e")
    words = meshes.text_folder(place / "words")
    return {
        "words": words,
        "pictures": meshes.image_folder(place / "pictures"),
        "empty": meshes.emptied(words, place / "empty"),
    }


@pytest.fixture
async def ready(db: Any, site: w.Process, folders: dict[str, Path]) -> None:
    """Tables are empty again; the models are in the registry."""
    for name, folder in folders.items():
        await models.register(name, folder)


def extras(glb: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON of a GLB, and what its asset tells beside."""
    assert glb[:4] == b"glTF"
    tree = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    return tree, tree["asset"]["extras"]


def apart(one: Image.Image, other: Image.Image) -> float:
    """How far the pixels of two pictures differ, on average."""
    return float(np.abs(np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)).mean())


# through the queue


@pytest.mark.usefixtures("ready")
async def test_words_become_an_object_in_three_formats(
    make: Make, storage: Storage, client: httpx.AsyncClient, log_in: LogIn
) -> None:
    import trimesh

    ada = await make.person("ada")
    pipeline = await make.pipeline(ada, steps=[ASKED], inputs=[steps.Input(name="thing", default="circle")])
    run_id = await w.accept(pipeline)
    state, (row,) = await w.ended(run_id)
    assert (state, row["error_message"]) == ("succeeded", None)
    (made,) = await w.pictures(row["id"])
    assert (made["media_type"], made["width"], made["height"], made["seed"]) == ("model/gltf-binary", 32, 32, 3)

    tree, told = extras(await storage.get(key_of(made["sha256"])))
    assert told["offshoot"]["parameters"]["prompt"] == "a red circle"
    assert told["offshoot"]["model_revision"] == row["resolved"]["model_revision"]
    assert told["offshoot"]["versions"].keys() == {"diffusers", "torch", "transformers", "trimesh"}
    triangles = tree["accessors"][0]["count"] // 3
    assert row["receipt"]["parameters"]["triangles"] == triangles > 100

    await log_in(client, ada)
    address = f"/artifacts/{made['sha256']}"
    for form, ending in (("ply", "ply"), ("stl", "stl")):
        answer = await client.get(f"{address}?form={form}&download=a-circle")
        assert answer.headers["content-disposition"] == f'attachment; filename="a-circle.{ending}"'
        shape = trimesh.load(io.BytesIO(answer.content), file_type=form)
        assert (len(shape.faces), shape.is_watertight) == (triangles, True)
    strip = Image.open(io.BytesIO((await client.get(f"{address}?form=turntable")).content))
    poster = Image.open(io.BytesIO((await client.get(f"{address}/640")).content))
    assert (strip.size, poster.size) == ((8 * 32, 32), (32, 32))
    front, back = (strip.crop((32 * view, 0, 32 * view + 32, 32)) for view in (0, 4))
    assert apart(front, poster) < 4 < apart(front, back)
    assert (await client.get(f"{address}?form=obj")).status_code == 404
    client.cookies.clear()
    assert (await client.get(f"{address}?form=stl")).status_code == 404

    page = (await run_pages.read(run_id, ada.id)).steps[0]
    assert page.pictures[0].media_type == "model/gltf-binary"


@pytest.mark.usefixtures("ready")
async def test_a_picture_becomes_an_object_and_is_known_again(make: Make) -> None:
    picture = await make.artifact(stored=True)
    step = steps.ImageTo3D(upload=picture.sha256, model="pictures", seed=3, **SMALL)
    pipeline = await make.pipeline(steps=[step])
    state, (row,) = await w.ended(await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    (made,) = await w.pictures(row["id"])
    assert row["receipt"]["inputs"] == [picture.sha256]
    _, (known,) = await w.ended(await w.accept(pipeline, afresh=False))
    assert known["state"] == "reused"
    assert [one["sha256"] for one in await w.pictures(known["id"])] == [made["sha256"]]


@pytest.mark.usefixtures("ready")
async def test_nothing_inside_is_said(make: Make) -> None:
    pipeline = await make.pipeline(steps=[steps.TextTo3D(prompt="a red circle", model="empty", **SMALL)])
    state, (row,) = await w.ended(await w.accept(pipeline))
    assert (state, row["attempt"]) == ("failed", 1)
    assert "“empty” came to no surface" in row["error_message"]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("kind", ["text_to_3d", "image_to_3d"])
async def test_it_stops_in_the_middle(make: Make, kind: str) -> None:
    step: steps.AnyStep = steps.TextTo3D(prompt="a red circle", model="words", num_inference_steps=150)
    if kind == "image_to_3d":
        picture = await make.artifact(stored=True)
        step = steps.ImageTo3D(upload=picture.sha256, model="pictures", num_inference_steps=150)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][0]["progress"] >= 2)
    await runs.cancel(run_id, pipeline.owner_id)
    asked = time.monotonic()
    state, (row,) = await w.ended(run_id)
    assert (state, await w.pictures(row["id"])) == ("cancelled", [])
    assert 2 <= row["progress"] < row["progress_total"] == 299 + 1 + 128
    assert time.monotonic() - asked < 10


# the model by itself


def ref(folder: Path) -> ModelRef:
    return ModelRef("tried", str(folder), weights.revision(folder))


@pytest.fixture
def model(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Model:
    """The one from words, for rough pictures that are made fast."""
    monkeypatch.setattr(shap_e, "SAMPLES", 4)
    monkeypatch.setattr(shap_e, "MORE_SAMPLES", 4)
    return Models("cpu").get(ref(folders["words"]))


def sculpted(model: Model) -> Mesh:
    ctx = Context(
        Job(id="x", members=[Member(step={})], model=model.ref), Models("cpu"), lambda said: None, lambda member: True
    )
    return shap_e.make(model, ASKED, {"prompt": ASKED.prompt}, 3, ctx, 0, 1)


def test_a_seed_gives_the_same_object_and_leaves_chance_alone(model: Model) -> None:
    before = torch.manual_seed(77).get_state()
    once, twice = sculpted(model), sculpted(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(once.vertices, twice.vertices)
    assert [view.tobytes() for view in once.views] == [view.tobytes() for view in twice.views]


def test_it_stops_inside_the_surface_and_inside_the_rays(model: Model) -> None:
    told: list[int] = []

    def tell(more: int = 1) -> None:
        told.append(more)
        if len(told) % 2 == 0:
            raise Stopped

    renderer = model.pipe.shap_e_renderer
    with pytest.raises(Stopped):
        shap_e._surface(renderer, torch.zeros(1, meshes.HIDDEN, meshes.LATENT), model, 32, tell)
    with pytest.raises(Stopped):
        shap_e._turned(renderer, "cpu", 64, 3, tell)
    assert told == [0, 0, 1, 1]
    sculpted(model)
    assert len(told) == 4, "nothing listens any more"


def test_the_renderer_is_as_it_was_stored_whatever_the_rest_is(folders: dict[str, Path], model: Model) -> None:
    model = Models("cpu").get(msgspec.structs.replace(model.ref, means=Means(dtype="bf16")))
    assert (model.dtype, model.pipe.prior.dtype) == ("bfloat16", torch.bfloat16)
    opened = model.pipe.shap_e_renderer.state_dict()
    stored = load_file(folders["words"] / "shap_e_renderer" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(opened[name], tensor) for name, tensor in stored.items())
    sculpted(model)
    assert model.bytes == loading._bytes_of(model.pipe)


def test_another_renderer_is_refused_in_words(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = renamed(folders["words"], tmp_path / "words", shap_e_renderer=["diffusers", "AutoencoderKL"])
    with pytest.raises(DomainError, match="its shap_e_renderer is of the class AutoencoderKL, and must be a ShapERend"):
        Models("cpu").get(ref(folder))


def renamed(folder: Path, path: Path, **named: Any) -> Path:
    """A copy of the folder whose index names other classes."""
    shutil.copytree(folder, path)
    index = path / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | named))
    return path


# the registry


async def test_the_folder_tells_what_the_model_can_do(db: Any, folders: dict[str, Path]) -> None:
    assert (await models.register("words", folders["words"])).kinds == ["text_to_3d"]
    found = await models.register("pictures", folders["pictures"])
    assert (found.kinds, found.defaults) == (["image_to_3d"], {})
    with pytest.raises(Invalid, match="cannot do this kind"):
        await models.require("words", "text_to_image")
    for means in (Means(compile=True), Means(offload=True)):
        with pytest.raises(Invalid, match="only dtype can be chosen"):
            models.inspect("mine", folders["words"], "", (), means=means)


def test_a_class_that_only_ends_alike_draws(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = renamed(folders["words"], tmp_path / "other", _class_name="OtherShapEPipeline")
    found = models.inspect("other", folder, "", ())
    assert (tuple(found.kinds), found.defaults["width"]) == (models.IMAGE_KINDS, 512)


# forms


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("frame_size", "100", "From 32 to 512, a multiple of 32"),
        ("frame_size", "1024", "From 32 to 512, a multiple of 32"),
        ("grid_size", "16", "From 32 to 128, without a fraction"),
        ("num_inference_steps", "0", "From 1 to 150, without a fraction"),
        ("guidance_scale", "31", "From 0 to 30"),
    ],
)
def test_bounds_are_told(field: str, value: str, words: str) -> None:
    assert steps.parse_step("text_to_3d", {field: value}, "s1-") == (None, {f"s1-{field}": words})


async def test_what_was_typed_stays(client: httpx.AsyncClient, make: Make, log_in: LogIn) -> None:
    await log_in(client, await make.person("ada"))
    form = {"title": "A cup", "s1-kind": "text_to_3d", "s1-prompt": "a cup", "s1-frame_size": "100", "do": "run"}
    answer = await client.post("/pipelines", data=form)
    assert answer.status_code == 422
    assert "From 32 to 512, a multiple of 32" in answer.text
    assert 'value="100"' in answer.text
    assert "a cup" in answer.text


def test_what_comes_in_and_what_goes_on_must_fit() -> None:
    picture, surface = steps.TextToImage(prompt="a cup"), steps.ImageTo3D()
    assert steps.check(steps.Recipe(steps=[steps.TextTo3D()])) == {"s1-prompt": "Write what to make"}
    assert steps.check(steps.Recipe(steps=[picture, surface])) == {}
    assert "no step before it" in steps.check(steps.Recipe(steps=[surface]))["s1-source"]
    assert "gives a 3D object" in steps.check(steps.Recipe(steps=[picture, surface, steps.Upscale()]))["s3-source"]
