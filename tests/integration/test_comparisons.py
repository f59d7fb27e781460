"""Comparing versions: who may see which, what is offered, results of equal seeds, and running both."""

import asyncio
import re
import secrets
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from domain import comparisons, models, pipelines, queue, runs
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.estimates import Ask, Estimate, estimate
from domain.people import Person
from domain.queue import Made
from domain.steps import Input, PromptTemplate, Recipe, TextToImage, Upscale
from tests.make import Make, Pipeline
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


# -- the page ---------------------------------------------------------------------------------


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
