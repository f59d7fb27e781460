"""A tag's list, in any script, with its feeds."""

from typing import Any
from urllib.parse import quote

import pytest

from domain import tags
from domain.errors import Invalid
from tests.make import Make


@pytest.mark.parametrize("tag", ["harbor", "still life", "c++", "море", "夜"])
async def test_a_tag_lists_what_carries_it(client: Any, make: Make, tag: str) -> None:
    await make.pipeline(title="Carries it", tags=[tag, "other"], published=True)
    await make.pipeline(title="Does not", tags=["other"], published=True)
    answer = await client.get(f"/tags/{quote(tag, safe='')}")
    assert answer.status_code == 200
    assert "Carries it" in answer.text
    assert "Does not" not in answer.text
    assert f"<bdi>{tag}</bdi>" in answer.text
    feed = f"/tags/{quote(tag, safe='')}/feed.atom"
    assert f'href="{feed}"' in answer.text
    assert (await client.get(feed)).status_code == 200


async def test_another_spelling_leads_to_the_kept_one(client: Any) -> None:
    answer = await client.get("/tags/Still%20%20LIFE?kind=image")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/tags/still%20life?kind=image"


@pytest.mark.parametrize("tag", ["%3Cscript%3E", "...", "%20", "x" * 40, "a%2Fb"])
async def test_what_cannot_be_a_tag_is_not_found(client: Any, tag: str) -> None:
    assert (await client.get(f"/tags/{tag}")).status_code == 404
    assert (await client.get(f"/tags/{tag}/feed.rss")).status_code == 404


async def test_a_tag_nobody_used_says_so(client: Any) -> None:
    answer = await client.get("/tags/nobody")
    assert answer.status_code == 200
    assert "Nothing tagged “nobody” yet" in answer.text


async def test_orders_kinds_and_pages_stay_within_the_tag(client: Any, make: Make) -> None:
    owner = await make.person()
    for _ in range(25):
        await make.pipeline(owner, tags=["sea"], published=True)
    answer = await client.get("/tags/sea?order=trending")
    assert 'href="/tags/sea?order=trending&amp;kind=image"' in answer.text
    assert 'href="/tags/sea?order=trending&amp;kind=&amp;' not in answer.text
    after = answer.text.partition('id="pager"')[2].partition('href="')[2].partition('"')[0]
    assert after.startswith("/tags/sea?order=trending&amp;after=")
    assert (await client.get(after.replace("&amp;", "&"))).text.count("<article") == 1
    tag = answer.headers["etag"]
    assert (await client.get("/tags/sea?order=trending", headers={"If-None-Match": tag})).status_code == 304


def test_tags_without_end_are_refused() -> None:
    for raw in (map(str, range(500_000)), ["\ufdfa" * 1_000_000]):
        with pytest.raises(Invalid):
            tags.normalize(raw)
