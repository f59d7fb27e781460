"""Pictures of classes and walks between them, through Redis and dramatiq into a worker, with small generators."""

import asyncio
import io
import json
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from PIL import Image

from domain import models, run_pages, runs, steps, weights
from domain.config import Config
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.people import Person
from domain.storage import Storage, key_of
from tasks.context import Animation, Context, Picture
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tasks.steps import gan_image
from tests import generators
from tests import worker as w
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
SHAPES = "shapes-gan"
MEDIA = {"gif": "image", "webp": "image", "mp4": "video"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights that knows foxes and owls, 16 × 16 pixels."""
    return generators.generator(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="module")
def site(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[w.Process]:
    """A dispatcher and a worker for this module."""
    folder = tmp_path_factory.mktemp("worker")
    with w.dispatcher(config, folder), w.worker(config, folder) as process:
        yield process


@pytest.fixture
async def ready(db: Any, site: w.Process, small: Path) -> None:
    """Tables are empty again; the models are in the registry."""
    await models.register_all({"small": small})


# through the queue


@pytest.mark.usefixtures("ready")
async def test_it_generates_pictures_of_the_class_with_their_receipt(make: Make, storage: Storage) -> None:
    ada = await make.person("ada")
    step = steps.GanImage(class_label="star", seed=9, num_images=2, truncation=0.5, factor=2)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(ada, steps=[step])))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert (row["progress"], row["progress_total"]) == (2, 2)
    made = await w.pictures(row["id"])
    assert [(each["width"], each["height"], each["seed"]) for each in made] == [(128, 128, 9), (128, 128, 10)]
    assert made[0]["sha256"] != made[1]["sha256"]
    with Image.open(io.BytesIO(await storage.get(key_of(made[0]["sha256"])))) as picture:
        receipt = json.loads(picture.info["offshoot"])
        assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
    given = receipt["parameters"]
    assert (receipt["kind"], given["class_label"], given["truncation"]) == ("gan_image", "star", 0.5)
    assert receipt["model_revision"] == weights.revision(models.SHIPPED[SHAPES].path)
    assert "diffusers" in receipt["versions"]

    same = await make.pipeline(ada, steps=[changed(step, frames=99)])
    _, (known,) = await w.ended(await w.accept(same, afresh=False))
    assert known["state"] == "reused"


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("form", ["gif", "webp", "mp4"])
async def test_a_walk_is_an_animation_with_its_receipt(make: Make, storage: Storage, form: Any) -> None:
    step = steps.GanImage(model="small", layout="walk", format=form, frames=12, num_images=3, seed=4)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert (state, row["error_message"]) == ("succeeded", None)
    (made,) = await w.pictures(row["id"])
    assert (made["media_type"], made["width"], made["seed"]) == (f"{MEDIA[form]}/{form}", 64, 4)
    assert row["receipt"]["parameters"]["classes"] == ["fox", "owl", "fox"]
    assert b"offshoot " in await storage.get(key_of(made["sha256"]))


@pytest.mark.usefixtures("ready")
async def test_a_class_that_the_model_has_not_fails_in_words(make: Make) -> None:
    step = steps.GanImage(model="small", class_label="star")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert (state, row["attempt"]) == ("failed", 1)
    assert row["error_message"] == "The model “small” has no class “star”. It has: fox, owl."


@pytest.mark.usefixtures("site")
async def test_it_shows_what_it_draws_and_stops_in_the_middle(make: Make, db: Any, tmp_path: Path) -> None:
    await models.register("slow", generators.generator(tmp_path / "slow", channels=(32,) * 7))
    step = steps.GanImage(model="slow", layout="walk", frames=160, factor=1)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    until, shown = time.monotonic() + 60, None
    while shown is None and time.monotonic() < until:
        await asyncio.sleep(0.1)
        shown = (await run_pages.progress(run_id, pipeline.owner_id)).steps[0].preview
    assert shown
    await runs.cancel(run_id, pipeline.owner_id)
    state, (row,) = await w.ended(run_id)
    assert (state, await w.pictures(row["id"])) == ("cancelled", [])
    assert 0 < row["progress"] < 160


# the kind


def test_a_walk_is_an_animation_and_how_it_is_shown_counts_for_it_alone() -> None:
    walk = steps.GanImage(layout="walk")
    assert (steps.GanImage().made, walk.made, steps.medium_of(msgspec.to_builtins(walk))) == (
        "image",
        "animation",
        "animation",
    )
    assert steps.GanImage().moot == {"frames", "frame_ms", "format", "loop"}
    assert (walk.moot, changed(walk, format="mp4").moot) == (frozenset(), {"loop"})


def changed(step: steps.GanImage, **values: Any) -> steps.GanImage:
    return msgspec.structs.replace(step, **values)


def made(folder: Path, step: steps.GanImage) -> list[Picture | Animation]:
    ref = ModelRef("small", str(folder), weights.revision(folder))
    ctx = Context(Job(id="x", members=[Member(step={})], model=ref), Models("cpu"), lambda _: None, lambda _: True)
    return list(gan_image.run(step, ctx).pictures)


def images(folder: Path, step: steps.GanImage) -> list[bytes]:
    return [one.image.tobytes() for one in made(folder, step) if isinstance(one, Picture)]


def test_each_picture_comes_of_its_seed_alone(small: Path) -> None:
    several = images(small, steps.GanImage(class_label="fox", seed=2, num_images=3))
    assert several[1:] == images(small, steps.GanImage(class_label="fox", seed=3, num_images=2))
    assert len(set(several)) == 3
    assert images(small, steps.GanImage(seed=3, num_images=1)) == images(
        small, steps.GanImage(class_label="owl", seed=3, num_images=1)
    )


def test_without_variety_every_seed_gives_the_average_of_its_class(small: Path) -> None:
    flat = steps.GanImage(class_label="fox", truncation=0, num_images=3)
    assert len(set(images(small, flat))) == 1
    assert set(images(small, flat)) != set(images(small, changed(flat, class_label="owl")))


def test_a_walk_that_would_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    large = generators.generator(tmp_path / "large", channels=(4,) * 7)
    with pytest.raises(DomainError, match="at most 512 pixels a side, and this comes to 1,024"):
        made(large, steps.GanImage(layout="walk"))


def test_a_walk_is_closed_and_passes_through_the_pictures(small: Path) -> None:
    step = steps.GanImage(class_label="owl", num_images=2, layout="walk", frames=8, frame_ms=50, loop=2, factor=1)
    (walk,) = made(small, step)
    assert isinstance(walk, Animation)
    assert (len(walk.frames), walk.frame_ms, walk.loop, walk.seed) == (8, 50, 2, 0)
    pictures = images(small, changed(step, layout="pictures"))
    for at, frame in zip(pictures, (walk.frames[0], walk.frames[4]), strict=True):
        off = np.abs(np.frombuffer(at, np.uint8).astype(int) - np.asarray(frame).ravel())
        assert off.max() <= 1


# the registry


async def test_a_generator_is_known_by_its_folder(db: Any, small: Path) -> None:
    found = await models.register("small", small)
    assert (found.family, found.kinds, found.defaults) == ("ConditionalGenerator", ["gan_image"], {})
    assert found.words == [("Classes", ["fox", "owl"])]
    assert [one.name for one in await models.names("gan_image")] == ["small"]
    with pytest.raises(Invalid, match="only dtype can be chosen for a generator"):
        models.inspect("mine", small, "", (), means=Means(compile=True))


def test_a_generator_of_another_make_is_said(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "channels": [8, 8, 8, 8]}))
    with pytest.raises(DomainError, match="cannot be loaded: its weights are not those"):
        made(folder, steps.GanImage())


# pages


FORM = {
    "title": "Stars",
    "license": "CC-BY-4.0",
    "visibility": "public",
    "s1-kind": "gan_image",
    "s1-model": SHAPES,
    "s1-class_label": "star",
}


async def test_the_composer_offers_classes_and_names_them(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, small: Path
) -> None:
    await models.register_all({"small": small})
    await log_in(client, await make.person("ada"))
    answer = await client.post("/pipelines", data={**FORM, "s1-model": "small", "do": "save"})
    assert answer.status_code == 422
    assert "small has no such class. It has: fox, owl" in answer.text
    assert '<option value="star" selected>star</option>' in answer.text
    assert '<option value="owl">owl</option>' in answer.text
    answer = await client.post("/pipelines", data={**FORM, "s1-layout": "walk", "s1-num_images": "1", "do": "save"})
    assert "A walk passes through 2 pictures or more" in answer.text
    answer = await client.post("/pipelines", data={**FORM, "s1-truncation": "1.5", "do": "save"})
    assert "From 0 to 1" in answer.text
    assert (await client.post("/pipelines", data={**FORM, "do": "save"})).status_code == 303
