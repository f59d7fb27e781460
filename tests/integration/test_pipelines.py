"""Pipelines: saving, versions, the page in every state, who sees it, deletion."""

import asyncio
import re
import uuid

import msgspec
import pytest

from domain import cards, db, pipelines, steps, versions
from domain.errors import Invalid, NotFound
from domain.pipelines import Details
from domain.steps import ImageToImage, Input, PromptTemplate, Recipe, TextToImage, Upscale

RECIPE = Recipe(steps=[TextToImage(prompt="a red circle"), Upscale()])
OTHER = Recipe(steps=[TextToImage(prompt="a blue circle"), Upscale()])


async def test_a_new_pipeline_has_version_one(make):
    ada = await make.person()
    ref = await pipelines.create(ada.id, Details(" The  sea ", tags=["Sea", "#sea", "Море"]), RECIPE, note="First")
    page = await pipelines.read(ref.id, ada.id)
    assert (page.title, page.tags, page.visibility, page.generation) == ("The sea", ["sea", "море"], "private", 1)
    assert [(line.number, line.note) for line in page.versions] == [(1, "First")]
    assert page.recipe == RECIPE
    assert page.parent is None
    assert page.changes is None
    assert page.shot is None


async def test_an_unchanged_recipe_makes_no_version(make):
    ada = await make.person()
    ref = await pipelines.create(ada.id, Details("Sea"), RECIPE)
    same = await pipelines.save(ref.id, ada.id, Details("Ocean"), RECIPE)
    assert same == ref
    assert (await pipelines.read(ref.id, ada.id)).title == "Ocean"
    changed = await pipelines.save(ref.id, ada.id, Details("Ocean"), OTHER)
    assert changed.number == 2
    back = await pipelines.save(ref.id, ada.id, Details("Ocean"), RECIPE)
    assert back.number == 3
    assert (await versions.read(ref.id, ada.id, 2)).recipe == OTHER


async def test_two_people_saving_at_once_only_add_versions(make):
    ada = await make.person()
    ref = await pipelines.create(ada.id, Details("Sea"), RECIPE)
    recipes = [Recipe(steps=[TextToImage(prompt=f"a {n}")]) for n in range(5)]
    saved = await asyncio.gather(*(pipelines.save(ref.id, ada.id, Details("Sea"), recipe) for recipe in recipes))
    assert sorted(one.number for one in saved) == [2, 3, 4, 5, 6]


async def test_only_the_owner_saves_and_deletes(make):
    sea, eve = await make.pipeline(), await make.person()
    for wrong in (sea.id, uuid.uuid4()):
        with pytest.raises(NotFound):
            await pipelines.save(wrong, eve.id, Details("Mine"), RECIPE)
        with pytest.raises(NotFound):
            await pipelines.delete(wrong, eve.id)
        with pytest.raises(NotFound):
            await pipelines.editing(wrong, eve.id)


async def test_details_at_fault_are_all_named(make):
    ada = await make.person()
    wrong = Details("", "x" * 10_001, ["<"], "Mine", "friends")
    with pytest.raises(Invalid) as error:
        await pipelines.create(ada.id, wrong, RECIPE)
    assert set(error.value.fields) == {"title", "description", "tags", "license", "visibility"}


async def test_a_recipe_that_cannot_run_is_not_saved(make):
    ada = await make.person()
    for recipe in (
        Recipe(),
        Recipe(steps=[Upscale()]),
        Recipe(steps=[TextToImage(prompt="{nobody}")]),
        Recipe(steps=[TextToImage(prompt="a")] * 21),
        Recipe(steps=[TextToImage(prompt="a"), Upscale(source=2)]),
    ):
        with pytest.raises(Invalid):
            await pipelines.create(ada.id, Details("Sea"), recipe)
    assert await db.fetchval("SELECT count(*) FROM pipelines") == 0


async def test_somebody_elses_picture_cannot_be_taken(make):
    ada, eve = await make.person(), await make.person()
    picture = await make.artifact()
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", ada.id, picture.sha256)
    recipe = Recipe(steps=[ImageToImage(prompt="at night", upload=picture.sha256)])
    with pytest.raises(Invalid) as error:
        await pipelines.create(eve.id, Details("Mine"), recipe)
    assert error.value.fields == {"s1-upload": "Choose the picture again"}
    ref = await pipelines.create(ada.id, Details("Hers", visibility="public"), recipe)
    changed = Recipe(steps=[ImageToImage(prompt="at dawn", upload=picture.sha256)])
    assert (await pipelines.save(ref.id, ada.id, Details("Hers"), changed)).number == 2


