"""Reviews: words beside the stars; written, changed and withdrawn with them, listed, paged and followed."""

import re
from typing import Any

import feedparser
import pytest

from domain import feeds, ratings, reviews
from domain.errors import Invalid, NotFound, Refused
from tests.json_feed import check
from tests.make import Make, Pipeline
from tests.queries import Queries

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}
ARABIC = "ميناء جميل جدا"


async def written(make: Make, pipeline: Pipeline, how_many: int) -> None:
    for n in range(how_many):
        await ratings.rate(pipeline.id, (await make.person(f"critic{n}")).id, 1 + n % 5, f"Review number {n}")


async def test_a_review_comes_changes_and_goes_with_the_rating(make: Make) -> None:
    sea, ada = await make.pipeline(published=True), await make.person("ada", name="Ada M")
    score = await ratings.rate(sea.id, ada.id, 4, "  *Calm* water \n")
    assert (score.yours, score.review) == (4, "*Calm* water")
    (first,) = await reviews.newest(sea.id)
    assert (first.handle, first.shown, first.stars, first.text) == ("ada", "Ada M", 4, "*Calm* water")
    assert first.at == first.updated_at

    assert (await ratings.rate(sea.id, ada.id, 5)).review == "*Calm* water"
    await ratings.rate(sea.id, ada.id, 5, "Rough water")
    (second,) = await reviews.newest(sea.id)
    assert (second.stars, second.text, second.at) == (5, "Rough water", first.at)
    assert second.updated_at > second.at

    assert (await ratings.rate(sea.id, ada.id, 5, "")).yours == 5
    assert await reviews.newest(sea.id) == []
    await ratings.rate(sea.id, ada.id, 5, "Again")
    await ratings.withdraw(sea.id, ada.id)
    assert await reviews.newest(sea.id) == []


async def test_who_may_review_what(make: Make) -> None:
    owner, ada = await make.person(), await make.person()
    sea, private = await make.pipeline(owner), await make.pipeline(owner, visibility="private")
    with pytest.raises(Refused):
        await ratings.rate(sea.id, owner.id, 5, "Mine is best")
    with pytest.raises(NotFound):
        await ratings.rate(private.id, ada.id, 5, "Guessed it")
    with pytest.raises(NotFound):
        await reviews.subject(private.id, ada.id)
    assert (await reviews.subject(private.id, owner.id)).mine
    await ratings.rate(sea.id, ada.id, 5, "x" * 2_000)
    with pytest.raises(Invalid) as error:
        await ratings.rate(sea.id, ada.id, 6, "x" * 2_001)
    assert error.value.fields == {"stars": "From 1 to 5 stars", "review": "At most 2,000 characters; this has 2,001"}


async def test_pages_neither_skip_nor_repeat(make: Make) -> None:
    sea = await make.pipeline(published=True)
    await written(make, sea, 7)
    first = await reviews.page(sea.id, limit=3)
    await ratings.rate(sea.id, (await make.person("late")).id, 3, "Came later")
    await ratings.rate(sea.id, (await make.person("silent")).id, 3)
    second = await reviews.page(sea.id, first.next, limit=3)
    third = await reviews.page(sea.id, second.next, limit=3)
    handles = [one.handle for part in (first, second, third) for one in part.reviews]
    assert handles == [f"critic{n}" for n in range(6, -1, -1)]
    assert (first.first, second.first, third.first, third.next) == (1, 4, 7, None)
    with pytest.raises(NotFound):
        await reviews.page(sea.id, "nonsense")


async def test_the_page_of_a_pipeline_nobody_reviewed(client: Any, make: Make) -> None:
    sea = await make.pipeline(published=True)
    page = await client.get(f"/pipelines/{sea.id}")
    assert "No reviews yet." in page.text
    assert "5 stars" in page.text
    listed = await client.get(f"/pipelines/{sea.id}/reviews")
    assert "No reviews yet" in listed.text
    assert "Not rated yet." in listed.text
    assert f"/login?next=/pipelines/{sea.id}/reviews" in listed.text
    assert "<textarea" not in listed.text
    assert (await client.get(f"/pipelines/{sea.id}/reviews?after=x")).status_code == 404


async def test_the_owner_sees_reviews_and_no_form(client: Any, make: Make, log_in: Any) -> None:
    owner = await make.person()
    sea = await make.pipeline(owner, published=True)
    await ratings.rate(sea.id, (await make.person("bo")).id, 2, "Too dark")
    await log_in(client, owner)
    page = await client.get(f"/pipelines/{sea.id}/reviews")
    assert "Too dark" in page.text
    assert "<textarea" not in page.text
    answer = await client.post(f"/pipelines/{sea.id}/reviews", data={"stars": "5", "review": "Best"})
    assert answer.status_code == 403
    assert "Others rate it" in answer.text


