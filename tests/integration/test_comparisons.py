"""Comparing versions: who may see which, what is offered, results of equal seeds, and running both."""

import asyncio
import itertools
import re
import secrets
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from domain import comparisons, db, grid_axes, grids, models, pipelines, queue, run_pages, runs
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.estimates import Ask, Estimate, estimate
from domain.people import Person
from domain.queue import Made
from domain.steps import ImageToImage, Input, PromptTemplate, Recipe, TextToImage, TextToSpeech, Upscale
from tests.make import Make, Pipeline, Run, png
from tests.queries import Queries

DUSK = TextToImage(prompt="a small harbor at dusk")
FOG = TextToImage(prompt="a small harbor in fog")


def address(left: UUID, right: UUID) -> str:
    return f"/comparisons?left={left}&right={right}"


async def family(make: Make, owner: Person | None = None) -> tuple[Pipeline, Pipeline]:
    """A parent and its offshoot, of two people."""
    parent = await make.pipeline(await make.person(), title="Harbor", steps=[DUSK, Upscale()])
    fork = await make.pipeline(owner, title="Fog", steps=[FOG, Upscale(factor=4)], parent=parent)
    return parent, fork


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def work(make: Make) -> int:
    """Do everything that is queued, as a worker would; how many steps that were."""
    done = 0
    while held := [each for name in ("light", "image") for each in await queue.claim(name, "ann", room=4)]:
        for each in held:
            text = each.parameters.get("template") if each.kind == "prompt_template" else None
            made = [] if text else [Made((await make.artifact()).sha256, 5)]
            await queue.finish(each, made, text, {"kind": each.kind}, {"run": 1.0})
            done += 1
    return done


async def spoken(make: Make, run: Run, data: bytes) -> None:
    """Give a run of one step a sound."""
    sound = await make.artifact(data, "audio/wav")
    await db.execute("INSERT INTO outputs VALUES ($1, 1, $2, 5)", run.step_runs[0], sound.sha256)
    told = {"parameters": {"peaks": "10ff"}}
    await db.execute("UPDATE step_runs SET receipt = $2 WHERE id = $1", run.step_runs[0], told)


# -- the page ---------------------------------------------------------------------------------


async def test_sounds_are_heard_beside_each_other(client: httpx.AsyncClient, make: Make) -> None:
    pipeline = await make.pipeline(steps=[TextToSpeech(prompt="a boat")])
    second = await make.version(pipeline, steps=[TextToSpeech(prompt="two boats")])
    for of, data in ((pipeline, b"one"), (second, b"two")):
        await spoken(make, await make.run(of, pipeline.owner_id, state="succeeded", published=True), data)
    page = (await client.get(address(pipeline.version_id, second.id))).text
    assert (page.count("<audio controls"), page.count('<svg viewBox="0 0 8 60"')) == (2, 2)
    assert "Slider" not in page
    page = (await client.get(f"/comparisons/runs?left={pipeline.version_id}&right={second.id}&seeds=5")).text
    assert page.count("<audio controls") == 2


async def test_an_offshoot_is_compared_with_its_parent(client: httpx.AsyncClient, make: Make) -> None:
    parent, fork = await family(make)
    short = await client.get(f"/comparisons?right={fork.version_id}")
    assert (short.status_code, short.headers["location"]) == (303, address(parent.version_id, fork.version_id))
    page = await client.get(short.headers["location"])
    assert page.status_code == 200
    assert "<del>at dusk</del><ins>in fog</ins>" in page.text
    assert "2 words added, 2 removed, 1 parameter" in words(page.text)
    assert '<meta name="robots" content="noindex">' in page.text


async def test_a_version_is_compared_with_the_one_before(client: httpx.AsyncClient, make: Make) -> None:
    line = await make.pipeline(steps=[DUSK])
    second = await make.version(line, steps=[FOG])
    answer = await client.get(f"/comparisons?right={second.id}")
    assert answer.headers["location"] == address(line.version_id, second.id)


async def test_the_first_of_a_line_asks_what_to_compare_with(client: httpx.AsyncClient, make: Make) -> None:
    line, other = await make.pipeline(), await make.pipeline(steps=[FOG])
    page = await client.get(f"/comparisons?right={line.version_id}")
    assert page.status_code == 200
    assert "nothing it grew from" in page.text
    pasted = f"/comparisons?right={line.version_id}&left_link=https://elsewhere.example/pipelines/{other.id}"
    answer = await client.get(pasted)
    assert answer.headers["location"] == address(other.version_id, line.version_id)


async def test_a_private_parent_gives_way_to_the_version_before(
    clients: Any, client: httpx.AsyncClient, make: Make, log_in: Any
) -> None:
    ann = await make.person()
    parent = await make.pipeline(ann, steps=[DUSK], visibility="private")
    fork = await make.pipeline(steps=[FOG], parent=parent)
    second = await make.version(fork, steps=[DUSK])
    answer = await client.get(f"/comparisons?right={second.id}")
    assert answer.headers["location"] == address(fork.version_id, second.id)
    first = await client.get(f"/comparisons?right={fork.version_id}")
    assert first.status_code == 200
    assert "nothing it grew from that you can see" in first.text
    hers = await log_in(clients(), ann)
    answer = await hers.get(f"/comparisons?right={second.id}")
    assert answer.headers["location"] == address(parent.version_id, second.id)


