"""Pictures of classes and walks between them, through Redis and dramatiq into a worker, with small generators."""

import io
import json
import shutil
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import msgspec
import numpy as np
import pytest
from PIL import Image, ImageSequence

from domain import models, runs, steps, vocabulary, weights
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.people import Person
from domain.storage import Storage, key_of
from tasks.context import Animation, Context, Picture
from tasks.gan import drawing, shapes
from tasks.loading import Models
from tasks.messages import Job, Member, ModelRef
from tasks.steps import gan_image
from tests import generators
from tests import worker as w
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
SHAPES = "shapes-gan"
LOADED = Models("cpu")
MEDIA = {"gif": "image", "webp": "image", "mp4": "video"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights that knows foxes and owls, 16 × 16 pixels."""
    return generators.generator(tmp_path_factory.mktemp("small") / "model")


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

    same = await make.pipeline(ada, steps=[changed(step, frames=99, colors="shared")])
    _, (known,) = await w.ended(await w.accept(same, afresh=False))
    assert known["state"] == "reused"


@pytest.mark.usefixtures("ready")
async def test_details_come_from_a_seed_of_their_own(make: Make, storage: Storage) -> None:
    step = steps.GanImage(class_label="star", seed=9, num_images=1, factor=1)
    chain = [step, *(changed(step, detail_seed=seed) for seed in (9, 100))]
    state, rows = await w.ended(await w.accept(await make.pipeline(steps=chain)))
    assert state == "succeeded", [row["error_message"] for row in rows]
    pictures = []
    for row in rows:
        (made,) = await w.pictures(row["id"])
        pictures.append(Image.open(io.BytesIO(await storage.get(key_of(made["sha256"])))).tobytes())
    assert pictures[0] == pictures[1], "with the details of its own seed it is what it was"
    assert pictures[0] != pictures[2]
    assert [row["receipt"]["parameters"].get("detail_seed") for row in rows] == [None, 9, 100]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("form", ["gif", "webp", "mp4"])
async def test_a_walk_is_an_animation_with_its_receipt(make: Make, storage: Storage, form: Any) -> None:
    step = steps.GanImage(model="small", layout="walk", format=form, frames=12, num_images=3, seed=4, colors="dithered")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert (state, row["error_message"]) == ("succeeded", None)
    (made,) = await w.pictures(row["id"])
    assert (made["media_type"], made["width"], made["seed"]) == (f"{MEDIA[form]}/{form}", 64, 4)
    assert row["receipt"]["parameters"]["classes"] == ["fox", "owl", "fox"]
    file = await storage.get(key_of(made["sha256"]))
    assert b"offshoot " in file
    assert b"trainedAlgorithmicMedia" in file
    assert shown_for(file, form) == 12 * step.frame_ms


def shown_for(file: bytes, form: str) -> float:
    """Milliseconds: a GIF or WebP may show a frame twice as long instead of another that looks the same."""
    if form == "mp4":
        with av.open(io.BytesIO(file)) as video:
            return 80 * sum(1 for _ in video.decode(video=0))
    with Image.open(io.BytesIO(file)) as image:
        return sum(frame.info["duration"] for frame in ImageSequence.all_frames(image))


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
    await w.shown(run_id, pipeline.owner_id)
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
    assert steps.GanImage().moot == {"frames", "frame_ms", "format", "loop", "colors"}
    moot = {form: changed(walk, format=form).moot for form in MEDIA}
    assert moot == {"gif": frozenset(), "webp": {"colors"}, "mp4": {"colors", "loop"}}


def changed(step: steps.GanImage, **values: Any) -> steps.GanImage:
    return msgspec.structs.replace(step, **values)


def made(folder: Path, step: steps.GanImage) -> list[Picture | Animation]:
    ref = ModelRef("small", str(folder), weights.revision(folder))
    ctx = Context(Job(id="x", members=[Member(step={})], model=ref), LOADED, lambda _: None, lambda _: True)
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


def test_a_seed_gives_the_same_picture_alone_and_among_others() -> None:
    folder = models.SHIPPED[SHAPES].path
    together = [one for first in (0, 8) for one in images(folder, steps.GanImage(seed=first, num_images=8, factor=1))]
    assert [images(folder, steps.GanImage(seed=seed, num_images=1, factor=1))[0] for seed in range(16)] == together
    assert images(folder, steps.GanImage(seed=5, num_images=3, factor=1)) == together[5:8]


def test_without_variety_every_seed_gives_the_average_of_its_class(small: Path) -> None:
    flat = steps.GanImage(class_label="fox", truncation=0, num_images=3)
    assert len(set(images(small, flat))) == 1
    assert set(images(small, flat)) != set(images(small, changed(flat, class_label="owl")))


def test_a_walk_that_would_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    large = generators.generator(tmp_path / "large", channels=(4,) * 7)
    with pytest.raises(DomainError, match="at most 512 pixels a side, and this comes to 1,024"):
        made(large, steps.GanImage(layout="walk"))


def test_a_gif_that_would_be_written_for_minutes_is_refused(tmp_path: Path) -> None:
    large = generators.generator(tmp_path / "large", channels=(4,) * 6)
    with pytest.raises(DomainError, match="A GIF of 512 × 512 pixels has at most 48 frames, and this has 49"):
        made(large, steps.GanImage(layout="walk", frames=49))


def test_a_walk_is_closed_and_passes_through_the_pictures(small: Path) -> None:
    step = steps.GanImage(class_label="owl", num_images=2, layout="walk", frames=8, frame_ms=50, loop=2, factor=1)
    (walk,) = made(small, step)
    assert isinstance(walk, Animation)
    assert (len(walk.frames), walk.seconds, walk.loop, walk.seed) == (8, Fraction(1, 20), 2, 0)
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


def told_otherwise(small: Path, folder: Path, **config: Any) -> Path:
    """A copy of the small model whose config.json says something else."""
    shutil.copytree(small, folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, **config}))
    return folder


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"classes": None}, "1 to 1,000 classes, and these are 0"),
        ({"classes": [str(number) for number in range(1_001)]}, "1 to 1,000 classes, and these are 1,001"),
        ({"classes": ["fox", 1]}, "has 1 to 200 characters, and '1' has not"),
        ({"classes": ["fox", ""]}, "has 1 to 200 characters, and '' has not"),
        ({"classes": ["fox", "o" * 201]}, "has 1 to 200 characters"),
        ({"classes": ["fox", "owl\n"]}, r"without spaces around it, and 'owl\\n' is not"),
        ({"classes": ["fox", "o\0wl"]}, "is text on a line"),
        ({"classes": ["fox", "fox"]}, "two classes have one name"),
        ({"channels": []}, "channels are 1 to 7 numbers from 1 to 1,024"),
        ({"channels": [8] * 8}, "channels are 1 to 7 numbers"),
        ({"channels": [8, 1_025]}, "channels are 1 to 7 numbers"),
        ({"channels": [8, True]}, "channels are 1 to 7 numbers"),
        ({"style_channels": 0}, "latent_channels and style_channels are from 1 to 1,024"),
        ({"latent_channels": 10**9}, "latent_channels and style_channels are from 1 to 1,024"),
    ],
)
def test_a_config_that_describes_no_generator_is_refused(
    small: Path, tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    folder = told_otherwise(small, tmp_path / "model", **config)
    with pytest.raises(Invalid, match=words) as refused:
        models.inspect("mine", folder, "", ())
    assert list(refused.value.fields) == ["path"]
    with pytest.raises(Invalid):
        drawing.open_folder(folder, None)


def test_of_several_classes_the_one_that_is_known_counts(small: Path, tmp_path: Path) -> None:
    folder = told_otherwise(small, tmp_path / "model", architectures=["Helper", "ConditionalGenerator"])
    found = models.inspect("mine", folder, "", ())
    assert (found.family, found.kinds) == ("ConditionalGenerator", ["gan_image"])


def test_a_list_of_words_does_not_hide_the_classes(small: Path, tmp_path: Path) -> None:
    folder = told_otherwise(small, tmp_path / "model")
    (folder / vocabulary.FILE).write_text("Things: star\n")
    assert models.inspect("mine", folder, "", ()).classes == ["fox", "owl"]


def test_the_generator_of_shapes_has_the_classes_that_are_drawn_for_it() -> None:
    assert weights.classes_of(models.SHIPPED[SHAPES].path) == list(shapes.CLASSES)


def test_a_generator_of_another_make_is_said(small: Path, tmp_path: Path) -> None:
    folder = told_otherwise(small, tmp_path / "model", channels=[8, 8, 8, 8])
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


async def test_a_class_of_two_words_is_chosen_and_kept(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any, small: Path, tmp_path: Path
) -> None:
    folder = told_otherwise(small, tmp_path / "model", classes=["red fox", "barn owl"])
    assert (await models.register("birds", folder)).words == [("Classes", ["red fox", "barn owl"])]
    await log_in(client, await make.person("ada"))
    sent = {**FORM, "s1-model": "birds", "s1-class_label": "barn owl", "do": "save"}
    answer = await client.post("/pipelines", data=sent)
    assert answer.status_code == 303
    assert "barn owl" in (await client.get(answer.headers["location"])).text
    assert (await db.fetchval("SELECT recipe FROM versions"))["steps"][0]["class_label"] == "barn owl"
