"""Search finds what everybody may see, in any language, and says what it could not read."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import feedparser
import pytest

from domain import cards, people, pipelines, ratings, runs, search, search_documents, search_query
from domain.errors import NotFound
from domain.steps import PromptTemplate, Recipe, TextToImage, Upscale
from tests.make import Make, Pipeline, Version

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def drawn(make: Make, title: str, prompt: str = "a red circle", owner: Any = None, **more: Any) -> Any:
    """A published pipeline that draws a prompt."""
    step = {name: more.pop(name) for name in ("model", "num_inference_steps", "seed") if name in more}
    steps = [TextToImage(prompt=prompt, **step)]
    return await make.pipeline(owner, title=title, steps=steps, published=True, **more)


async def titles(db: Any, text: str, order: str = "match", **more: Any) -> list[str]:
    """What a search finds, as titles in order."""
    found = await search.find(search_query.parse(text), order, exactly=True, **more)
    rows = await db.fetch("SELECT id, title FROM pipelines")
    names = {row["id"]: row["title"] for row in rows}
    return [names[id_] for id_ in found.ids]


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


async def test_the_page_shows_lines_with_matches_marked(client: Any, make: Make, db: Any) -> None:
    ada = await make.person("ada")
    await drawn(make, "Lantern <harbor>", "A small harbor at dusk, paper lanterns", ada, tags=["night"])
    answer = await client.get("/search?q=harbors")
    assert answer.status_code == 200, answer.text
    assert "1 result for" in answer.text
    assert "Lantern &lt;<mark>harbor</mark>&gt;" in answer.text
    assert "A small <mark>harbor</mark> at dusk" in answer.text
    assert "<dt>Steps</dt><dd>20</dd>" in answer.text


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


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("harbur", "harbor"), ("lantren", "lanterns"), ("Гаван", "гавань"), ("ліхтарии", "ліхтарі"), ("caffé", "cafe")],
)
async def test_a_slip_finds_the_nearest_word(client: Any, make: Make, asked: str, meant: str) -> None:
    await drawn(make, "The one", "harbor, lanterns, гавань, ліхтарі, cafe")
    while await search_documents.catch_up():
        pass
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


# the page


async def test_facets_count_and_filters_can_be_taken_away(client: Any, make: Make) -> None:
    ada = await make.person("ada")
    await drawn(make, "Boat one", "a boat", ada, model="sdxl", tags=["night"])
    await drawn(make, "Boat two", "a boat", ada, model="flux", tags=["night", "sea"])
    await make.pipeline(ada, title="Boat words", steps=[PromptTemplate(template="a boat")], published=True)
    text = (await client.get("/search?q=boat+tag:night&model=sdxl")).text
    facets = {
        (name, value): (bool(checked), count)
        for name, value, checked, count in re.findall(
            r'name="(\w+)" value="([^"]*)"( checked)?><bdi class="clip">[^<]*</bdi><span class="num">(\d*)</span>', text
        )
    }
    assert facets[("model", "sdxl")] == (True, "1")
    assert facets[("model", "flux")] == (False, "1")
    assert facets[("kind", "image")] == (False, "1")
    assert facets[("tag", "night")] == (True, "1")
    assert 'value="boat"' in text
    assert "1 result for" in text
    removed = [unescape(url) for url in re.findall(r'<a class="tag" href="([^"]+)"', text)]
    assert removed == ["/search?q=boat+tag%3Anight", "/search?q=boat+model%3Asdxl"]
    assert "2 results" in (await client.get(removed[0])).text


async def test_nothing_found_names_the_filter_that_removes_most(client: Any, make: Make) -> None:
    ada = await make.person("ada")
    for n in range(3):
        await drawn(make, f"Boat {n}", "a boat", ada, model="sdxl" if n else "flux")
    text = (await client.get("/search?q=boat+model:flux+steps:>100")).text
    assert "Without “Steps &gt;100” there is 1 result." in text
    assert 'href="/search?q=boat+model%3Aflux"' in text
    assert "Nothing for “boat seed:9 steps:1”" in (await client.get("/search?q=boat+seed:9+steps:1")).text


@pytest.mark.parametrize("typed", ["boat steps:many", 'boat "half a phrase'])
async def test_a_bad_search_says_what_is_wrong_and_keeps_results(client: Any, make: Make, typed: str) -> None:
    await drawn(make, "The boat", "a boat")
    answer = await client.get("/search", params={"q": typed})
    assert answer.status_code == 422
    assert 'id="sq-e" role="alert"' in answer.text
    assert f'value="{typed}"'.replace('"half', "&#34;half") in answer.text
    assert "The <mark>boat</mark>" in answer.text
    part = await client.get("/search", params={"q": typed}, headers=HTMX)
    assert part.status_code == 422
    assert part.headers["hx-retarget"] == "#find"
    assert "<article" not in part.text
    assert 'aria-invalid="true"' in part.text


async def test_a_fault_of_a_control_stands_beside_it(client: Any, make: Make) -> None:
    answer = await client.get("/search?q=boat&steps=many&seed=x")
    assert answer.status_code == 422
    assert 'value="many" ' in answer.text or 'value="many">' in answer.text
    assert 'id="steps-e"' in answer.text
    assert 'id="seed-e"' in answer.text
    assert 'id="sq-e"' not in answer.text


@pytest.mark.parametrize(
    "typed",
    ["sea " * 2_500, "x" * 10_000, "a" * 501, "(a+)+$" * 60, ".*" * 200, "((((" * 100, "a" * 300 + "!", "\\" * 200,
     "' OR 1=1 --", "!! | & <-> :*", "%_%", "\ud800", "🙂 🙃", "-", '"', "tag:'", "by:%", "model:_"],
)  # fmt: skip
async def test_hostile_text_is_answered(client: Any, make: Make, typed: str) -> None:
    await drawn(make, "The boat", "a boat")
    for path in ("/search", "/search/suggestions", "/search/feed.json"):
        answer = await client.get(path, params={"q": typed.encode("utf-8", "surrogatepass")})
        assert answer.status_code in (200, 422), (path, answer.text)
        if len(typed) > 2_000 and path == "/search":
            assert search_query.TOO_LONG in answer.text


async def test_nul_and_unknown_controls_are_no_page(client: Any) -> None:
    for query in ("q=a%00b", "q=%ED%A0%80", "page=2", "order=random", "after=nonsense", "kind=cake"):
        answer = await client.get(f"/search?{query}")
        assert answer.status_code == {"q=%ED%A0%80": 200, "kind=cake": 422}.get(query, 404), query


async def test_what_people_wrote_stays_text(client: Any, make: Make) -> None:
    hostile = '<img src=x onerror=alert(1)> "boat" \ue000<script>\ue001'
    await drawn(make, hostile, f"{hostile} boat", tags=["boat"])
    text = (await client.get("/search?q=boat")).text
    assert "<img src=x" not in text
    assert "<script>" not in text.partition("<main")[2]
    assert "&lt;img src=x onerror=alert(1)&gt; &#34;<mark>boat</mark>&#34; &lt;script&gt;" in text
    assert "<script>" not in (await client.get("/search?q=<script>alert(1)</script>")).text.partition("<main")[2]
    assert "<img" not in (await client.get("/search/suggestions?q=<img")).text


async def test_htmx_gets_the_results_and_the_filters_around_them(client: Any, make: Make) -> None:
    ada = await make.person("ada")
    for n in range(30):
        await drawn(make, f"Boat {n}", "a boat", ada)
    part = await client.get("/search?q=boat&by=&steps=&order=newest", headers=HTMX)
    assert part.text.lstrip().startswith('<section id="results"')
    assert part.headers["hx-push-url"] == "/search?q=boat&order=newest"
    for target in ("facets", "numbers", "find"):
        assert f'<hx-partial hx-target="#{target}" hx-swap="outerMorph">' in part.text
    more = unescape(re.findall(r'hx-get="(/search[^"]*after[^"]*)"', part.text)[0])
    rest = await client.get(more, headers=HTMX)
    assert rest.text.count("<article") == 6
    assert "<section" not in rest.text
    assert "All 30" in rest.text
    whole = await client.get(more)
    assert "25 to 30 of 30" in whole.text


async def test_how_many_queries_a_search_takes(client: Any, make: Make, db: Any, queries: Any) -> None:
    for n in range(5):
        await drawn(make, f"Boat {n}", "a boat", tags=["night"])
    with queries:
        await client.get("/search?q=boat+tag:night")
    assert queries.count <= 7, queries
    with queries:
        await client.get("/search?q=boat+kind:image+model:starter")
    assert queries.count <= 10, queries
    with queries:
        await client.get("/search/suggestions?q=boa")
    assert queries.count <= 2, queries


# many matches


async def test_of_very_many_the_newest_are_looked_at(make: Make, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await make.person("ada")
    for n in range(40):
        await drawn(make, f"Boat {n}", "a boat" if n % 10 else "a rare boat", ada)
    monkeypatch.setattr(search, "WINDOW", 4)
    monkeypatch.setattr(search, "MOST", 10)
    await db.execute(
        """UPDATE search_documents SET marks = array(SELECT m FROM unnest(marks) m WHERE m NOT LIKE 'window:%')
           || ('window:' || number / 4)"""
    )
    await db.execute("ANALYZE search_documents")
    found = await search.find(search_query.parse("boat"), "newest", limit=5)
    assert found.more
    assert 5 <= found.total <= 10
    newest = await db.fetch("SELECT pipeline_id FROM search_documents ORDER BY number DESC LIMIT 5")
    assert found.ids == [row[0] for row in newest]
    rare = await search.find(search_query.parse("rare boat"), "newest")
    assert (rare.total, rare.more) == (4, False)
    unwanted = await search.find(search_query.parse("-rare"), "newest")
    assert unwanted.more
    everything = await search.find(search_query.Query(), "match")
    assert everything.more
    assert everything.ids[:5] == found.ids
    assert everything.facets["kind"][0].value == "image"


def test_eras_stand_for_their_windows() -> None:
    for last, first in ((0, 0), (5, 3), (31, 0), (40, 0), (100, 40), (489, 260)):
        covered: list[int] = []
        for mark in search._marks(last, first):
            kind, _, n = mark.partition(":")
            start = int(n) * (search.ERA if kind == "era" else 1)
            covered += range(start, start + (search.ERA if kind == "era" else 1))
        assert sorted(covered) == list(range(first, last + 1))
    assert len(search._marks(489, 0)) < 50


async def test_no_plan_scans_the_table(make: Make, db: Any) -> None:
    ada = await make.person("ada")
    for n in range(20):
        await drawn(make, f"Boat {n}", "a boat", ada, tags=["night"])
    await db.execute("ANALYZE search_documents")
    for asked in (
        "boat",
        "boat -sea",
        '"a boat" tag:night',
        "kind:image rating:<5",
        "steps:>10 -tag:night",
        "-sea",
        "",
    ):
        compiled = await search.prepare(search_query.parse(asked))
        async with db.transaction():
            newest = (await search._settings())[5]
            sql, args = search._question(compiled, "match", None, 24, newest, 1)
            plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {sql}", *args))
        assert "Bitmap Index Scan on search_documents_found" in plan, (asked, plan)
        assert "Seq Scan on search_documents" not in plan, (asked, plan)


# suggestions and feeds


async def test_suggestions_go_on_from_what_is_typed(client: Any, make: Make) -> None:
    ada = await make.person("harbormaster")
    await drawn(make, "Harbor at dusk", "harbors and harbingers", ada, tags=["harbor view"], model="harbor-xl")
    while await search_documents.catch_up():
        pass
    made = await search.suggest("old har")
    said = {one.text for one in made}
    assert {'old tag:"harbor view"', "old model:harbor-xl", "old by:harbormaster", "old harbors"} <= said
    assert '"Harbor at dusk"' in {one.text for one in await search.suggest("Harb")}
    text = (await client.get("/search/suggestions?q=old+har")).text
    assert '<option value="old tag:&#34;harbor view&#34;">' in text
    for nothing in ("", "h", "har ", '"har', "zzz", "%"):
        assert await search.suggest(nothing) == [], nothing


async def test_a_search_can_be_followed(client: Any, make: Make) -> None:
    ada = await make.person("ada")
    for n in range(26):
        await drawn(make, f"Boat {n}", "a boat", ada)
    page = (await client.get("/search?q=boat+-sea&by=ada")).text
    feed = "/search/feed.rss?q=boat+-sea+by%3Aada"
    assert page.count(f'href="{feed}"') == 2
    found = feedparser.parse((await client.get(feed)).content)
    assert not found.bozo
    assert found.feed.title == "Offshoot · Search: boat -sea by:ada"
    assert [entry.title for entry in found.entries][:2] == ["Boat 25", "Boat 24"]
    second = (await client.get("/search/feed.json?q=boat")).json()["next_url"]
    rest = (await client.get(second.partition("8000")[2])).json()
    assert [item["title"] for item in rest["items"]] == ["Boat 1", "Boat 0"]
    assert (await client.get("/search/feed.atom?q=steps:many")).status_code == 422
    atom = (await client.get("/search/feed.atom?q=boat")).headers["etag"]
    again = await client.get("/search/feed.atom?q=boat", headers={"If-None-Match": atom})
    assert again.status_code == 304
