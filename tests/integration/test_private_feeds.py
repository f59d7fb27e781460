"""Feeds of lists that only one person may read: at addresses that nobody can guess and that can be taken back."""

import logging
import re
from typing import Any
from uuid import UUID, uuid4

import feedparser
import httpx
import pytest
from defusedxml import ElementTree

from domain import bookmarks, collections, feed_keys, follows
from domain.collections import Details
from tests import json_feed
from tests.make import Make
from web import __main__ as server
from web.signatures import feed_key, feed_token

FORMATS = ("rss", "atom", "json")
NASTY = "]]> \x07\x0b <script>alert(1)</script> &amp; \ufffe مرحبا \u202e 🦊 ]]"


async def entries(client: httpx.AsyncClient, address: str, kind: str) -> list[Any]:
    """What a parser that is not ours finds at an address."""
    answer = await client.get(address)
    assert answer.status_code == 200, address
    if kind == "json":
        return list(json_feed.check(answer.content)["items"])
    ElementTree.fromstring(answer.content)
    found = feedparser.parse(answer.content, response_headers={"content-type": answer.headers["content-type"]})
    assert not found.bozo, found.get("bozo_exception")
    assert found.version == {"rss": "rss20", "atom": "atom10"}[kind]
    return list(found.entries)


async def address_of(client: httpx.AsyncClient, page: str) -> str:
    """The feeds' address on a page, without its ending; "" while there is none."""
    text = (await client.get(page)).text
    found = re.search(r'href="(/feeds/[^"]+/feed)\.rss"', text)
    assert (found is None) is ("Make a private feed" in text)
    return found[1] if found else ""


async def lists_of(make: Make, ada: Any) -> dict[str, tuple[str, dict[str, str]]]:
    """Ada's private lists with one thing each: the page, and the form that gives it an address."""
    bo = await make.person("bo")
    pipeline = await make.listed(bo, title="Harbor", tags=["sea"])
    made = await collections.create(ada.id, Details("Kept", "", "private"))
    await collections.add(made, ada.id, pipeline.id, note="look")
    await bookmarks.add(pipeline.id, ada.id)
    await follows.follow_person(ada.id, bo.id)
    await make.comment(await make.pipeline(ada, title="Harbor"), bo, "Calm")
    await make.run(pipeline, ada)
    await make.grid([await make.run(pipeline, ada, state="succeeded")])
    return {
        "runs": ("/runs", {"list": "runs"}),
        "grids": ("/grids", {"list": "grids"}),
        "notifications": ("/notifications", {"list": "notifications"}),
        "following": ("/following", {"list": "following"}),
        "bookmarks": ("/@ada?tab=bookmarks", {"list": "bookmarks"}),
        "collection": (f"/collections/{made}", {"list": "collection", "collection": str(made)}),
    }


