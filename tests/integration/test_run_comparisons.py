"""Comparing two runs: who may see which, what they were given, what came of it, and how to get there."""

from typing import Any

import httpx
import pytest

from domain import db, run_comparisons
from domain.errors import NotFound
from domain.steps import Input, PromptTemplate, TextToAnimation, TextToImage, TextToText
from tests.make import Make, Run, png
from tests.queries import Queries

WRITE = TextToText(prompt="Translate into {language}: the harbor is calm.", model="writer")


async def wrote(run: Run, text: str) -> Run:
    await db.execute("UPDATE step_runs SET output_text = $2 WHERE id = $1", run.step_runs[0], text)
    return run


async def two_languages(make: Make, owner: Any) -> tuple[Run, Run]:
    pipeline = await make.pipeline(owner, title="Harbor words", steps=[WRITE], inputs=[Input(name="language")])
    french = await make.run(pipeline, state="succeeded", published=True, seed=5, inputs={"language": "French"})
    danish = await make.run(pipeline, state="succeeded", published=True, seed=6, inputs={"language": "Danish"})
    return await wrote(french, "le port est calme"), await wrote(danish, "havnen er rolig, le port")


async def test_texts_of_one_version_are_compared_word_by_word(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    french, danish = await two_languages(make, await make.person())
    shown = await client.get(f"/runs/{danish.id}")
    assert f'href="/runs/{danish.id}/comparison"' in shown.text
    page = await client.get(f"/runs/{danish.id}/comparison", follow_redirects=True)
    assert page.url.query == f"left={french.id}".encode()
    assert "<ins>havnen er rolig, </ins>le port<del> est calme</del>" in page.text
    assert "Seed 5, then 6" in page.text
    assert "<del><bdi>French</bdi></del>" in page.text
    assert "<ins><bdi>Danish</bdi></ins>" in page.text
    assert ">Run 1, version 1, seed 5, language French</option>" in page.text
    swapped = await client.get(f"/runs/{french.id}/comparison?left={danish.id}")
    assert "<del>havnen er rolig, </del>le port<ins> est calme</ins>" in swapped.text


async def test_cells_of_a_grid_differ_by_what_they_changed(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    pipeline = await make.pipeline(steps=[TextToImage(prompt="a boat")])
    one, two = [
        await make.run(pipeline, state="succeeded", published=True, changes={"1": {"guidance_scale": value}})
        for value in (2.0, 7.5)
    ]
    page = (await client.get(f"/runs/{two.id}/comparison?left={one.id}")).text
    assert "The same seed, 5" in page
    assert "<del>2</del>" in page
    assert "<ins>7.5</ins>" in page
    assert page.count('class="pic') >= 2
    assert "guidance 7.5</option>" in page


async def test_runs_of_two_versions_show_both_differences(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    pipeline = await make.pipeline(title="Story", steps=[PromptTemplate(template="a boat at dusk")])
    later = await make.version(pipeline, steps=[PromptTemplate(template="a boat in fog")])
    old = await make.run(pipeline, state="succeeded", published=True)
    new = await make.run(later, state="succeeded", published=True)
    page = (await client.get(f"/runs/{new.id}/comparison?left={old.id}")).text
    assert f"/comparisons?left={pipeline.version_id}&amp;right={later.id}" in page
    assert "a boat <del>at dusk</del><ins>in fog</ins>" in page


async def test_the_form_leads_to_the_address_of_the_pair(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    french, danish = await two_languages(make, await make.person())
    chosen = await client.get(f"/runs/{danish.id}/comparison?left={danish.id}&right={french.id}")
    assert (chosen.status_code, chosen.headers["location"]) == (303, f"/runs/{french.id}/comparison?left={danish.id}")
    twice = await client.get(f"/runs/{danish.id}/comparison?left={danish.id}")
    assert "This is one run on both sides" in twice.text
    for wrong in ("?left=x", "?right=x", f"?left={danish.step_runs[0]}"):
        assert (await client.get(f"/runs/{danish.id}/comparison{wrong}")).status_code == 404


async def test_a_run_without_another_says_so(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    pipeline = await make.pipeline(steps=[TextToImage(prompt="a boat")])
    only = await make.run(pipeline, state="succeeded", published=True)
    await make.run(pipeline, state="succeeded")
    await make.run(pipeline, state="failed")
    page = await client.get(f"/runs/{only.id}/comparison")
    assert "There is no other run of this pipeline that you can see." in page.text


async def test_only_runs_that_one_sees_are_compared(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    pipeline = await make.pipeline(ada, steps=[TextToImage(prompt="a boat")])
    mine = await make.run(pipeline, state="succeeded")
    open_ = await make.run(pipeline, state="succeeded", published=True)
    failed = await make.run(pipeline, state="failed")
    found = await run_comparisons.read(mine.id, open_.id, ada.id)
    assert {one.run_id for one in found.choices} == {mine.id, open_.id}
    for viewer in (bo.id, None):
        with pytest.raises(NotFound):
            await run_comparisons.read(mine.id, open_.id, viewer)
        assert await run_comparisons.other(open_.id, viewer) is None
    with pytest.raises(NotFound):
        await run_comparisons.read(failed.id, open_.id, ada.id)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", pipeline.id)
    with pytest.raises(NotFound):
        await run_comparisons.read(open_.id, open_.id, bo.id)
    theirs = await make.run(pipeline, bo, state="succeeded")
    assert (await run_comparisons.read(theirs.id, theirs.id, bo.id)).left.title == "", "one's own run stays"


async def test_a_page_asks_no_more_for_many_runs(make: Make, db: Any, queries: Queries) -> None:
    pipeline = await make.pipeline(steps=[TextToImage(prompt="a boat")])
    runs = [await make.run(pipeline, state="succeeded", published=True, seed=seed) for seed in range(70)]
    with queries:
        found = await run_comparisons.read(runs[0].id, runs[1].id, None)
    assert queries.count <= 3, queries
    assert len(found.choices) == run_comparisons.OFFERED + 2


async def test_animations_play_beside_each_other(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    pipeline = await make.pipeline(steps=[TextToAnimation(prompt="a boat")])
    both = [await make.run(pipeline, state="succeeded", published=True, seed=seed) for seed in (1, 2)]
    for run, form in zip(both, ("image/webp", "video/mp4"), strict=True):
        made = await make.artifact(png("teal") + form.encode(), form)
        await db.execute("INSERT INTO outputs VALUES ($1, 1, $2, 5)", run.step_runs[0], made.sha256)
    page = (await client.get(f"/runs/{both[1].id}/comparison?left={both[0].id}")).text
    assert page.count('id="hold-left"') == page.count('for="hold-left"') == 1
    assert page.count("<video controls") == 1
    assert "How to look at them" not in page
