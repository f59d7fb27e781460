"""Stars: given, changed, withdrawn; never one's own, never on what one may not see."""

import asyncio
from typing import Any

import pytest

from domain import ranking, ratings
from domain.errors import Invalid, NotFound, Refused
from tests.make import Make


async def columns(db: Any, pipeline_id: Any) -> Any:
    return await db.fetchrow(
        "SELECT rating_count, rating_sum, rating_score, trend, published_at FROM pipelines WHERE id = $1", pipeline_id
    )


async def test_it_gives_changes_and_withdraws(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(published=True)
    ada, bo = await make.person(), await make.person()
    assert await ratings.rate(pipeline.id, ada.id, 5) == ratings.Score(5.0, 1, 5, (0, 0, 0, 0, 1))
    assert await ratings.rate(pipeline.id, bo.id, 2) == ratings.Score(3.5, 2, 2, (0, 1, 0, 0, 1))
    assert await ratings.rate(pipeline.id, ada.id, 4) == ratings.Score(3.0, 2, 4, (0, 1, 0, 1, 0))
    assert await ratings.read(pipeline.id, bo.id) == ratings.Score(3.0, 2, 2, (0, 1, 0, 1, 0))
    assert await ratings.read(pipeline.id, None) == ratings.Score(3.0, 2, None, (0, 1, 0, 1, 0))
    assert await ratings.withdraw(pipeline.id, ada.id) == ratings.Score(2.0, 1, None, (0, 1, 0, 0, 0))
    assert await ratings.withdraw(pipeline.id, ada.id) == ratings.Score(2.0, 1, None, (0, 1, 0, 0, 0))
    row = await columns(db, pipeline.id)
    assert (row["rating_count"], row["rating_sum"]) == (1, 2)
    tally = [0, 1] + [0] * 18
    assert row["rating_score"] == pytest.approx(ranking.score(tally))
    assert row["trend"] == pytest.approx(ranking.trend(ranking.points(tally, 0), row["published_at"]))


async def test_sums_stay_right_when_many_rate_at_once(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(published=True)
    people = [await make.person() for _ in range(8)]
    await asyncio.gather(*(ratings.rate(pipeline.id, one.id, 1 + n % 5) for n, one in enumerate(people * 2)))
    row = await columns(db, pipeline.id)
    stored = await db.fetchrow("SELECT count(*) AS n, sum(stars) AS s FROM ratings WHERE pipeline_id = $1", pipeline.id)
    assert (row["rating_count"], row["rating_sum"]) == (8, stored["s"])
    assert stored["n"] == 8


@pytest.mark.parametrize("visibility", ["public", "unlisted", "private"])
async def test_owner_cannot_rate_their_own_pipeline(make: Make, visibility: str) -> None:
    owner = await make.person()
    pipeline = await make.pipeline(owner, visibility=visibility)
    with pytest.raises(Refused):
        await ratings.rate(pipeline.id, owner.id, 5)
    with pytest.raises(Refused):
        await ratings.withdraw(pipeline.id, owner.id)


async def test_what_one_may_not_see_does_not_exist(make: Make, db: Any) -> None:
    ada = await make.person()
    private = await make.pipeline(visibility="private", published=True)
    deleted = await make.pipeline(published=True)
    await db.execute("UPDATE pipelines SET deleted_at = now() WHERE id = $1", deleted.id)
    for pipeline_id in (private.id, deleted.id, ada.id):
        with pytest.raises(NotFound):
            await ratings.rate(pipeline_id, ada.id, 5)
        with pytest.raises(NotFound):
            await ratings.read(pipeline_id, ada.id)


async def test_unlisted_may_be_rated_by_who_has_the_link(make: Make) -> None:
    pipeline = await make.pipeline(visibility="unlisted", published=True)
    ada = await make.person()
    assert (await ratings.rate(pipeline.id, ada.id, 4)).count == 1


@pytest.mark.parametrize("stars", [0, 6, -1])
async def test_only_one_to_five_stars(make: Make, stars: int) -> None:
    pipeline = await make.pipeline(published=True)
    ada = await make.person()
    with pytest.raises(Invalid):
        await ratings.rate(pipeline.id, ada.id, stars)


HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def test_the_form_redirects_and_answers_htmx_with_itself(client: Any, make: Make, log_in: Any) -> None:
    pipeline = await make.pipeline(published=True)
    await log_in(client, await make.person())
    url = f"/pipelines/{pipeline.id}/rating"
    plain = await client.post(url, data={"stars": "4"})
    assert plain.status_code == 303
    assert plain.headers["location"] == f"/pipelines/{pipeline.id}#rating"
    part = await client.post(url, data={"stars": "5"}, headers=HTMX)
    assert part.status_code == 200
    assert part.text.lstrip().startswith('<div id="rating">')
    assert "5 of 5, saved" in part.text
    assert 'value="5" id="stars-5" checked' in part.text
    gone = await client.post(url, data={"stars": "0"}, headers=HTMX)
    assert "Withdrawn" in gone.text
    assert "Not rated yet" in gone.text
    assert "checked" not in gone.text


async def test_a_results_page_asks_for_stars_and_is_come_back_to(
    client: Any, clients: Any, make: Make, log_in: Any
) -> None:
    owner = await make.person()
    pipeline = await make.pipeline(owner, published=True)
    here = f"/runs/{pipeline.run_id}"
    assert f'href="/login?next={here}">Log in to rate</a>' in (await clients().get(here)).text
    assert 'id="rating"' not in (await (await log_in(clients(), owner)).get(here)).text
    await log_in(client, await make.person())
    page = (await client.get(here)).text
    url = f"/pipelines/{pipeline.id}/rating"
    assert f'<form action="{url}"' in page
    assert f'name="run" value="{pipeline.run_id}"' in page
    sent = {"stars": "4", "run": str(pipeline.run_id)}
    assert (await client.post(url, data=sent)).headers["location"] == f"{here}#rating"
    assert 'value="4" id="stars-4" checked' in (await client.get(here)).text
    part = (await client.post(url, data=sent, headers=HTMX)).text
    assert part.count(f'name="run" value="{pipeline.run_id}"') == 2, "to rate again, and to withdraw"
    assert "hx-partial" not in part, "there are no bars beside a result"
    assert (await client.post(url, data=sent | {"run": "//evil.example"})).status_code == 422


async def test_what_cannot_be_rated_shows_no_stars(client: Any, make: Make, log_in: Any) -> None:
    eve = await make.person()
    pipeline = await make.pipeline()
    failed = await make.run(pipeline, eve, state="failed")
    own = await make.run(pipeline, eve, state="succeeded")
    await log_in(client, eve)
    assert 'id="rating"' not in (await client.get(f"/runs/{failed.id}")).text
    assert 'id="rating"' in (await client.get(f"/runs/{own.id}")).text, "who ran it knows it best"


@pytest.mark.parametrize("stars", ["", "6", "-1", "five", "4.5", "44", "٤"])
async def test_other_numbers_of_stars_are_named(client: Any, make: Make, log_in: Any, stars: str) -> None:
    pipeline = await make.pipeline(published=True)
    await log_in(client, await make.person())
    answer = await client.post(f"/pipelines/{pipeline.id}/rating", data={"stars": stars})
    assert answer.status_code == 422
    assert "one to five stars" in answer.text


async def test_a_vote_by_the_owner_is_refused_in_words(client: Any, make: Make, log_in: Any) -> None:
    owner = await make.person()
    pipeline = await make.pipeline(owner, published=True)
    await log_in(client, owner)
    answer = await client.post(f"/pipelines/{pipeline.id}/rating", data={"stars": "5"})
    assert answer.status_code == 403
    assert "Others rate it" in answer.text


async def test_a_visitor_is_led_to_log_in(client: Any, make: Make) -> None:
    from tests.sessions import with_csrf

    pipeline = await make.pipeline(published=True)
    await with_csrf(client)
    answer = await client.post(f"/pipelines/{pipeline.id}/rating", data={"stars": "5"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
