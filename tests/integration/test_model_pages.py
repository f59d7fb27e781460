"""The page of the models: what each can do, and the best that was made with it."""

import re
from typing import Any

from domain import drafts, models, services, steps
from domain.told import Said
from tests.make import Make
from tests.searching import drawn


async def test_without_models_it_says_how_they_come(db: Any, client: Any) -> None:
    text = (await client.get("/models")).text
    assert "No models yet" in text
    assert "offshoot models add" in text


async def test_a_model_tells_what_it_can_and_shows_the_best(db: Any, client: Any, make: Make) -> None:
    await models.register_all({})
    empty = await client.get("/models")
    assert empty.status_code == 200
    for words in (
        "Draw, Redraw, Repaint a part",
        "Apache-2.0",
        "StableDiffusionPipeline",
        "Knows ",
        "turquoise",
        "Has 8 classes",
    ):
        assert words in empty.text
    assert "Nobody has published anything made with it yet." in empty.text
    for n in range(6):
        await drawn(make, f"Boat {n}", "a boat")
    text = (await client.get("/models")).text
    assert text.count('<article class="card') == 4
    assert "All 6 pipelines with" in text
    assert 'href="/search?model=starter&amp;order=rating"' in text
    assert (await client.get("/search?model=starter&order=rating")).status_code == 200


async def test_pipelines_of_a_longer_name_are_not_shown(db: Any, client: Any, make: Make) -> None:
    for name in ("Dream", "dreamer"):
        await models.register(name, models.STARTER_PATH)
    for n in range(2):
        await drawn(make, f"Boat {n}", "a boat", model="dreamer")
    text = (await client.get("/models")).text
    assert "Nobody has published anything made with it yet." in text
    assert "All 2 pipelines with <bdi>dreamer</bdi>" in text
    await drawn(make, "House", "a house", model="Dream")
    assert "All 1 pipeline with <bdi>Dream</bdi>" in (await client.get("/models")).text


async def test_a_name_in_any_script_stays_itself(db: Any, client: Any) -> None:
    await models.register("דגם-1", models.STARTER_PATH)
    text = (await client.get("/models")).text
    assert "<bdi>דגם-1</bdi>" in text
    assert 'href="/models/%D7%93%D7%92%D7%9D-1"' in text
    assert (await client.get("/models/%D7%93%D7%92%D7%9D-1")).status_code == 200
    assert (await client.get("/models/%00")).status_code == 404
    assert "/search?model=%D7%93" in text or "Nobody has published" in text


async def test_a_model_has_a_page_with_everything_but_its_place(db: Any, client: Any, make: Make) -> None:
    found = await models.register("sdxl", models.STARTER_PATH, said=Said("MIT", "inked, in ink", "steps=30,guidance=5"))
    await drawn(make, "Boat", "a boat", model="sdxl")
    await services.announce("a:1", ["image"], "cuda", [found])
    text = (await client.get("/models/sdxl")).text
    for words in (
        "<dt>License</dt><dd>MIT</dd>",
        "<dt>Called by</dt><dd>inked, in ink</dd>",
        "<dt>Workers</dt><dd>1 (cuda)</dd>",
        "<dt>Sampling steps</dt><dd>30</dd>",
        "<dt>Guidance</dt><dd>5</dd>",
        found.revision,
        "unet/diffusion_pytorch_model.safetensors",
        "offshoot models add sdxl FOLDER --license MIT --trigger &#39;inked, in ink&#39; --defaults width=256,",
        '<article class="card',
        "/pipelines/new?model=sdxl",
    ):
        assert words in text, words
    for file in found.files:
        assert file.sha256 in text
    assert "No worker has it" not in text
    assert str(models.STARTER_PATH.parent) not in text
    assert 'href="/models/sdxl"' in (await client.get("/models")).text
    told = await client.get("/models/sdxl/model.json")
    assert str(models.STARTER_PATH.parent) not in told.text
    assert told.json() | {"files": [], "means": {}} == {
        "name": "sdxl",
        "family": "StableDiffusionPipeline",
        "kinds": [*models.IMAGE_KINDS, *models.ANIMATION_KINDS],
        "license": "MIT",
        "trigger_words": ["inked", "in ink"],
        "defaults": {"width": 256, "height": 256, "num_inference_steps": 30, "guidance_scale": 5.0,
                     "scheduler": "DDIMScheduler", "frames": 8, "longest_side": 256},
        "means": {},
        "revision": found.revision,
        "bytes": found.bytes,
        "files": [],
        "host": "",
        "workers": 1,
        "devices": ["cuda"],
    }  # fmt: skip
    assert told.json()["files"][0].keys() == {"name", "bytes", "sha256"}
    await services.leave("a:1")
    assert "No worker has it just now." in (await client.get("/models/sdxl")).text
    listed = (await client.get("/models")).text
    assert "<dt>Workers</dt><dd>none has it now</dd>" in listed
    assert 'No worker has <a href="/models/sdxl"><bdi>sdxl</bdi></a> now: steps with it wait' in listed
    await models.remove("sdxl")
    assert (await client.get("/models/sdxl")).status_code == 404