async def test_pasted_addresses(client: httpx.AsyncClient, make: Make) -> None:
    line = await make.pipeline(steps=[DUSK])
    second = await make.version(line, steps=[FOG])
    closed = await make.pipeline(visibility="private")
    both = {"left_link": f" http://x/pipelines/{line.id}/versions/1#steps ", "right_link": f"/pipelines/{line.id}"}
    answer = await client.get("/comparisons", params=both)
    assert answer.headers["location"] == address(line.version_id, second.id)
    for wrong, said in (
        ("my harbor", "Paste the address of a pipeline"),
        (f"/pipelines/{line.id}/versions/9", "There is no such version, or it is private"),
        (f"/pipelines/{line.id}/versions/9999999999", "There is no such version, or it is private"),
        (f"/pipelines/{closed.id}", "There is no such version, or it is private"),
        ('"><script>alert(1)</script>', "Paste the address of a pipeline"),
    ):
        for query in ({"right_link": f"/pipelines/{line.id}"}, {"left": line.version_id, "right": second.id}):
            refused = await client.get("/comparisons", params={**query, "left_link": wrong})
            assert refused.status_code == 422
            assert said in refused.text
            assert "<script>alert" not in refused.text
            assert httpx.QueryParams({"x": wrong})["x"] in refused.text.replace("&#34;", '"').replace(
                "&lt;", "<"
            ).replace("&gt;", ">")


@pytest.mark.parametrize("query", ["left=1&right=2", "right=x", "left=&right=%00", "left={0}&right={1}", "left={0}"])
async def test_what_is_not_there(client: httpx.AsyncClient, make: Make, query: str) -> None:
    line = await make.pipeline()
    filled = query.format(line.version_id, "0198f2a0-0000-7000-8000-000000000000")
    answer = await client.get(f"/comparisons?{filled}")
    assert answer.status_code == (200 if query == "left={0}" else 404)


@pytest.mark.parametrize(
    "query", ["seed=x", "seed=-1", "seed=99999999999", "output=0", "output=999", "seed=&output=-5"]
)
async def test_odd_choices_show_the_first(client: httpx.AsyncClient, make: Make, query: str) -> None:
    parent, fork = await family(make)
    await make.run(parent, state="succeeded", published=True)
    await make.run(fork, state="succeeded", published=True)
    page = await client.get(f"{address(parent.version_id, fork.version_id)}&{query}")
    assert page.status_code == 200
    assert page.text.count("/artifacts/") >= 2


async def test_nobody_learns_of_a_private_side(clients: Any, make: Make, log_in: Any) -> None:
    ann, ben = await make.person(), await make.person()
    shown = await make.pipeline(ann, steps=[DUSK])
    hidden = await make.pipeline(ben, steps=[FOG], parent=shown, visibility="private", title="Secret fog")
    hers, his, nobody = await log_in(clients(), ann), await log_in(clients(), ben), clients()
    for left, right in ((shown, hidden), (hidden, shown)):
        url = address(left.version_id, right.version_id)
        table = url.replace("?", "/runs?") + "&seeds=5"
        assert [(await one.get(url)).status_code for one in (nobody, hers, his)] == [404, 404, 200]
        assert [(await one.get(table)).status_code for one in (nobody, hers, his)] == [404, 404, 200]
        form = {"left": str(left.version_id), "right": str(right.version_id), "seeds": "5", "key": "k"}
        assert (await hers.post("/comparisons/runs", data=form)).status_code == 404
    offered = await nobody.get(address(shown.version_id, shown.version_id))
    assert "Secret fog" not in offered.text


async def test_a_removed_parent_stays_for_its_offshoot(clients: Any, make: Make, log_in: Any, storage: Any) -> None:
    ben = await make.person()
    parent, fork = await family(make, ben)
    later = await make.version(parent, steps=[DUSK])
    other = await make.pipeline(ben, steps=[DUSK])
    await make.run(parent, state="succeeded", published=True)
    await make.run(fork, state="succeeded", published=True)
    his = await log_in(clients(), ben)
    url = address(parent.version_id, fork.version_id)
    assert "Outputs side by side" in (await his.get(url)).text
    await pipelines.delete(parent.id, parent.owner_id)
    page = await his.get(url)
    assert page.status_code == 200
    assert "<del>at dusk</del><ins>in fog</ins>" in page.text
    assert "removed by its owner" in page.text
    assert "Harbor" not in page.text
    assert "/artifacts/" not in page.text
    assert "Run both" not in page.text
    assert (await his.get(address(fork.version_id, parent.version_id))).status_code == 200
    for left, right in ((later.id, fork.version_id), (parent.version_id, other.version_id)):
        assert (await his.get(address(left, right))).status_code == 404
    form = {"left": str(parent.version_id), "right": str(fork.version_id), "seeds": "5", "key": "k"}
    assert (await his.post("/comparisons/runs", data=form)).status_code == 404
    await pipelines.delete(fork.id, ben.id)
    assert (await his.get(url)).status_code == 404


