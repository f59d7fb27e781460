"""The search page: matches marked, filters with counts, faults in words, suggestions and feeds."""

import re
from html import unescape
from typing import Any

import asyncpg
import feedparser
import pytest

from domain import search, search_documents, search_marks, search_query, search_suggestions
from domain.steps import KINDS, PromptTemplate, TextToImage
from tests.make import Make
from tests.searching import HTMX, counted, drawn


async def test_the_page_shows_lines_with_matches_marked(client: Any, make: Make, db: Any) -> None:
    ada = await make.person("ada")
    await drawn(make, "Lantern <harbor>", "A small harbor at dusk, paper lanterns", ada, tags=["night"])
    answer = await client.get("/search?q=harbors")
    assert answer.status_code == 200, answer.text
    assert "1 result for" in answer.text
    assert "Lantern &lt;<mark>harbor</mark>&gt;" in answer.text
    assert "A small <mark>harbor</mark> at dusk" in answer.text
    assert "<dt>Steps</dt><dd>20</dd>" in answer.text
    assert 'alt="Lantern &lt;harbor&gt;"' in answer.text
    assert not {search_marks.OPEN, search_marks.CLOSE} & set(answer.text)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("painted", "the description: It was <mark>painted</mark> at sea"),
        ("midnight", "the tags: day, <mark>midnight</mark>"),
        ("gouache", "the prompt as it is written: a {<mark>gouache</mark>|oil} boat"),
        ("turquoise", "the prompt of a result: a <mark>turquoise</mark> boat"),
        ("karras", "a step: <mark>Karras</mark> pass"),
        ("lovelace", "its maker’s name: ada Ada <mark>Lovelace</mark>"),
        ("blurry", "what it keeps out: <mark>blurry</mark>"),
        ("crimson", "a list to choose from: <mark>crimson</mark>, teal"),
        ('"at sea" painted', "the description: It was <mark>painted</mark> <mark>at</mark> <mark>sea</mark>"),
    ],
)
async def test_a_line_says_why_it_was_found(client: Any, make: Make, db: Any, asked: str, reason: str) -> None:
    step = TextToImage(prompt="a {gouache|oil} boat", negative_prompt="blurry", title="Karras pass")
    made = await make.pipeline(
        await make.person("ada", name="Ada Lovelace"), title="The one", steps=[step], published=True,
        description="It was painted at sea", tags=["day", "midnight"], lists={"color": ["crimson", "teal"]},
    )  # fmt: skip
    await db.execute("""UPDATE step_runs SET resolved = '{"prompt": "a turquoise boat"}'""")
    await db.execute("UPDATE pipelines SET prompt = 'a boat'")
    await search_documents.refresh([made.id])
    text = (await client.get("/search", params={"q": asked})).text
    place, _, words = reason.partition(": ")
    assert f"Found in {place}: <bdi>{words}" in text


async def test_a_line_whose_title_shows_the_match_gives_no_other_reason(client: Any, make: Make) -> None:
    await drawn(make, "A boat", "the sea", description="a boat")
    assert "Found in" not in (await client.get("/search?q=boat")).text


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


async def test_every_field_has_a_control(client: Any, make: Make) -> None:
    ada = await make.person("ada")
    for n in range(11):
        await drawn(make, f"Boat {n}", "a boat", ada, model=f"model{n:02}", tags=[f"tag {n}"])
    text = (await client.get("/search?q=boat")).text
    for name in search_query.FIELDS:
        assert name == "made" or f' name="{name}"' in text, name
    for kind in KINDS:
        assert f'<input type="checkbox" name="kind" value="{kind}">' in text
    assert '<input id="another-model" name="model" maxlength="500"' in text
    assert text.count(f'maxlength="{search_query.MAX_TYPED}"') == 2
    assert text.count('type="checkbox" name="model"') == 8
    every = unescape(re.findall(r'<a class="small" href="([^"]+)">3 more models</a>', text)[0])
    text = (await client.get(every)).text
    assert text.count('type="checkbox" name="model"') == 11
    assert '<details class="fold side" open>' in text
    assert '<input type="hidden" name="all" value="model">' in text

    text = (await client.get("/search?model=model01&model=model02,model03&kind=text_to_image&tag=")).text
    assert "3 results" in text
    assert len(re.findall(r'type="checkbox"[^>]* checked>', text)) == 4
    assert "0 results" in (await client.get("/search?tag=tag+1,tag+2")).text
    assert "1 result<" in (await client.get("/search?tag=tag+1")).text


async def test_days_are_two_controls(client: Any, make: Make, db: Any) -> None:
    for n in range(1, 4):
        made = await drawn(make, f"Boat {n}")
        await db.execute("UPDATE pipelines SET published_at = make_date(2026, $2, 14) WHERE id = $1", made.id, n)
        await search_documents.refresh([made.id])
    text = (await client.get("/search?from=2026-02-01&to=2026-03-14")).text
    assert "2 results" in text
    assert '<input id="from" name="from" type="date" value="2026-02-01">' in text
    assert '<input id="to" name="to" type="date" value="2026-03-14">' in text
    assert 'aria-label="Remove filter: Made 2026-02-01 to 2026-03-14"' in text
    text = (await client.get("/search?q=made:2026-02")).text
    assert '<input id="to" name="to" type="date" value="2026-02-28">' in text
    answer = await client.get("/search?from=soon&to=2026-02-28")
    assert answer.status_code == 422
    assert 'id="from-e">' in answer.text
    assert search_query.NO_DAY in answer.text
    assert 'value="soon"' in answer.text
    assert "2 results" in answer.text


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


