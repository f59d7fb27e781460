"""Search finds what everybody may see, in any language, by words and fields, and keeps in step with what changes."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest

from domain import cards, people, pipelines, ratings, runs, search, search_documents, search_query
from domain.errors import NotFound
from domain.steps import ImageToImage, PromptTemplate, Recipe, TextToImage, Upscale
from tests.make import Make, Pipeline, Version
from tests.searching import counted, drawn, titles


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("A small fishing harbor at dusk", "harbors"),
        ("Three boats resting", "boat rest"),
        ("Старая гавань вечером", "старой гавани"),
        ("Синий лес, туман", "синего леса"),
        ("Ёлка у реки", "елка"),
        ("Паперові ліхтарі над водою", "ліхтарі"),
        ("Їжак у тумані під яблунею", "їжак яблунею"),
        ("Пам’ять про м'яту", "пам'ять"),
        ("Café crème à la plage", "cafe creme"),
        ("a cafe by the sea", "café"),
        ("Größe und Maß", "grosse"),
        ("静かな夜の港、灯り", "夜の港"),
        ("一座古老的港口", "港口"),
        ("고요한 항구의 밤", "항구"),
        ("ท่าเรือยามค่ำ", "ท่าเรือ"),
        ("ميناء صغير تحت الثلج", "الثلج"),
        ("हिन्दी बंदरगाह", "बंदरगाह"),
        ("ＦＵＬＬ width", "full"),
        ("lamp/lantern (glowing:1.3), <lora:gouache:0.8>", "lantern glowing gouache"),
        ("sdxl-1.0 at 8k", "sdxl 8k"),
        ("don't look back", "dont"),
        ("to be or not to be", '"to be or not"'),
    ],
)
async def test_words_are_found_in_every_language(make: Make, db: Any, prompt: str, asked: str) -> None:
    await drawn(make, "The one", prompt)
    await drawn(make, "Another", "nothing of that kind")
    assert await titles(db, asked) == ["The one"]


async def test_phrases_and_minus(make: Make, db: Any) -> None:
    await drawn(make, "In order", "paper lanterns over the harbor")
    await drawn(make, "Scattered", "lanterns of paper, a harbor")
    assert await titles(db, '"paper lanterns"') == ["In order"]
    assert set(await titles(db, "lanterns paper")) == {"In order", "Scattered"}
    assert await titles(db, "lanterns -over") == ["Scattered"]
    assert await titles(db, '-"paper lanterns"') == ["Scattered"]


async def test_every_field_narrows(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    one = await drawn(
        make, "One", "a boat", ada, model="sdxl-1.0", num_inference_steps=40, seed=77, tags=["night", "blue hour"],
        license="CC0-1.0",
    )  # fmt: skip
    words = [PromptTemplate(template="a story of a boat")]
    await make.pipeline(bo, title="Two", steps=words, tags=["night"], published=True)
    await drawn(make, "Three", "a boat", bo)
    await ratings.rate(one.id, bo.id, 5)
    await search_documents.catch_up()
    for asked, expected in {
        "model:sdxl": {"One"}, "model:SDXL-1.0": {"One"}, "-model:sdxl": {"Two", "Three"},
        "kind:image": {"One", "Three"}, "kind:text": {"Two"}, "kind:text kind:image": {"One", "Two", "Three"},
        "kind:prompt_template": {"Two"}, "-kind:text": {"One", "Three"}, "-kind:prompt_template": {"One", "Three"},
        "tag:night": {"One", "Two"}, 'tag:night tag:"blue hour"': {"One"}, "tag:NIGHT -tag:\"blue hour\"": {"Two"},
        "by:@Ada": {"One"}, "by:ada by:bo boat": {"One", "Two", "Three"}, "-by:bo": {"One"},
        "license:CC0-1.0": {"One"}, "-license:cc0-1.0": {"Two", "Three"},
        "steps:40": {"One"}, "steps:>30": {"One"}, "steps:<=20": {"Three"}, "steps:20-40": {"One", "Three"},
        "seed:77": {"One"}, "seed:5": {"One", "Two", "Three"}, "seed:6": set(),
        "rating:>4": {"One"}, "rating:<3": set(), "boat rating:5 steps:>30 by:ada": {"One"},
        "tag:nowhere": set(), "model:nowhere": set(),
    }.items():  # fmt: skip
        assert set(await titles(db, asked)) == expected, asked


async def test_what_runs_resolved_is_found(make: Make, db: Any) -> None:
    pipeline = await drawn(make, "Chosen", "a {crimson|turquoise} kite")
    await db.execute(
        """UPDATE step_runs SET resolved = '{"prompt": "a turquoise kite"}' WHERE run_id = $1""", pipeline.run_id
    )
    await cards.refresh(pipeline.id)
    assert await titles(db, '"turquoise kite"') == ["Chosen"]
    assert await titles(db, "crimson") == ["Chosen"]


async def test_every_prompt_and_seed_of_a_result_is_found(make: Make, db: Any) -> None:
    pipeline = await drawn(make, "Chosen", "a kite")
    for n in range(25):
        await make.run(pipeline, state="succeeded", seed=100 + n)
    await db.execute(
        """UPDATE step_runs s SET resolved = jsonb_build_object('prompt', 'kite number' || r.seed, 'negative_prompt',
             'fog' || r.seed) FROM runs r WHERE r.id = s.run_id AND r.seed >= 100"""
    )
    await db.execute("UPDATE runs SET visibility = 'published', published_at = now() - seed * interval '1 h'")
    await cards.refresh(pipeline.id)
    for n in range(25):
        for asked in (f"seed:{100 + n}", f"number{100 + n}", f"fog{100 + n}"):
            assert await titles(db, asked) == ["Chosen"], asked


CELLS = """
INSERT INTO runs (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, inputs, seed, state,
    visibility, apart, published_at, started_at, finished_at)
