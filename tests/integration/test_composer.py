"""The composer over HTTP: drafts, saving, running, mending, moving steps; with and without htmx."""

import asyncio
import re

import pytest

from domain import db, drafts, forks, models, pipelines, steps
from domain.steps import ImageToImage, Recipe, TextToImage
from tests.make import png
from web import composer, text_starts, voice_help

PART = {"HX-Request": "true", "HX-Request-Type": "partial"}
FORM = {
    "title": "The sea",
    "license": "CC-BY-4.0",
    "visibility": "public",
    "tags": "sea, night",
    "s1-kind": "text_to_image",
    "s1-prompt": "a calm sea",
    "s1-model": "starter",
}


@pytest.fixture
async def ada(make):
    await models.register_all({})
    return await make.person("ada")


@pytest.fixture
async def browser(ada, client, log_in):
    return await log_in(client, ada)


def key_in(html: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', html)
    assert found
    return found[1]


async def test_a_new_composer_has_one_empty_step_and_starting_points(browser):
    text = (await browser.get("/pipelines/new")).text
    assert text.count('name="s1-kind"') == 1
    assert 'name="s2-kind"' not in text
    assert text.count("/pipelines/new?start=") == len(composer.STARTS)
    first = re.search(r'<form action="/pipelines".*?<button[^>]*>', text, re.DOTALL)
    assert first
    assert 'value="draft"' in first[0]
    assert 'name="s3-kind"' in (await browser.get("/pipelines/new?start=redraw")).text
    assert (await browser.get("/pipelines/new?start=nonsense")).status_code == 200


async def test_a_name_used_in_a_prompt_is_offered_as_an_input(browser):
    typed = {**FORM, "s1-prompt": "a {color} boat, {red|blue}, \\{sign}, {text}"}
    answer = await browser.post("/pipelines", data={**typed, "do": "run"})
    assert answer.status_code == 422
    assert "Add the input {color}" in answer.text
    await browser.post("/pipelines", data={**typed, "do": "add-input"})
    text = (await browser.get("/pipelines/new")).text
    assert re.search(r'name="i1-name"[^>]*value="color"', text)
    assert "Add an input" in text


async def test_visitors_log_in_first(client):
    assert (await client.get("/pipelines/new")).headers["location"].startswith("/login")


async def test_saving_makes_a_version_and_leaves_no_draft(browser, ada):
    await browser.post("/drafts", data=FORM)
    answer = await browser.post("/pipelines", data={**FORM, "do": "save"})
    assert answer.status_code == 303, answer.text
    page = await browser.get(answer.headers["location"])
    assert "The sea" in page.text
    assert "a calm sea" in page.text
    assert await drafts.read(ada.id, None) is None
    row = await db.fetchrow("SELECT visibility, tags, latest_version FROM pipelines")
    assert row is not None
    assert tuple(row) == ("public", ["sea", "night"], 1)


async def test_editing_adds_a_version_with_its_note(browser, ada, make):
    sea = await make.pipeline(ada)
    text = (await browser.get(f"/pipelines/{sea.id}/edit")).text
    assert "a red circle" in text
    answer = await browser.post(
        f"/pipelines/{sea.id}/versions", data={**FORM, "do": "save", "note": "Bluer", "s1-guidance_scale": "6,5"}
    )
    assert answer.headers["location"] == f"/pipelines/{sea.id}/versions/2"
    page = await pipelines.read(sea.id, ada.id, 2)
    assert page.versions[0].note == "Bluer"
    assert isinstance(page.recipe.steps[0], TextToImage)
    assert page.recipe.steps[0].guidance_scale == 6.5


async def test_a_mistake_keeps_everything_typed(browser, ada):
    wrong = {**FORM, "do": "run", "s1-width": "100", "s1-prompt": "a {nobody} <b>sea</b>", "description": "Кіт & мишка"}
    answer = await browser.post("/pipelines", data=wrong)
    assert answer.status_code == 422
    assert 'href="#s1-width"' in answer.text
    assert "a multiple of 8" in answer.text
    assert "to mend</span>" in answer.text
    assert 'value="100"' in answer.text
    assert "a {nobody} &lt;b&gt;sea" in answer.text
    assert "Кіт &amp; мишка" in answer.text
    assert 'role="alert"' in answer.text
    assert await db.fetchval("SELECT count(*) FROM pipelines") == 0
    kept = await drafts.read(ada.id, None)
    assert kept is not None
    assert kept.form["s1-width"] == "100"


async def test_two_things_to_mend_are_counted(browser):
    answer = await browser.post("/pipelines", data={**FORM, "do": "save", "title": "", "s1-num_inference_steps": "0"})
    assert "2 things to mend" in answer.text
    assert "1 to mend" in answer.text


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"s1-prompt": "x" * 100_000}, "At most 10,000 characters"),
        ({"s1-prompt": "{a|b}" * 2_000}, "1,000 choices"),
        ({f"s{n}-kind": "upscale" for n in range(2, 31)}, "at most 20 steps; this has 30"),
        ({"s2-kind": "upscale", "s2-source": "2"}, "Choose a step before this one"),
        ({"s2-kind": "upscale", "s2-source": "7"}, "Choose a step before this one"),
        ({"s1-kind": "teleport"}, "no kind of step"),
        ({"s1-model": "gone"}, "Choose one of the list"),
        ({"s1-seed": "4294967296"}, "From 0 to"),
        ({"s1-kind": "image_to_image", "s1-upload": "0" * 64}, "Choose the picture again"),
        ({"s1-kind": "image_to_image", "s1-upload": "../../etc/passwd"}, "Choose the picture again"),
        ({"s2-kind": "inpaint", "s2-mask": "0" * 64}, "Choose the picture again"),
    ],
)
async def test_bad_input_is_a_page_with_words(wrong, words, browser):
    answer = await browser.post("/pipelines", data={**FORM, **wrong, "do": "save"})
    assert answer.status_code == 422
    assert words in answer.text
    assert "The sea" in answer.text


