"""Texts that language models write, through Redis and dramatiq into a worker, with a small model of random weights."""

import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import grid_axes, grids, models, runs, steps
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.people import Person
from tasks import language
from tasks.context import Context
from tasks.loading import Models
from tasks.messages import FromEngine, Job, Member, ModelRef, Progress
from tests import languages
from tests import worker as w
from tests.make import Make

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
ASKED = steps.TextToText(prompt="a boat on the sea", model="small", max_new_tokens=12, temperature=1.0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights."""
    return languages.language(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture
async def ready(db: Any, site: w.Process, small: Path) -> None:
    """Tables are empty again; the model is in the registry."""
    await models.register("small", small, "Apache-2.0")


# through the queue


@pytest.mark.usefixtures("ready")
async def test_it_writes_what_comes_of_the_seed(make: Make) -> None:
    step = steps.TextToText(**{**_plain(ASKED), "prompt": "a {thing}", "system": "for {thing}s", "seed": 9})
    pipeline = await make.pipeline(steps=[step], inputs=[steps.Input(name="thing", default="boat")])
    state, (row,) = await w.ended(await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    assert (row["resolved"]["prompt"], row["resolved"]["system"]) == ("a boat", "for boats")
    assert row["output_text"]
    assert row["receipt"]["parameters"]["tokens"] <= 12
    assert row["receipt"]["model_revision"] == row["resolved"]["model_revision"]
    assert "transformers" in row["receipt"]["versions"]

    again, (other,) = await w.ended(await w.accept(pipeline))
    assert (again, other["state"], other["output_text"]) == ("succeeded", "succeeded", row["output_text"])


@pytest.mark.usefixtures("ready")
async def test_what_was_written_goes_on_and_is_reused(make: Make) -> None:
    then = steps.PromptTemplate(template="It said: {text}")
    pipeline = await make.pipeline(steps=[ASKED, then])
    _, (wrote, filled) = await w.ended(await w.accept(pipeline))
    assert filled["output_text"] == f"It said: {wrote['output_text']}"
    _, (known, _) = await w.ended(await w.accept(pipeline, afresh=False))
    assert (known["state"], known["output_text"]) == ("reused", wrote["output_text"])


@pytest.mark.usefixtures("ready")
async def test_languages_and_styles_are_compared_in_a_grid(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    step = steps.TextToText(**{**_plain(ASKED), "prompt": "in {language}, {style}: a boat"})
    inputs = [steps.Input(name=name) for name in ("language", "style")]
    pipeline = await make.pipeline(steps=[step], inputs=inputs)
    targets = grid_axes.targets(steps.Recipe(steps=[step], inputs=inputs), {})
    asked = {"language": "French\nDanish", "style": "plainly\nas a letter"}
    axes = [grid_axes.axis(targets[f"input-{name}"], typed) for name, typed in asked.items()]
    planned = grids.plan(pipeline.version_id, steps.Recipe(steps=[step], inputs=inputs), axes, {}, 5)
    grid_id = (await grids.create(planned, pipeline.owner_id, "grid")).grid_id
    rows = await db.fetch("SELECT run_id FROM grid_cells WHERE grid_id = $1 ORDER BY cell", grid_id)
    prompts, texts = [], []
    for row in rows:
        state, (wrote,) = await w.ended(row["run_id"])
        assert state == "succeeded", wrote["error_message"]
        prompts.append(wrote["resolved"]["prompt"])
        texts.append(wrote["output_text"])
    assert prompts == [
        "in French, plainly: a boat",
        "in Danish, plainly: a boat",
        "in French, as a letter: a boat",
        "in Danish, as a letter: a boat",
    ]
    await grids.publish(grid_id, pipeline.owner_id)
    page = (await client.get(f"/grids/{grid_id}")).text
    assert all(f">{name}<" in page for name in ("French", "Danish", "plainly", "as a letter"))
    assert page.count('class="pic words"') == 4
    compared = await client.get(f"/runs/{rows[1]['run_id']}/comparison?left={rows[0]['run_id']}")
    assert "<del><bdi>French</bdi></del>" in compared.text
    assert ("What step 1 wrote" in compared.text) == (texts[0] != texts[1])


@pytest.mark.usefixtures("ready")
async def test_a_prompt_that_leaves_no_room_fails_in_words(make: Make) -> None:
    step = steps.TextToText(prompt="a boat on the sea " * 200, model="small")
    state, (row,) = await w.ended(await w.accept(await make.pipeline(steps=[step])))
    assert (state, row["attempt"]) == ("failed", 1)
    assert re.search(r"The prompt has [\d,]+ tokens, and this model reads and writes 512 in all", row["error_message"])


@pytest.mark.usefixtures("site")
async def test_it_shows_what_is_written_and_stops_in_the_middle(make: Make, db: Any, tmp_path: Path) -> None:
    slow = languages.language(tmp_path / "slow", layers=150)
    await models.register("slow", slow)
    step = steps.TextToText(prompt="a boat", model="slow", max_new_tokens=480, temperature=1.0, top_p=1.0)
    pipeline = await make.pipeline(steps=[step])
    run_id = await w.accept(pipeline)
    assert (await w.shown(run_id, pipeline.owner_id)).preview_text
    await runs.cancel(run_id, pipeline.owner_id)
    state, (row,) = await w.ended(run_id)
    assert (state, row["output_text"]) == ("cancelled", None)
    assert 0 < row["progress"] < 480
    assert not await db.fetchval("SELECT count(*) FROM previews")


# the model


def write(folder: Path, step: steps.TextToText, said: list[FromEngine] | None = None) -> tuple[str, int]:
    ref = ModelRef("small", str(folder), models.inspect("small", folder, "", ()).revision)
    say = (said if said is not None else []).append
    ctx = Context(Job(id="x", members=[Member(step={})], model=ref), Models("cpu"), say, lambda _: True)
    text, tokens = ctx.model().pipe.write(step, ctx)
    return text, tokens


def _plain(step: steps.TextToText) -> dict[str, Any]:
    return {field: getattr(step, field) for field in step.__struct_fields__}


def changed(**values: Any) -> steps.TextToText:
    return steps.TextToText(**{**_plain(ASKED), "seed": 3, **values})


def test_the_likeliest_text_is_the_same_for_every_seed(small: Path) -> None:
    assert write(small, changed(temperature=0)) == write(small, changed(temperature=0, seed=4, top_p=0.1))
    assert write(small, changed()) != write(small, changed(seed=4))


def test_what_it_is_told_beforehand_counts(small: Path) -> None:
    assert write(small, changed(temperature=0)) != write(small, changed(temperature=0, system="at night"))


def test_words_to_stop_at_may_be_line_ends_and_uprights() -> None:
    assert language.stops(steps.TextToText(stop=r"\n\n | a\|b |  | End.")) == ["\n\n", "a|b", "End."]


def test_it_stops_before_any_of_the_words(small: Path) -> None:
    whole, tokens = write(small, changed(max_new_tokens=40))
    word = next(one for one in re.findall(r"[^\s|\ufffd]{2,}", whole[4:]))
    text, fewer = write(small, changed(max_new_tokens=40, stop=f"nowhere to be found | {word}"))
    assert text == whole.partition(word)[0].strip()
    assert fewer < tokens


def test_a_template_without_a_system_has_it_with_the_prompt(small: Path, tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + languages.TEMPLATE
    folder = languages.language(tmp_path / "strict", template=strict)
    told = write(folder, changed(temperature=0, system="at night"))
    assert told == write(folder, changed(temperature=0, prompt="at night\n\na boat on the sea"))


def test_without_a_template_it_goes_on_with_the_prompt(tmp_path: Path) -> None:
    folder = languages.language(tmp_path / "bare", template=None)
    assert write(folder, changed(temperature=0))[1] <= 12


def test_progress_rises_to_its_end(small: Path) -> None:
    said: list[FromEngine] = []
    write(small, changed(), said)
    told = [one.done for one in said if isinstance(one, Progress)]
    assert (told[0], told[-1]) == (0, 12)
    assert told == sorted(told)


def test_the_room_that_is_left_is_what_it_may_write(small: Path) -> None:
    _, tokens = write(small, changed(prompt="sea " * 480, max_new_tokens=400))
    assert tokens < 400


# the registry


async def test_a_language_model_is_known_by_its_files(db: Any, small: Path) -> None:
    found = await models.register("small", small)
    assert (found.family, found.kinds) == ("LlamaForCausalLM", ["text_to_text"])
    assert [one.name for one in await models.names("text_to_text")] == ["small"]
    assert "small" not in [one.name for one in await models.names("text_to_image")]
    await models.register_all({"small": small})
    assert (await models.require("small", "text_to_text")).revision == found.revision


def test_its_own_sampling_becomes_the_default(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_p": 7}))
    assert models.inspect("mine", folder, "", ()).defaults == {"temperature": 0.6}


@pytest.mark.parametrize("file", ["pytorch_model.bin", "modeling_mine.py"])
def test_code_and_pickles_are_refused(small: Path, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    (folder / file).write_bytes(b"")
    with pytest.raises(Invalid, match=file):
        models.inspect("mine", folder, "", ())


def test_weights_must_be_there(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(Invalid, match=r"no \.safetensors file"):
        models.inspect("mine", folder, "", ())


def test_means_of_pictures_are_refused(small: Path) -> None:
    with pytest.raises(Invalid, match="only dtype"):
        models.inspect("mine", small, "", (), means=Means(compile=True))
    assert models.inspect("mine", small, "", (), means=Means(dtype="bf16")).means.dtype == "bf16"


def test_a_tokenizer_that_is_gone_is_said(small: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small, tmp_path / "model"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DomainError, match="cannot be loaded"):
        write(folder, changed())


# pages


async def test_the_page_shows_the_text_and_lets_it_be_copied(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    run = await make.run(await make.pipeline(ada, steps=[ASKED]), state="succeeded")
    text = "# Boats\n\nThey **float**. <script>alert(1)</script>"
    await db.execute("UPDATE step_runs SET output_text = $2 WHERE id = $1", run.step_runs[0], text)
    page = (await client.get(f"/runs/{run.id}")).text
    assert "<strong>float</strong>" in page
    assert "<script>alert" not in page
    assert "As it was written, to copy" in page


async def test_the_composer_offers_texts_where_a_model_writes(
    client: httpx.AsyncClient, make: Make, log_in: LogIn, small: Path
) -> None:
    await log_in(client, await make.person("ada"))
    assert "Or with a text" not in (await client.get("/pipelines/new")).text
    await models.register("small", small, defaults={"temperature": 0.4})
    assert "Or with a text" in (await client.get("/pipelines/new")).text
    page = (await client.get("/pipelines/new?start=explain")).text
    assert '<option value="small" selected>' in page
    assert 'name="s1-temperature" value="0.4"' in page or 'value="0.4"' in page
    assert "why the sky is blue" in page
