"""More like this: who is a neighbor, who never is, what the pages show and what it costs."""

import math
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain import cards, neighbors, pipelines
from domain.errors import NotFound
from domain.neighbors import FEW, MANY, SIZE, Due
from domain.pipelines import Details
from domain.steps import Recipe, TextToImage
from tests.make import Make, Pipeline

E = "test@0"


def at(angle: float) -> list[float]:
    """A unit vector at an angle, in degrees, within one plane."""
    turned = math.radians(angle)
    return [math.cos(turned), math.sin(turned)] + [0.0] * (SIZE - 2)


async def place(pipeline: Pipeline, angle: float, encoder: str = E) -> None:
    """Give the pipeline its vector as a worker does."""
    due = [one for one in await neighbors.due(encoder, 1000) if one.pipeline_id == pipeline.id]
    assert len(due) == 1
    await neighbors.fill(encoder, [(due[0], at(angle))])


async def placed(make: Make, angle: float, encoder: str = E, **columns: Any) -> Pipeline:
    pipeline = await make.pipeline(published=True, **columns)
    await place(pipeline, angle, encoder)
    return pipeline


async def ids(pipeline: Pipeline, limit: int = FEW) -> list[UUID]:
    return [card.id for card in await neighbors.around(pipeline.id, limit)]


# -- who is near


async def test_the_nearest_come_first(make: Make) -> None:
    sea = await placed(make, 0)
    order = [(await placed(make, angle)).id for angle in (5, 20, 40)]
    assert await ids(sea) == order


async def test_what_has_nothing_to_do_with_it_is_left_out(make: Make) -> None:
    sea = await placed(make, 0)
    near = await placed(make, 70)
    await placed(make, 75)  # a similarity of 0.26
    assert await ids(sea) == [near.id]


async def test_the_page_has_few_and_the_list_many(make: Make) -> None:
    sea = await placed(make, 0)
    for number in range(FEW + 3):
        await placed(make, number + 1)
    assert len(await ids(sea)) == FEW
    assert len(await ids(sea, MANY)) == FEW + 3


async def test_its_own_line_is_left_out_and_others_send_their_nearest(make: Make) -> None:
    root = await placed(make, 3)
    sea = await placed(make, 0, parent=root)
    await placed(make, 1, parent=sea)
    await placed(make, 2, parent=root)
    other = await placed(make, 30)
    nearest = await placed(make, 20, parent=other)
    assert await ids(sea) == [nearest.id]


async def test_without_a_vector_there_are_none_and_nobody_has_it(make: Make) -> None:
    sea = await placed(make, 0)
    new = await make.pipeline(published=True)
    assert (await ids(new), await ids(sea)) == ([], [])


async def test_vectors_of_another_encoder_say_nothing(make: Make) -> None:
    sea = await placed(make, 0)
    await placed(make, 1, "other@0")
    mine = await placed(make, 2)
    assert await ids(sea) == [mine.id]


# -- who never is


HIDDEN = {
    "private": "UPDATE pipelines SET visibility = 'private' WHERE id = $1",
    "unlisted": "UPDATE pipelines SET visibility = 'unlisted' WHERE id = $1",
    "withdrawn": "UPDATE pipelines SET published_at = NULL WHERE id = $1",
    "deleted": "UPDATE pipelines SET deleted_at = now() WHERE id = $1",
}