async def test_ancestors_and_versions_are_offered(client: httpx.AsyncClient, make: Make) -> None:
    first = await make.pipeline(title="Oldest", steps=[DUSK])
    closed = await make.pipeline(title="Closed", parent=first, visibility="private")
    third = await make.pipeline(title="Third", parent=closed)
    last = await make.pipeline(title="Newest", parent=third, steps=[FOG])
    second = await make.version(last, steps=[DUSK])
    found = await comparisons.read(third.version_id, last.version_id, None)
    offered = [(choice.title, choice.number, choice.distance) for choice in found.choices]
    assert offered == [("Newest", 2, 0), ("Newest", 1, 0), ("Third", 1, 0), ("Oldest", 1, 2)]
    page = await client.get(address(first.version_id, second.id))
    assert page.status_code == 200
    assert page.text.count("selected") == 2
    assert "Closed" not in page.text


async def test_a_hand_made_circle_ends(db: Any, make: Make) -> None:
    one = await make.pipeline(steps=[DUSK])
    two = await make.pipeline(steps=[FOG], parent=one)
    async with db.transaction():
        await db.execute("ALTER TABLE versions DISABLE TRIGGER USER")
        await db.execute("UPDATE versions SET parent_id = $2 WHERE id = $1", one.version_id, two.version_id)
        await db.execute("ALTER TABLE versions ENABLE TRIGGER USER")
    await db.execute("UPDATE pipelines SET parent_id = $2 WHERE id = $1", one.id, two.id)
    found = await comparisons.read(one.version_id, two.version_id, None)
    assert {choice.version_id for choice in found.choices} == {one.version_id, two.version_id}
    assert await comparisons.before(one.version_id, None) == two.version_id


async def test_one_version_on_both_sides(client: httpx.AsyncClient, make: Make) -> None:
    line = await make.pipeline(steps=[DUSK], published=True)
    page = await client.get(address(line.version_id, line.version_id))
    assert "This is one version on both sides" in page.text
    assert "Run both" not in page.text


async def told(client: httpx.AsyncClient, make: Make, before: Recipe, after: Recipe) -> str:
    """The page of what changed between two recipes."""
    left = await make.pipeline(steps=before.steps, inputs=before.inputs, lists=before.lists)
    right = await make.version(left, steps=after.steps, inputs=after.inputs, lists=after.lists)
    return (await client.get(address(left.version_id, right.id))).text


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("a boat, at sea", "<ins>,</ins>"),
        ("a boat\nat sea", '<ins><span aria-hidden="true">↵\n</span><span class="vh">1 line break</span></ins>'),
        ("a boat  at sea", '<ins><span aria-hidden="true">··</span><span class="vh">2 spaces</span></ins>'),
    ],
)
async def test_signs_and_spaces_are_told_and_drawn(
    client: httpx.AsyncClient, make: Make, prompt: str, shown: str
) -> None:
    before, after = Recipe(steps=[TextToImage(prompt="a boat at sea")]), Recipe(steps=[TextToImage(prompt=prompt)])
    page = await told(client, make, before, after)
    assert ">only signs or spaces</span>" in page
    assert shown in page
    assert "What did this change do?" in page
    after.steps[0].guidance_scale = 5.0  # type: ignore[union-attr]
    assert ">1 parameter, signs or spaces</span>" in await told(client, make, before, after)


async def test_accents_of_other_characters_are_marked(client: httpx.AsyncClient, make: Make) -> None:
    before, after = (Recipe(steps=[TextToImage(prompt=f"one {word}")]) for word in ("été", "e\u0301te\u0301"))
    page = await told(client, make, before, after)
    assert "<del>été</del><ins>e\u0301te\u0301</ins> <span" in page
    assert page.count("looks the same, written with other characters") == 1
    assert "looks the same" not in await told(client, make, before, Recipe(steps=[TextToImage(prompt="one ete")]))


async def test_added_and_removed_steps_are_told_whole(client: httpx.AsyncClient, make: Make) -> None:
    before = Recipe(steps=[PromptTemplate(template="x")])
    after = Recipe(steps=[PromptTemplate(template="x"), TextToImage(prompt="a red kite", width=256)])
    page = await told(client, make, before, after)
    assert 'Prompt, step 2 <span class="tag new">added</span>' in page
    assert '<p class="prompttext" dir="auto"><ins>a red kite</ins></p>' in page
    assert "3 words added, 1 step added" in page
    assert "Width, step 2 none [256]" in words(page.replace("<ins>", "[").replace("</ins>", "]"))
    gone = await told(client, make, after, before)
    assert 'Prompt, step 2 <span class="tag bad">removed</span>' in gone
    assert "<del>a red kite</del>" in gone
    assert "3 words removed, 1 step removed" in words(gone)


