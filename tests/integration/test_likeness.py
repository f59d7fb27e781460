"""Pictures that look almost the same: which are told of, which never are, and where."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from domain import db as database
from domain import likeness, runs
from domain.likeness import MOST, Likeness
from domain.steps import TextToImage, Upscale
from tests.make import Make, Pipeline

GRAY = 0x808080
FULL = (1 << 64) - 1


async def shown(make: Make, phash: int, tint: int = GRAY, **columns: Any) -> Pipeline:
    """A published pipeline whose picture has this likeness."""
    pipeline = await make.pipeline(published=True, **columns)
    assert pipeline.run_id is not None
    await likeness.note(pipeline.run_id)
    await likeness.fill(await picture(pipeline.run_id), Likeness(phash, tint))
    return pipeline


async def picture(run_id: UUID) -> str:
    sha256: str = await database.fetchval(
        """SELECT o.sha256 FROM step_runs s JOIN outputs o ON o.step_run_id = s.id WHERE s.run_id = $1
           ORDER BY s.ordinal DESC LIMIT 1""",
        run_id,
    )
    return sha256


async def like(pipeline: Pipeline) -> list[str]:
    assert pipeline.run_id is not None
    return [one.title for one in await likeness.around(await picture(pipeline.run_id), pipeline.id)]


async def test_the_nearest_come_first_and_the_far_not_at_all(make: Make) -> None:
    sea = await shown(make, 0b0)
    await shown(make, 0b11111111, title="eight")
    await shown(make, 0b111, title="three")
    await shown(make, 0b111111111, title="nine")
    await shown(make, FULL, title="all")
    assert await like(sea) == ["three", "eight"]


async def test_the_highest_bit_is_kept(make: Make) -> None:
    sea = await shown(make, FULL)
    await shown(make, 1 << 63, title="far")
    await shown(make, FULL - 1, title="near")
    assert await like(sea) == ["near"]


async def test_another_color_is_another_picture(make: Make) -> None:
    sea = await shown(make, 5, 0x808080)
    await shown(make, 5, 0x80A080, title="greener")
    await shown(make, 5, 0x809080, title="nearly")
    assert await like(sea) == ["nearly"]


async def test_at_most_four(make: Make) -> None:
    sea = await shown(make, 1)
    for number in range(MOST + 2):
        await shown(make, 1, title=f"Twin {number}")
    assert await like(sea) == [f"Twin {number}" for number in range(MOST)]


async def test_the_very_same_file_in_another_pipeline(make: Make, db: Any) -> None:
    sea = await shown(make, 1)
    twin = await make.pipeline(published=True, title="Reused")
    assert sea.run_id
    assert twin.run_id
    await db.execute(
        "UPDATE outputs SET sha256 = $1 WHERE sha256 = $2", await picture(sea.run_id), await picture(twin.run_id)
    )
    assert await like(sea) == ["Reused"]


async def test_its_own_results_are_not_told_of(make: Make) -> None:
    sea = await shown(make, 1)
    again = await make.run(sea, state="succeeded", published=True)
    await likeness.note(again.id)
    await likeness.fill(await picture(again.id), Likeness(1, GRAY))
    assert await like(sea) == []


HIDDEN = {
    "private": "UPDATE pipelines SET visibility = 'private' WHERE id = $1",
    "unlisted": "UPDATE pipelines SET visibility = 'unlisted' WHERE id = $1",
    "deleted": "UPDATE pipelines SET deleted_at = now() WHERE id = $1",
    "withdrawn": "UPDATE runs SET visibility = 'private', published_at = NULL WHERE pipeline_id = $1",
}


@pytest.mark.parametrize("state", HIDDEN)
async def test_what_is_hidden_is_never_shown(client: httpx.AsyncClient, make: Make, db: Any, state: str) -> None:
    sea = await shown(make, 1)
    secret = await shown(make, 1, title="Secret harbor")
    assert await like(sea) == ["Secret harbor"]
    await db.execute(HIDDEN[state], secret.id)
    assert await like(sea) == []
    assert "Secret" not in (await client.get(f"/pipelines/{sea.id}")).text


async def test_a_private_run_is_told_of_when_published_and_forgotten_when_withdrawn(make: Make, db: Any) -> None:
    sea = await make.pipeline()
    run = await make.run(sea, state="succeeded")
    await runs.publish(run.id, sea.owner_id)
    assert [one.sha256 for one in await likeness.due(10)] == [await picture(run.id)]
    await runs.unpublish(run.id, sea.owner_id)
    assert await db.fetchval("SELECT count(*) FROM likenesses") == 0


async def test_a_picture_that_another_run_shows_too_stays(make: Make, db: Any) -> None:
    sea = await make.pipeline()
    one, two = [await make.run(sea, state="succeeded", color="red") for _ in range(2)]
    for run in (one, two):
        await runs.publish(run.id, sea.owner_id)
    await runs.unpublish(one.id, sea.owner_id)
    assert await db.fetchval("SELECT count(*) FROM likenesses") == 1
    await runs.unpublish(two.id, sea.owner_id)
    assert await db.fetchval("SELECT count(*) FROM likenesses") == 0


async def test_only_the_last_step_counts(make: Make) -> None:
    chain = [TextToImage(prompt="a boat"), Upscale()]
    sea = await make.pipeline(steps=chain, published=True)
    await likeness.missing(UUID(int=0))
    assert sea.run_id
    assert [one.sha256 for one in await likeness.due(10)] == [await picture(sea.run_id)]


async def test_a_walk_finds_what_nobody_noted(make: Make, db: Any) -> None:
    await make.run(await make.pipeline(), state="succeeded")
    sea = await make.pipeline(published=True)
    assert await db.fetchval("SELECT count(*) FROM likenesses") == 0
    last = await likeness.missing(UUID(int=0))
    assert last is not None
    assert await likeness.missing(last) is None
    assert sea.run_id
    assert [one.sha256 for one in await likeness.due(10)] == [await picture(sea.run_id)]


async def test_the_page_names_them_beside_the_picture_they_look_like(
    client: httpx.AsyncClient, make: Make, queries: Any
) -> None:
    sea = await shown(make, 1)
    ada = await make.person(name="Áda <b>")
    twin = await shown(make, 1, owner=ada, title="مرفأ")
    words = (await client.get(f"/pipelines/{sea.id}")).text
    assert "Looks almost the same as" in words
    assert (
        f'<a href="/pipelines/{twin.id}?run={twin.run_id}&amp;output=1"><bdi>مرفأ</bdi></a> by <bdi>Áda &lt;b&gt;'
        in words
    )
    there = await client.get(f"/pipelines/{twin.id}?run={twin.run_id}&output=1")
    assert there.status_code == 200
    with queries:
        await client.get(f"/pipelines/{sea.id}")
    assert queries.count <= 12, queries


async def test_a_page_without_any_says_nothing(client: httpx.AsyncClient, make: Make) -> None:
    sea = await shown(make, 1)
    assert "almost the same" not in (await client.get(f"/pipelines/{sea.id}")).text
