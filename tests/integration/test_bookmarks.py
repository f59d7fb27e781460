"""Bookmarks: a button for everybody's counting, a list for oneself."""

from datetime import UTC, datetime
from html import unescape
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain import bookmarks, lists
from domain.errors import NotFound, TooMany
from tests.make import Make
from tests.queries import Queries

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def test_pressing_twice_is_pressing_once(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    pipeline = await make.pipeline(published=True)
    await log_in(client, await make.person("ada"))
    url = f"/pipelines/{pipeline.id}/bookmark"
    for _ in range(2):
        answer = await client.post(url, data={"bookmarked": "1"})
        assert answer.headers["location"] == f"/pipelines/{pipeline.id}#bookmark"
    page = (await client.get(f"/pipelines/{pipeline.id}")).text
    assert 'aria-pressed="true"' in page.partition('id="bookmark"')[2].partition("</form>")[0]
    assert 'Bookmark <span class="num">1</span>' in page
    for _ in range(2):
        part = await client.post(url, data={"bookmarked": "0"}, headers=HTMX)
        assert part.text.strip().startswith('<form id="bookmark"')
        assert 'aria-pressed="false"' in part.text
    for form in ({}, {"bookmarked": "2"}, {"bookmarked": "1", "who": "bo"}):
        assert (await client.post(url, data=form)).status_code == 422
    assert (await client.post(f"/pipelines/{uuid4()}/bookmark", data={"bookmarked": "1"})).status_code == 404


async def test_a_visitor_is_asked_to_log_in_and_comes_back(client: httpx.AsyncClient, make: Make) -> None:
    from tests.sessions import with_csrf

    pipeline = await make.pipeline(published=True)
    url = f"/pipelines/{pipeline.id}"
    await with_csrf(client)
    answer = await client.post(f"{url}/bookmark", data={"bookmarked": "1"}, headers={"Referer": f"http://x{url}"})
    assert answer.headers["location"] == f"/login?next={url}"
    assert 'aria-pressed="false"' in (await client.get(url)).text


async def test_the_list_is_one_s_own(client: httpx.AsyncClient, clients: Any, make: Make, log_in: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    pipeline = await make.pipeline(bo, title="Lighthouse", published=True)
    await bookmarks.add(pipeline.id, ada.id)
    mine = (await (await log_in(clients(), ada)).get("/@ada?tab=bookmarks")).text
    assert "Lighthouse" in mine
    for browser in (client, await log_in(clients(), bo)):
        assert (await browser.get("/@ada?tab=bookmarks")).status_code == 404
        assert "Bookmarks" not in (await browser.get("/@ada")).text
        assert "Lighthouse" not in (await browser.get("/@ada?tab=collections")).text
    assert "No bookmarks yet" in (await (await log_in(clients(), bo)).get("/@bo?tab=bookmarks")).text


async def test_what_went_away_keeps_its_place_until_it_is_removed(
    client: httpx.AsyncClient, make: Make, db: Any, log_in: Any
) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    gone, hidden, stays = [
        await make.pipeline(bo, title=title, published=True) for title in ("Gone", "Hidden", "Stays")
    ]
    for pipeline in (gone, hidden, stays):
        await bookmarks.add(pipeline.id, ada.id)
    await db.execute("UPDATE pipelines SET deleted_at = now() WHERE id = $1", gone.id)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", hidden.id)
    states = [one.state for one in (await bookmarks.mine(ada.id)).bookmarks]
    assert states == ["shown", "private", "removed"]
    await log_in(client, ada)
    page = (await client.get("/@ada?tab=bookmarks")).text
    assert "Removed by its owner" in page
    assert "Made private by its owner" in page
    assert "Hidden" not in page
    form = {"bookmarked": "0", "next": "/@ada?tab=bookmarks"}
    answer = await client.post(f"/pipelines/{hidden.id}/bookmark", data=form)
    assert answer.headers["location"] == "/@ada?tab=bookmarks"
    assert (await client.post(f"/pipelines/{hidden.id}/bookmark", data=form)).status_code == 404
    assert (await client.post(f"/pipelines/{hidden.id}/bookmark", data={"bookmarked": "1"})).status_code == 404
    answer = await client.post(f"/pipelines/{gone.id}/bookmark", data={**form, "next": "//elsewhere"})
    assert answer.headers["location"] == f"/pipelines/{gone.id}#bookmark"
    assert [one.pipeline_id for one in (await bookmarks.mine(ada.id)).bookmarks] == [stays.id]


async def test_page_by_page(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    made = [await make.pipeline(title=f"Card {number}.", published=True) for number in range(26)]
    for pipeline in made:
        await bookmarks.add(pipeline.id, ada.id)
    await log_in(client, ada)
    first = (await client.get("/@ada?tab=bookmarks")).text
    more = unescape(first.partition('class="pager"')[2].partition('href="')[2].partition('"')[0])
    assert more.startswith("/@ada?tab=bookmarks&after=")
    rest = (await client.get(more)).text
    for number in range(26):
        assert (f"Card {number}." in first) is (number >= 2)
        assert (f"Card {number}." in rest) is (number < 2)
    past = lists.encode("newest", datetime(2020, 1, 1, tzinfo=UTC), uuid4(), 24)
    assert "That was all" in (await client.get(f"/@ada?tab=bookmarks&after={past}")).text
    assert (await client.get("/@ada?tab=bookmarks&after=sideways")).status_code == 404


@pytest.mark.parametrize("count", [1, 12])
async def test_many_take_as_many_queries_as_few(
    client: httpx.AsyncClient, make: Make, queries: Queries, log_in: Any, count: int
) -> None:
    ada = await make.person("ada")
    for _ in range(count):
        await bookmarks.add((await make.pipeline(published=True)).id, ada.id)
    await log_in(client, ada)
    with queries:
        assert (await client.get("/@ada?tab=bookmarks")).status_code == 200
    assert queries.count <= 6, queries  # session, person, figures, bookmarks, their pipelines, feed


async def test_no_more_than_fit(make: Make, db: Any) -> None:
    ada = await make.person("ada")
    await db.execute(
        "INSERT INTO pipelines (owner_id, title, visibility) SELECT $1, 't', 'public' FROM generate_series(1, 10000)",
        ada.id,
    )
    await db.execute("INSERT INTO bookmarks (person_id, pipeline_id) SELECT $1, id FROM pipelines", ada.id)
    there = await db.fetchval("SELECT pipeline_id FROM bookmarks LIMIT 1")
    await bookmarks.add(there, ada.id)
    with pytest.raises(TooMany, match="10,000 bookmarks"):
        await bookmarks.add((await make.pipeline()).id, ada.id)
    with pytest.raises(NotFound):
        await bookmarks.add(uuid4(), ada.id)


async def test_many_bookmarks_of_one_pipeline_are_counted_up_to_a_limit(
    client: httpx.AsyncClient, make: Make, db: Any
) -> None:
    pipeline = await make.pipeline(published=True)
    await db.execute(
        """INSERT INTO people (email, handle, password_hash)
           SELECT n || '@example.org', 'crowd' || translate(n::text, '01', 'xy'), '!'
           FROM generate_series(1, 10050) n"""
    )
    await db.execute("INSERT INTO bookmarks (person_id, pipeline_id) SELECT id, $1 FROM people", pipeline.id)
    await db.execute(
        "INSERT INTO follows (follower_id, person_id) SELECT id, $1 FROM people WHERE id <> $1", pipeline.owner_id
    )
    marks = await bookmarks.marks(pipeline.id, None)
    assert (marks.bookmarks, marks.bookmarked, marks.followers, marks.followed) == (10_000, False, 0, False)
    assert "10\u202f000+</span>" in (await client.get(f"/pipelines/{pipeline.id}")).text
    handle = await db.fetchval("SELECT handle FROM people WHERE id = $1", pipeline.owner_id)
    assert "<dt>Followers</dt><dd>10\u202f000+</dd>" in (await client.get(f"/@{handle}")).text