async def test_inputs_and_lists_stand_as_they_are(client: httpx.AsyncClient, make: Make) -> None:
    draw = [TextToImage(prompt="a {kind} {none} {named}, __colors__")]
    before = [Input(name="kind", default="number: 3"), Input(name="none"), Input(name="named", default="x")]
    after = [Input(name="kind", kind="number", default="3"), Input(name="none", default="none")]
    page = await told(
        client,
        make,
        Recipe(steps=draw, inputs=before, lists={"colors": ["red, blue"]}),
        Recipe(
            steps=draw, inputs=[*after, Input(name="named", default="xScheduler")], lists={"colors": ["red", "blue"]}
        ),
    )
    assert "<del><bdi>text: number: 3</bdi></del>" in page
    assert "<ins><bdi>number: 3</bdi></ins>" in page
    assert "<del><em>empty</em></del>" in page
    assert "<ins><bdi>none</bdi></ins>" in page
    assert "<ins><bdi>xScheduler</bdi></ins>" in page
    assert "<del><bdi>red, blue</bdi></del>" in page
    assert "<ins><bdi>red\nblue</bdi></ins>" in page


async def test_other_pictures_to_start_from_are_shown(clients: Any, make: Make, log_in: Any) -> None:
    ann, ben = await make.person(), await make.person()
    first, other = await make.artifact(), await make.artifact()
    parent = await make.pipeline(ann, steps=[ImageToImage(prompt="night", upload=first.sha256)])
    fork = await make.pipeline(ben, steps=[ImageToImage(prompt="night", upload=other.sha256)], parent=parent)
    his = await log_in(clients(), ben)
    url = address(parent.version_id, fork.version_id)
    for page in ((await clients().get(url)).text, (await his.get(f"/pipelines/{fork.id}")).text):
        row = page.partition('<th scope="row">Picture')[2].partition("</tr>")[0]
        assert re.findall(r'<img src="/artifacts/(\w+)/320" alt="The picture (\w+)"', row) == [
            (first.sha256, "before"),
            (other.sha256, "now"),
        ]
    await pipelines.delete(parent.id, ann.id)
    row = (await his.get(url)).text.partition('<th scope="row">Picture')[2].partition("</tr>")[0]
    assert first.sha256 not in row
    assert words(row).split()[:2] == ["another", "picture"]
    same = await make.version(fork, steps=[ImageToImage(prompt="day", upload=other.sha256)])
    assert other.sha256 not in (await his.get(address(fork.version_id, same.id))).text


async def test_headings_go_down_one_by_one(client: httpx.AsyncClient, make: Make) -> None:
    parent, fork = await family(make)
    await make.run(parent, state="succeeded", published=True)
    await make.run(fork, state="succeeded", published=True)
    page = await client.get(address(parent.version_id, fork.version_id))
    levels = [int(level) for level in re.findall(r"<h(\d)", page.text.partition("<main")[2])]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


# -- results of equal seeds -------------------------------------------------------------------


async def test_results_of_one_seed_stand_side_by_side(make: Make) -> None:
    parent, fork = await family(make)
    stranger = await make.person()
    for seed in (5, 6, 7):
        await make.run(parent, state="succeeded", published=True, seed=seed)
    left = await make.run(parent, state="succeeded", published=True, seed=8)
    await make.run(fork, state="succeeded", published=True, seed=6)
    await make.run(fork, state="failed", seed=5)
    await make.run(fork, state="succeeded", seed=7)
    right = await make.run(fork, state="succeeded", published=True, seed=8)
    found = await comparisons.read(parent.version_id, fork.version_id, stranger.id)
    assert [pair.seed for pair in found.pairs] == [8, 6]
    assert found.pair == comparisons.Pair(8, left.id, right.id)
    swapped = await comparisons.read(fork.version_id, parent.version_id, stranger.id)
    assert swapped.pair == comparisons.Pair(8, right.id, left.id)
    owner = await comparisons.read(parent.version_id, fork.version_id, fork.owner_id, seed=7)
    assert [pair.seed for pair in owner.pairs] == [8, 7, 6]
    assert owner.pair is not None
    assert owner.pair.seed == 7


