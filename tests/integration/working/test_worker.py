"""Real runs: through Redis and dramatiq into a worker that draws with the starter model."""

import asyncio
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from domain import models, runs, steps
from domain.config import Config
from domain.means import Means
from domain.storage import Storage, key_of
from tests import checkpoints
from tests import worker as w
from tests.make import Make, png

FEW = 4
"""Sampling steps that are enough to see that it draws."""


@pytest.fixture
async def ready(db: Any, site: w.Process) -> None:
    """Tables are empty again; the models are back in the registry."""
    await models.register_all({})


@pytest.mark.usefixtures("ready")
async def test_it_draws_what_it_says(make: Make, storage: Storage) -> None:
    step = steps.TextToImage(prompt="a {color} circle", num_inference_steps=FEW, num_images_per_prompt=2, seed=9)
    pipeline = await make.pipeline(steps=[step], inputs=[steps.Input(name="color", default="red")])
    run_id = await w.accept(pipeline, inputs={"color": "blue"})
    state, (row,) = await w.ended(run_id)
    assert (state, row["state"], row["error_message"]) == ("succeeded", "succeeded", None)
    assert (row["progress"], row["progress_total"], row["attempt"]) == (FEW, FEW, 1)
    assert row["resolved"]["prompt"] == "a blue circle"
    assert row["resolved"]["seed"] == 9
    made = await w.pictures(row["id"])
    assert [(each["width"], each["height"], each["seed"]) for each in made] == [(256, 256, 9), (256, 256, 10)]
    assert row["receipt"]["outputs"] == [each["sha256"] for each in made]
    assert row["receipt"]["model_revision"] == row["resolved"]["model_revision"]
    assert set(row["timings"]) == {"queued", "load", "run", "save"}
    assert await w.event_names(run_id) == ["accepted", "claimed", "succeeded", "run_succeeded"]
    data = await storage.get(key_of(made[0]["sha256"]))
    assert hashlib.sha256(data).hexdigest() == made[0]["sha256"]
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert "Steps: 4, Sampler: DDIM, CFG scale: 3, Seed: 9, Size: 256x256" in picture.info["parameters"]
    assert json.loads(picture.info["offshoot"])["parameters"]["prompt"] == "a blue circle"
    assert "trainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]


@pytest.mark.usefixtures("ready")
async def test_the_same_seed_gives_the_same_file(make: Make) -> None:
    step = steps.TextToImage(prompt="a green square", num_inference_steps=FEW)
    pipeline = await make.pipeline(steps=[step])
    found = []
    for seed in (5, 5, 6):
        _, (row,) = await w.ended(await w.accept(pipeline, seed))
        found.append((row["input_hash"], (await w.pictures(row["id"]))[0]["sha256"]))
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] != found[2][1]


@pytest.mark.usefixtures("ready")
async def test_it_runs_a_chain_to_its_end(make: Make, db: Any, storage: Storage) -> None:
    chain = [
        steps.PromptTemplate(template="a {red|red} {shape} __place__"),
        steps.TextToImage(prompt="{text}, night", num_inference_steps=FEW),
        steps.ImageToImage(prompt="{text}", strength=0.5, num_inference_steps=FEW),
        steps.Upscale(factor=4, source=2),
    ]
    inputs = [steps.Input(name="shape", default="star")]
    pipeline = await make.pipeline(steps=chain, inputs=inputs, lists={"place": ["by the sea"]})
    state, rows = await w.ended(await w.accept(pipeline))
    assert state == "succeeded", [row["error_message"] for row in rows]
    assert rows[0]["output_text"] == "a red star by the sea"
    assert rows[1]["resolved"]["prompt"] == "a red star by the sea, night"
    assert rows[2]["resolved"]["prompt"] == "a red star by the sea"
    assert rows[2]["progress_total"] == FEW / 2
    (drawn,), (redrawn,), (large,) = [await w.pictures(row["id"]) for row in rows[1:]]
    assert rows[2]["receipt"]["inputs"] == rows[3]["receipt"]["inputs"] == [drawn["sha256"]]
    assert redrawn["sha256"] != drawn["sha256"]
    assert (large["width"], large["height"]) == (1024, 1024)
    renditions = await db.fetch("SELECT * FROM renditions WHERE source = $1 ORDER BY width", large["sha256"])
    assert [row["width"] for row in renditions] == [320, 640]
    small = Image.open(io.BytesIO(await storage.get(key_of(renditions[0]["sha256"]))))
    assert (small.format, small.size) == ("WEBP", (320, 320))
    assert not await db.fetchval("SELECT count(*) FROM previews")