async def test_a_form_sent_twice_makes_one_pipeline(make):
    ada = await make.person()
    made = await asyncio.gather(*(pipelines.create(ada.id, Details("Sea"), RECIPE, once="key") for _ in range(4)))
    assert len({ref.id for ref in made}) == 1
    other = await pipelines.create(ada.id, Details("Sea"), OTHER, once="another")
    assert other.id != made[0].id


@pytest.mark.parametrize("visibility", ["public", "unlisted", "private"])
async def test_who_sees_the_page(visibility, make, clients, log_in):
    ada, eve = await make.person(), await make.person()
    sea = await make.pipeline(ada, visibility=visibility, published=True)
    nobody, other, owner = clients(), await log_in(clients(), eve), await log_in(clients(), ada)
    expected = 404 if visibility == "private" else 200
    for path in ("", "/versions/1", "/versions/1/recipe.json", "/lineage"):
        url = f"/pipelines/{sea.id}{path}"
        assert (await nobody.get(url)).status_code == expected, url
        assert (await other.get(url)).status_code == expected, url
        assert (await owner.get(url)).status_code == 200, url
    assert (await other.get(f"/pipelines/{sea.id}/edit")).status_code == 404
    assert (await owner.get(f"/pipelines/{sea.id}/edit")).status_code == 200
    assert (await nobody.get(f"/pipelines/{sea.id}/edit")).status_code == 303


@pytest.mark.parametrize(
    "path",
    ["", "/versions/2", "/versions/0", "/versions/99999999999999", "/versions/2/recipe.json", "?run={}", "?run=x"],
)
async def test_what_does_not_exist_is_not_found(path, make, client):
    sea = await make.pipeline(published=True)
    known = "" if not path else str(sea.id)
    unknown = uuid.uuid4()
    answer = await client.get(f"/pipelines/{known or unknown}{path.format(unknown)}")
    assert answer.status_code == 404
    assert "Nothing grows here" in answer.text


async def test_the_page_shows_the_result_and_how_it_was_made(make, client):
    tove = await make.person("tove")
    recipe = [
        PromptTemplate(template="a {mood} harbor"),
        TextToImage(prompt="{text}", negative_prompt="people", guidance_scale=6.5, num_inference_steps=28),
    ]
    sea = await make.pipeline(
        tove, steps=recipe, inputs=[Input(name="mood", default="calm")], published=True,
        title="Harbor", tags=["night"], description="**Bold** <script>alert(1)</script>",
    )  # fmt: skip
    step_run = await db.fetchval("SELECT id FROM step_runs WHERE run_id = $1 AND ordinal = 2", sea.run_id)
    await db.execute(
        """UPDATE step_runs SET resolved = resolved || '{"prompt": "a calm harbor"}', receipt = '{"device": "cpu"}'
           WHERE id = $1""",
        step_run,
    )
    text = (await client.get(f"/pipelines/{sea.id}")).text
    for words in ("Harbor", "@tove", "a calm harbor", "{text}", "people", "28 steps, DDIM", "6.5", "CC BY 4.0",
                  "/tags/night", "<strong>Bold</strong>", "Download as JSON", "Two steps", "First of its line",
                  "/results.atom", "/lineage.rss", "Run as is", "Make an offshoot", "cpu"):  # fmt: skip
        assert words in text, words
    assert "<script>alert" not in text
    sha256 = await db.fetchval("SELECT sha256 FROM outputs WHERE step_run_id = $1", step_run)
    assert f"/artifacts/{sha256}" in text


async def test_htmx_gets_the_main_part_alone(make, client):
    sea = await make.pipeline(published=True)
    part = await client.get(f"/pipelines/{sea.id}", headers={"HX-Request": "true", "HX-Request-Type": "partial"})
    assert "<html" not in part.text
    assert "<article>" in part.text
    assert "HX-Request" in part.headers["vary"]