@pytest.mark.parametrize("of", ["following", "bookmarks", "notifications", "collection", "runs", "grids"])
async def test_made_read_renewed_and_withdrawn(
    client: httpx.AsyncClient, clients: Any, make: Make, log_in: Any, of: str
) -> None:
    ada = await make.person("ada")
    page, form = (await lists_of(make, ada))[of]
    await log_in(client, ada)
    reader = clients()
    assert await address_of(client, page) == ""
    answer = await client.post("/feeds", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{page}#feeds")
    first = await address_of(client, page)
    await client.post("/feeds", data=form)
    assert await address_of(client, page) == first
    for kind in FORMATS:
        (entry,) = await entries(reader, f"{first}.{kind}", kind)
        assert "Harbor" in entry["title"]
        answer = await reader.get(f"{first}.{kind}")
        assert answer.headers["cache-control"].startswith("private")
        assert answer.headers["x-robots-tag"] == "noindex"
        again = await reader.get(f"{first}.{kind}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    await client.post("/feeds", data={**form, "renew": "1"})
    second = await address_of(client, page)
    assert second != first
    assert len(await entries(reader, f"{second}.json", "json")) == 1
    await client.post("/feeds/withdrawal", data=form)
    assert await address_of(client, page) == ""
    for address in (first, second):
        for kind in FORMATS:
            gone = await reader.get(f"{address}.{kind}", headers={"If-None-Match": "*"})
            assert gone.status_code == 410
            assert "took it back" in gone.text
            assert "Harbor" not in gone.text


async def test_a_deleted_collection_closes_its_address(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    page, form = (await lists_of(make, ada))["collection"]
    await log_in(client, ada)
    await client.post("/feeds", data=form)
    address = await address_of(client, page)
    await collections.delete(UUID(form["collection"]), ada.id)
    assert (await client.get(f"{address}.atom")).status_code == 410


async def test_addresses_cannot_be_guessed(client: httpx.AsyncClient, make: Make, db: Any, log_in: Any) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    await client.post("/feeds", data={"list": "following"})
    token = (await address_of(client, "/following")).split("/")[2]
    row = dict(await db.fetchrow("SELECT * FROM feed_keys"))
    assert len(token) == 72
    assert not any(token[32:] in str(value) for value in row.values())  # half of it is stored nowhere
    last = "0" if token[-1] != "0" else "1"
    for wrong in (
        token[:-1] + last,
        token[:32] + "0" * 40,
        token[:32],
        token + "0",
        "x",
        "é" * 40,
        token.upper(),
        str(row["id"]),
    ):
        answer = await client.get(f"/feeds/{wrong}/feed.rss")
        assert answer.status_code == 404, wrong
    assert (await client.get(f"/feeds/{token}/feed.rss?page=2")).status_code == 404
    assert (await client.get(f"/feeds/{token}/feed.rss?after=sideways")).status_code == 404
    assert (await client.get(f"/feeds/{token}/feed.xml")).status_code == 404
    other = feed_token("another secret", row["id"])
    assert feed_key("another secret", other) == row["id"]
    assert (await client.get(f"/feeds/{other}/feed.rss")).status_code == 404


async def test_only_one_s_own_lists_get_an_address(client: httpx.AsyncClient, make: Make, db: Any, log_in: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    theirs = await collections.create(bo.id, Details("Theirs", "", "public"))
    await log_in(client, ada)
    for form in (
        {"list": "collection", "collection": str(theirs)}, {"list": "collection", "collection": str(uuid4())},
        {"list": "collection", "collection": "x"}, {"list": "collection"}, {"list": "everything"}, {},
        {"list": "following", "collection": str(theirs)},
    ):  # fmt: skip
        for path in ("/feeds", "/feeds/withdrawal"):
            assert (await client.post(path, data=form)).status_code == 404, form
    assert (await client.post("/feeds", data={"list": "following", "person": "bo"})).status_code == 422
    assert await db.fetchval("SELECT count(*) FROM feed_keys") == 0
    text = (await client.get(f"/collections/{theirs}")).text
    assert "private feed" not in text
    assert f"/collections/{theirs}/feed.rss" in text


async def test_no_log_learns_an_address(
    client: httpx.AsyncClient,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    log_in: Any,
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    await client.post("/feeds", data={"list": "following"})
    address = await address_of(client, "/following")

    async def broken(*args: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(feed_keys, "find", broken)
    with caplog.at_level(logging.ERROR, "web"):
        assert (await client.get(f"{address}.rss")).status_code == 500
    assert "/feeds/" in caplog.text
    assert address.split("/")[2] not in caplog.text
    told = ("::1", "GET", f"{address}.rss?after=x", "1.1", 200)
    record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', told, None)
    assert server.WithoutTokens().filter(record)
    assert record.getMessage() == '::1 - "GET /feeds/…/feed.rss?after=x HTTP/1.1" 200'


async def test_what_only_one_person_may_see_is_in_no_feed(
    client: httpx.AsyncClient, make: Make, db: Any, log_in: Any
) -> None:
    ada = await make.person("ada")
    lists = await lists_of(make, ada)
    collection = UUID(lists["collection"][1]["collection"])
    for visibility in ("private", "unlisted"):
        mine = await make.pipeline(ada, title=f"{visibility} sketch", visibility=visibility, published=True)
        await bookmarks.add(mine.id, ada.id)
        await collections.add(collection, ada.id, mine.id)
        await follows.follow_pipeline(ada.id, mine.id)
        guest = await make.person(f"guest.{visibility}")
        await make.run(mine, guest, state="succeeded", published=True)
        await db.execute("UPDATE pipelines SET visibility = 'unlisted' WHERE id = $1", mine.id)
        await make.comment(mine, guest)
        await make.grid([await make.run(mine, ada, state="succeeded")])
        await db.execute("UPDATE pipelines SET visibility = $2 WHERE id = $1", mine.id, visibility)
    await log_in(client, ada)
    for of, (page, form) in lists.items():
        await client.post("/feeds", data=form)
        feed = (await client.get(f"{await address_of(client, page)}.json")).text
        assert "private sketch" not in feed, of
        assert "unlisted sketch" in feed, of
        assert "private sketch" in (await client.get(page)).text, of


async def test_a_collection_that_goes_public_closes_its_private_feed(
    client: httpx.AsyncClient, clients: Any, make: Make, db: Any, log_in: Any
) -> None:
    ada = await make.person("ada")
    page, form = (await lists_of(make, ada))["collection"]
    hidden = await make.pipeline(ada, title="By link alone", visibility="unlisted", published=True)
    await collections.add(UUID(form["collection"]), ada.id, hidden.id)
    await log_in(client, ada)
    told = "closes its private feed"
    assert told not in (await client.get(f"{page}/edit")).text
    await client.post("/feeds", data=form)
    address = await address_of(client, page)
    assert "By link alone" in (await clients().get(f"{address}.json")).text
    assert told in (await client.get(f"{page}/edit")).text
    refused = await client.post(f"{page}/edit", data={"title": "", "visibility": "public"})
    assert refused.status_code == 422
    assert told in refused.text
    await client.post(f"{page}/edit", data={"title": "Kept", "about": "of the sea", "visibility": "private"})
    assert (await clients().get(f"{address}.json")).status_code == 200

    await client.post(f"{page}/edit", data={"title": "Kept", "visibility": "public"})
    for kind in FORMATS:
        gone = await clients().get(f"{address}.{kind}")
        assert gone.status_code == 410
        assert "By link alone" not in gone.text
        assert "By link alone" not in (await clients().get(f"{page}/feed.{kind}")).text
    for again in ({}, {"renew": "1"}):  # a page from before still has the button
        answer = await client.post("/feeds", data={**form, **again})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{page}#feeds")
        assert await db.fetchval("SELECT count(*) FROM feed_keys") == 0
    await client.post(f"{page}/edit", data={"title": "Kept", "visibility": "private"})
    assert await address_of(client, page) == ""
    assert (await clients().get(f"{address}.json")).status_code == 410


async def test_one_s_own_runs_and_grids_say_how_they_stand(
    client: httpx.AsyncClient, make: Make, db: Any, log_in: Any
) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    harbor = await make.pipeline(bo, title="Harbor", published=True)
    secret = await make.pipeline(ada, title="Secret", visibility="private")
    failed = await make.run(harbor, ada, state="failed")
    await make.run(secret, ada, state="running")
    shown = await make.run(harbor, ada, state="succeeded", published=True)
    cells = [await make.run(harbor, ada, state="succeeded"), await make.run(harbor, ada)]
    waiting = await make.grid(cells)
    await make.grid([await make.run(secret, ada, state="succeeded")])
    public = await make.grid([await make.run(harbor, ada, state="succeeded", published=True)], published=True)
    await log_in(client, ada)

    async def items(of: str) -> list[dict[str, Any]]:
        await client.post("/feeds", data={"list": of})
        return list(json_feed.check((await client.get(f"{await address_of(client, f'/{of}')}.json")).content)["items"])

    runs = await items("runs")
    assert [item["title"] for item in runs] == ["Harbor, result 3", "A private pipeline, run 1", "Harbor, run 2"]
    assert [item["url"].rpartition("/")[2] for item in runs][::2] == [str(shown.id), str(failed.id)]
    assert "a red circle" in runs[0]["content_html"]
    assert "It runs." in runs[1]["content_html"]
    assert "It failed." in runs[2]["content_html"]
    assert "a red circle" not in str(runs[1:])
    grids = await items("grids")
    assert [item["title"] for item in grids] == ["Harbor: Seed", "A grid of a private pipeline", "A grid of Harbor"]
    assert grids[0]["url"] == f"http://127.0.0.1:8000/grids/{public}"
    assert "All cells have ended." in grids[1]["content_html"]
    assert "1 of 2 cells ended." in grids[2]["content_html"]
    assert grids[2]["url"] == f"http://127.0.0.1:8000/grids/{waiting}"


MANY = {
    "following": """INSERT INTO pipelines (owner_id, title, visibility, published_at)
        SELECT id, 'Card ' || n, 'public', now() + n * interval '1 min' FROM people, generate_series(1, 59) n
        WHERE handle = 'bo'""",
    "bookmarks": """WITH made AS (INSERT INTO pipelines (owner_id, title, visibility)
            SELECT id, 'Card', 'public' FROM people, generate_series(1, 59) n WHERE handle = 'bo' RETURNING id)
        INSERT INTO bookmarks (person_id, pipeline_id) SELECT p.id, made.id FROM people p, made WHERE handle = 'ada'""",
    "notifications": """WITH said AS (INSERT INTO comments (pipeline_id, author_id, body)
            SELECT p.id, bo.id, 'number ' || n FROM pipelines p JOIN people o ON o.id = p.owner_id AND o.handle = 'ada',
                people bo, generate_series(1, 59) n WHERE bo.handle = 'bo' RETURNING id, author_id)
        INSERT INTO notifications (person_id, kind, actor_id, comment_id)
        SELECT ada.id, 'comment', author_id, said.id FROM said, people ada WHERE ada.handle = 'ada'""",
    "collection": """WITH made AS (INSERT INTO pipelines (owner_id, title, visibility)
            SELECT id, 'Card', 'public' FROM people, generate_series(1, 59) n WHERE handle = 'bo' RETURNING id)
        INSERT INTO collection_items (collection_id, pipeline_id, position) SELECT c.id, made.id, 1
        FROM collections c, made""",
    "runs": """INSERT INTO runs (pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, seed)
        SELECT r.pipeline_id, version_id, r.owner_id, 100 + n, 'many ' || n, '', 1 FROM runs r JOIN people p
        ON p.id = r.owner_id AND p.handle = 'ada', generate_series(1, 59) n WHERE r.state = 'queued'""",
    "grids": """INSERT INTO grids (pipeline_id, version_id, owner_id, idempotency_key, request_sha256, axes, seed)
        SELECT pipeline_id, version_id, owner_id, 'many ' || n, '', axes, 1 FROM grids, generate_series(1, 59) n""",
}
"""59 more things in each of Ada's lists."""


@pytest.mark.parametrize("of", MANY)
async def test_pages_lead_on_and_back(client: httpx.AsyncClient, make: Make, db: Any, log_in: Any, of: str) -> None:
    ada = await make.person("ada")
    page, form = (await lists_of(make, ada))[of]
    await db.execute(MANY[of])
    await log_in(client, ada)
    await client.post("/feeds", data=form)
    answers = [await client.get(f"{await address_of(client, page)}.atom")]
    while onward := link(answers[-1], "next"):
        answers.append(await client.get(onward))
    first, second, third = answers
    assert [len(feedparser.parse(one.content).entries) for one in answers] == [24, 24, 12]
    assert len({entry.id for one in answers for entry in feedparser.parse(one.content).entries}) == 60
    assert link(first, "previous") is None
    assert link(second, "previous") == link(first, "self") == link(third, "first")
    assert link(third, "previous") == link(second, "self")
    rss = await client.get(str(link(third, "self")).replace(".atom", ".rss"))
    assert any(found.rel == "previous" for found in feedparser.parse(rss.content).feed.links)


def link(answer: httpx.Response, rel: str) -> str | None:
    """The address that an Atom feed gives for a relation."""
    root = ElementTree.fromstring(answer.content)
    links = root.findall("{http://www.w3.org/2005/Atom}link")
    return next((one.get("href") for one in links if one.get("rel") == rel), None)


async def test_what_a_following_feed_says(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    harbor = await make.listed(bo, title="Harbor", tags=["sea"])
    await follows.follow_pipeline(ada.id, harbor.id)
    await follows.follow_tag(ada.id, "sea")
    await make.version(harbor, note="*brighter*")
    run = await make.run(harbor, bo, state="succeeded", published=True)
    await log_in(client, ada)
    await client.post("/feeds", data={"list": "following"})
    address = await address_of(client, "/following")
    items = (await client.get(f"{address}.json")).json()["items"]
    assert [item["title"] for item in items] == ["Harbor, result 2", "Harbor, version 2", "Harbor, result 1", "Harbor"]
    assert items[0]["url"] == f"http://127.0.0.1:8000/runs/{run.id}"
    assert items[1]["url"] == f"http://127.0.0.1:8000/pipelines/{harbor.id}/versions/2"
    assert "A new version of “Harbor”, which you follow" in items[1]["content_html"]
    assert "<em>brighter</em>" in items[1]["content_html"]
    assert "Tagged “sea”, which you follow" in items[3]["content_html"]
    for kind in FORMATS:
        assert len(await entries(client, f"{address}.{kind}", kind)) == 4


@pytest.mark.parametrize("kind", FORMATS)
async def test_any_text_makes_a_valid_feed(
    client: httpx.AsyncClient, make: Make, db: Any, log_in: Any, kind: str
) -> None:
    ada = await make.person("ada", name=NASTY)
    lists = await lists_of(make, ada)
    collection = UUID(lists["collection"][1]["collection"])
    await db.execute("UPDATE collection_items SET note = $1", NASTY)
    await db.execute("UPDATE collections SET title = $1", NASTY)
    await db.execute("UPDATE pipelines SET title = $1, description = $1, prompt = $1", NASTY)
    await follows.follow_pipeline(ada.id, await db.fetchval("SELECT id FROM pipelines"))
    await log_in(client, ada)
    addresses = [f"/collections/{collection}/feed"]
    for page, form in lists.values():
        await client.post("/feeds", data=form)
        addresses.append(await address_of(client, page))
    await db.execute("UPDATE collections SET visibility = 'public'")
    for address in addresses:
        for entry in await entries(client, f"{address}.{kind}", kind):
            words = entry.get("content_html") or entry.get("content") or entry["summary"]
            assert "<script" not in str(words)


async def test_a_public_collection_s_feed_goes_by_when_things_came(client: httpx.AsyncClient, make: Make) -> None:
    ada = await make.person("ada")
    made = await collections.create(ada.id, Details("Harbors", "", "public"))
    things = [await make.pipeline(title=f"Card {n}", published=True) for n in range(30)]
    for thing in reversed(things):
        item = await collections.add(made, ada.id, thing.id)
        await collections.move(made, ada.id, item, "first")
    seen: list[str] = []
    url = f"/collections/{made}/feed.json"
    while url:
        feed = json_feed.check((await client.get(url)).content)
        seen += [item["title"] for item in feed["items"]]
        url = feed.get("next_url", "").removeprefix("http://127.0.0.1:8000")
    assert seen == [f"Card {n}" for n in range(30)]
    for kind in FORMATS:
        assert len(await entries(client, f"/collections/{made}/feed.{kind}", kind)) == 24
        assert (await client.get(f"/collections/{made}/feed.{kind}?after=sideways")).status_code == 404
        assert (await client.get(f"/collections/{uuid4()}/feed.{kind}")).status_code == 404
    page = (await client.get(f"/collections/{made}")).text
    for kind, ending in (("rss+xml", "rss"), ("atom+xml", "atom"), ("feed+json", "json")):
        assert (
            f'<link rel="alternate" type="application/{kind}" title="Harbors" href="/collections/{made}/feed.{ending}">'
            in page
        )