@pytest.mark.usefixtures("ready")
async def test_it_joins_pictures_to_an_animation(make: Make, db: Any, storage: Storage) -> None:
    draw = steps.TextToImage(prompt="a red circle", num_inference_steps=FEW, num_images_per_prompt=3)
    pipeline = await make.pipeline(steps=[draw, steps.Join(layout="gif")])
    state, rows = await w.ended(await w.accept(pipeline))
    assert state == "succeeded", [row["error_message"] for row in rows]
    (made,) = await w.pictures(rows[1]["id"])
    assert (made["media_type"], made["width"], made["height"]) == ("image/gif", 256, 256)
    assert rows[1]["receipt"]["inputs"] == [each["sha256"] for each in await w.pictures(rows[0]["id"])]
    found = Image.open(io.BytesIO(await storage.get(key_of(made["sha256"]))))
    assert (found.format, found.n_frames) == ("GIF", 3)
    (still,) = await db.fetch("SELECT sha256 FROM renditions WHERE source = $1", made["sha256"])
    assert Image.open(io.BytesIO(await storage.get(key_of(still["sha256"])))).format == "WEBP"


@pytest.mark.usefixtures("ready")
async def test_it_joins_the_pictures_of_two_steps_in_order(make: Make, storage: Storage) -> None:
    small = {"num_inference_steps": FEW, "width": 64, "height": 64}
    recipe = [
        steps.TextToImage(prompt="a red circle", num_images_per_prompt=2, **small),
        steps.TextToImage(prompt="a blue ring", **small),
        steps.Join(source=2, also=1, layout="row", gap=0),
    ]
    state, rows = await w.ended(await w.accept(await make.pipeline(steps=recipe)))
    assert state == "succeeded", [row["error_message"] for row in rows]
    first, second = [[each["sha256"] for each in await w.pictures(row["id"])] for row in rows[:2]]
    assert rows[2]["receipt"]["inputs"] == [*second, *first]
    (made,) = await w.pictures(rows[2]["id"])
    assert (made["width"], made["height"]) == (192, 64)
    sheet = Image.open(io.BytesIO(await storage.get(key_of(made["sha256"]))))
    alone = Image.open(io.BytesIO(await storage.get(key_of(first[1]))))
    assert sheet.crop((128, 0, 192, 64)).tobytes() == alone.tobytes()


@pytest.mark.usefixtures("ready")
async def test_every_layout_joins_what_one_step_drew(make: Make) -> None:
    draw = steps.TextToImage(
        prompt="a red circle", num_inference_steps=FEW, num_images_per_prompt=3, width=64, height=64
    )
    layouts = {
        "grid": ("image/png", (136, 136)),
        "column": ("image/png", (64, 208)),
        "webp": ("image/webp", (64, 64)),
        "mp4": ("video/mp4", (64, 64)),
    }
    joins = [steps.Join(source=1, layout=layout, gap=8, columns=2) for layout in layouts]  # type: ignore[arg-type]
    state, rows = await w.ended(await w.accept(await make.pipeline(steps=[draw, *joins])))
    assert state == "succeeded", [row["error_message"] for row in rows]
    for row, (media_type, size) in zip(rows[1:], layouts.values(), strict=True):
        (made,) = await w.pictures(row["id"])
        assert (made["media_type"], (made["width"], made["height"])) == (media_type, size)