async def test_writing_editing_and_withdrawing_by_plain_forms(client: Any, make: Make, log_in: Any) -> None:
    sea, ada = await make.pipeline(published=True, title="Sea"), await make.person("ada")
    await log_in(client, ada)
    url = f"/pipelines/{sea.id}/reviews"
    sent = await client.post(url, data={"stars": "4", "review": "First **line**\r\n\r\nsecond"})
    assert (sent.status_code, sent.headers["location"]) == (303, f"{url}#yours")
    for path in (url, f"/pipelines/{sea.id}"):
        page = await client.get(path)
        assert "<p>First <strong>line</strong></p>" in page.text, path
        assert '<article class="comment" id="by-ada">' in page.text
    assert "First **line**\n\nsecond</textarea>" in (await client.get(url)).text
    assert "Edit your review" in (await client.get(f"/pipelines/{sea.id}")).text

    await client.post(url, data={"stars": "2", "review": "Changed my mind"})
    text = (await client.get(url)).text
    assert "Changed my mind" in text
    assert ", edited" in text
    assert 'value="2" id="stars-2" checked' in text

    gone = await client.post(f"/pipelines/{sea.id}/rating", data={"stars": "0"})
    assert gone.status_code == 303
    text = (await client.get(url)).text
    assert "Changed my mind" not in text
    assert "Not rated yet" in text


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"review": "No stars"}, "Choose one to five stars"),
        ({"stars": "9", "review": "No stars"}, "Choose one to five stars"),
        ({"stars": "٤", "review": "No stars"}, "Choose one to five stars"),
        ({"stars": "4", "review": "No stars" + "x" * 2_000}, "At most 2,000 characters; this has 2,008"),
        ({"stars": "4", "review": "No stars\x00"}, "A character that cannot be stored"),
    ],
)
async def test_bad_input_is_named_and_kept(
    client: Any, make: Make, log_in: Any, form: dict[str, str], words: str
) -> None:
    sea = await make.pipeline(published=True)
    await log_in(client, await make.person())
    answer = await client.post(f"/pipelines/{sea.id}/reviews", data=form)
    assert answer.status_code == 422
    assert words in answer.text
    assert "No stars" in re.search(r"<textarea.*?</textarea>", answer.text, re.DOTALL)[0]
    assert "Not saved yet" in answer.text
    assert (await ratings.read(sea.id, None)).count == 0


async def test_other_fields_are_refused(client: Any, make: Make, log_in: Any) -> None:
    sea = await make.pipeline(published=True)
    await log_in(client, await make.person())
    answer = await client.post(f"/pipelines/{sea.id}/reviews", data={"stars": "4", "standing": "3"})
    assert answer.status_code == 422
    assert (await ratings.read(sea.id, None)).count == 0


async def test_markup_and_scripts_of_every_direction(client: Any, make: Make) -> None:
    sea = await make.pipeline(published=True)
    tricks = '<script>alert(1)</script> [x](javascript:alert(2)) <b hx-get="/">b</b> ![p](http://x/y.png)'
    await ratings.rate(sea.id, (await make.person("eve", name=f"<i>{ARABIC}</i>")).id, 1, tricks)
    await ratings.rate(sea.id, (await make.person("noor")).id, 5, ARABIC + "\n\n" + "long" * 400)
    for path in (f"/pipelines/{sea.id}", f"/pipelines/{sea.id}/reviews"):
        text = (await client.get(path)).text
        assert "<script>alert" not in text
        assert 'href="javascript:' not in text
        assert "<b hx-get" not in text
        assert "y.png" not in text or '<img src="http' not in text
        assert f"<bdi>&lt;i&gt;{ARABIC}&lt;/i&gt;</bdi>" in text
        assert f'<div class="prose" dir="auto"><p>{ARABIC}</p>' in text


async def test_htmx_appends_the_next_reviews(client: Any, make: Make) -> None:
    sea = await make.pipeline(published=True)
    await written(make, sea, reviews.PAGE + 2)
    page = (await client.get(f"/pipelines/{sea.id}/reviews")).text
    following = re.search(r'rel="next" hx-get="([^"]+)"', page)[1]
    assert f'<link rel="next" href="{following}">' in page
    assert "1 to 20" in page
    part = (await client.get(following, headers=HTMX)).text
    assert "<html" not in part
    assert part.count("<article") == 2
    assert 'hx-target="#pager"' in part
    whole = (await client.get(following)).text
    assert "21 to 22 of 22" in whole