async def test_private_results_are_their_owners(make, clients, log_in):
    ada, eve = await make.person(), await make.person()
    sea = await make.pipeline(ada)
    mine = await make.run(sea, ada, state="succeeded")
    hers = await make.run(sea, eve, state="succeeded")
    failed = await make.run(sea, ada, state="failed")
    alive = await make.run(sea, ada)
    owner = (await (await log_in(clients(), ada)).get(f"/pipelines/{sea.id}")).text
    assert str(mine.id) in owner
    assert f"/runs/{failed.id}" in owner
    assert f"/runs/{alive.id}" in owner
    assert "Only you see this result" in owner
    assert str(hers.id) not in owner
    other = await log_in(clients(), eve)
    assert str(hers.id) in (await other.get(f"/pipelines/{sea.id}")).text
    assert (await other.get(f"/pipelines/{sea.id}?run={mine.id}")).status_code == 404
    visitor = (await clients().get(f"/pipelines/{sea.id}")).text
    assert "Not run yet" in visitor
    assert str(mine.id) not in visitor


async def test_a_chosen_result_brings_its_own_version(make, client):
    sea = await make.pipeline(steps=[TextToImage(prompt="the first")], published=True)
    await make.version(sea, steps=[TextToImage(prompt="the second")])
    assert "the first" in (await client.get(f"/pipelines/{sea.id}")).text
    second = (await client.get(f"/pipelines/{sea.id}/versions/2")).text
    assert "the second" in second
    assert "Not run yet" in second
    chosen = await client.get(f"/pipelines/{sea.id}?run={sea.run_id}&output=1")
    assert "the first" in chosen.text
    assert (await client.get(f"/pipelines/{sea.id}/versions/2?run={sea.run_id}")).status_code == 404


async def test_the_recipe_as_a_file_is_what_the_digest_says(make, client):
    sea = await make.pipeline(steps=list(RECIPE.steps))
    answer = await client.get(f"/pipelines/{sea.id}/versions/1/recipe.json")
    assert answer.headers["content-type"].startswith("application/json")
    assert "attachment" in answer.headers["content-disposition"]
    recipe = msgspec.json.decode(answer.content, type=Recipe)
    assert recipe == RECIPE
    assert answer.headers["etag"] == f'"{steps.digest(recipe)}"'


async def test_deleting_keeps_the_place_in_others_lineage(make, clients, log_in):
    ada, eve = await make.person(), await make.person()
    sea = await make.pipeline(ada, title="A secret title", description="secret words", published=True)
    child = await make.pipeline(eve, parent=sea, steps=[TextToImage(prompt="a green circle")], title="Mine")
    owner, other = await log_in(clients(), ada), await log_in(clients(), eve)
    assert (await other.post(f"/pipelines/{sea.id}/deletion")).status_code == 404
    question = (await owner.get(f"/pipelines/{sea.id}/deletion")).text
    assert "A secret title" in question
    assert "Delete it" in question
    assert (await owner.post(f"/pipelines/{sea.id}/deletion")).headers["location"] == f"/@{ada.handle}"
    assert (await owner.post(f"/pipelines/{sea.id}/deletion")).status_code == 404
    for client in (owner, other, clients()):
        for path in ("", "/versions/1", "/lineage", "/versions/1/recipe.json"):
            assert (await client.get(f"/pipelines/{sea.id}{path}")).status_code == 404
    text = (await clients().get(f"/pipelines/{child.id}")).text
    assert "Removed by its owner" in text
    assert "What changed" in text
    assert "secret" not in text
    assert await db.fetchval("SELECT title FROM pipelines WHERE id = $1", sea.id) == pipelines.REMOVED


async def test_deleting_does_what_it_says(make, clients, log_in):
    ada, bo, eve = await make.person(), await make.person(), await make.person()
    sea = await make.pipeline(ada, steps=[TextToImage(prompt="a red circle")], published=True)
    child = await make.pipeline(bo, parent=sea, steps=[TextToImage(prompt="a green circle")])
    kept = await make.run(sea, eve, state="succeeded", published=True)
    owner, runner = await log_in(clients(), ada), await log_in(clients(), eve)
    for path in ("", "/deletion"):
        asked = (await owner.get(f"/pipelines/{sea.id}{path}")).text
        assert "Its page, versions, comments and published results go" in asked
        assert "Whoever ran it keeps their own results" in asked
        assert "the list of what they changed" in asked
    await owner.post(f"/pipelines/{sea.id}/deletion")
    for path in (f"/pipelines/{sea.id}", f"/pipelines/{sea.id}/versions/1", f"/runs/{sea.run_id}", f"/runs/{kept.id}"):
        assert (await clients().get(path)).status_code == 404
    assert (await runner.get(f"/runs/{kept.id}")).status_code == 200
    text = (await clients().get(f"/pipelines/{child.id}")).text
    assert "against a pipeline removed by its owner" in text
    assert re.search(r"<del>.*red</del>", text.partition("What changed")[2])