@pytest.mark.parametrize("field", ["owner_id", "s1-owner_id", "rating_score", "s0-kind"])
async def test_fields_of_others_are_refused(field, browser):
    assert (await browser.post("/pipelines", data={**FORM, field: "x", "do": "save"})).status_code == 422
    assert await db.fetchval("SELECT count(*) FROM pipelines") == 0


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
async def test_text_that_cannot_be_stored_is_refused(text, browser):
    body = "&".join(f"{name}={value}" for name, value in FORM.items()).replace("+", "%2B").replace(" ", "+")
    sent = "%00" if "\x00" in text else "%ED%A0%80"
    answer = await browser.post(
        "/pipelines",
        content=f"{body}&do=save&description=a{sent}b",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 422
    assert await db.fetchval("SELECT count(*) FROM pipelines") == 0


@pytest.mark.parametrize("start", text_starts.STARTS)
async def test_a_text_to_begin_with_runs_once_it_has_what_it_works_on(browser, start):
    await models.register_endpoint("writer", "http://127.0.0.1:9/v1#small")
    key = key_in((await browser.get(f"/pipelines/new?start={start}")).text)
    typed = composer.blank(start) | {"title": "A text", "s1-model": "writer", "do": "run", "key": key}
    led = (await browser.post("/pipelines", data=typed)).headers["location"]
    if "{original}" in typed["s1-prompt"]:
        assert led.endswith("/versions/1/runs")
        asked = {"key": key_in((await browser.get(led)).text)}
        refused = await browser.post(led, data=asked | {"input-original": " \n"})
        assert refused.status_code == 422
        assert "Write or paste a text" in refused.text
        pasted = await browser.post(led, data=asked | {"input-original": "A boat on the sea. " * 900})
        led = pasted.headers["location"]
    assert led.startswith("/runs/")
    assert await db.fetchval("SELECT count(*) FROM runs") == 1


async def test_a_double_clicked_run_is_one_run(browser, ada):
    key = key_in((await browser.get("/pipelines/new")).text)
    answers = await asyncio.gather(
        *(browser.post("/pipelines", data={**FORM, "do": "run", "key": key}) for _ in range(3))
    )
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert answers[0].headers["location"].startswith("/runs/")
    assert await db.fetchval("SELECT count(*) FROM runs") == 1
    assert await db.fetchval("SELECT count(*) FROM pipelines") == 1


async def test_running_an_edited_version_twice_is_one_run_each(browser, ada, make):
    sea = await make.pipeline(ada)
    key = key_in((await browser.get(f"/pipelines/{sea.id}/edit")).text)
    url = f"/pipelines/{sea.id}/versions"
    for prompt, runs in (("a", 1), ("a", 1), ("b", 2)):
        answer = await browser.post(url, data={**FORM, "s1-prompt": prompt, "do": "run", "key": key})
        assert answer.status_code == 303
        assert await db.fetchval("SELECT count(*) FROM runs") == runs


async def test_drafts_come_back_on_another_device(browser, ada, clients, log_in):
    answer = await browser.post("/drafts", data={**FORM, "s1-width": "not yet"}, headers=PART)
    assert re.search(r'<output id="draft">Draft saved at <time[^>]*>\d\d:\d\d</time></output>', answer.text)
    other = await log_in(clients(), ada)
    text = (await other.get("/pipelines/new")).text
    assert "This is your unsaved draft" in text
    assert 'value="not yet"' in text
    assert (await other.post("/drafts", data={"do": "discard"})).status_code == 303
    assert "unsaved draft" not in (await browser.get("/pipelines/new")).text


async def test_a_draft_of_a_saved_pipeline(browser, ada, make):
    sea = await make.pipeline(ada)
    url = f"/pipelines/{sea.id}"
    answer = await browser.post(f"{url}/draft", data={**FORM, "s1-prompt": "unfinished"}, headers=PART)
    assert 'hx-target="#sums"' in answer.text
    await browser.post(f"{url}/draft", data={**FORM, "s1-prompt": "unfinished"})
    assert "unfinished" in (await browser.get(f"{url}/edit")).text
    await browser.post(f"{url}/versions", data={**FORM, "do": "save"})
    assert "unsaved draft" not in (await browser.get(f"{url}/edit")).text


async def test_a_draft_that_says_what_is_saved_is_not_offered(browser, ada):
    saved = await browser.post("/pipelines", data={**FORM, "do": "save"})
    pipeline_id = saved.headers["location"].split("/")[2]
    editing = await pipelines.editing(pipeline_id, ada.id)
    form = composer.form_of(pipelines.Details("The sea", "", ["sea", "night"], visibility="public"), editing.recipe)
    await browser.post(f"/pipelines/{pipeline_id}/draft", data=form)
    assert "unsaved draft" not in (await browser.get(f"/pipelines/{pipeline_id}/edit")).text


async def test_drafts_are_their_owners(browser, make, clients, log_in):
    hers = await make.pipeline()
    assert (await browser.post(f"/pipelines/{hers.id}/draft", data=FORM)).status_code == 404
    assert (await browser.post(f"/pipelines/{hers.id}/versions", data={**FORM, "do": "save"})).status_code == 404
    assert await db.fetchval("SELECT count(*) FROM drafts") == 0


@pytest.mark.parametrize("do", ["save", "run", "draft", "add-1", "up-1"])
@pytest.mark.parametrize("headers", [{}, PART])
async def test_too_much_text_comes_back_with_words_beside_the_longest_field(browser, do, headers):
    large = {**FORM, "title": "Owls", "do": do, "description": "x" * 510_000, "add-1-kind": "upscale"}
    answer = await browser.post("/pipelines", data=large, headers=headers)
    assert answer.status_code == 422
    assert answer.text.count("x" * 510_000) == 1
    assert re.search(r'<textarea id="description"[^>]* aria-invalid="true"', answer.text)
    assert re.search(r'id="description-e">.*?At most [15]0?0,000 characters|holds at most 500,000', answer.text)
    assert 'value="Owls"' in answer.text


async def test_too_large_a_picture_comes_back_with_words_beside_it(browser):
    data = {**FORM, "s1-kind": "image_to_image", "do": "run"}
    files = {"s1-upload-file": ("a.jpg", b"\xff\xd8\xff" + b"\0" * 30_000_000)}
    answer = await browser.post("/pipelines", data=data, files=files)
    assert answer.status_code == 422
    assert "The file has 30 MB; at most 20 MB fit" in answer.text
    assert 'href="#s1-upload"' in answer.text
    assert "a calm sea" in answer.text


async def test_a_form_larger_than_the_site_takes_leads_back_to_the_draft(browser, ada, make):
    sea = await make.pipeline(ada)
    files = {"s1-upload-file": ("a.jpg", b"\0" * 65_000_000)}
    for path, back in (
        ("/pipelines", "/pipelines/new"),
        (f"/pipelines/{sea.id}/versions", f"/pipelines/{sea.id}/edit"),
    ):
        answer = await browser.post(path, data=FORM, files=files)
        assert answer.status_code == 413
        assert "choose a smaller picture" in answer.text
        assert f'href="{back}"' in answer.text
        assert (await browser.get(back)).status_code == 200


@pytest.mark.parametrize("do", ["save", "draft", "add-input"])
async def test_a_character_that_cannot_be_stored_is_said_beside_its_field(browser, ada, do):
    answer = await browser.post("/pipelines", data={**FORM, "s1-prompt": "a calm\0 sea", "do": do})
    assert answer.status_code == 422
    assert re.search(r'<textarea[^>]*id="s1-prompt"[^>]*aria-invalid="true"[^>]*>\na calm sea<', answer.text)
    assert 'href="#s1-prompt"' in answer.text
    kept = await drafts.read(ada.id, None)
    assert kept is not None
    assert kept.form["s1-prompt"] == "a calm sea"


async def test_a_note_with_nothing_new_is_kept_and_said(browser, ada, make):
    url = f"/pipelines/{(await make.pipeline(ada)).id}/versions"
    noted = {**FORM, "do": "save", "note": "Bluer"}
    assert (await browser.post(url, data=noted)).status_code == 303
    assert (await browser.post(url, data=noted)).status_code == 303
    answer = await browser.post(url, data={**noted, "note": "Bluer still"})
    assert answer.status_code == 422
    assert re.search(r'id="note"[^>]*aria-invalid="true"[^>]*value="Bluer still"', answer.text)
    assert "no new version to note this on" in answer.text
    assert (await browser.post(url, data={**noted, "note": " "})).status_code == 303
    assert await db.fetchval("SELECT max(number) FROM versions") == 2


@pytest.mark.parametrize("kind", steps.KINDS)
async def test_every_field_of_every_kind_is_in_the_form(browser, kind):
    await browser.post("/drafts", data={"s1-kind": kind})
    html = (await browser.get("/pipelines/new")).text
    for field in steps.fields_of(kind):
        name = f"s1-{field.name}"
        lacking = field.name in steps.KINDS[kind].later and field.widget != "clock"
        if voice_help.hidden(kind, field.name, "", {}) or lacking:
            assert name not in html, "this site has no model that takes a sample of a voice or enlarges, and no VAE"
            continue
        assert html.count(f'name="{name}"') == 1, name
        assert f'for="{name}"' in html
        assert f'id="{name}"' in html
        for choice in field.choices:
            assert re.search(rf'<select id="{name}"[^>]*>.*?<option value="{choice}".*?</select>', html), choice
    if any(field.name == "scheduler" for field in steps.fields_of(kind)):
        select = re.search(r'<select id="s1-scheduler".*?</select>', html)
        assert select
        assert re.findall(r'value="(\w+)"', select[0]) == list(steps.SCHEDULERS)


async def test_autosaving_says_so_while_it_is_under_way(browser):
    html = (await browser.get("/pipelines/new")).text
    assert 'hx-indicator="#keeping"' in html
    assert re.search(r'<p [^>]*id="keeping"><output id="saving">Saving</output><output id="draft">', html)


async def test_a_draft_has_a_size(browser):
    assert (await browser.post("/drafts", data={"description": "x" * 600_000})).status_code == 413


async def test_steps_move_without_javascript(browser):
    two = {**FORM, "s2-kind": "upscale", "s2-factor": "4"}
    answer = await browser.post("/pipelines", data={**two, "do": "up-2"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/pipelines/new#step-1"
    text = (await browser.get("/pipelines/new")).text
    assert text.index('name="s1-kind" value="upscale"') < text.index('name="s2-kind" value="text_to_image"')
    assert "a calm sea" in text


async def test_steps_move_with_htmx_and_keep_the_focus(browser):
    answer = await browser.post("/pipelines", data={**FORM, "do": "add-1", "add-1-kind": "upscale"}, headers=PART)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert answer.text.count('id="composing"') == 1
    assert re.search(r'<h3 id="step-2"[^>]*autofocus', answer.text)
    dropped = await browser.post("/pipelines", data={**FORM, "do": "drop-1"}, headers=PART)
    assert 'name="s1-kind"' not in dropped.text
    assert "Add a step" in dropped.text


async def test_inputs_and_lists_are_added_and_saved(browser, ada):
    await browser.post("/pipelines", data={**FORM, "do": "add-input"})
    assert 'name="i1-name"' in (await browser.get("/pipelines/new")).text
    more = {
        "s1-prompt": "a {mood} sea, __colors__",
        "i1-name": "mood", "i1-kind": "choice", "i1-default": "", "i1-choices": "calm\r\nwild",
        "l1-name": "colors", "l1-items": "red\r\n\r\ngreen",
        "i2-name": "", "i2-kind": "text",
    }  # fmt: skip
    answer = await browser.post("/pipelines", data={**FORM, **more, "do": "save"})
    assert answer.status_code == 303, answer.text
    recipe: Recipe = (await pipelines.read(answer.headers["location"].split("/")[2], ada.id)).recipe
    assert [(one.name, one.default, one.choices) for one in recipe.inputs] == [("mood", "calm", ["calm", "wild"])]
    assert recipe.lists == {"colors": ["red", "green"]}


async def test_a_fork_shows_what_was(browser, ada, make):
    parent = await make.pipeline(steps=[TextToImage(prompt="a calm sea at dusk", guidance_scale=3)], title="Parent")
    made = await forks.fork(parent.version_id, ada.id)
    data = {**FORM, "s1-prompt": "a calm sea at dawn", "s1-guidance_scale": "6.5"}
    await browser.post(f"/pipelines/{made.id}/draft", data=data)
    text = (await browser.get(f"/pipelines/{made.id}/edit")).text
    assert "Edit your offshoot" in text
    assert "was 3" in text
    assert "<del>dusk</del><ins>dawn</ins>" in text
    assert "1 word added, 1 removed" in text
    saved = await browser.post(f"/pipelines/{made.id}/versions", data={**data, "do": "save"})
    page = (await browser.get(saved.headers["location"])).text
    assert "What changed" in page
    assert "<del>3</del>" in page


async def test_a_picture_comes_with_the_form(browser, ada):
    data = {**FORM, "s1-kind": "image_to_image", "do": "save"}
    answer = await browser.post("/pipelines", data=data, files={"s1-upload-file": ("a.png", png())})
    assert answer.status_code == 303, answer.text
    step = (await pipelines.read(answer.headers["location"].split("/")[2], ada.id)).recipe.steps[0]
    assert isinstance(step, ImageToImage)
    assert step.upload == await db.fetchval("SELECT sha256 FROM uploads")
    broken = await browser.post("/pipelines", data=data, files={"s1-upload-file": ("a.png", b"PK\x03\x04")})
    assert broken.status_code == 422
    assert "ZIP archive" in broken.text
    assert 'href="#s1-upload"' in broken.text


async def test_the_composer_is_never_kept_by_caches(browser):
    assert (await browser.get("/pipelines/new")).headers["cache-control"] == "no-store"