async def test_the_number_of_queries(client: Any, make: Make, queries: Queries, log_in: Any) -> None:
    sea = await make.pipeline(published=True)
    await written(make, sea, 5)
    with queries:
        await client.get(f"/pipelines/{sea.id}/reviews")
    assert queries.count <= 2, queries
    with queries:
        await client.get(f"/pipelines/{sea.id}")
    assert queries.count <= 13, queries
    await log_in(client, await make.person())
    with queries:
        await client.post(f"/pipelines/{sea.id}/reviews", data={"stars": "3", "review": "Fine"})
    assert queries.count <= 9, queries


@pytest.mark.parametrize("kind", ["rss", "atom", "json"])
async def test_reviews_have_feeds(client: Any, make: Make, kind: str) -> None:
    sea = await make.pipeline(published=True, title="Sea & sky")
    await written(make, sea, 2)
    await ratings.rate(sea.id, (await make.person("silent")).id, 3)
    other = await make.pipeline(published=True)
    critic = await make.person("both")
    for one in (sea, other):
        await ratings.rate(one.id, critic.id, 5, "**Both** are good")
    url = f"/pipelines/{sea.id}/reviews.{kind}"
    page = await client.get(f"/pipelines/{sea.id}/reviews")
    assert page.text.count(f'href="{url}"') == 2
    answer = await client.get(url)
    assert answer.status_code == 200
    if kind == "json":
        found = check(answer.content)
        ids = [item["id"] for item in found["items"]]
        assert found["items"][0]["title"] == "Sea & sky: 5 of 5"
        assert found["items"][0]["url"].endswith(f"/pipelines/{sea.id}/reviews#by-both")
        assert found["items"][0]["authors"][0]["name"] == "both"
        assert "<strong>Both</strong> are good" in found["items"][0]["content_html"]
    else:
        found = feedparser.parse(answer.content)
        assert not found.bozo
        ids = [entry.id for entry in found.entries]
        assert found.entries[0].link.endswith(f"/pipelines/{sea.id}/reviews#by-both")
    assert len(set(ids)) == 3
    (elsewhere,) = (await feeds.of_reviews(other.id)).entries
    assert f"urn:uuid:{elsewhere.id}" not in ids


async def test_feeds_of_reviews_page(make: Make) -> None:
    sea = await make.pipeline(published=True)
    await written(make, sea, 5)
    first = await feeds.of_reviews(sea.id, limit=2)
    second = await feeds.of_reviews(sea.id, first.next, limit=2)
    third = await feeds.of_reviews(sea.id, second.next, limit=2)
    assert [e.handle for page in (first, second, third) for e in page.entries] == [
        f"critic{n}" for n in range(4, -1, -1)
    ]
    assert (second.previous, third.previous, third.next) == ("", first.next, None)


async def test_a_private_pipelines_reviews_have_neither_page_nor_feed(client: Any, make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    await written(make, sea, 1)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", sea.id)
    for ending in ("", ".rss", ".atom", ".json"):
        assert (await client.get(f"/pipelines/{sea.id}/reviews{ending}")).status_code == 404


async def test_the_bars_follow_the_stars(client: Any, make: Make, log_in: Any) -> None:
    sea = await make.pipeline(published=True)
    for n in range(3):
        await ratings.rate(sea.id, (await make.person()).id, 4 if n else 1)
    text = (await client.get(f"/pipelines/{sea.id}")).text
    assert re.findall(r'<rect width="([\d.]+)%" height="100%"/></svg></td><td class="n">(\d+)', text) == [
        ("0.0", "0"), ("66.7", "2"), ("0.0", "0"), ("0.0", "0"), ("33.3", "1"),
    ]  # fmt: skip
    await log_in(client, await make.person())
    part = (await client.post(f"/pipelines/{sea.id}/rating", data={"stars": "4"}, headers=HTMX)).text
    assert 'hx-target="#spread"' in part
    assert 'width="75.0%"' in part


async def test_how_ratings_count_is_told_with_the_numbers_in_use(client: Any) -> None:
    page = await client.get("/help/ranking")
    assert page.status_code == 200
    for words in ("Here for 30 days", "Here for 7 days", "no end", ">10<", "5 imagined votes of 3 stars"):
        assert words in page.text, words