@pytest.mark.parametrize("state", HIDDEN)
async def test_what_is_not_listed_is_never_shown(client: httpx.AsyncClient, make: Make, db: Any, state: str) -> None:
    """Even where the vector is still there, because something else than the site hid the pipeline."""
    sea = await placed(make, 0)
    secret = await placed(make, 1, title="Secret harbor", tags=["secretly"])
    assert await ids(sea) == [secret.id]
    await db.execute(HIDDEN[state], secret.id)
    assert await ids(sea) == []
    for path in (f"/pipelines/{sea.id}", f"/pipelines/{sea.id}/similar", f"/pipelines/{sea.id}/similar.json"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "ecret" not in answer.text
        assert str(secret.id) not in answer.text


async def test_hiding_a_pipeline_takes_its_vector_away(make: Make, db: Any) -> None:
    harbor = await placed(make, 0)
    await pipelines.delete(harbor.id, harbor.owner_id)
    assert await db.fetchval("SELECT count(*) FROM embeddings") == 0


@pytest.mark.parametrize("visibility", ["private", "unlisted"])
async def test_what_is_not_public_is_not_even_noted(make: Make, db: Any, visibility: str) -> None:
    sea = await make.pipeline(visibility=visibility, published=True)
    await neighbors.missing(UUID(int=0))
    assert await db.fetchval("SELECT count(*) FROM embeddings") == 0
    assert await ids(sea) == []


# -- what is due


async def test_a_new_pipeline_is_due_with_its_words(make: Make) -> None:
    harbor = await make.pipeline(
        title="Harbor", tags=["sea", "night"], steps=[TextToImage(prompt="a boat")], published=True
    )
    (due,) = await neighbors.due(E, 10)
    assert (due.pipeline_id, due.text) == (harbor.id, "Harbor\na boat\nsea, night")


async def test_only_changed_words_make_it_due_again(make: Make, db: Any) -> None:
    harbor = await placed(make, 0, title="Harbor", steps=[TextToImage(prompt="a boat")])
    await cards.refresh(harbor.id)
    await db.execute("UPDATE pipelines SET description = 'Other words' WHERE id = $1", harbor.id)
    await cards.refresh(harbor.id)
    assert await neighbors.due(E, 10) == []
    details = Details(title="Forest", visibility="public")
    await pipelines.save(harbor.id, harbor.owner_id, details, Recipe(steps=[TextToImage(prompt="a boat")]))
    (due,) = await neighbors.due(E, 10)
    assert due.text.startswith("Forest\n")
    assert await ids(harbor) == []


async def test_words_that_change_while_the_encoder_works_stay_due(make: Make, db: Any) -> None:
    harbor = await make.pipeline(published=True)
    (due,) = await neighbors.due(E, 10)
    await db.execute("UPDATE pipelines SET title = 'Forest' WHERE id = $1", harbor.id)
    await cards.refresh(harbor.id)
    await neighbors.fill(E, [(due, at(0))])
    assert [one.text.partition("\n")[0] for one in await neighbors.due(E, 10)] == ["Forest"]


async def test_another_encoder_makes_everything_due_new_ones_first(make: Make) -> None:
    old = await placed(make, 0)
    new = await make.pipeline(published=True)
    assert [one.pipeline_id for one in await neighbors.due("later@1", 10)] == [new.id, old.id]
    assert {one.pipeline_id for one in await neighbors.due("earlier@1", 10)} == {new.id, old.id}


async def test_words_that_cannot_be_read_are_not_asked_for_again(make: Make) -> None:
    harbor = await make.pipeline(published=True)
    (due,) = await neighbors.due(E, 10)
    await neighbors.fill(E, [(due, None)])
    assert await neighbors.due(E, 10) == []
    assert await ids(harbor) == []


async def test_a_walk_notes_what_nobody_noted(make: Make, db: Any) -> None:
    made = [await make.pipeline(published=True, title=f"Harbor {number}") for number in range(5)]
    await db.execute("DELETE FROM embeddings WHERE pipeline_id <> $1", made[0].id)
    await db.execute("UPDATE pipelines SET title = 'Forest' WHERE id = $1", made[0].id)
    last = await neighbors.missing(UUID(int=0))
    assert last == made[4].id
    assert await neighbors.missing(last) is None
    due = {one.pipeline_id: one.text for one in await neighbors.due(E, 10)}
    assert due.keys() == {one.id for one in made}
    assert due[made[0].id].startswith("Forest")


async def test_filling_for_a_pipeline_that_is_gone_changes_nothing(make: Make, db: Any) -> None:
    harbor = await make.pipeline(published=True)
    await neighbors.fill(E, [(Due(UUID(int=1), "x", "x"), at(0)), (Due(harbor.id, "x", "x"), at(0))])
    assert await db.fetchval("SELECT count(*) FROM embeddings WHERE vector IS NOT NULL") == 0


# -- pages


async def test_the_page_shows_them_with_a_way_to_all(client: httpx.AsyncClient, make: Make) -> None:
    sea = await placed(make, 0)
    await placed(make, 1, title="Nets drying")
    text = (await client.get(f"/pipelines/{sea.id}")).text
    assert "More like this" in text
    assert "Nets drying" in text
    assert f'href="/pipelines/{sea.id}/similar"' in text


async def test_the_page_is_silent_without_any(client: httpx.AsyncClient, make: Make) -> None:
    sea = await placed(make, 0)
    assert "More like this" not in (await client.get(f"/pipelines/{sea.id}")).text


async def test_all_of_them_on_a_page_with_feeds(client: httpx.AsyncClient, make: Make) -> None:
    sea = await placed(make, 0, title="مرفأ <b>")
    names = [f"Boat {number:02}" for number in range(MANY + 2)]
    for number, name in enumerate(names):
        await placed(make, number * 0.5, title=name)
    answer = await client.get(f"/pipelines/{sea.id}/similar")
    assert "<bdi>مرفأ &lt;b&gt;</bdi>" in answer.text
    shown = [name for name in names if name in answer.text]
    assert shown == names[:MANY]
    assert answer.text.index("Boat 00") < answer.text.index("Boat 47")
    feed = (await client.get(f"/pipelines/{sea.id}/similar.json")).json()
    assert [item["title"] for item in feed["items"]] == names[:MANY]
    assert "next_url" not in feed
    for ending in ("rss", "atom", "json"):
        assert f"/pipelines/{sea.id}/similar.{ending}" in answer.text
        kept = await client.get(f"/pipelines/{sea.id}/similar.{ending}")
        again = await client.get(
            f"/pipelines/{sea.id}/similar.{ending}", headers={"If-None-Match": kept.headers["ETag"]}
        )
        assert again.status_code == 304
        assert "Last-Modified" not in kept.headers
        assert (await client.get(f"/pipelines/{sea.id}/similar.{ending}?page=2")).status_code == 404


async def test_an_empty_page_says_why(
    client: httpx.AsyncClient, clients: Any, log_in: Any, make: Make, db: Any
) -> None:
    ada = await make.person()
    hers = await log_in(clients(), ada)
    new = await make.pipeline(published=True)
    assert "Not compared yet" in (await client.get(f"/pipelines/{new.id}/similar")).text
    await place(new, 0)
    assert "Nothing like it yet" in (await client.get(f"/pipelines/{new.id}/similar")).text
    private = await make.pipeline(ada, visibility="private")
    page = await hers.get(f"/pipelines/{private.id}/similar")
    assert "Only public pipelines are compared" in page.text
    assert "similar.rss" not in page.text
    assert (await client.get(f"/pipelines/{private.id}/similar")).status_code == 404


async def test_a_pipeline_that_is_gone_has_no_list(client: httpx.AsyncClient, make: Make) -> None:
    harbor = await placed(make, 0)
    await pipelines.delete(harbor.id, harbor.owner_id)
    for path in (f"/pipelines/{harbor.id}/similar", f"/pipelines/{harbor.id}/similar.rss"):
        assert (await client.get(path)).status_code == 404
    with pytest.raises(NotFound):
        await neighbors.subject(harbor.id, harbor.owner_id)


# -- what it costs


async def test_cards_are_one_query(make: Make, queries: Any) -> None:
    sea = await placed(make, 0)
    for number in range(4):
        await placed(make, number)
    with queries:
        assert len(await ids(sea, MANY)) == 4
    assert queries.count == 1, queries


async def test_the_index_finds_them(make: Make, db: Any) -> None:
    sea = await placed(make, 0)
    explain = "EXPLAIN " + neighbors.sql("p.id", "", FEW).replace("$1", f"'{sea.id}'")
    async with db.transaction():
        await db.execute("SET LOCAL enable_seqscan = off")
        await db.execute("SET LOCAL enable_sort = off")
        plan = "\n".join(row[0] for row in await db.fetch(explain))
    assert "Index Scan using embeddings_near" in plan
