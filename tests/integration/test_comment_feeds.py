"""The three feeds of comments, read back by parsers that are not ours."""

from typing import Any
from uuid import uuid4

import feedparser
import pytest
from defusedxml import ElementTree

from domain import comments, subjects, talk
from tests import json_feed
from tests.make import Make

SITE = "http://127.0.0.1:8000"
ATOM = "{http://www.w3.org/2005/Atom}"
THREAD = "{http://purl.org/syndication/thread/1.0}"
NASTY = "]]> \x07 <script>alert(1)</script> &amp; \ufffe مرحبا \u202e 🦊"


async def test_each_says_who_wrote_what(client: Any, make: Make) -> None:
    bo = await make.person("bo", name="Bo M")
    sea = await make.pipeline(title="Sea")
    first = await make.comment(sea, bo, "*So* calm, @bo")
    answer = await make.comment(sea, await make.person("eve"), "Yes", to=first)
    rss = feedparser.parse((await client.get(f"/pipelines/{sea.id}/comments.rss")).content)
    assert not rss.bozo
    assert [entry.title for entry in rss.entries] == ["eve to Bo M on Sea", "Bo M on Sea"]
    assert rss.entries[1].link == f"{SITE}/comments/{first}"
    assert rss.entries[1].author == "Bo M"
    assert "<em>So</em> calm" in rss.entries[1].content[0].value
    assert f'href="{SITE}/@bo"' in rss.entries[1].content[0].value
    root = ElementTree.fromstring((await client.get(f"/pipelines/{sea.id}/comments.atom")).content)
    newest, oldest = root.findall(f"{ATOM}entry")
    reply = newest.find(f"{THREAD}in-reply-to")
    assert reply is not None
    assert reply.get("ref") == f"urn:uuid:{first}" == oldest.findtext(f"{ATOM}id")
    feed = json_feed.check((await client.get(f"/pipelines/{sea.id}/comments.json")).content)
    assert feed["home_page_url"] == f"{SITE}/pipelines/{sea.id}"
    assert feed["items"][0]["id"] == f"urn:uuid:{answer}"
    assert feed["items"][0]["_offshoot"]["in_reply_to"] == f"{SITE}/comments/{first}"
    assert feed["items"][1]["authors"] == [{"name": "Bo M", "url": f"{SITE}/@bo"}]


@pytest.mark.parametrize("kind", ["rss", "atom", "json"])
async def test_any_words_and_none_make_a_valid_feed(client: Any, make: Make, db: Any, kind: str) -> None:
    sea = await make.pipeline(title=NASTY)
    run = await make.run(sea, state="succeeded", published=True)
    await make.comment(run, await make.person("bo", name=NASTY), NASTY)
    for path in (f"/runs/{run.id}/comments", f"/pipelines/{sea.id}/comments"):
        answer = await client.get(f"{path}.{kind}")
        assert answer.status_code == 200
        if kind == "json":
            items = json_feed.check(answer.content)["items"]
            html = "".join(item["content_html"] for item in items)
        else:
            ElementTree.fromstring(answer.content)
            found = feedparser.parse(answer.content, sanitize_html=False)
            assert not found.bozo
            html = "".join(entry.content[0].value for entry in found.entries)
        assert bool(html) == path.startswith("/runs")
        assert "<script" not in html


async def test_deleted_words_leave_the_feed(client: Any, make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person()
    first = await make.comment(sea, bo, "gone words")
    await make.comment(sea, body="stays", to=first)
    before = await client.get(f"/pipelines/{sea.id}/comments.atom")
    assert "gone words" in before.text
    same = await client.get(f"/pipelines/{sea.id}/comments.atom", headers={"If-None-Match": before.headers["etag"]})
    assert same.status_code == 304
    await comments.delete(first, bo.id, "member")
    after = await client.get(f"/pipelines/{sea.id}/comments.atom", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert "gone words" not in after.text
    assert "stays" in after.text


async def test_pages_link_on_and_back(client: Any, make: Make, db: Any) -> None:
    sea, bo = await make.pipeline(), await make.person()
    await db.execute(
        """INSERT INTO comments (pipeline_id, author_id, body)
           SELECT $1, $2, 'number ' || n FROM generate_series(1, 60) n""",
        sea.id,
        bo.id,
    )
    seen, walked = list[str](), [f"/pipelines/{sea.id}/comments.json"]
    while walked[-1]:
        feed = (await client.get(walked[-1])).json()
        seen += [item["content_html"].strip() for item in feed["items"]]
        walked.append(feed.get("next_url", ""))
    assert seen == [f"<p>number {n}</p>" for n in range(60, 0, -1)]
    assert len(walked) == 4
    subject = await subjects.pipeline(sea.id, None)
    first = await talk.newest(subject)
    second = await talk.newest(subject, first.comments[-1].id)
    third = await talk.newest(subject, second.comments[-1].id)
    assert (first.previous, second.previous, third.previous) == (None, "", first.next)
    assert third.next is None
    for wrong in ("?after=x", "?page=2"):
        assert (await client.get(f"/pipelines/{sea.id}/comments.rss{wrong}")).status_code == 404


async def test_what_not_everybody_may_see_has_none(client: Any, make: Make, log_in: Any) -> None:
    ada = await make.person()
    private = await make.pipeline(ada, visibility="private")
    run = await make.run(await make.pipeline(ada), ada, state="succeeded")
    await log_in(client, ada)
    for path in (f"/pipelines/{private.id}", f"/runs/{run.id}", f"/pipelines/{uuid4()}"):
        for kind in ("rss", "atom", "json"):
            assert (await client.get(f"{path}/comments.{kind}")).status_code == 404
    page = (await client.get(f"/pipelines/{private.id}")).text
    assert "comments.rss" not in page
