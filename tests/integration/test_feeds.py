"""Every list as RSS 2.0, Atom and JSON Feed, read back by parsers that are not ours."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import feedparser
import pytest
from defusedxml import ElementTree
from pydantic import ValidationError

from domain import cards, collections, feeds, lists, runs
from domain.steps import PromptTemplate
from tests import json_feed
from tests.make import Make
from web import conditional, feed_formats
from web import feeds as feed_pages

FORMATS = ("rss", "atom", "json")
MEDIA = {
    "rss": "application/rss+xml; charset=utf-8",
    "atom": "application/atom+xml; charset=utf-8",
    "json": "application/feed+json; charset=utf-8",
}
ATOM = "{http://www.w3.org/2005/Atom}"
THREAD = "{http://purl.org/syndication/thread/1.0}"
MRSS = "{http://search.yahoo.com/mrss/}"


async def family(make: Make) -> tuple[Any, Any, Any]:
    """A parent and its offshoot by two people, both published, and a collection."""
    ada, bo = await make.person("ada", name="Ada M"), await make.person("bo")
    parent = await make.pipeline(ada, title="Harbor", tags=["sea", "night"], license="CC-BY-SA-4.0", published=True)
    child = await make.pipeline(bo, parent=parent, title="Harbor in snow", description="*So* cold", published=True)
    harbors = await collections.create(ada.id, collections.Details("Harbors", "*All* of them", "public"))
    await collections.add(harbors, ada.id, parent.id)
    return parent, child, bo


def addresses(parent: Any) -> list[str]:
    orders = ("newest", "trending", "best", "top", "offshoots", "grown")
    lists = [f"/gallery/feed.{{}}?order={order}" for order in orders]
    return [
        *lists, "/gallery/feed.{}?kind=image", "/tags/sea/feed.{}", "/@ada/feed.{}",
        "/@ada/runs.{}", "/@ada/offshoots.{}", "/@ada/collections.{}",
        f"/pipelines/{parent.id}/results.{{}}", f"/pipelines/{parent.id}/lineage.{{}}",
    ]  # fmt: skip


async def read(client: Any, url: str) -> Any:
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    found = feedparser.parse(answer.content, response_headers={"content-type": answer.headers["content-type"]})
    assert not found.bozo, found.get("bozo_exception")
    return found


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_list_has_a_feed_that_parses(client: Any, make: Make, kind: str) -> None:
    parent, _, _ = await family(make)
    for address in addresses(parent):
        answer = await client.get(address.format(kind))
        assert answer.status_code == 200, address
        assert answer.headers["content-type"] == MEDIA[kind]
        if kind == "json":
            found = json_feed.check(answer.content)
            assert [name for name in found if name.startswith("_")] == ["_offshoot"]
            count = len(found["items"])
        else:
            ElementTree.fromstring(answer.content)
            found = feedparser.parse(answer.content)
            assert not found.bozo, address
            assert found.version == {"rss": "rss20", "atom": "atom10"}[kind]
            count = len(found.entries)
        assert count >= 1, address


GOOD: dict[str, Any] = {
    "version": "https://jsonfeed.org/version/1.1",
    "title": "Sea",
    "items": [{"id": "1", "content_text": "", "date_published": "2026-01-01T00:00:00Z", "_ours": {}}],
}


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("feed", {"version": "https://jsonfeed.org/version/1"}), ("feed", {"title": None}), ("feed", {"page": 2}),
        ("feed", {"_ours": "text"}), ("feed", {"next_url": "/more"}), ("feed", {"items": GOOD["items"] * 2}),
        ("item", {"id": 1}), ("item", {"date_published": "2026-01-01 00:00"}), ("item", {"image": None}),
        ("item", {"authors": [{}]}), ("item", {"attachments": [{"url": "http://a/b"}]}), ("item", {"tags": [1]}),
    ],
)  # fmt: skip
def test_the_check_of_json_feeds_finds_faults(where: str, wrong: dict[str, Any]) -> None:
    json_feed.check(json.dumps(GOOD).encode())
    bad = GOOD | wrong if where == "feed" else GOOD | {"items": [GOOD["items"][0] | wrong]}
    with pytest.raises(ValidationError):
        json_feed.check(json.dumps(bad).encode())


async def test_rss_carries_picture_prompt_license_and_author(client: Any, make: Make, db: Any) -> None:
    parent, _, _ = await family(make)
    found = await read(client, "/tags/sea/feed.rss")
    (entry,) = found.entries
    artifact = await db.fetchrow(
        "SELECT a.* FROM artifacts a JOIN pipelines p ON p.cover_sha256 = a.sha256 WHERE p.id = $1", parent.id
    )
    assert (entry.title, entry.author, entry.id) == ("Harbor", "Ada M", f"urn:uuid:{parent.id}")
    assert entry.link == f"http://127.0.0.1:8000/pipelines/{parent.id}"
    assert entry.summary == "a red circle"
    assert {tag.term for tag in entry.tags} == {"sea", "night"}
    (enclosure,) = entry.enclosures
    assert enclosure.href == f"http://127.0.0.1:8000/artifacts/{artifact['sha256']}"
    assert (enclosure.type, int(enclosure.length)) == ("image/png", artifact["bytes"])
    assert entry.media_content[0]["width"] == "128"
    assert entry.media_thumbnail[0]["url"].endswith("/320")
    assert entry.media_credit[0]["content"] == "Ada M"
    assert entry.media_license["href"] == "https://creativecommons.org/licenses/by-sa/4.0/"
    assert "<img " in entry.content[0].value
    assert "CC BY-SA 4.0" in entry.content[0].value


async def test_atom_ties_an_offshoot_to_its_parent(client: Any, make: Make) -> None:
    parent, child, _ = await family(make)
    answer = await client.get("/@bo/feed.atom")
    root = ElementTree.fromstring(answer.content)
    (entry,) = root.findall(f"{ATOM}entry")
    reply = entry.find(f"{THREAD}in-reply-to")
    assert reply is not None
    assert reply.attrib == {
        "ref": f"urn:uuid:{parent.id}",
        "href": f"http://127.0.0.1:8000/pipelines/{parent.id}",
        "type": "text/html",
    }
    assert entry.findtext(f"{ATOM}id") == f"urn:uuid:{child.id}"
    assert entry.findtext(f"{ATOM}author/{ATOM}uri") == "http://127.0.0.1:8000/@bo"
    links = {link.get("rel", "alternate"): link.attrib for link in entry.findall(f"{ATOM}link")}
    assert links["enclosure"]["type"] == "image/png"
    assert links["license"]["href"] == "https://creativecommons.org/licenses/by/4.0/"
    assert int(links["enclosure"]["length"]) > 0
    assert "An offshoot of" in (entry.findtext(f"{ATOM}content") or "")


async def test_json_says_how_it_was_made(client: Any, make: Make) -> None:
    parent, child, _ = await family(make)
    feed = (await client.get("/@bo/feed.json")).json()
    (item,) = feed["items"]
    assert feed["home_page_url"] == "http://127.0.0.1:8000/@bo"
    assert item["_offshoot"] == {
        "prompt": "a red circle",
        "model": "starter",
        "seed": 5,
        "pipeline_url": f"http://127.0.0.1:8000/pipelines/{child.id}",
        "parent_url": f"http://127.0.0.1:8000/pipelines/{parent.id}",
        "generation": 2,
        "license": "CC-BY-4.0",
    }
    assert item["attachments"][0]["mime_type"] == "image/png"
    assert item["attachments"][0]["size_in_bytes"] > 0
    assert item["authors"] == [{"name": "bo", "url": "http://127.0.0.1:8000/@bo"}]
    assert "<em>So</em> cold" in item["content_html"]


async def test_results_are_runs_with_their_own_numbers(client: Any, make: Make) -> None:
    parent, _, _ = await family(make)
    second = await make.run(parent, state="succeeded", published=True, seed=77)
    await make.run(parent, state="succeeded")
    feed = (await client.get(f"/pipelines/{parent.id}/results.json")).json()
    assert [item["id"] for item in feed["items"]] == [f"urn:uuid:{second.id}", f"urn:uuid:{parent.run_id}"]
    newest = feed["items"][0]
    assert newest["title"] == "Harbor, result 2"
    assert newest["url"] == f"http://127.0.0.1:8000/runs/{second.id}"
    assert newest["_offshoot"]["seed"] == 77
    assert newest["image"]


async def test_a_result_in_words_is_quoted(client: Any, make: Make) -> None:
    pipeline = await make.pipeline(steps=[PromptTemplate(template="Tea & <rain>")], published=True)
    feed = (await client.get(f"/pipelines/{pipeline.id}/results.json")).json()
    (item,) = feed["items"]
    assert '<blockquote dir="auto">Tea &amp; &lt;rain&gt;</blockquote>' in item["content_html"]
    assert "attachments" not in item


async def test_a_lineage_goes_all_the_way_down(client: Any, make: Make) -> None:
    parent, child, bo = await family(make)
    grandchild = await make.pipeline(bo, parent=child, published=True)
    await make.pipeline(bo, parent=child, visibility="private", published=True)
    await make.pipeline(bo, published=True)
    feed = (await client.get(f"/pipelines/{parent.id}/lineage.json")).json()
    assert [item["id"] for item in feed["items"]] == [f"urn:uuid:{grandchild.id}", f"urn:uuid:{child.id}"]


async def test_a_parent_that_not_everybody_may_see_is_not_named(client: Any, make: Make, db: Any) -> None:
    parent, _, _ = await family(make)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", parent.id)
    for kind in FORMATS:
        answer = await client.get(f"/@bo/feed.{kind}")
        assert str(parent.id) not in answer.text
        assert "Harbor in snow" in answer.text
    for kind in FORMATS:
        assert (await client.get(f"/pipelines/{parent.id}/results.{kind}")).status_code == 404
        assert (await client.get(f"/pipelines/{parent.id}/lineage.{kind}")).status_code == 404


async def test_an_unlisted_pipeline_can_be_followed_but_is_in_no_list(client: Any, make: Make) -> None:
    owner = await make.person("ada")
    pipeline = await make.pipeline(owner, visibility="unlisted", published=True)
    assert len((await client.get(f"/pipelines/{pipeline.id}/results.json")).json()["items"]) == 1
    for address in ("/gallery/feed.json", "/@ada/feed.json"):
        assert (await client.get(address)).json()["items"] == []


@pytest.mark.parametrize("kind", FORMATS)
async def test_an_empty_feed_is_valid_too(client: Any, kind: str) -> None:
    answer = await client.get(f"/gallery/feed.{kind}")
    assert answer.status_code == 200
    if kind == "json":
        assert json_feed.check(answer.content)["items"] == []
    else:
        assert not feedparser.parse(answer.content).bozo


NASTY = "]]> \x07\x0b <script>alert(1)</script> &amp; \ufffe مرحبا \u202e 🦊 ]]"


@pytest.mark.parametrize("kind", FORMATS)
async def test_any_text_makes_a_valid_feed(client: Any, make: Make, db: Any, kind: str) -> None:
    owner = await make.person("ada", name=NASTY)
    pipeline = await make.pipeline(owner, title=NASTY, description=NASTY, tags=["sea"], published=True)
    await db.execute("UPDATE pipelines SET prompt = $2, cover_text = $2 WHERE id = $1", pipeline.id, NASTY)
    for address in ("/tags/sea/feed", "/@ada/feed", f"/pipelines/{pipeline.id}/results"):
        answer = await client.get(f"{address}.{kind}")
        assert answer.status_code == 200
        if kind == "json":
            html = json_feed.check(answer.content)["items"][0]["content_html"]
        else:
            ElementTree.fromstring(answer.content)
            found = feedparser.parse(answer.content, sanitize_html=False)
            assert not found.bozo
            assert "مرحبا" in found.entries[0].title
            html = found.entries[0].content[0].value
        assert "<script" not in html
        assert "\x07" not in html


def test_lone_surrogates_leave_no_trace() -> None:
    assert feed_formats.clean("a\ud800b\x00c\ufffed\t\n") == "a�b�c�d\t\n"


async def listed(db: Any, owner: Any, count: int) -> None:
    for n in range(count):
        at = datetime.now(UTC) - timedelta(minutes=count - n)
        await db.execute(
            "INSERT INTO pipelines (owner_id, title, published_at, visibility) VALUES ($1, $2, $3, 'public')",
            owner.id, f"Card {n}", at,
        )  # fmt: skip


async def test_pages_link_on_and_back(client: Any, make: Make, db: Any) -> None:
    await listed(db, await make.person("ada"), 60)
    for base in ("/gallery/feed", "/@ada/feed"):
        seen: list[str] = []
        walked = [f"{base}.json"]
        while walked[-1]:
            feed = (await client.get(walked[-1])).json()
            seen += [item["title"] for item in feed["items"]]
            walked.append(feed.get("next_url", ""))
        assert seen == [f"Card {n}" for n in reversed(range(60))]
        assert len(walked) == 4
    first = await client.get("/gallery/feed.atom")
    second = await client.get(_link(first, "next"))
    third = await client.get(_link(second, "next"))
    assert _link(third, "next") is None
    assert _link(first, "previous") is None
    assert _link(second, "previous") == _link(first, "self") == _link(third, "first")
    assert _link(third, "previous") == _link(second, "self")
    rss = await read(client, "/gallery/feed.rss?order=trending")
    assert any(link.rel == "next" and "order=trending&after=" in link.href for link in rss.feed.links)


def _link(answer: Any, rel: str) -> str | None:
    root = ElementTree.fromstring(answer.content)
    return next((link.get("href") for link in root.findall(f"{ATOM}link") if link.get("rel") == rel), None)


async def test_results_and_lineage_page_too(make: Make) -> None:
    parent = await make.pipeline(published=True)
    for _ in range(4):
        await make.run(parent, state="succeeded", published=True)
        await make.pipeline(parent=parent, published=True)
    for ask, total in ((feeds.of_results, 5), (feeds.of_lineage, 4)):
        pages, after = [], None
        while True:
            pages.append(await ask(parent.id, after, limit=2))
            after = pages[-1].next
            if after is None:
                break
        entries = [entry.id for found in pages for entry in found.entries]
        assert len(entries) == len(set(entries)) == total
        assert pages[0].previous is None
        assert pages[1].previous == ""
        if len(pages) == 3:
            assert pages[2].previous == pages[0].next
        past = lists.encode("newest", datetime(2020, 1, 1, tzinfo=UTC), uuid4(), total)
        empty = await ask(parent.id, past, limit=2)
        assert empty.entries == []
        assert empty.previous is not None


async def test_a_page_past_the_end_of_a_list_knows_the_way_back(make: Make, db: Any) -> None:
    await listed(db, await make.person(), 3)
    past = lists.encode("newest", datetime(2020, 1, 1, tzinfo=UTC), uuid4(), 3)
    found = await feeds.of_list(lists.Filter(), past, limit=2)
    assert (found.entries, found.next) == ([], None)
    assert found.previous


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "address",
    [
        "/gallery/feed.{}?page=999", "/gallery/feed.{}?after=999", "/gallery/feed.{}?order=worst",
        "/gallery/feed.{}?kind=gif", "/tags/sea/feed.{}?page=2", "/@ada/feed.{}?order=best", "/@nobody/feed.{}",
        "/ada/feed.{}", "/@nobody/runs.{}", "/ada/offshoots.{}", "/@ada/collections.{}?after=999",
        "/@ada/runs.{}?tab=runs", "/pipelines/00000000-0000-7000-8000-000000000000/results.{}",
        "/pipelines/x/lineage.{}",
    ],
)  # fmt: skip
async def test_what_does_not_exist_is_not_found(client: Any, make: Make, kind: str, address: str) -> None:
    await make.person("ada")
    answer = await client.get(address.format(kind))
    assert answer.status_code == 404
    if "page=" in address or "after=" in address:
        assert "There is no such page" in answer.text


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_reader_that_has_it_gets_304(client: Any, make: Make, db: Any, kind: str) -> None:
    parent, _, _ = await family(make)
    for address in (f"/gallery/feed.{kind}", f"/pipelines/{parent.id}/results.{kind}"):
        first = await client.get(address)
        tag, dated = first.headers["etag"], first.headers["last-modified"]
        assert (await client.get(address)).content == first.content
        for headers in ({"If-None-Match": tag}, {"If-None-Match": f'"x", W/{tag}', "If-Modified-Since": dated}):
            again = await client.get(address, headers=headers)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        for headers in ({"If-None-Match": '"x"', "If-Modified-Since": dated}, {"If-Modified-Since": "soon"}):
            assert (await client.get(address, headers=headers)).status_code == 200
    await make.pipeline(published=True)
    answer = await client.get(f"/gallery/feed.{kind}", headers={"If-None-Match": tag})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_date_hides_no_change(client: Any, make: Make, db: Any, kind: str) -> None:
    ada = await make.person("ada")
    pipeline = await make.pipeline(ada, published=True)
    newest = await make.run(pipeline, ada, state="succeeded", published=True)
    addresses = (f"/gallery/feed.{kind}", f"/@ada/feed.{kind}", f"/pipelines/{pipeline.id}/results.{kind}")
    for withdraw in (newest.id, pipeline.run_id):
        before = {address: await client.get(address) for address in addresses}
        await runs.unpublish(withdraw, ada.id)
        for address, first in before.items():
            again = await client.get(address, headers={"If-Modified-Since": first.headers["last-modified"]})
            assert again.status_code == 200, address
            assert again.content != first.content, address


async def test_asking_again_at_once_costs_no_query(
    client: Any, make: Make, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditional, "FRESH", 60.0)
    monkeypatch.setattr(feed_pages, "KEPT", 1)
    await make.pipeline(published=True)
    for address in ("/gallery/feed.atom", "/gallery/feed.rss?order=trending"):
        first = await client.get(address)
        with queries:
            again = await client.get(address, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert queries.count == 0, queries
    feed_pages._known.clear()


async def test_only_a_list_by_time_is_dated(client: Any, make: Make) -> None:
    await make.pipeline(published=True)
    answer = await client.get("/gallery/feed.rss?order=trending")
    assert "last-modified" not in answer.headers
    again = await client.get(
        "/gallery/feed.rss?order=trending", headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}
    )
    assert again.status_code == 200


async def test_ids_stay_when_titles_and_covers_change(client: Any, make: Make, db: Any) -> None:
    parent, _, _ = await family(make)
    before = (await client.get("/@ada/feed.json")).json()["items"][0]
    await db.execute("UPDATE pipelines SET title = 'Other', updated_at = now() WHERE id = $1", parent.id)
    await make.run(parent, state="succeeded", published=True)
    await cards.refresh(parent.id)
    after = (await client.get("/@ada/feed.json")).json()["items"][0]
    assert before["id"] == after["id"]
    assert before["date_published"] == after["date_published"]
    assert before["date_modified"] < after["date_modified"]
    assert after["title"] == "Other"


async def test_lists_tell_readers_where_their_feeds_are(client: Any, make: Make) -> None:
    parent, _, _ = await family(make)
    pages = (
        "/",
        "/?order=best&kind=image",
        "/?tag=sea",
        "/?tag=sea&kind=image",
        "/tags/sea",
        "/@ada",
        "/@ada?tab=runs",
        "/@ada?tab=offshoots",
        "/@ada?tab=collections",
        f"/pipelines/{parent.id}",
    )
    for page in (*pages, f"/pipelines/{parent.id}/lineage"):
        html = (await client.get(page)).text
        for kind in ("rss+xml", "atom+xml", "feed+json"):
            at = html.index(f'<link rel="alternate" type="application/{kind}"')
            href = html[at:].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
            assert (await client.get(href)).status_code == 200
            assert f'href="{href.replace("&", "&amp;")}" type="application/{kind}"' in html
            assert ("/tags/sea/feed." in href) is ("sea" in page)
            assert ("kind=image" in href) is ("kind=image" in page)
            assert "tab=" not in page or page.partition("tab=")[2] in href


def test_json_feeds_hold_no_nulls() -> None:
    empty = feed_formats.Channel("s", "n", "t", "a", "h", "s", "f", "", "", datetime(2026, 1, 1, tzinfo=UTC), [])
    assert None not in json.loads(feed_formats.json(empty)).values()
