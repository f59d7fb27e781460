"""A person's page: what everybody sees, and what only they see."""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain import collections, feeds, lists, profiles
from domain import db as database
from domain.collections import Details
from domain.errors import NotFound
from tests import json_feed
from tests.make import Make
from tests.queries import Queries


async def test_a_new_person_has_an_empty_page(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("ada", name="Ada Ō")
    page = await client.get("/@ada")
    assert page.status_code == 200
    assert "Nothing public yet" in page.text
    assert "<title>Ada Ō · Offshoot</title>" in page.text
    assert "No published runs yet" in (await client.get("/@ada?tab=runs")).text
    assert "No offshoots yet" in (await client.get("/@ada?tab=offshoots")).text
    for tab in ("", "?tab=runs", "?tab=offshoots"):
        assert 'class="gallery"' not in (await client.get(f"/@ada{tab}")).text
    past = lists.encode("newest", datetime(2020, 1, 1, tzinfo=UTC), uuid4(), 24)
    assert "That was all" in (await client.get(f"/@ada?after={past}")).text
    assert "Edit profile" not in page.text
    assert "Latest runs" not in page.text


async def test_a_handle_needs_its_sign_and_any_case_will_do(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("Ada")
    assert (await client.get("/ada")).status_code == 404
    assert (await client.get("/@ADA")).status_code == 200
    assert (await client.get("/@nobody")).status_code == 404


async def test_figures_count_what_others_may_see(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    shown = await make.pipeline(ada, published=True)
    await make.pipeline(ada, visibility="private")
    await make.run(shown, ada, state="failed")
    await make.pipeline(bo, parent=shown, published=True)
    await make.pipeline(bo, parent=shown)  # never run, so in no list
    await make.pipeline(ada, parent=shown)
    await make.pipeline(bo, parent=shown, visibility="private")
    await make.pipeline(bo, parent=shown, visibility="unlisted")
    await make.pipeline(bo, parent=shown, deleted_at=datetime.now(UTC))
    await db.execute("UPDATE pipelines SET rating_count = 4, rating_sum = 18 WHERE id = $1", shown.id)
    seen = await profiles.figures(ada.id, own=False)
    assert (seen.pipelines, seen.runs, seen.offshoots, seen.rating) == (1, 1, 1, 4.5)
    assert (await profiles.figures(ada.id, own=True)).pipelines == 3
    assert (await profiles.figures(bo.id, own=False)).rating is None


async def test_private_things_are_on_the_owners_page_alone(
    client: httpx.AsyncClient, clients: Any, make: Make, log_in: Any
) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    secret = await make.pipeline(ada, visibility="private", title="Secret harbor")
    await make.pipeline(ada, visibility="unlisted", title="Hidden dunes")
    await make.run(secret, ada, state="succeeded")
    for browser in (client, await log_in(clients(), bo)):
        for tab in ("", "?tab=runs"):
            page = (await browser.get(f"/@ada{tab}")).text
            assert "Secret harbor" not in page
            assert "Hidden dunes" not in page
            assert "Latest runs" not in page
    own = (await (await log_in(clients(), ada)).get("/@ada")).text
    assert "Not in the gallery" in own
    assert "Secret harbor" in own
    assert "Hidden dunes" in own
    assert "Latest runs" in own


async def test_what_others_grew_page_by_page(client: httpx.AsyncClient, make: Make) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    harbor = await make.pipeline(ada, title="Harbor", published=True)
    await make.pipeline(ada, parent=harbor, title="Own offshoot", published=True)
    await make.pipeline(bo, parent=harbor, title="Secret offshoot", visibility="private", published=True)
    for number in range(26):
        await make.pipeline(bo, parent=harbor, title=f"Grown {number}.", published=True)
    first = (await client.get("/@ada?tab=offshoots")).text
    assert '<a href="/@ada?tab=offshoots" aria-current="page">' in first
    assert 'type="application/rss+xml" title="ada: Offshoots by others" href="/@ada/offshoots.rss"' in first
    assert "/@ada/feed.rss" not in first
    more = unescape(first.partition('class="pager"')[2].partition('href="')[2].partition('"')[0])
    assert more.startswith("/@ada?tab=offshoots&after=")
    rest = (await client.get(more)).text
    assert "Show older" not in rest
    for number in range(26):
        assert (f"Grown {number}." in first) is (number >= 2)
        assert (f"Grown {number}." in rest) is (number < 2)
    for text in (first, rest):
        assert "Own offshoot" not in text
        assert "Secret offshoot" not in text
    assert (await client.get("/@ada?tab=offshoots&after=sideways")).status_code == 404


async def test_the_owner_reaches_every_pipeline(clients: Any, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    made = [await make.pipeline(ada, visibility="private", title=f"Sketch {number}.") for number in range(101)]
    own = await log_in(clients(), ada)
    seen: list[str] = []
    url = "/@ada"
    while url:
        text = (await own.get(url)).text.partition('id="own"')[2].partition('id="runs"')[0]
        seen += re.findall(r"Sketch \d+\.", text)
        url = unescape(text.partition('class="btn" href="')[2].partition('"')[0]).removesuffix("#own")
    assert seen == [f"Sketch {number}." for number in reversed(range(101))]
    assert (await own.get("/@ada?unlisted=sideways")).status_code == 404
    secret = (await clients().get(f"/@ada?unlisted={made[50].id}")).text
    assert "Sketch" not in secret
    assert "Nothing public yet" in secret


async def test_published_runs_page_by_page(client: httpx.AsyncClient, make: Make) -> None:
    ada = await make.person("ada")
    pipeline = await make.pipeline(ada, title="Waves")
    made = [(await make.run(pipeline, ada, state="succeeded", published=True)).id for _ in range(5)]
    first = await profiles.published(ada.id, limit=3)
    assert [result.id for result in first.results] == made[:1:-1]
    rest = await profiles.published(ada.id, after=first.next, limit=3)
    assert [result.id for result in rest.results] == made[1::-1]
    assert rest.next is None
    assert first.results[0].sha256
    with pytest.raises(NotFound):
        await profiles.published(ada.id, after="sideways")
    assert (await client.get("/@ada?tab=runs&after=sideways")).status_code == 404
    assert (await client.get("/@ada?tab=secrets")).status_code == 404


async def test_the_about_text_is_edited_and_sanitized(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    await log_in(client, await make.person("ada"))
    form = {"name": "Ada", "about": "*fog*\r\n\r\n<b onclick=x>no</b>"}
    assert (await client.post("/settings/profile", data=form)).headers["location"] == "/@ada"
    page = (await client.get("/@ada")).text
    assert "<em>fog</em>" in page
    assert "<b onclick" not in page
    for field, text in (("name", "x" * 61), ("about", "x" * 4001)):
        answer = await client.post("/settings/profile", data={**form, field: text})
        assert answer.status_code == 422
        assert f'id="{field}-e"' in answer.text
        assert text in answer.text


async def test_a_profile_has_feeds(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("ada")
    page = (await client.get("/@ada")).text
    for ending, kind in (("rss", "rss+xml"), ("atom", "atom+xml"), ("json", "feed+json")):
        assert f'<link rel="alternate" type="application/{kind}" title="ada" href="/@ada/feed.{ending}">' in page
        assert (await client.get(f"/@ada/feed.{ending}")).status_code == 200


async def test_every_tab_has_the_feeds_of_what_it_lists(client: httpx.AsyncClient, make: Make) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    harbor = await make.pipeline(ada, title="Harbor", published=True)
    secret = await make.pipeline(ada, title="Secret", visibility="private", published=True)
    await make.run(await make.pipeline(bo, title="Snow", published=True), ada, state="succeeded", published=True)
    grid = await make.run(harbor, ada, state="succeeded", published=True)
    await database.execute("UPDATE runs SET apart = true WHERE id = $1", grid.id)
    await make.pipeline(bo, title="Grown", parent=harbor, published=True)
    await make.pipeline(ada, title="Own", parent=harbor, published=True)
    made = await collections.create(ada.id, Details("Harbors", "*All* of them", "public"))
    await collections.add(made, ada.id, secret.id)
    await collections.add(made, ada.id, harbor.id)
    await collections.create(ada.id, Details("Mine alone", "", "private"))
    for tab, expected in {
        "runs": ["Own, result 1", "Snow, result 2", "Harbor, result 1"],
        "offshoots": ["Grown"],
        "collections": ["Harbors"],
    }.items():
        feed = json_feed.check((await client.get(f"/@ada/{tab}.json")).content)
        assert [item["title"] for item in feed["items"]] == expected, tab
        assert feed["home_page_url"] == f"http://127.0.0.1:8000/@ada?tab={tab}"
        page = (await client.get(f"/@ada?tab={tab}")).text
        for ending in ("rss", "atom", "json"):
            assert page.count(f'href="/@ada/{tab}.{ending}"') == 2  # in the head and beside the heading
            assert f"/@ada/feed.{ending}" not in page
    (item,) = feed["items"]
    assert item["url"] == f"http://127.0.0.1:8000/collections/{made}"
    assert "<em>All</em> of them" in item["content_html"]
    assert "_offshoot" not in item
    cover = await database.fetchval("SELECT cover_sha256 FROM pipelines WHERE id = $1", harbor.id)
    assert item["image"] == f"http://127.0.0.1:8000/artifacts/{cover}"


async def test_pages_of_a_profile_s_feeds_lead_on_and_back(client: httpx.AsyncClient, make: Make) -> None:
    ada = await make.person("ada")
    for number in range(3):
        await make.run(await make.pipeline(title=f"Card {number}"), ada, state="succeeded", published=True)
        await collections.create(ada.id, Details(f"Collection {number}", "", "public"))
    for read in (feeds.of_runs, collections.feed_of_person):
        first = await read(ada.id, limit=1)
        second = await read(ada.id, first.next, limit=1)
        third = await read(ada.id, second.next, limit=1)
        assert [one.entries[0].title[-1] for one in (first, second, third)] == ["2", "1", "0"]
        assert (first.previous, second.previous, third.previous, third.next) == (None, "", first.next, None)


@pytest.mark.parametrize("count", [1, 12])
async def test_a_profile_takes_as_many_queries_for_many_cards(
    client: httpx.AsyncClient, make: Make, queries: Queries, count: int
) -> None:
    ada = await make.person("ada")
    for _ in range(count):
        await make.pipeline(ada, published=True)
    with queries:
        assert (await client.get("/@ada")).status_code == 200
    assert queries.count <= 3, queries.statements


async def test_the_owners_profile_takes_few_queries(
    client: httpx.AsyncClient, make: Make, queries: Queries, log_in: Any
) -> None:
    ada = await make.person("ada")
    for _ in range(6):
        await make.run(await make.pipeline(ada, published=True), ada)
    await log_in(client, ada)
    with queries:
        assert (await client.get("/@ada")).status_code == 200
    assert queries.count <= 6, queries.statements