async def test_making_it_private_takes_it_off_the_lists(make):
    ada = await make.person()
    sea = await make.pipeline(ada, published=True)
    child = await make.pipeline(parent=sea, published=True)
    async with db.transaction():
        await cards.refresh(child.id)
    assert await db.fetchval("SELECT offshoot_count FROM pipelines WHERE id = $1", sea.id) == 1
    await pipelines.save(child.id, child.owner_id, Details("Mine", visibility="private"), RECIPE)
    assert await db.fetchval("SELECT offshoot_count FROM pipelines WHERE id = $1", sea.id) == 0


async def test_the_newest_published_result_stands_large(make):
    ada = await make.person()
    sea = await make.pipeline(ada)
    first = await make.run(sea, ada, state="succeeded", published=True)
    second = await make.run(sea, ada, state="succeeded", published=True)
    await db.execute("UPDATE runs SET published_at = now() + interval '1 s' WHERE id = $1", first.id)
    await make.run(sea, ada, state="succeeded")
    page = await pipelines.read(sea.id, ada.id)
    assert page.shot is not None
    assert page.shot.run_id == first.id
    assert [shot.published for shot in page.shots] == [False, True, True]
    chosen = await pipelines.read(sea.id, None, run_id=second.id, output=99)
    assert chosen.shot is not None
    assert (chosen.shot.run_id, chosen.shot.output) == (second.id, 1)


async def test_the_owners_result_stands_large_and_others_stay_below(make, client):
    ada, bo = await make.person("ada"), await make.person("bo")
    sea = await make.pipeline(ada)
    await make.run(sea, bo, state="succeeded", published=True)
    text = (await client.get(f"/pipelines/{sea.id}")).text
    assert 'by <a href="/@bo">' in text
    assert "og:image" not in text
    own = await make.run(sea, ada, state="succeeded", published=True)
    theirs = [await make.run(sea, bo, state="succeeded", published=True) for _ in range(13)]
    page = await pipelines.read(sea.id, None)
    assert page.shot is not None
    assert page.shot.run_id == own.id
    assert {run.id for run in theirs[1:]} < {shot.run_id for shot in page.shots}
    text = (await client.get(f"/pipelines/{sea.id}")).text
    assert 'by <a href="/@bo">' not in text
    assert f"/artifacts/{page.shot.sha256}" in text.partition("og:image")[2].partition(">")[0]


async def test_a_line_of_many_versions_is_whole(make, client):
    sea = await make.pipeline(published=True)
    await db.execute(
        """INSERT INTO versions (pipeline_id, number, digest, recipe)
           SELECT pipeline_id, n, digest, recipe FROM versions, generate_series(2, 201) n WHERE pipeline_id = $1""",
        sea.id,
    )
    await db.execute("UPDATE pipelines SET latest_version = 201 WHERE id = $1", sea.id)
    here = f"/pipelines/{sea.id}"
    newest = await client.get(here)
    assert newest.status_code == 200
    assert "Run 1 of version 1." in newest.text
    assert f'href="{here}/versions/2"' in newest.text
    assert f'href="{here}/versions/1?before=2#versions"' in newest.text
    older = await client.get(f"{here}?before=2")
    assert f'<a href="{here}/versions/1" aria-current="true">Version 1</a>' in older.text
    assert f'<a href="{here}/versions/1#versions">Newest versions</a>' in older.text
    assert "Versions before" not in older.text
    for number in (1, 2, 201):
        assert (await client.get(f"{here}/versions/{number}")).status_code == 200
    for path in ("/versions/202", "?before=0", f"?before={2**31}", "/versions/1?before=0"):
        assert (await client.get(here + path)).status_code == 404, path