async def test_what_a_run_changed_is_no_result_of_its_version(db: Any, make: Make) -> None:
    """Cells of a grid have the version, seed and inputs of a plain run, and show something else."""
    await models.register_all({})
    parent, fork = await family(make)
    changed = {"1": {"guidance_scale": 9.0}}
    plain = await make.run(parent, state="succeeded", published=True, seed=5)
    cell = await make.run(parent, state="succeeded", published=True, seed=5, changes=changed)
    other = await make.run(fork, state="succeeded", published=True, seed=5)
    for seed in (6, 7):
        await make.run(parent, state="succeeded", published=True, seed=seed, changes=changed)
        await make.run(fork, state="succeeded", published=True, seed=seed)
        await make.run(fork, state="succeeded", published=True, seed=seed, changes=changed)
    assert cell.id > plain.id
    for left, right in ((parent, fork), (fork, parent)):
        found = await comparisons.read(left.version_id, right.version_id, fork.owner_id)
        assert [pair.seed for pair in found.pairs] == [5]
        assert found.pair is not None
        assert {found.pair.left, found.pair.right} == {plain.id, other.id}
        table = await comparisons.table(left.version_id, right.version_id, fork.owner_id, [5, 6])
        assert {cell.run_id for _, *row in table.rows for cell in row} - {None} >= {plain.id, other.id}
        assert table.missing == 1
    await db.execute("UPDATE pipelines SET cover_run_id = $2 WHERE id = $1", parent.id, cell.id)
    both = await comparisons.sides(parent.version_id, fork.version_id, parent.owner_id)
    assert (both.left.cover_seed, both.left.my_seed) == (None, 5)


async def test_cells_do_not_push_plain_runs_out_of_sight(make: Make, db: Any) -> None:
    """Of a version with many runs only some are looked through, and none of these is a cell."""
    parent, fork = await family(make)
    await make.run(parent, state="succeeded", published=True, seed=99)
    await make.run(fork, state="succeeded", published=True, seed=99)
    await db.execute(
        """INSERT INTO runs (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, seed, changes,
                             state, visibility, published_at, started_at, finished_at)
           SELECT r.pipeline_id, r.version_id, r.owner_id, 100 + n, 'k' || n, '', n % 90, '{"1": {"width": 64}}',
                  'succeeded', 'published', now(), now(), now()
           FROM runs r, generate_series(1, $1) n""",
        comparisons.LOOKED_AT,
    )
    found = await comparisons.read(parent.version_id, fork.version_id, None)
    assert [pair.seed for pair in found.pairs] == [99]


async def test_a_grid_and_a_comparison_of_one_seed(make: Make) -> None:
    """What a grid runs counts where it is the version as it is, and only there."""
    await models.register_all({})
    parent, fork, ann = await runnable(make)
    form = await run_pages.form(parent.id, 1, ann.id)
    targets = grid_axes.targets(form.recipe, {})
    for key, typed in (("s1-guidance_scale", "2, 4"), ("seed", "5, 6")):
        axis = grid_axes.axis(targets[key], typed)
        planned = grids.plan(parent.version_id, form.recipe, [axis], {}, 5)
        await grids.create(planned, ann.id, key)
        await work(make)
        table = await comparisons.table(parent.version_id, fork.version_id, ann.id, [5, 6])
        assert (table.done, table.missing) == ((0, 4) if key != "seed" else (2, 2))