async def test_words_and_filters_have_limits_of_their_own(client: Any, make: Make) -> None:
    ada, words = await make.person("ada"), " ".join(["a" * 20] * 22 + ["boat"])
    for n in range(26):
        await drawn(make, f"Boat {n}", words, ada, model="m" * 80, tags=["night"])
    answer = await client.get("/search", params={"q": words, "model": "m" * 80, "tag": "night", "by": "ada"})
    assert answer.status_code == 200
    assert "26 results" in answer.text
    links = re.findall(
        r'<a class="tag" href="([^"]+)"|rel="next" hx-get="([^"]+)"|href="(/search/feed[^"]+)"', answer.text
    )
    links = [unescape("".join(link)) for link in links]
    assert len(links) == 3 + 1 + 6
    for link in links:
        assert (await client.get(link)).status_code == 200, link
    part = await client.get("/search", params={"q": words, "model": "m" * 80}, headers=HTMX)
    assert (await client.get(part.headers["hx-push-url"])).status_code == 200


async def test_what_is_too_long_stays_in_the_box(client: Any) -> None:
    typed = " ".join(f"sea{n}" for n in range(500))
    answer = await client.get("/search", params={"q": typed})
    assert answer.status_code == 422
    assert f'value="{typed}"' in answer.text
    answer = await client.get("/search", params={"model": "m" * 101})
    assert answer.status_code == 422
    assert f"model: {search_query.TOO_LONG_VALUE}" in answer.text
    assert f'value="{"m" * 101}"' in answer.text


async def test_a_search_that_takes_too_long_says_so(
    client: Any, make: Make, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await drawn(make, "Boat")
    monkeypatch.setattr(search, "PATIENCE", 20)
    monkeypatch.setattr(search, "HASTE", 20)
    other = await asyncpg.connect(config.database_url)
    try:
        async with other.transaction():
            await other.execute("LOCK TABLE search_documents")
            part = await client.get("/search?q=boat", headers=HTMX)
            whole = await client.get("/search?q=boat")
            feed = await client.get("/search/feed.json?q=boat")
            blamed = await search.culprit(search_query.parse("boat kind:image"))
    finally:
        await other.close()
    assert part.status_code == whole.status_code == feed.status_code == 503
    assert part.headers["hx-retarget"] == "#find"
    assert 'id="sq-e" role="alert">' in part.text
    assert search.TOO_SLOW in part.text
    assert search.TOO_SLOW in whole.text
    assert whole.headers["retry-after"]
    assert blamed is None
    assert "Boat" in (await client.get("/search?q=boat")).text


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
    assert queries.count <= 11, queries
    with queries:
        await client.get("/search/suggestions?q=boa")
    assert queries.count <= 2, queries


# suggestions and feeds


async def test_suggestions_go_on_from_what_is_typed(client: Any, make: Make) -> None:
    ada = await make.person("harbormaster")
    await drawn(make, "Harbor at dusk", "harbors and harbingers", ada, tags=["harbor view"], model="harbor-xl")
    await counted()
    made = await search_suggestions.suggest("old har")
    said = {one.text for one in made}
    assert {'old tag:"harbor view"', "old model:harbor-xl", "old by:harbormaster", "old harbors"} <= said
    assert '"Harbor at dusk"' in {one.text for one in await search_suggestions.suggest("Harb")}
    text = (await client.get("/search/suggestions?q=old+har")).text
    assert '<option value="old tag:&#34;harbor view&#34;">' in text
    for nothing in ("", "h", "har ", '"har', "zzz", "%"):
        assert await search_suggestions.suggest(nothing) == [], nothing


MANY = "INSERT INTO search_words SELECT 'word', 'harbor' || n, 9 FROM generate_series(1, 3200) n"


async def test_no_kind_of_suggestion_crowds_out_another(client: Any, make: Make, db: Any) -> None:
    ada = await make.person("harborer")
    await drawn(make, "The sea", "the sea", ada, tags=["harbors"], model="harbor-xl")
    await counted()
    await db.execute(MANY)
    said = {one.text for one in await search_suggestions.suggest("harb")}
    assert {"tag:harbors", "model:harbor-xl", "by:harborer"} <= said
    assert {one.kind for one in await search_suggestions.suggest("old model:har")} == {"model"}
    assert (await search_suggestions.suggest("sea model:harbor-x"))[0].text == "sea model:harbor-xl"


async def test_names_are_suggested_to_their_controls(client: Any, make: Make) -> None:
    await drawn(make, "The sea", tags=["blue hour", "blue"], model="sdxl-1.0")
    await counted()
    assert (await client.get("/search/suggestions?model=SDXL-")).text == '<option value="sdxl-1.0">'
    text = (await client.get("/search/suggestions?tag=night,+blu")).text
    assert text == '<option value="night, blue"><option value="night, blue hour">'
    for nothing in ("model=", "model=x", "tag=blue,", "model=%25"):
        assert (await client.get(f"/search/suggestions?{nothing}")).text == "", nothing


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