SELECT pipeline_id, version_id, owner_id, 1 + n, 'cell' || n, '', '{}', 1000 + n, 'succeeded', 'published', true,
    now(), now(), now()
FROM runs, generate_series(1, $1::int) n
"""


async def test_results_of_grids_do_not_crowd_out_the_others(make: Make, db: Any) -> None:
    pipeline = await drawn(make, "Chosen", "a kite")
    await db.execute("UPDATE runs SET published_at = now() - interval '1 year'")
    await db.execute(CELLS, search_documents.RUNS)
    await cards.refresh(pipeline.id)
    marks = await db.fetchval("SELECT marks FROM search_documents")
    assert "seed:5" in marks
    assert len([mark for mark in marks if mark.startswith("seed:")]) == search_documents.RUNS


async def test_what_a_result_keeps_out_or_may_choose_is_found_behind_what_it_shows(make: Make, db: Any) -> None:
    await drawn(make, "Clear", "a boat", negative_prompt="thick fog", guidance_scale=7.5)
    await make.pipeline(
        title="Varied", steps=[PromptTemplate(template="a __color__ boat"), ImageToImage(source=1, strength=0.35)],
        lists={"color": ["crimson", "turquoise"]}, published=True,
    )  # fmt: skip
    await drawn(make, "Gray", "fog, crimson fog")
    assert await titles(db, "fog") == ["Gray", "Clear"]
    assert await titles(db, "crimson") == ["Gray", "Varied"]
    assert await titles(db, "turquoise") == ["Varied"]
    assert await titles(db, '"guidance 7.5"') == ["Clear"]
    assert await titles(db, '"strength 0.35"') == ["Varied"]
    assert set(await titles(db, "-fog")) == {"Clear", "Varied"}
    assert set(await titles(db, '-"crimson fog"')) == {"Clear", "Varied"}
    assert await titles(db, "boat -crimson -fog", "newest") == ["Varied", "Clear"]


async def test_days_of_publication(make: Make, db: Any) -> None:
    ada = await make.person("ada")
    for title, at in (("Winter", "2026-01-31 23:59:59"), ("Spring", "2026-03-14 12:00"), ("May", "2026-05-01 00:00")):
        made = await drawn(make, title, "a boat", ada)
        await db.execute("UPDATE pipelines SET published_at = $2::text::timestamptz WHERE id = $1", made.id, f"{at}+00")
        await cards.refresh(made.id)
    for asked, expected in {
        "made:2026": {"Winter", "Spring", "May"}, "made:2025": set(), "made:2026-01": {"Winter"},
        "made:2026-01..2026-03": {"Winter", "Spring"}, "made:>2026-03": {"May"}, "made:>=2026-03": {"Spring", "May"},
        "made:<2026-05-01": {"Winter", "Spring"}, "made:<=2026-05-01": {"Winter", "Spring", "May"},
        "made:>2026-05-01": set(), "made:2026-03-14": {"Spring"}, "made:..2026-02": {"Winter"},
        "boat made:2026-02..": {"Spring", "May"},
    }.items():  # fmt: skip
        for order in search.ORDERS:
            assert set(await titles(db, asked, order)) == expected, asked


async def test_a_model_is_itself_where_there_is_one_of_the_name(make: Make, db: Any) -> None:
    for model in ("sdxl", "sdxl-turbo", "flux"):
        await drawn(make, model, "a boat", model=model)
    await counted()
    for asked, expected in {
        "model:sdxl": {"sdxl"}, "model:sdx": {"sdxl", "sdxl-turbo"}, "-model:sdxl": {"sdxl-turbo", "flux"},
        "-model:s": {"flux"},
    }.items():  # fmt: skip
        found = await search.find(search_query.parse(asked))
        assert set(await titles(db, asked)) == expected
        for facet in found.facets["model"]:
            if facet.chosen:
                assert facet.count == len(expected), asked


async def test_kinds_of_steps_narrow_what_comes_out(make: Make, db: Any) -> None:
    await drawn(make, "Small", "a boat")
    await make.pipeline(title="Large", steps=[TextToImage(prompt="a boat"), Upscale()], published=True)
    await make.pipeline(title="Words", steps=[PromptTemplate(template="a boat")], published=True)
    assert set(await titles(db, "kind:image kind:text kind:upscale")) == {"Large"}
    assert set(await titles(db, "kind:upscale kind:prompt_template")) == {"Large", "Words"}


async def test_titles_weigh_most_and_orders_order(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    first = await drawn(make, "A boat", "the sea", ada)
    second = await drawn(make, "The sea", "a boat", ada)
    third = await drawn(make, "Elsewhere", "a place", ada, description="far from any boat")
    await make.pipeline(bo, parent=first, published=True)
    await cards.recount(first.id)
    await ratings.rate(third.id, bo.id, 5)
    await ratings.rate(second.id, bo.id, 1)
    assert await titles(db, "boat") == ["A boat", "The sea", "Elsewhere"]
    assert await titles(db, "boat", "newest") == ["Elsewhere", "The sea", "A boat"]
    assert await titles(db, "boat", "rating") == ["Elsewhere", "A boat", "The sea"]
    assert (await titles(db, "boat", "offshoots"))[0] == "A boat"
    with pytest.raises(NotFound):
        await titles(db, "boat", "random")


@pytest.mark.parametrize("order", search.ORDERS)
async def test_pages_neither_skip_nor_repeat(make: Make, db: Any, order: str) -> None:
    ada = await make.person("ada")
    for n in range(7):
        await drawn(make, f"Boat {n}", "a boat", ada)
    query, seen, after, cursors = search_query.parse("boat"), list[Any](), None, list[Any]()
    while True:
        page = await search.find(query, order, after, limit=3)
        seen += page.ids
        cursors.append((after, page.previous))
        assert (page.total, page.more) == (7, False)
        if page.next is None:
            break
        after = page.next
    assert len(seen) == len(set(seen)) == 7
    assert [previous for _, previous in cursors] == [None, "", cursors[1][0]]
    for wrong in ("nonsense", "A" * 400, page.previous if order == "match" else "AAAA"):
        with pytest.raises(NotFound):
            await search.find(query, "offshoots" if order == "match" else order, wrong)


async def test_private_things_are_never_found(make: Make, db: Any, client: Any) -> None:
    ada = await make.person("ada")
    shown = await drawn(make, "Zanzibar", "zanzibar", ada, tags=["zanzibar"])
    for visibility in ("private", "unlisted"):
        await drawn(make, "Zanzibar hidden", "zanzibar", ada, visibility=visibility)
    await make.pipeline(ada, title="Zanzibar never run")
    assert await titles(db, "zanzibar") == ["Zanzibar"]

    async def gone() -> None:
        assert await titles(db, "zanzibar") == []
        assert "zanzibar" not in (await client.get("/search/suggestions?q=zan")).text.lower()
        assert "Zanzibar" not in (await client.get("/search")).text

    await search_documents.catch_up()
    assert "zanzibar" in (await client.get("/search/suggestions?q=zan")).text
    assert shown.run_id
    await runs.unpublish(shown.run_id, ada.id)
    await search_documents.catch_up()
    await gone()
    await runs.publish(shown.run_id, ada.id)
    assert await titles(db, "zanzibar") == ["Zanzibar"]
    await db.execute("UPDATE pipelines SET visibility = 'unlisted' WHERE id = $1", shown.id)
    await search_documents.catch_up()
    await gone()
    await db.execute("UPDATE pipelines SET visibility = 'public' WHERE id = $1", shown.id)
    await cards.refresh(shown.id)
    await pipelines.delete(shown.id, ada.id)
    await search_documents.catch_up()
    await gone()
    await db.execute("DELETE FROM runs")
    await db.execute("DELETE FROM people")
    assert await db.fetchval("SELECT count(*) FROM search_documents") == 0


KEPT = """
SELECT d.pipeline_id, d.published_at, d.score, d.rating, d.offshoots, d.facets, d.document::text, t.title, t.words,
    array(SELECT mark FROM unnest(d.marks) mark WHERE mark !~ '^(window|era):' ORDER BY mark) AS marks
