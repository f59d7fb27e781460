"""Following people, tags and pipelines, and what is new from them."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from domain import following, follows, grids, lists
from domain.errors import NotFound, Refused, TooMany
from tests.make import Make, Pipeline
from tests.queries import Queries

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def told(person: Any, **options: Any) -> list[tuple[str, str, list[str]]]:
    """What is new for somebody: kind, title, ways."""
    page = await following.news(person.id, **options)
    return [(one.kind, one.thing.title, [why.way for why in one.reasons]) for one in page.news]


async def test_the_button_is_on_people_tags_and_pipelines(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    bo = await make.person("bo")
    pipeline = await make.listed(bo, tags=["the sea"])
    await log_in(client, await make.person("ada"))
    for base in ("/@bo", "/tags/the%20sea", f"/pipelines/{pipeline.id}"):
        for followed, pressed in (("1", "true"), ("1", "true"), ("0", "false"), ("0", "false")):
            answer = await client.post(f"{base}/follow", data={"followed": followed})
            assert (answer.status_code, answer.headers["location"]) == (303, f"{base}#follow")
            form = (await client.get(base)).text.partition('id="follow"')[2].partition("</form>")[0]
            assert f'aria-pressed="{pressed}"' in form, base
        part = await client.post(f"{base}/follow", data={"followed": "1"}, headers=HTMX)
        assert part.text.strip().startswith('<form id="follow"')
        assert 'aria-pressed="true"' in part.text
        assert (await client.post(f"{base}/follow", data={"followed": "yes"})).status_code == 422
    listed = (await client.get("/follows")).text
    for words in ('href="/@bo"', 'href="/tags/the%20sea"', f'href="/pipelines/{pipeline.id}"'):
        assert words in listed
    assert "<dt>Followers</dt><dd>1</dd>" in (await client.get("/@bo")).text
    for unknown in ("/@nobody", "/bo", "/tags/!!!", f"/pipelines/{uuid4()}"):
        assert (await client.post(f"{unknown}/follow", data={"followed": "1"})).status_code == 404
    answer = await client.post("/tags/The%20SEA/follow", data={"followed": "0", "next": "/follows"})
    assert answer.headers["location"] == "/follows"
    assert 'href="/tags/the%20sea"' not in (await client.get("/follows")).text


async def test_nobody_follows_themselves(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    with pytest.raises(Refused):
        await follows.follow_person(ada.id, ada.id)
    with pytest.raises(NotFound):
        await follows.follow_person(ada.id, uuid4())
    await log_in(client, ada)
    assert 'id="follow"' not in (await client.get("/@ada")).text


async def test_no_more_than_fit(make: Make, db: Any) -> None:
    ada = await make.person("ada")
    await db.execute(
        "INSERT INTO follows (follower_id, tag) SELECT $1, 'tag ' || n FROM generate_series(1, 1000) n", ada.id
    )
    await follows.follow_tag(ada.id, "tag 7")
    with pytest.raises(TooMany, match="1,000 already"):
        await follows.follow_tag(ada.id, "one more")
    await follows.unfollow_tag(ada.id, "tag 7")
    await follows.follow_tag(ada.id, "one more")


async def test_why_each_is_there(make: Make) -> None:
    ada, bo, cy = [await make.person(handle) for handle in ("ada", "bo", "cy")]
    harbor = await make.listed(cy, title="Harbor", tags=["sea"])
    await follows.follow_person(ada.id, bo.id)
    await follows.follow_tag(ada.id, "night")
    await follows.follow_pipeline(ada.id, harbor.id)
    await make.version(harbor, note="brighter")
    await make.run(harbor, cy, state="succeeded", published=True)
    await make.run(harbor, bo, state="succeeded", published=True)
    await make.listed(bo, title="By bo", tags=["night", "sea"])
    await make.listed(bo, title="Grown by bo", parent=harbor, tags=["night"])
    await make.listed(cy, title="At night", tags=["night"])
    await make.listed(cy, title="Neither", tags=["sea"])
    await make.listed(ada, title="My own", tags=["night"], parent=harbor)
    await make.run(harbor, ada, state="succeeded", published=True)
    assert await told(ada) == [
        ("pipeline", "At night", ["tag"]),
        ("pipeline", "Grown by bo", ["offshoot", "person", "tag"]),
        ("pipeline", "By bo", ["person", "tag"]),
        ("run", "Harbor", ["person", "result"]),
        ("run", "Harbor", ["result"]),
        ("version", "Harbor", ["version"]),
        ("run", "Harbor", ["result"]),
    ]
    page = await following.news(ada.id)
    version = next(one for one in page.news if one.kind == "version")
    assert (version.number, version.note, version.url) == (2, "brighter", f"/pipelines/{harbor.id}/versions/2")
    assert page.followed == 3


async def test_nothing_private_is_new(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    harbor = await make.listed(bo, title="Harbor", tags=["sea"])
    await follows.follow_person(ada.id, bo.id)
    await follows.follow_tag(ada.id, "sea")
    await follows.follow_pipeline(ada.id, harbor.id)
    await make.version(harbor)
    await make.run(harbor, bo, state="succeeded")
    for visibility in ("private", "unlisted"):
        await make.pipeline(bo, visibility=visibility, tags=["sea"], parent=harbor, published=True)
    await make.pipeline(bo, tags=["sea"], published=True, deleted_at=datetime.now(UTC))
    assert [kind for kind, _, _ in await told(ada)] == ["version", "run", "pipeline"]
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", harbor.id)
    assert await told(ada) == []
    (listed, *_) = (await follows.mine(ada.id)).followed
    assert (listed.kind, listed.name) == ("pipeline", "")
    await follows.unfollow_pipeline(ada.id, harbor.id)
    with pytest.raises(NotFound):
        await follows.unfollow_pipeline(ada.id, harbor.id)
    with pytest.raises(NotFound):
        await follows.follow_pipeline(ada.id, harbor.id)


async def test_a_grid_is_one_thing_and_its_cells_are_none(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada, bo, cy = [await make.person(handle) for handle in ("ada", "bo", "cy")]
    harbor = await make.listed(cy, title="Harbor")
    snow = await make.listed(title="Snow")
    await follows.follow_person(ada.id, bo.id)
    await follows.follow_pipeline(ada.id, harbor.id)

    async def grid(of: Pipeline, owner: Any, *, published: bool = True) -> UUID:
        made = await make.grid([await make.run(of, owner, state="succeeded") for _ in range(3)])
        if published:
            await grids.publish(made, owner.id)
        return made

    first = await grid(harbor, bo)
    await grid(harbor, cy)
    await grid(snow, bo)
    await grid(snow, cy)
    await grid(harbor, bo, published=False)
    await grid(harbor, ada)
    assert await told(ada) == [
        ("grid", "Snow", ["person"]),
        ("grid", "Harbor", ["grid"]),
        ("grid", "Harbor", ["grid", "person"]),
        ("run", "Harbor", ["result"]),
    ]
    await log_in(client, ada)
    page = (await client.get("/following")).text
    assert f'<h3><a href="/grids/{first}"><bdi>Harbor</bdi>, a grid: <bdi>Seed</bdi></a></h3>' in page
    assert f'A grid of <a href="/pipelines/{harbor.id}"><bdi>Harbor</bdi></a>, which you follow' in page
    feed = await following.feed(ada.id)
    assert [entry.title for entry in feed.entries] == ["Snow: Seed", "Harbor: Seed", "Harbor: Seed", "Harbor"]
    assert feed.entries[2].path == f"/grids/{first}"
    assert feed.entries[2].handle == "bo"
    assert "A grid of “Harbor”, which you follow" in feed.entries[2].note
    await grids.unpublish(first, bo.id)
    assert ("grid", "Harbor", ["grid", "person"]) not in await told(ada)


async def published(db: Any, owner: Any, count: int, **columns: Any) -> list[UUID]:
    """Listed pipelines, one a minute, oldest first; every second one shares its minute with the one before."""
    start = datetime.now(UTC) - timedelta(minutes=count + 1)
    names = "".join(f", {name}" for name in columns)
    marks = "".join(f", ${number}" for number in range(4, len(columns) + 4))
    sql = f"""INSERT INTO pipelines (owner_id, title, published_at, visibility{names})
        VALUES ($1, $2, $3, 'public'{marks}) RETURNING id"""
    return [
        await db.fetchval(sql, owner.id, f"Card {n}", start + timedelta(minutes=n // 2), *columns.values())
        for n in range(count)
    ]


async def test_pages_neither_skip_nor_repeat(make: Make, db: Any) -> None:
    ada, bo, cy = [await make.person(handle) for handle in ("ada", "bo", "cy")]
    made = await published(db, bo, 20, tags=["sea"]) + await published(db, cy, 21, tags=["sea", "night"])
    await follows.follow_person(ada.id, bo.id)
    await follows.follow_tag(ada.id, "sea")
    await follows.follow_tag(ada.id, "night")
    seen: list[UUID] = []
    after = None
    while True:
        page = await following.news(ada.id, after, limit=6)
        seen += [one.id for one in page.news]
        after = page.next
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 41
    assert set(seen) == set(made)


async def test_the_page(client: httpx.AsyncClient, make: Make, db: Any, log_in: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo", name="Бо")
    await log_in(client, ada)
    assert "You follow nobody yet" in (await client.get("/following")).text
    assert "You follow nobody yet" in (await client.get("/follows")).text
    await follows.follow_person(ada.id, bo.id)
    assert "Nothing new yet" in (await client.get("/following")).text
    await published(db, bo, 30)
    first = (await client.get("/following")).text
    assert '<a href="/@bo"><bdi>@bo</bdi></a>, whom you follow' in first
    more = first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    assert more.startswith("/following?after=")
    part = (await client.get(more, headers=HTMX)).text
    assert "<html" not in part
    assert part.count("<article") == 6
    assert 'hx-target="#pager"' in part
    assert "That was all" in part
    past = lists.encode("newest", datetime(2020, 1, 1, tzinfo=UTC), uuid4(), 24)
    assert "The list ends before this page" in (await client.get(f"/following?after={past}")).text
    for path in ("/following?after=sideways", "/follows?after=sideways"):
        assert (await client.get(path)).status_code == 404


async def test_the_list_of_whom_one_follows_has_pages(
    client: httpx.AsyncClient, make: Make, db: Any, log_in: Any
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    await db.execute(
        "INSERT INTO follows (follower_id, tag) SELECT $1, 'tag ' || n FROM generate_series(1, 101) n", ada.id
    )
    page = (await client.get("/follows")).text
    assert page.count("<tr>") == 101  # the head and a hundred
    more = page.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    assert (await client.get(more)).text.count("<tr>") == 2
    assert "That was all" in (await client.get(f"/follows?after={UUID(int=0)}")).text


@pytest.mark.parametrize("count", [2, 20])
async def test_many_take_as_many_queries_as_few(
    client: httpx.AsyncClient, make: Make, queries: Queries, log_in: Any, count: int
) -> None:
    ada = await make.person("ada")
    for number in range(count):
        pipeline = await make.pipeline(published=True, tags=["sea"])
        await follows.follow_person(ada.id, pipeline.owner_id)
        await follows.follow_pipeline(ada.id, pipeline.id)
        await follows.follow_tag(ada.id, f"tag {number}")
    await log_in(client, ada)
    with queries:
        assert (await client.get("/following")).status_code == 200
    assert queries.count <= 6, queries  # session, whom, what, pipelines, runs, feed


async def test_small_pages_hold_what_one_large_page_holds(make: Make, db: Any) -> None:
    """However many are followed, and however unevenly they publish."""
    ada = await make.person("ada")
    people = [await make.person() for _ in range(9)]
    chance = random.Random(5)
    for number in range(30):
        owner = people[min(chance.randrange(12), 8)]
        pipeline = await make.listed(owner, tags=["sea"] if number % 5 == 0 else [])
        for guest in chance.sample(people, chance.randrange(3)):
            await make.run(pipeline, guest, state="succeeded", published=True)
            if number % 6 == 0:
                await grids.publish(await make.grid([await make.run(pipeline, guest, state="succeeded")]), guest.id)
        if number % 4 == 0:
            await make.version(pipeline)
        if number % 3 == 0:
            await follows.follow_pipeline(ada.id, pipeline.id)
    for person in people[:8]:
        await follows.follow_person(ada.id, person.id)
    await follows.follow_tag(ada.id, "sea")
    whole = (await following.news(ada.id, limit=1000)).news
    assert {one.kind for one in whole} == {"pipeline", "run", "version", "grid"}
    for limit in (1, 5, 7, 24):
        seen: list[following.News] = []
        after: str | None = None
        while True:
            page = await following.news(ada.id, after, limit=limit)
            seen += page.news
            after = page.next
            if after is None:
                break
        assert seen == whole, limit
    back = [await following.feed(ada.id, limit=7)]
    while back[-1].next:
        back.append(await following.feed(ada.id, back[-1].next, limit=7))
    assert [one.previous for one in back] == [None, "", *(one.next for one in back[:-2])]
    assert [entry.id for one in back for entry in one.entries] == [one.id for one in whole]


def rows_read(plan: dict[str, Any]) -> float:
    """How many rows the scans of a plan returned, over all their loops."""
    own = plan["Actual Rows"] * plan["Actual Loops"] if "Relation Name" in plan else 0
    return float(own) + sum(rows_read(part) for part in plan.get("Plans", ()))


async def test_following_five_hundred_reads_a_row_or_two_of_each(make: Make, db: Any, queries: Queries) -> None:
    ada = await make.person("ada")
    await db.execute(
        """INSERT INTO people (email, handle, password_hash)
           SELECT n || '@example.org', 'crowd' || translate(n::text, '01', 'xy'), '!' FROM generate_series(1, 500) n"""
    )
    await db.execute(
        """INSERT INTO pipelines (owner_id, title, visibility, published_at, tags)
           SELECT o.id, 'Card', 'public', now() - make_interval(mins => (n * 500 + hashint4(n) % 500)), '{}'
           FROM people o, generate_series(1, 30) n WHERE o.id <> $1""",
        ada.id,
    )
    await db.execute("INSERT INTO follows (follower_id, person_id) SELECT $1, id FROM people WHERE id <> $1", ada.id)
    await db.execute("ANALYZE pipelines, runs, follows, people")
    with queries:
        page = await following.news(ada.id)
    assert len(page.news) == 24
    (sql,) = [statement for statement in queries.statements if "edge" in statement]
    people = [row["id"] for row in await db.fetch("SELECT id FROM people WHERE id <> $1", ada.id)]
    (told,) = await db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", ada.id, people, [], [])
    assert rows_read(json.loads(told[0])[0]["Plan"]) < 2_500, told[0]