async def test_text_results_are_words(make, client):
    tale = await make.pipeline(steps=[PromptTemplate(template="once upon a time")], published=True)
    text = (await client.get(f"/pipelines/{tale.id}")).text
    assert 'class="pic words"' in text
    assert "once upon a time" in text
    assert "Sampling" not in text


async def test_an_older_result_is_reached_by_its_address(make, client):
    sea = await make.pipeline(published=True)
    for _ in range(14):
        await make.run(sea, state="succeeded", published=True)
    text = (await client.get(f"/pipelines/{sea.id}")).text
    assert text.count(f'href="/pipelines/{sea.id}?run=') == 12
    old = await client.get(f"/pipelines/{sea.id}?run={sea.run_id}")
    assert f"?run={sea.run_id}&amp;output=1" in old.text


async def test_the_page_takes_a_handful_of_queries(make, client, queries):
    root = await make.pipeline(published=True)
    sea = await make.pipeline(parent=root, published=True)
    for _ in range(8):
        await make.run(sea, state="succeeded", published=True)
        await make.pipeline(parent=sea, published=True)
    await client.get(f"/pipelines/{sea.id}")
    with queries:
        answer = await client.get(f"/pipelines/{sea.id}")
    assert answer.status_code == 200
    assert queries.count <= 12, queries


async def test_a_private_page_offers_no_feeds_that_do_not_exist(make, clients, log_in):
    ada = await make.person()
    owner = await log_in(clients(), ada)
    for visibility, offered in (("private", False), ("unlisted", True)):
        sea = await make.pipeline(ada, visibility=visibility)
        for path in ("", "/lineage"):
            text = (await owner.get(f"/pipelines/{sea.id}{path}")).text
            assert (f"/pipelines/{sea.id}/lineage.rss" in text) is offered


async def test_a_title_cannot_turn_round_what_stands_behind_it(make):
    ada = await make.person()
    recipe = Recipe(steps=[TextToImage(prompt="an owl")])
    made = await pipelines.create(ada.id, Details("\u202eOwl\x07 👩\u200d🎨\u2066"), recipe)
    assert (await pipelines.read(made.id, ada.id)).title == "Owl 👩\u200d🎨"


@pytest.mark.parametrize("title", ["", "  ", "\u200b", "\u202e\u2069", "\x07"])
def test_a_title_that_nobody_sees_is_none(title):
    with pytest.raises(Invalid, match="Give it a title"):
        pipelines.clean(Details(title))


ARABIC = "قارب (1)!"


async def test_text_of_any_direction_keeps_to_itself(make, client, log_in):
    ada = await make.person("ada")
    await log_in(client, ada)
    entry = steps.Input(name="mood", default=ARABIC)
    parent = await make.pipeline(ada, title=ARABIC, inputs=[entry], lists={"colors": [ARABIC]})
    fork = await make.pipeline(
        ada,
        parent=parent,
        title=f"{ARABIC} 2",
        inputs=[steps.Input(name="mood", default=f"{ARABIC} 3")],
        steps=[steps.TextToImage(prompt="a red circle", guidance_scale=7.1234567), steps.Upscale(title=ARABIC)],
    )
    page = (await client.get(f"/pipelines/{fork.id}")).text
    assert f'"><bdi>{ARABIC}</bdi></a>: ' in page
    assert f'Offshoot of <a href="/pipelines/{parent.id}"><bdi>{ARABIC}</bdi></a>' in page
    assert f"Delete “<bdi>{ARABIC} 2</bdi>”?" in page
    assert f'<del><bdi>{ARABIC}</bdi></del></td><td class="lines"><ins><bdi>{ARABIC} 3</bdi></ins>' in page
    assert f"<ins><bdi>{ARABIC}</bdi></ins>" in page
    assert "<ins>7.1234567</ins>" in page
    composer = (await client.get(f"/pipelines/{fork.id}/edit")).text
    assert f'/versions/1"><bdi>{ARABIC}</bdi></a> by' in composer


async def test_in_a_tree_too(make, client):
    top = await make.pipeline(title=ARABIC)
    for _ in range(8):
        await make.pipeline(parent=top)
    assert f"of <bdi>{ARABIC}</bdi>" in (await client.get(f"/pipelines/{top.id}")).text