FROM search_documents d JOIN search_texts t USING (pipeline_id) ORDER BY d.pipeline_id
"""
WORDS = "SELECT kind, word, documents FROM search_words ORDER BY kind, word"


async def test_what_is_kept_in_step_equals_what_a_rebuild_makes(make: Make, db: Any) -> None:
    ada, bo, eve = await make.person("ada"), await make.person("bo", name="Bo"), await make.person("eve")
    recipe = Recipe(steps=[TextToImage(prompt="a boat"), Upscale()])
    details = pipelines.Details("A boat", "at *sea*", ["night"], visibility="public")
    made = await pipelines.create(ada.id, details, recipe)
    run = await make.run(Version(made.version_id, made.id, made.number), ada, state="succeeded")
    await runs.publish(run.id, ada.id)
    child = await drawn(make, "Child", "a red boat", bo, parent=Pipeline(made.id, ada.id, made.version_id))
    await cards.refresh(child.id)
    for person, stars in ((bo, 5), (eve, 2)):
        await ratings.rate(made.id, person.id, stars)
    await ratings.withdraw(made.id, eve.id)
    await pipelines.save(
        made.id, ada.id, pipelines.Details("A ship", "", ["day"], visibility="public"),
        Recipe(steps=[TextToImage(prompt="a ship", model="other", num_inference_steps=9)]),
    )  # fmt: skip
    gone = await drawn(make, "Gone", "a wreck", eve)
    await pipelines.delete(gone.id, eve.id)
    await people.edit(bo.id, "Bohdan", "")
    await drawn(make, "Hidden", "unseen", eve, visibility="private")
    while await search_documents.catch_up():
        pass
    kept, words = await db.fetch(KEPT), await db.fetch(WORDS)
    assert [row["title"] for row in kept] == ["A ship", "Child"]
    assert "bohdan" in {row["word"] for row in words}
    assert "wreck" not in {row["word"] for row in words}
    await db.execute("TRUNCATE search_documents, search_texts, search_words, search_changes")
    assert await search_documents.rebuild() == 2
    assert await db.fetch(KEPT) == kept
    assert await db.fetch(WORDS) == words


async def test_an_unchanged_document_is_not_written_again(make: Make, db: Any) -> None:
    pipeline = await drawn(make, "A boat")
    before = await db.fetchval("SELECT ctid::text FROM search_documents")
    await cards.refresh(pipeline.id)
    assert await db.fetchval("SELECT ctid::text FROM search_documents") == before


# slips


async def test_a_corrected_search_pages_to_its_end_and_can_be_followed(client: Any, make: Make) -> None:
    ada = await make.person("ada")
    for n in range(30):
        await drawn(make, f"Number {n}", "a harbor", ada)
    await counted()
    text = (await client.get("/search?q=harbur&kind=image")).text
    feed = unescape(re.findall(r'href="(/search/feed.json[^"]+)"', text)[0])
    seen = re.findall(r">Number (\d+)<", text)
    while following := re.findall(r'rel="next" hx-get="([^"]+)"', text):
        text = (await client.get(unescape(following[0]))).text
        seen += re.findall(r">Number (\d+)<", text)
    assert sorted(map(int, seen)) == list(range(30))
    assert (await client.get(feed)).json()["items"][0]["title"] == "Number 29"


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("harbur", "harbor"), ("lantren", "lanterns"), ("Гаван", "гавань"), ("ліхтарии", "ліхтарі"), ("caffé", "cafe")],
)
async def test_a_slip_finds_the_nearest_word(client: Any, make: Make, asked: str, meant: str) -> None:
    await drawn(make, "The one", "harbor, lanterns, гавань, ліхтарі, cafe")
    await counted()
    answer = await client.get(f"/search?q={quote(asked)}")
    assert f"Showing results for <bdi>“{meant}”</bdi>" in answer.text
    assert ">The one</a>" in answer.text
    exact = unescape(re.findall(r'href="([^"]+)">Search for exactly', answer.text)[0])
    answer = await client.get(exact)
    assert "Nothing for" in answer.text
    assert "The one" not in answer.text


async def test_what_is_nothing_like_any_word_stays_unfound(client: Any, make: Make) -> None:
    await drawn(make, "The one", "harbor")
    await search_documents.catch_up()
    for asked in ("zzzzzz", "qwertyuiop", '"harbor lanterns"'):
        answer = await client.get(f"/search?q={quote(asked)}")
        assert "Nothing for" in answer.text