@pytest.mark.usefixtures("ready")
async def test_it_redraws_an_upload(make: Make, storage: Storage) -> None:
    upload = await make.artifact(png("orange", (100, 75)), stored=True)
    step = steps.ImageToImage(prompt="a sun", upload=upload.sha256, num_inference_steps=FEW, num_images_per_prompt=2)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "succeeded", row["error_message"]
    made = await w.pictures(row["id"])
    assert [(each["width"], each["height"]) for each in made] == [(96, 72), (96, 72)]
    told = await _told(storage, made[0]["sha256"])
    assert "Denoising strength: 0.6" in told["parameters"]
    assert json.loads(told["offshoot"])["inputs"] == [upload.sha256]


@pytest.mark.usefixtures("ready")
async def test_it_repaints_what_the_mask_shows_and_nothing_else(make: Make, storage: Storage) -> None:
    old = await make.artifact(png("orange", (128, 96)), stored=True)
    left = Image.new("LA", (64, 48), (255, 0))  # what is clear stays, whatever color it has
    left.paste((255, 255), (0, 0, 32, 48))
    file = io.BytesIO()
    left.save(file, "PNG")
    mask = await make.artifact(file.getvalue(), stored=True)
    step = steps.Inpaint(
        prompt="a blue circle", upload=old.sha256, mask=mask.sha256, feather=0, num_inference_steps=FEW
    )
    kept = []
    for asked, pictures in ((step, 1), (msgspec.structs.replace(step, num_images_per_prompt=2), 2)):
        state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[asked])))
        assert state == "succeeded", row["error_message"]
        assert row["receipt"]["inputs"] == [old.sha256, mask.sha256]
        made = await w.pictures(row["id"])
        assert len(made) == pictures
        picture = Image.open(io.BytesIO(await storage.get(key_of(made[0]["sha256"]))))
        assert picture.size == (128, 96)
        halves = [picture.crop((x, 0, x + 60, 96)).getcolors(10_000) for x in (0, 68)]
        kept.append([half == [(60 * 96, (255, 165, 0))] for half in halves])
    assert kept == [[False, True], [False, True]]
    told = await _told(storage, made[0]["sha256"])
    assert told["parameters"].startswith("a blue circle")
    assert json.loads(told["offshoot"])["inputs"] == [old.sha256, mask.sha256]
    assert "trainedAlgorithmicMedia" in told["XML:com.adobe.xmp"]


@pytest.mark.usefixtures("ready")
async def test_a_model_made_for_inpainting_repaints_and_is_offered_for_nothing_else(make: Make, tmp_path: Path) -> None:
    registered = await models.register("painter", checkpoints.repainting(tmp_path / "painter"))
    assert registered.kinds == ["inpaint"]
    pictures = [await make.artifact(png(color, (64, 64)), stored=True) for color in ("orange", "white")]
    old, mask = [one.sha256 for one in pictures]
    step = steps.Inpaint(prompt="a boat", model="painter", upload=old, mask=mask, num_inference_steps=FEW)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "succeeded", row["error_message"]
    (made,) = await w.pictures(row["id"])
    assert (made["width"], made["height"]) == (64, 64)


@pytest.mark.usefixtures("ready")
async def test_a_mask_that_shows_nothing_is_told(make: Make) -> None:
    old, black = [await make.artifact(png(color, (64, 64)), stored=True) for color in ("orange", "black")]
    step = steps.Inpaint(prompt="a sun", upload=old.sha256, mask=black.sha256, num_inference_steps=1)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert (state, row["error_message"]) == (
        "failed",
        "Nothing of the mask is light, so there is nothing to repaint.",
    )


@pytest.mark.usefixtures("ready")
async def test_a_models_means_stand_in_the_receipt(make: Make) -> None:
    await models.register("laid", models.STARTER_PATH, means=Means(channels_last=True, vae_slicing=True))
    step = steps.TextToImage(prompt="a boat", model="laid", num_inference_steps=FEW, width=64, height=64)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "succeeded", row["error_message"]
    assert row["receipt"]["means"] == {"channels_last": True, "vae_slicing": True}