async def test_each_picture_keeps_its_ratio(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    parent, fork = await family(make)
    runs_made = [await make.run(one, state="succeeded", published=True) for one in (parent, fork)]
    for run, size in zip(runs_made, ((256, 128), (128, 192)), strict=True):
        picture = await make.artifact(png("teal", size))
        await db.execute("UPDATE outputs SET sha256 = $2 WHERE step_run_id = $1", run.step_runs[-1], picture.sha256)
    page = await client.get(address(parent.version_id, fork.version_id))
    assert re.findall(r'class="pic(?: over)?" data-ar="([\d:]+)"', page.text) == ["16:9", "2:3"]


async def test_an_object_is_turned_beside_a_picture(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    pair = await family(make)
    made = []
    for one, media_type in zip(pair, ("model/gltf-binary", "image/png"), strict=True):
        run = await make.run(one, state="succeeded", published=True)
        file = await make.artifact(png("teal", (512, 512)) + media_type.encode(), media_type)
        await db.execute("UPDATE artifacts SET width = 512, height = 512 WHERE sha256 = $1", file.sha256)
        await db.execute("UPDATE outputs SET sha256 = $2 WHERE step_run_id = $1", run.step_runs[-1], file.sha256)
        made.append(file.sha256)
    page = await client.get(address(*(one.version_id for one in pair)))
    assert page.text.count(f'src="/artifacts/{made[0]}?form=turntable"') == 1
    (picture,) = re.findall(r'srcset="([^"]+)"', page.text)
    assert picture == f"/artifacts/{made[1]}/320 320w, /artifacts/{made[1]} 512w"


async def test_inputs_must_agree(make: Make) -> None:
    """Either both were given the same, or both took what their version gives."""
    subject = [Input(name="subject", default="boat")]
    parent = await make.pipeline(steps=[DUSK], inputs=subject)
    fork = await make.pipeline(steps=[FOG], inputs=[Input(name="subject", default="ship")], parent=parent)
    given = (
        (parent, 1, {"subject": "boat"}),
        (fork, 1, {"subject": "ship"}),
        (parent, 2, {"subject": "cat"}),
        (fork, 2, {"subject": "cat"}),
        (parent, 3, {"subject": "cat"}),
        (fork, 3, {"subject": "dog"}),
    )
    for line, seed, inputs in given:
        await make.run(line, state="succeeded", published=True, seed=seed, inputs=inputs)
    found = await comparisons.read(parent.version_id, fork.version_id, None)
    assert sorted(pair.seed for pair in found.pairs) == [1, 2]


async def test_texts_are_compared_word_by_word(client: httpx.AsyncClient, make: Make) -> None:
    lists = {"colors": ["red"]}
    parent = await make.pipeline(steps=[PromptTemplate(template="a __colors__ boat")], lists=lists)
    fork = await make.pipeline(steps=[PromptTemplate(template="a __colors__ boat!")], lists=lists, parent=parent)
    for line, text in ((parent, "a red boat"), (fork, "a blue boat!")):
        run = await make.run(line, state="succeeded", published=True)
        await runs.db.execute("UPDATE step_runs SET output_text = $2 WHERE run_id = $1", run.id, text)
    page = await client.get(address(parent.version_id, fork.version_id))
    assert "What step 1 wrote" in page.text
    assert "a <del>red</del><ins>blue</ins> boat<ins>!</ins>" in page.text


async def test_the_page_takes_few_queries(clients: Any, make: Make, log_in: Any, queries: Queries) -> None:
    await models.register_all({})
    ann = await make.person()
    parent, fork = await family(make, ann)
    for seed in range(8):
        await make.run(parent, state="succeeded", published=True, seed=seed)
        await make.run(fork, state="succeeded", published=True, seed=seed)
    nobody, hers = clients(), await log_in(clients(), ann)
    url = address(parent.version_id, fork.version_id)
    with queries:
        assert (await nobody.get(url)).status_code == 200
    assert queries.count <= 5, queries
    with queries:
        assert (await hers.get(url)).status_code == 200
    assert queries.count <= 14, queries
    with queries:
        assert (await hers.get(url.replace("?", "/runs?") + "&seeds=1+2+3+4+5+6+7+8")).status_code == 200
    assert queries.count <= 8, queries


async def test_pictures_of_any_seed_are_not_said_to_be_of_one(client: httpx.AsyncClient, make: Make) -> None:
    parent = await make.listed(steps=[DUSK])
    fork = await make.listed(steps=[FOG], parent=parent)
    page = (await client.get(f"/pipelines/{fork.id}")).text
    assert "Outputs side by side" not in page
    assert "A result of each</h3>" in page
    assert "Their seeds and inputs may differ" in page


# -- running both -----------------------------------------------------------------------------


async def runnable(make: Make) -> tuple[Pipeline, Pipeline, Person]:
    await models.register_all({})
    ann = await make.person()
    parent, fork = await family(make, ann)
    return parent, fork, ann


async def test_both_run_with_the_same_seeds(db: Any, make: Make) -> None:
    parent, fork, ann = await runnable(make)
    asked = (parent.version_id, fork.version_id)
    assert await comparisons.run(*asked, ann.id, [5, 6], "k") == 4
    rows = await db.fetch("SELECT version_id, seed, owner_id FROM runs ORDER BY version_id, seed")
    assert {(row["version_id"], row["seed"]) for row in rows} == {(one, seed) for one in asked for seed in (5, 6)}
    assert {row["owner_id"] for row in rows} == {ann.id}
    under_way = await comparisons.table(*asked, ann.id, [5, 6])
    assert (under_way.alive, under_way.done, under_way.missing) == (True, 0, 0)
    assert await work(make) == 8
    table = await comparisons.table(*asked, ann.id, [5, 6])
    assert (table.alive, table.done, table.cost) == (False, 4, None)
    assert all(cell.sha256 for cell in table.cells)
    assert table.tag != under_way.tag


async def test_only_what_is_not_known_is_run(db: Any, make: Make) -> None:
    parent, fork, ann = await runnable(make)
    asked = (parent.version_id, fork.version_id)
    await comparisons.run(*asked, ann.id, [5], "k")
    await work(make)
    assert await comparisons.run(*asked, ann.id, [5, 6], "l") == 2
    await work(make)
    assert await comparisons.run(*asked, ann.id, [5, 6], "m") == 0
    assert await db.fetchval("SELECT count(*) FROM runs") == 4


async def test_a_failed_run_is_run_again(db: Any, make: Make) -> None:
    parent, fork, ann = await runnable(make)
    await make.run(fork, ann, state="failed", seed=5)
    await make.run(parent, ann, state="succeeded", seed=5)
    table = await comparisons.table(parent.version_id, fork.version_id, ann.id, [5])
    assert [cell.state for cell in table.cells] == ["succeeded", "failed"]
    assert await comparisons.run(parent.version_id, fork.version_id, ann.id, [5], "k") == 1
    table = await comparisons.table(parent.version_id, fork.version_id, ann.id, [5])
    assert [cell.state for cell in table.cells] == ["succeeded", "queued"]


async def test_all_or_nothing(db: Any, make: Make) -> None:
    parent, fork, ann = await runnable(make)
    asked = (parent.version_id, fork.version_id)
    with pytest.raises(TooMany):
        await comparisons.run(*asked, ann.id, [5, 6], "k", limit=3)
    assert await db.fetchval("SELECT count(*) FROM runs") == 0
    assert await db.fetchval("SELECT sum(run_count) FROM pipelines") == 0
    assert await comparisons.run(*asked, ann.id, [5, 6], "k", limit=4) == 4


async def test_the_same_form_twice_starts_one_pair(db: Any, make: Make) -> None:
    parent, fork, ann = await runnable(make)
    for _ in range(2):
        await comparisons.run(parent.version_id, fork.version_id, ann.id, [5], "k")
    assert await db.fetchval("SELECT count(*) FROM runs") == 2
    with pytest.raises(Invalid):
        await comparisons.run(parent.version_id, fork.version_id, ann.id, [6], "schlüssel")


async def test_two_people_in_opposite_directions_do_not_meet_in_a_knot(db: Any, make: Make) -> None:
    parent, fork, ann = await runnable(make)
    ben = await make.person()
    there, back = (parent.version_id, fork.version_id), (fork.version_id, parent.version_id)
    seeds = [1, 2, 3, 4]
    started = await asyncio.gather(
        *(comparisons.run(*way, one.id, seeds, secrets.token_hex(4)) for one, way in ((ann, there), (ben, back)))
    )
    assert started == [8, 8]


async def test_what_it_would_cost_is_told_before(make: Make) -> None:
    parent, fork, ann = await runnable(make)
    asked = (parent.version_id, fork.version_id)
    before = await comparisons.table(*asked, ann.id, [5])
    assert before.cost is not None
    assert (before.cost.runs, before.cost.steps, before.cost.reused, before.cost.seconds) == (2, 4, 0, None)
    await comparisons.run(*asked, ann.id, [5], "k")
    await work(make)
    third = await make.pipeline(ann, steps=[FOG, Upscale(factor=2)], parent=fork)
    found = await comparisons.read(fork.version_id, third.version_id, ann.id)
    assert found.seed == 5
    assert found.cost_of_seed is not None
    assert (found.cost_of_seed.runs, found.cost_of_seed.steps, found.cost_of_seed.reused) == (1, 2, 1)
    assert found.cost_of_seed.seconds is not None
    visitor = await comparisons.read(fork.version_id, third.version_id, None)
    assert visitor.cost_of_seeds is None


async def test_known_steps_are_followed_as_far_as_they_go(make: Make) -> None:
    await models.register_all({})
    chain = (PromptTemplate(template="a {subject}"), TextToImage(prompt="{text}, by night"), Upscale())
    line = await make.pipeline(steps=chain, inputs=[Input(name="subject", default="boat")])
    known, other = Ask(recipe=Recipe(steps=list(chain)), inputs={"subject": "boat"}, seed=5), await make.person()
    ask = Ask(recipe=Recipe(steps=[*chain[:2], Upscale(factor=4)]), inputs={"subject": "boat"}, seed=5)
    nothing = await estimate([known, ask], line.owner_id)
    assert (nothing.runs, nothing.steps, nothing.reused, nothing.seconds) == (2, 6, 1, None)
    await runs.accept(line.version_id, line.owner_id, {}, 5, "k")
    await work(make)
    for asks, person, reused in (
        ([known], line.owner_id, 3),
        ([ask], line.owner_id, 2),
        ([msgspec.structs.replace(known, seed=6)], line.owner_id, 1),
        ([msgspec.structs.replace(known, inputs={"subject": "cat"})], line.owner_id, 0),
        ([known], other.id, 0),
    ):
        found = await estimate(asks, person)
        assert (found.steps, found.reused) == (3, reused)
        assert found.seconds is not None
    await models.remove("starter")
    assert (await estimate([known], line.owner_id)).reused == 1
    assert await estimate([], line.owner_id) == Estimate()


async def test_a_table_that_may_not_be_seen_any_more_is_loaded_again(
    client: httpx.AsyncClient, make: Make, log_in: Any
) -> None:
    parent, fork, ann = await runnable(make)
    await log_in(client, ann)
    await comparisons.run(parent.version_id, fork.version_id, ann.id, [5], "k")
    url = address(parent.version_id, fork.version_id).replace("?", "/runs?") + "&seeds=5"
    poll = {"HX-Request": "true", "HX-Request-Type": "partial"}
    assert (await client.get(url, headers=poll)).status_code == 200
    await pipelines.delete(fork.id, ann.id)
    answer = await client.get(url, headers=poll)
    assert (answer.status_code, answer.headers["hx-refresh"]) == (404, "true")


async def test_the_pipelines_page_leads_here(client: httpx.AsyncClient, make: Make) -> None:
    parent, fork = await family(make)
    second = await make.version(fork, steps=[DUSK, Upscale(factor=4)])
    page = await client.get(f"/pipelines/{fork.id}")
    for left in (parent.version_id, fork.version_id):
        link = address(left, second.id).replace("&", "&amp;")
        assert f'href="{link}"' in page.text


async def test_the_form_leads_to_the_table(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    parent, fork, ann = await runnable(make)
    await log_in(client, ann)
    page = await client.get(address(parent.version_id, fork.version_id))
    assert "What did these words do?" in page.text
    assert 'value="1 2 3 4"' in page.text
    form = {"left": str(parent.version_id), "right": str(fork.version_id), "key": "k", "seeds": "1, 2;2  3"}
    answer = await client.post("/comparisons/runs", data=form)
    assert answer.status_code == 303
    url = answer.headers["location"]
    assert url == f"/comparisons/runs?left={parent.version_id}&right={fork.version_id}&seeds=1+2+3"
    alive = await client.get(url)
    assert alive.text.count("Waiting") == 6
    assert 'hx-trigger="every 1s"' in alive.text
    assert '<meta http-equiv="refresh"' in alive.text
    poll = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-PTag": alive.headers["hx-ptag"]}
    assert (await client.get(url, headers=poll)).status_code == 304
    await work(make)
    done = await client.get(url, headers=poll)
    assert done.status_code == 200
    assert done.text.lstrip().startswith("<section")
    assert "6 of 6 runs done" in done.text
    assert "every 1s" not in done.text
    assert (await client.get(f"{address(parent.version_id, fork.version_id)}&seed=2")).text.count('class="pic') == 2


@pytest.mark.parametrize(
    "seeds", ["", "x", "-1", "1.5", "4294967296", "1 2 3 4 5 6 7 8 9", "1" * 5_000, "१", "1 \U0001f680"]
)
async def test_wrong_seeds_are_told_beside_the_field(
    client: httpx.AsyncClient, make: Make, log_in: Any, db: Any, seeds: str
) -> None:
    parent, fork, ann = await runnable(make)
    await log_in(client, ann)
    form = {"left": str(parent.version_id), "right": str(fork.version_id), "key": "k", "seeds": seeds}
    answer = await client.post("/comparisons/runs", data=form)
    assert answer.status_code == 422
    assert "One to 8 seeds from 0 to 4,294,967,295" in answer.text
    assert f'value="{seeds}"' in answer.text
    assert await db.fetchval("SELECT count(*) FROM runs") == 0
    url = f"/comparisons/runs?left={parent.version_id}&right={fork.version_id}&seeds="
    assert (await client.get(url + seeds)).status_code == 422


async def test_a_wrong_seed_is_told_beside_its_own_field(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    parent, fork, ann = await runnable(make)
    await log_in(client, ann)
    form = {"left": str(parent.version_id), "right": str(fork.version_id), "key": "k", "seeds": "x"}
    for name in ("seed", "seeds"):
        answer = await client.post("/comparisons/runs", data=form | {"field": name})
        assert answer.status_code == 422
        assert re.findall(r'<p class="err" id="(\w+)-e"', answer.text) == [name]
        assert re.findall(r'id="(\w+)" name="seeds" aria-invalid="true"', answer.text) == [name]
        assert f'<a href="#{name}">{name.capitalize()}</a>: see beside the field' in answer.text
    page = await client.get(address(parent.version_id, fork.version_id))
    assert re.findall(r'name="field" value="(\w+)"', page.text) == ["seed", "seeds"]


async def test_too_many_at_once_keeps_the_table(client: httpx.AsyncClient, make: Make, log_in: Any, db: Any) -> None:
    parent, fork, ann = await runnable(make)
    await log_in(client, ann)
    limit = client._transport.app.state.config.run_limit  # type: ignore[attr-defined]
    for _ in range(limit - 1):
        await make.run(parent, ann, seed=9)
    form = {"left": str(parent.version_id), "right": str(fork.version_id), "key": "k", "seeds": "1"}
    answer = await client.post("/comparisons/runs", data=form)
    assert answer.status_code == 429
    assert "None of these was started" in answer.text
    assert "Run what is missing" in answer.text
    assert await db.fetchval("SELECT count(*) FROM runs") == limit - 1


async def test_a_key_of_another_request_is_a_conflict(make: Make) -> None:
    parent, fork, ann = await runnable(make)
    await runs.accept(parent.version_id, ann.id, {}, 9, f"k-{parent.version_id.hex}-5")
    with pytest.raises(Conflict):
        await comparisons.run(parent.version_id, fork.version_id, ann.id, [5], "k")


async def test_a_version_that_cannot_be_run_with_its_defaults(make: Make) -> None:
    ann = await make.person()
    await models.register_all({})
    line = await make.pipeline(ann, steps=[TextToImage(prompt="{missing}")])
    second = await make.version(line, steps=[DUSK])
    found = await comparisons.read(line.version_id, second.id, ann.id)
    assert found.cost_of_seed is not None
    assert found.cost_of_seed.reused == 0
    with pytest.raises(NotFound):
        await comparisons.run(line.version_id, line.version_id, ann.id, [1], "k")
    assert await comparisons.run(line.version_id, second.id, ann.id, [1], "k") == 2