async def test_loras_and_models_elsewhere_have_pages_too(db: Any, client: Any) -> None:
    await models.register_all({}, None, {"there": "https://api.example/v1#small"})
    text = (await client.get("/models/fish")).text
    assert "&lt;lora:fish:0.8&gt;" in text
    assert "offshoot models add fish fish.safetensors --license Apache-2.0" in text
    assert "/pipelines/new?model" not in text
    text = (await client.get("/models/there")).text
    assert "it is sent to <bdi>api.example</bdi>" in text
    assert "/v1" not in text
    assert "offshoot models add" not in text


async def test_the_composer_begins_as_suits_the_model(client: Any, make: Make, log_in: Any) -> None:
    await models.register_all({})
    await models.register("sdxl", models.STARTER_PATH, said=Said("", "inked", "steps=30,width=512"))
    ada = await make.person("ada")
    await log_in(client, ada)
    text = (await client.get("/pipelines/new?model=sdxl")).text
    for field, value in (("num_inference_steps", "30"), ("width", "512"), ("height", "256")):
        assert re.search(rf'name="s1-{field}"[^>]* value="{value}"', text), field
    assert '<option value="sdxl" selected>' in text
    assert "What <bdi>sdxl</bdi> has learned is called by “<bdi>inked</bdi>”." in text
    assert "works best with" not in text
    form = {"s1-kind": "text_to_image", "s1-model": "sdxl", "s1-num_inference_steps": "20", "s1-width": "512",
            "s1-height": "256", "s1-guidance_scale": "7", "s1-scheduler": "DDIMScheduler"}  # fmt: skip
    part = {"HX-Request": "true", "HX-Request-Type": "partial"}
    draft = (await client.post("/drafts", data=form, headers=part)).text
    assert "<bdi>sdxl</bdi> works best with sampling steps 30." in draft
    full = {f"s{n}{name[2:]}": value for n in range(1, steps.MAX_STEPS + 1) for name, value in form.items()}
    full["s2-model"] = "gone"
    await client.post("/pipelines", data={**full, "do": "add-1"})
    kept = await drafts.read(ada.id, None)
    assert kept
    assert (kept.form["s2-model"], kept.form["s2-num_inference_steps"]) == ("gone", "20"), "no step was added"
    tuned = (await client.post("/drafts", data=form | {"s1-num_inference_steps": "21"}, headers=part)).text
    assert "works best with" not in tuned, "somebody chose it"
    taken = (await client.post("/pipelines", data={**form, "do": "suit-1"}, headers=part)).text
    assert re.search(r'name="s1-num_inference_steps"[^>]* value="30"', taken)
    await models.tell("starter", Said(defaults="steps=9"))
    added = await client.post("/pipelines", data={**form, "do": "add-1", "add-1-kind": "text_to_image"}, headers=part)
    assert re.search(r'name="s2-num_inference_steps"[^>]* value="9"', added.text)


async def test_what_was_said_stays_when_a_worker_starts(db: Any) -> None:
    await models.register_all({})
    await models.tell("fish", Said("MIT", "gone fishing"))
    await models.tell("starter", Said("MIT", "", "steps=9"))
    await models.register_all({})
    starter, fish = await models.read("starter"), await models.read("fish")
    assert (starter.license, starter.defaults) == ("MIT", {"num_inference_steps": 9})
    assert (fish.license, fish.trigger, fish.words) == ("MIT", ["gone fishing"], [("Trigger words", ["gone fishing"])])
    assert (await models.offered())["lora"][1].words == fish.words
    await models.remove("starter")
    await models.register_all({})
    assert (await models.read("starter")).license == "Apache-2.0", "one that was removed begins anew"