@pytest.mark.usefixtures("ready")
async def test_a_model_that_will_not_load_fails_its_step_with_the_reason(make: Make, tmp_path: Path) -> None:
    folder = checkpoints.folder(tmp_path / "spoiled")
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("UNet2DConditionModel", "NobodysModel"))
    await models.register("spoiled", folder)
    step = steps.TextToImage(prompt="a boat", model="spoiled", num_inference_steps=FEW)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert (state, row["error_code"], row["attempt"]) == ("failed", "refused", 1)
    assert row["error_message"].startswith("The model “spoiled” cannot be loaded: ")
    assert "NobodysModel" in row["error_message"]


@pytest.mark.parametrize("scheduler", [name for name in steps.SCHEDULERS if not name.startswith("FlowMatch")])
@pytest.mark.usefixtures("ready")
async def test_every_scheduler_draws_and_redraws(make: Make, scheduler: Any) -> None:
    draw = steps.TextToImage(prompt="a boat", num_inference_steps=FEW, width=64, height=64, scheduler=scheduler)
    redraw = steps.ImageToImage(prompt="a boat", num_inference_steps=FEW, scheduler=scheduler, strength=0.7)
    state, rows = await w.ended(await w.accept(await make.pipeline(steps=[draw, redraw])))
    assert state == "succeeded", [row["error_message"] for row in rows]
    assert [row["resolved"]["scheduler"] for row in rows] == [scheduler] * 2


async def _told(storage: Storage, sha256: str) -> dict[str, Any]:
    """What a stored PNG tells of how it was made, by keyword."""
    return dict(Image.open(io.BytesIO(await storage.get(key_of(sha256)))).info)


@pytest.mark.parametrize("kind", [steps.TextToImage, steps.Inpaint, steps.ImageToAnimation])
@pytest.mark.usefixtures("ready")
async def test_a_stop_in_the_middle_publishes_nothing(make: Make, db: Any, kind: Any) -> None:
    old, mask = [await make.artifact(png(color, (256, 256)), stored=True) for color in ("teal", "white")]
    given: dict[Any, dict[str, Any]] = {
        steps.TextToImage: {"num_images_per_prompt": 2},
        steps.Inpaint: {"num_images_per_prompt": 2, "upload": old.sha256, "mask": mask.sha256},
        steps.ImageToAnimation: {"upload": old.sha256, "strength": 1.0},
    }
    step = kind(prompt="a boat", num_inference_steps=150, **given[kind])
    then = [] if kind is steps.ImageToAnimation else [steps.Upscale()]
    pipeline = await make.pipeline(steps=[step, *then])
    run_id = await w.accept(pipeline)
    await w.until(run_id, lambda now: now["steps"][0]["progress"] > 2)
    await runs.cancel(run_id, pipeline.owner_id)
    state, rows = await w.ended(run_id, 25)
    assert state == "cancelled"
    assert {row["state"] for row in rows} == {"cancelled"}
    assert 0 < rows[0]["progress"] < 150
    assert not await db.fetchval("SELECT count(*) FROM outputs")
    again, _ = await w.ended(await w.accept(await make.pipeline(steps=[steps.PromptTemplate(template="hi")])))
    assert again == "succeeded"


@pytest.mark.usefixtures("ready")
async def test_a_long_step_shows_a_preview(make: Make, db: Any) -> None:
    step = steps.TextToImage(prompt="a boat", num_inference_steps=150, num_images_per_prompt=2)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    (row,) = await w.until(run_id, lambda now: now["steps"][0]["progress"] > 5)
    preview = None
    deadline = time.monotonic() + 20
    while preview is None and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        preview = await db.fetchrow("SELECT * FROM previews WHERE step_run_id = $1", row["id"])
    assert preview is not None
    assert Image.open(io.BytesIO(preview["data"])).size == (256, 256)
    assert preview["media_type"] == "image/webp"
    await runs.cancel(run_id, pipeline.owner_id)
    await w.ended(run_id, 25)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (steps.TextToImage(prompt="a {color} boat"), "There is no input called {color}"),
        (steps.TextToImage(prompt="a boat", model="nobody"), "This site has no model called “nobody”."),
        (steps.PromptTemplate(template="{a|b"), "A { is never closed"),
        (steps.ImageToImage(upload="0" * 64), "The picture that should come in is gone."),
    ],
)
@pytest.mark.usefixtures("ready")
async def test_what_cannot_work_fails_with_words_and_no_retry(make: Make, step: Any, words: str) -> None:
    run_id = await w.accept(await make.pipeline(steps=[step, steps.PromptTemplate(template="later")]))
    state, rows = await w.ended(run_id)
    assert state == "failed"
    assert words in rows[0]["error_message"]
    assert (rows[0]["error_code"], rows[0]["attempt"], rows[1]["state"]) == ("refused", 1, "cancelled")
    assert await w.event_names(run_id) == ["accepted", "claimed", "failed", "run_failed"]


