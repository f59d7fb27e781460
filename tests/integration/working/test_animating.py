"""Animations from prompts and pictures, through Redis and dramatiq into a worker, with small random models."""

import io
import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import msgspec
import numpy as np
import pytest
from PIL import Image, ImageSequence

from domain import artifacts, grid_axes, models, runs, steps, uploads, weights
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.models import STARTER_PATH
from domain.people import Person
from domain.prepare import Given, Prepared, prepare
from domain.receipts import Receipt
from domain.steps import AnyStep, ImageToAnimation, TextToAnimation, TextToImage
from domain.storage import Storage, key_of
from tasks import diffusion, files, loading
from tasks.context import Animation, Context, Picture, Stopped
from tasks.loading import Models
from tasks.messages import Job, LoraRef, Member, ModelRef, Progress
from tasks.steps import RUNNERS
from tests import movers
from tests import worker as w
from tests.make import Make

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
PROMPT = "a red circle on a blue background"
SMALL: dict[str, Any] = {"frames": 4, "num_inference_steps": 2, "width": 64, "height": 64, "seed": 3}
DRAW = TextToAnimation(prompt=PROMPT, model="lively", fps=12, **SMALL)
MEDIA = {"gif": "image", "webp": "image", "mp4": "video"}
LOADED = Models("cpu")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stable Diffusion with motion beside it, AnimateDiff as diffusers saves it, and Stable Video Diffusion."""
    place = tmp_path_factory.mktemp("movers")
    return {
        "lively": movers.beside(place / "lively"),
        "whole": movers.whole(place),
        "video": movers.video(place / "video"),
    }


@pytest.fixture
async def ready(db: Any, site: w.Process, folders: dict[str, Path]) -> None:
    """Tables are empty again; the models are in the registry."""
    await models.register_all(folders)


def shown_for(file: bytes, form: str) -> tuple[int, float]:
    """Frames that differ, and milliseconds of all of them."""
    if form == "mp4":
        with av.open(io.BytesIO(file)) as video:
            frames = sum(1 for _ in video.decode(video=0))
            assert video.duration
            return frames, video.duration / 1000
    with Image.open(io.BytesIO(file)) as image:
        lengths = [frame.info["duration"] for frame in ImageSequence.all_frames(image)]
        return len(lengths), sum(lengths)


def told_others(file: bytes, form: str) -> str:
    """The lines that a file has for other tools."""
    if form == "mp4":
        with av.open(io.BytesIO(file)) as video:
            return video.metadata["comment"]
    with Image.open(io.BytesIO(file)) as image:
        if form == "gif":
            return image.info["comment"].decode()
        return image.getexif().get_ifd(0x8769)[0x9286].removeprefix(b"UNICODE\0").decode("utf-16-be")


def told_in(file: bytes) -> dict[str, Any]:
    """The receipt inside a file, which is JSON behind a word."""
    start = file.index(b'offshoot {"') + len(b"offshoot ")
    found: dict[str, Any] = json.JSONDecoder().raw_decode(file[start:].decode("utf-8", "ignore"))[0]
    return found


# through the queue


@pytest.mark.usefixtures("ready")
async def test_a_prompt_becomes_an_animation_in_each_format(make: Make, storage: Storage) -> None:
    ada = await make.person("ada")
    asked = [msgspec.structs.replace(DRAW, format=form, colors="dithered", loop=2) for form in MEDIA]
    state, rows = await w.ended(await w.accept(await make.pipeline(ada, steps=asked)))
    assert (state, rows[0]["error_message"]) == ("succeeded", None)
    for form, row in zip(MEDIA, rows, strict=True):
        assert (row["progress"], row["progress_total"]) == (2, 2)
        (made,) = await w.pictures(row["id"])
        told = (made["media_type"], made["width"], made["height"], made["seed"])
        assert told == (f"{MEDIA[form]}/{form}", 64, 64, 3)
        file = await storage.get(key_of(made["sha256"]))
        shown, lasts = shown_for(file, form)
        assert (shown, lasts) == (4, pytest.approx({"gif": 330, "webp": 333, "mp4": 1000 / 3}[form], abs=0.01))
        assert told_others(file, form).startswith(f"{PROMPT}\nSteps: 2, Sampler: DDIM, ")
        assert b"trainedAlgorithmicMedia" in file
        receipt = told_in(file)
        given = receipt["parameters"]
        assert (receipt["kind"], given["prompt"], given["frames"], given["fps"]) == ("text_to_animation", PROMPT, 4, 12)
        assert receipt["model_revision"] == row["resolved"]["model_revision"]
        (small,) = (await artifacts.renditions(made["sha256"])).values()
        poster = Image.open(io.BytesIO(await storage.get(key_of(small))))
        assert (poster.format, poster.size) == ("WEBP", (64, 64))

    same = msgspec.structs.replace(asked[1], colors="own")
    _, (known,) = await w.ended(await w.accept(await make.pipeline(ada, steps=[same]), afresh=False))
    assert known["state"] == "reused", "colors of a GIF say nothing of a WebP"


@pytest.mark.usefixtures("ready")
async def test_pictures_of_the_step_before_and_an_upload_are_set_in_motion(make: Make, storage: Storage) -> None:
    ada = await make.person("ada")
    draw = TextToImage(
        prompt=PROMPT, model="lively", width=64, height=128, num_inference_steps=1, num_images_per_prompt=2
    )
    move = ImageToAnimation(prompt=PROMPT, model="lively", longest_side=64, frames=3, num_inference_steps=2, seed=8)
    sent = await uploads.add(storage, ada.id, png(), "green.png")
    mine = changed(move, upload=sent.sha256, longest_side=96, format="mp4")
    state, (_, row, last) = await w.ended(await w.accept(await make.pipeline(ada, steps=[draw, move, mine])))
    assert (state, row["error_message"], last["error_message"]) == ("succeeded", None, None)
    made = await w.pictures(row["id"]) + await w.pictures(last["id"])
    assert [(one["media_type"], one["width"], one["height"], one["seed"]) for one in made] == [
        ("image/webp", 64, 64, 8),
        ("image/webp", 64, 64, 9),
        ("video/mp4", 96, 64, 8),
    ]


@pytest.mark.usefixtures("ready")
async def test_stable_video_diffusion_sets_a_picture_in_motion(make: Make, storage: Storage) -> None:
    ada = await make.person("ada")
    sent = await uploads.add(storage, ada.id, png(), "green.png")
    move = ImageToAnimation(model="video", upload=sent.sha256, longest_side=96, frames=3, num_inference_steps=2, seed=8)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(ada, steps=[move])))
    assert (state, row["error_message"]) == ("succeeded", None)
    (made,) = await w.pictures(row["id"])
    assert (made["media_type"], made["width"], made["height"], made["seed"]) == ("image/webp", 96, 64, 8)
    file = await storage.get(key_of(made["sha256"]))
    assert shown_for(file, "webp")[0] == 3
    video = await models.require("video", "image_to_animation")
    for receipt in (row["receipt"], told_in(file)):
        assert (receipt["model"], receipt["model_revision"]) == ("video", video.revision)
        assert (receipt["parameters"]["motion_bucket_id"], receipt["inputs"]) == (move.motion_bucket_id, [sent.sha256])


@pytest.mark.usefixtures("ready")
async def test_the_starter_shows_what_it_animates_and_stops_in_the_middle(make: Make) -> None:
    step = TextToAnimation(prompt=PROMPT, num_inference_steps=150)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    await w.shown(run_id, pipeline.owner_id)
    await runs.cancel(run_id, pipeline.owner_id)
    state, (row,) = await w.ended(run_id)
    assert (state, await w.pictures(row["id"])) == ("cancelled", [])
    assert 0 < row["progress"] < 150


# the kinds


def ran(folder: Path, step: AnyStep, *pictures: bytes, loras: list[LoraRef] | None = None) -> list[Any]:
    """What a step makes, with a model that other steps of this module use too."""
    ref = ModelRef("lively", str(folder), weights.revision(folder))
    member = Member(step=msgspec.to_builtins(step), pictures=list(pictures))
    ctx = Context(Job(id="x", members=[member], model=ref, loras=loras or []), LOADED, lambda _: None, lambda _: True)
    return list(RUNNERS[steps.kind_of(step)].run(step, ctx).pictures)


def frames(made: list[Any]) -> Any:
    """The frames of the only animation, as an array."""
    (one,) = made
    assert isinstance(one, Animation)
    return np.stack([np.asarray(frame).astype(int) for frame in one.frames])


def png(size: tuple[int, int] = (96, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "green").save(buffer, "PNG")
    return buffer.getvalue()


def changed(step: Any, **values: Any) -> Any:
    return msgspec.structs.replace(step, **values)


def test_a_seed_draws_the_same_beside_others_and_pictures_stay_as_they_were(folders: dict[str, Path]) -> None:
    still = TextToImage(prompt=PROMPT, width=64, height=64, num_inference_steps=2)

    def drawn() -> bytes:
        (one,) = ran(folders["lively"], still)
        assert isinstance(one, Picture)
        return one.image.tobytes()

    before = drawn()
    first = frames(ran(folders["lively"], DRAW))
    assert drawn() == before, "motion leaves the model's pictures as they are"
    assert not np.array_equal(frames(ran(folders["lively"], changed(DRAW, seed=4))), first)
    assert np.array_equal(frames(ran(folders["lively"], DRAW)), first)


def test_words_count_more_or_less_in_animations_too(folders: dict[str, Path]) -> None:
    weighed = frames(ran(folders["lively"], changed(DRAW, prompt="a (red:2) circle on a blue background")))
    assert not np.array_equal(weighed, frames(ran(folders["lively"], DRAW)))


def test_a_folder_of_animatediff_draws_what_its_parts_do(folders: dict[str, Path]) -> None:
    apart = np.abs(frames(ran(folders["whole"], DRAW)) - frames(ran(folders["lively"], DRAW)))
    assert apart.max() <= 1, "diffusers' own moving U-Net, where it has all of the still one's parts"
    move = ImageToAnimation(prompt=PROMPT, longest_side=96, frames=2, num_inference_steps=2, seed=1)
    assert frames(ran(folders["whole"], move, png())).shape == (2, 64, 96, 3)


@pytest.mark.parametrize("name", ["lively", "video"])
def test_a_picture_moves_by_its_seed_and_strength(folders: dict[str, Path], name: str) -> None:
    move = ImageToAnimation(prompt=PROMPT, longest_side=96, frames=3, num_inference_steps=2, seed=5, guidance_scale=2)
    first = frames(ran(folders[name], move, png()))
    assert first.shape == (3, 64, 96, 3)
    field = {"lively": {"strength": 1.0}, "video": {"motion_bucket_id": 20}}[name]
    assert not np.array_equal(frames(ran(folders[name], changed(move, **field), png())), first)
    one, two = ran(folders[name], move, png(), png((64, 64)))
    assert np.array_equal(frames([one]), first)
    assert (two.seed, two.frames[0].size) == (6, (96, 96))


def test_stable_video_diffusion_stops_at_its_next_pass(folders: dict[str, Path]) -> None:
    said: list[Any] = []
    step = ImageToAnimation(longest_side=64, frames=2, num_inference_steps=9)
    ref = ModelRef("video", str(folders["video"]), weights.revision(folders["video"]))
    job = Job(id="x", members=[Member(step=msgspec.to_builtins(step), pictures=[png()])], model=ref)
    with pytest.raises(Stopped):
        RUNNERS["image_to_animation"].run(step, Context(job, LOADED, said.append, lambda _: not said))
    assert [one.done for one in said if isinstance(one, Progress)] == [1]


def test_the_starter_moves_with_a_lora(folders: dict[str, Path]) -> None:
    step = TextToAnimation(prompt=PROMPT, **SMALL)
    plain = frames(ran(STARTER_PATH, step))
    path = models.SHIPPED["cyanotype"].path
    worn = [LoraRef("cyanotype", str(path), weights.revision(path), 1.0)]
    assert not np.array_equal(frames(ran(STARTER_PATH, step, loras=worn)), plain)
    assert np.array_equal(frames(ran(STARTER_PATH, step)), plain)


def test_what_a_model_cannot_do_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="The model “lively” draws animations of at most 6 frames, and this has 7"):
        ran(folders["lively"], changed(DRAW, frames=7))
    with pytest.raises(DomainError, match="draws no animations"):
        ran(folders["video"], DRAW)
    ref = ModelRef("lively", str(folders["lively"]), weights.revision(folders["lively"]), Means())
    compiled = replace(LOADED.get(ref), ref=changed(ref, means=Means(compile=True)), others={})
    with pytest.raises(DomainError, match="runs with compile and draws no animations so"):
        diffusion.moving(compiled, "DDIMScheduler")


@pytest.mark.parametrize("name", ["whole", "video"])
def test_channels_side_by_side_and_a_warm_up_are_for_models_of_animations_too(
    folders: dict[str, Path], name: str
) -> None:
    ref = ModelRef(name, str(folders[name]), weights.revision(folders[name]), Means(channels_last=True))
    move = ImageToAnimation(prompt=PROMPT, longest_side=64, frames=2, num_inference_steps=2, seed=1)
    job = Job(id="x", members=[Member(step=msgspec.to_builtins(move), pictures=[png()])], model=ref)
    made = RUNNERS["image_to_animation"].run(move, Context(job, LOADED, lambda _: None, lambda _: True)).pictures
    assert LOADED.get(ref).means == {"channels_last": True}
    assert np.abs(frames(list(made)) - frames(ran(folders[name], move, png()))).max() <= 2
    loading.warm_up(LOADED.get(ref))


@pytest.mark.parametrize(
    ("channels", "told", "words"),
    [
        ((32, 64, 64), {}, "was made for another U-Net"),
        ((64, 32), {}, "was made for another U-Net"),
        ((32, 64), {"motion_layers_per_block": 2}, "The motion adapter of “lively” cannot be opened: "),
        ((32, 64), {"motion_max_seq_length": "6"}, "cannot be opened: TypeError"),
        ((32, 64), {"shared_noise": 2}, "has a shared_noise that is not from 0 to 1"),
        ((32, 64), {"shared_noise": "most"}, "has a shared_noise that is not from 0 to 1"),
    ],
)
def test_a_motion_adapter_that_does_not_fit_is_told_in_words(
    folders: dict[str, Path], tmp_path: Path, channels: tuple[int, ...], told: dict[str, Any], words: str
) -> None:
    folder = shutil.copytree(folders["lively"], tmp_path / "other")
    shutil.rmtree(folder / weights.MOTION)
    config = movers.adapter(folder / weights.MOTION, channels) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | told))
    with pytest.raises(DomainError, match=words):
        ran(folder, DRAW)


def test_a_motion_adapter_in_half_precision_leaves_the_other_parts_as_they_are(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders["lively"], tmp_path / "halved")
    (file,) = (folder / weights.MOTION).glob("*.safetensors")
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert weights.loaded_size(folder) == weights.loaded_size(folders["lively"])
    assert np.array_equal(frames(ran(folder, DRAW)), frames(ran(folders["lively"], DRAW)))


def test_how_it_is_shown_counts_where_it_is_seen() -> None:
    formats = {form: changed(DRAW, format=form).moot for form in MEDIA}
    assert formats == {"gif": frozenset(), "webp": {"colors"}, "mp4": {"colors", "loop"}}
    assert (DRAW.made, ImageToAnimation().made) == ("animation", "animation")


def test_what_a_model_does_not_take_is_not_told_of_a_result() -> None:
    step = ImageToAnimation(upload="0" * 64, prompt="<lora:ink> a star", negative_prompt="fog")

    def ready(family: str, **values: Any) -> Prepared:
        given = Given(inputs={}, lists={}, text="", seed=1, pictures=[])
        return prepare(changed(step, **values), given, "revision", known={"ink": "its revision"}, family=family)

    others = {"prompt": "a ring", "negative_prompt": "", "strength": 0.5, "scheduler": "LCMScheduler"}
    assert ready(steps.VIDEO, **others) == ready(steps.VIDEO)
    assert not {*others} & {*ready(steps.VIDEO).parameters}
    for family in ("StableDiffusionPipeline", "AnimateDiffPipeline"):
        assert ready(family, motion_bucket_id=9) == ready(family)
        assert ready(family).loras
        assert ready(family, strength=0.5) != ready(family)
    assert ready(steps.VIDEO, motion_bucket_id=9) != ready(steps.VIDEO)
    assert {"strength", "motion_bucket_id"} <= {
        one.field for one in grid_axes.targets(steps.Recipe(steps=[step]), {}).values()
    }


@pytest.mark.parametrize(
    ("step", "field", "words"),
    [
        (TextToAnimation(), "prompt", "Write what to draw"),
        (changed(DRAW, width=1024, height=1024, frames=17), "frames", "At most 16 of 1024 × 1024 pixels"),
        (ImageToAnimation(upload="0" * 64, longest_side=1024, frames=17), "frames", "At most 16 of 1024 × 1024 pixels"),
        (ImageToAnimation(upload="0" * 64, strength=0.04), "strength", "0.05 or more with 20 sampling steps"),
        (changed(DRAW, scheduler="LCMScheduler", num_inference_steps=51), "num_inference_steps", "At most 50"),
        (changed(DRAW, prompt="a <lora:x:9> star"), "prompt", "A LoRA's weight is from"),
    ],
)
def test_what_cannot_be_drawn_is_told_before(step: AnyStep, field: str, words: str) -> None:
    told = steps.check(steps.Recipe(steps=[step]))
    assert list(told) == [f"s1-{field}"]
    assert told[f"s1-{field}"].startswith(words)


def test_an_animation_is_no_picture_to_go_on_with() -> None:
    told = steps.check(steps.Recipe(steps=[DRAW, ImageToAnimation()]))
    assert told == {"s2-source": "Needs a picture, but step 1 gives an animation"}


# files


def test_a_gif_has_colors_of_each_frame_or_of_all() -> None:
    shade = np.linspace(0, 255, 64, dtype=np.uint8)
    frames = [
        Image.fromarray(np.stack(np.broadcast_arrays(shade[:, None], shade[None, :], np.uint8(80 * number)), -1))
        for number in range(4)
    ]

    def written(colors: Any) -> Image.Image:
        made = Animation(frames, Fraction(1, 10), 0, None, "gif", colors)
        return Image.open(io.BytesIO(files.encode(made, Receipt(kind="text_to_animation", code=1, parameters={})).data))

    palettes, errors = {}, {}
    for colors in ("own", "shared", "dithered"):
        image = written(colors)
        seen = []
        for number, frame in enumerate(frames):
            image.seek(number)
            shown = np.asarray(image.convert("RGB")).astype(int)
            seen.append(shown.reshape(-1, 3))
            small = [
                np.asarray(one.resize((8, 8), Image.Resampling.BOX)).astype(int)
                for one in (frame, image.convert("RGB"))
            ]
            errors[colors] = errors.get(colors, 0.0) + np.abs(small[0] - small[1]).mean()
        palettes[colors] = len(np.unique(np.concatenate(seen), axis=0))
    assert palettes["shared"] <= 256 < palettes["own"]
    assert palettes["dithered"] <= 256
    assert errors["dithered"] < errors["shared"], "from afar dithered colors are nearer to those that were drawn"


# the registry


async def test_models_that_move_are_known_by_their_folders(db: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    for name, folder in folders.items():
        await models.register(name, folder)
    offered = await models.offered()
    assert [one.name for one in offered["text_to_animation"]] == ["lively", "whole"]
    assert [one.name for one in offered["image_to_animation"]] == ["lively", "video", "whole"]
    assert [one.name for one in offered["text_to_image"]] == ["lively"]
    lively = await models.require("lively", "text_to_animation")
    video = await models.require("video", "image_to_animation")
    told = [(one.defaults["frames"], one.defaults["longest_side"], one.limits.get("frames")) for one in (lively, video)]
    assert told == [(6, 64, 6), (6, 64, None)]
    assert weights.limits_of(STARTER_PATH)["frames"] == 8

    shutil.copytree(folders["lively"], tmp_path / "mine")
    movers.adapter(tmp_path / "mine" / weights.MOTION, (32, 64, 64))
    assert weights.revision(tmp_path / "mine") != lively.revision, "motion is part of the model"
    (tmp_path / "mine" / weights.MOTION / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(Invalid, match=r"motion_adapter/ has no \.safetensors file"):
        models.inspect("mine", tmp_path / "mine", "", ())


# pages


FORM = {
    "title": "A star that moves",
    "license": "CC-BY-4.0",
    "visibility": "public",
    "s1-kind": "text_to_animation",
    "s1-prompt": "a red star and a giraffe",
    "s1-model": "starter",
}


async def test_the_composer_tells_what_is_wrong_and_keeps_what_was_typed(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any
) -> None:
    await models.register_all({})
    await log_in(client, await make.person("ada"))
    page = (await client.get("/pipelines/new?start=animation")).text
    assert 'name="s1-fps"' in page
    sent = {**FORM, "s1-frames": "65", "s1-fps": "0", "s1-format": "avi", "do": "save"}
    answer = await client.post("/pipelines", data=sent)
    assert answer.status_code == 422
    for words in ("From 2 to 64, without a fraction", "From 1 to 30, without a fraction", "Choose one of the list"):
        assert words in answer.text
    assert 'value="65"' in answer.text
    assert "giraffe" in answer.text.partition("does not know")[2], "the starter says which words it does not know"
    large = {**FORM, "s1-width": "1024", "s1-height": "1024", "s1-frames": "20", "do": "save"}
    assert "At most 16 of 1024 × 1024 pixels" in (await client.post("/pipelines", data=large)).text
    many = {**FORM, "s1-frames": "9", "do": "save"}
    assert "At most 8 with starter" in (await client.post("/pipelines", data=many)).text
    assert (await client.post("/pipelines", data={**FORM, "do": "save"})).status_code == 303