@pytest.mark.usefixtures("ready")
async def test_too_large_a_picture_is_refused_with_its_size(make: Make) -> None:
    upload = await make.artifact(png("orange", (2048, 64)), stored=True)
    chain = [steps.ImageToImage(upload=upload.sha256, num_inference_steps=1, strength=1), steps.Upscale(factor=4)]
    _, rows = await w.ended(await w.accept(await make.pipeline(steps=chain)))
    assert "is 8192 × 256; a side has at most 4,096 pixels" in rows[1]["error_message"]


@pytest.mark.usefixtures("ready")
async def test_an_unforeseen_error_gets_a_reference_that_the_log_has_too(make: Make, db: Any, site: w.Process) -> None:
    pipeline = await make.pipeline(steps=[steps.PromptTemplate(template="x")])
    async with db.transaction():
        run_id = await w.accept(pipeline)
        await db.execute("UPDATE runs SET inputs = '[1]' WHERE id = $1", run_id)
    state, (row,) = await w.ended(run_id)
    assert state == "failed"
    assert row["error_message"].startswith("Something broke on our side. Reference ")
    assert row["error_message"].rstrip(".").rsplit(" ", 1)[1] in site.log.read_text()


@pytest.mark.usefixtures("ready")
async def test_twenty_runs_all_end_once(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(steps=[steps.PromptTemplate(template="{a|b|c}"), steps.PromptTemplate()])
    accepted = [await w.accept(pipeline, seed) for seed in range(20)]
    for run_id in accepted:
        state, rows = await w.ended(run_id)
        assert state == "succeeded"
        assert [row["attempt"] for row in rows] == [1, 1]
    assert await db.fetchval("SELECT count(*) FROM events WHERE name = 'succeeded'") == 40


@pytest.mark.usefixtures("ready")
async def test_a_model_that_another_machine_registered_is_found_here(make: Make, db: Any) -> None:
    await db.execute("UPDATE models SET path = '/elsewhere/starter'")
    step = steps.TextToImage(prompt="a boat", num_inference_steps=FEW)
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert state == "succeeded", row["error_message"]


DRAWN = {"num_inference_steps": FEW, "num_images_per_prompt": 2}


@pytest.mark.usefixtures("ready")
async def test_alike_steps_are_one_call_and_draw_what_they_draw_alone(
    make: Make, db: Any, config: Config, storage: Storage, tmp_path: Path
) -> None:
    alone, together = [], []
    pipelines = [
        await make.pipeline(steps=[steps.TextToImage(prompt=prompt, **DRAWN)])
        for prompt in ("a red circle", "a small blue square on the left")
    ]
    for number, pipeline in enumerate(pipelines):
        alone.append((await w.ended(await w.accept(pipeline, seed=number)))[1][0])
    async with db.transaction():  # both arrive at once
        ids = [await w.accept(pipeline, seed=number) for number, pipeline in enumerate(pipelines)]
    for run_id in ids:
        state, (row,) = await w.ended(run_id)
        assert state == "succeeded", row["error_message"]
        assert (row["progress"], row["progress_total"]) == (FEW, FEW)
        together.append(row)
    assert [row["receipt"]["batch"] for row in alone] == [None, None]
    assert [row["receipt"]["batch"] for row in together] == [{"size": 2, "position": n} for n in range(2)]
    for one, other in zip(alone, together, strict=True):
        for mine, theirs in zip(await w.pictures(one["id"]), await w.pictures(other["id"]), strict=True):
            assert mine["seed"] == theirs["seed"]
            assert await _difference(storage, mine["sha256"], theirs["sha256"]) <= 1.0


@pytest.mark.usefixtures("ready")
async def test_pictures_are_redrawn_together_as_they_are_alone(make: Make, db: Any, storage: Storage) -> None:
    pipelines = []
    for prompt, color in (("a red circle", "white"), ("a small blue square on the left", "navy")):
        upload = await make.artifact(png(color, (100, 75)), stored=True)
        pipelines.append(await make.pipeline(steps=[steps.ImageToImage(prompt=prompt, upload=upload.sha256, **DRAWN)]))
    alone = [(await w.ended(await w.accept(pipeline, seed=4)))[1][0] for pipeline in pipelines]
    async with db.transaction():  # both arrive at once
        ids = [await w.accept(pipeline, seed=4) for pipeline in pipelines]
    together = [(await w.ended(run_id))[1][0] for run_id in ids]
    assert [row["error_message"] for row in together] == [None, None]
    assert [row["receipt"]["batch"] for row in alone] == [None, None]
    assert [row["receipt"]["batch"] for row in together] == [{"size": 2, "position": n} for n in range(2)]
    for one, other in zip(alone, together, strict=True):
        for mine, theirs in zip(await w.pictures(one["id"]), await w.pictures(other["id"]), strict=True):
            assert (mine["seed"], mine["width"], mine["height"]) == (theirs["seed"], 96, 72)
            assert await _difference(storage, mine["sha256"], theirs["sha256"]) <= 1.0


@pytest.mark.usefixtures("ready")
async def test_the_second_redrawn_picture_is_what_its_seed_redraws_alone(make: Make, storage: Storage) -> None:
    upload = await make.artifact(png("orange", (64, 64)), stored=True)
    seen = []
    for seed, count in ((8, 2), (9, 1)):
        step = steps.ImageToImage(prompt="a sun", upload=upload.sha256, num_inference_steps=FEW, seed=seed)
        step.num_images_per_prompt = count
        state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
        assert state == "succeeded", row["error_message"]
        seen.append(await w.pictures(row["id"]))
    (first, second), (alone,) = seen
    assert second["seed"] == alone["seed"] == 9
    assert await _difference(storage, second["sha256"], alone["sha256"]) <= 1.0
    assert await _difference(storage, first["sha256"], alone["sha256"]) > 1.0


async def _difference(storage: Storage, first: str, second: str) -> float:
    """Mean absolute difference of two pictures, in steps of 1/255."""
    import numpy as np

    one, other = [
        np.asarray(Image.open(io.BytesIO(await storage.get(key_of(sha256))))).astype(float)
        for sha256 in (first, second)
    ]
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("kind", [steps.TextToImage, steps.ImageToImage])
@pytest.mark.usefixtures("ready")
async def test_a_member_that_is_stopped_leaves_the_others_alone(make: Make, db: Any, kind: Any) -> None:
    upload = await make.artifact(png("teal", (96, 96)), stored=True)
    given = {"upload": upload.sha256, "strength": 1.0} if kind is steps.ImageToImage else {}
    step = kind(prompt="a boat", num_inference_steps=100, **given)
    pipeline = await make.pipeline(steps=[step])
    async with db.transaction():
        first, second = [await w.accept(pipeline, seed=seed) for seed in (1, 2)]
    await w.until(first, lambda now: now["steps"][0]["progress"] > 2)
    await runs.cancel(first, pipeline.owner_id)
    stopped, (row,) = await w.ended(first, 5)
    assert (stopped, await w.pictures(row["id"])) == ("cancelled", [])
    assert await db.fetchval("SELECT state FROM runs WHERE id = $1", second) == "running"
    done, (row,) = await w.ended(second)
    assert (done, row["attempt"], len(await w.pictures(row["id"]))) == ("succeeded", 1, 1)
    assert row["receipt"]["batch"] == {"size": 2, "position": 1}
