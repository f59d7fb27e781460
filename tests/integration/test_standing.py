"""What votes weigh: found when they are given and again when it is due, by index, whoever is many."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest

from domain import cards, gallery, ranking, ratings, standings
from domain.people import Person
from domain.ranking import BREADTH, OFTEN, Standing
from tasks.dispatcher import Dispatcher
from tests.make import Make, Pipeline
from tests.queries import Queries

NEW, CLOSE, SETTLED, PROVEN = Standing


async def joined(db: Any, *people: Person, days: float) -> None:
    """Have the people been here for so long."""
    ids = [one.id for one in people]
    await db.execute("UPDATE people SET created_at = now() - $2 * interval '1 day' WHERE id = ANY($1)", ids, days)


async def proven(make: Make, db: Any, handle: str = "") -> Person:
    one = await make.person(handle)
    await joined(db, one, days=60)
    await make.pipeline(one, published=True)
    await db.execute("UPDATE pipelines SET published_at = now() WHERE owner_id = $1", one.id)
    return one


async def standings_of(db: Any, pipeline: Pipeline) -> dict[UUID, Standing]:
    rows = await db.fetch("SELECT person_id, standing FROM ratings WHERE pipeline_id = $1", pipeline.id)
    return {row["person_id"]: Standing(row["standing"]) for row in rows}


async def settle(db: Any) -> None:
    """Weigh every vote now, as months of housekeeping would."""
    await db.execute("UPDATE ratings SET weigh_at = now() - interval '1 s'")
    for _ in range(100):
        if not await standings.reweigh(50):
            return
    raise AssertionError("votes stay due")


async def row_of(db: Any, pipeline: Pipeline) -> dict[str, Any]:
    row = await db.fetchrow(
        """SELECT rating_tally, rating_count, rating_sum, rating_score, trend, offshoot_tally,
           coalesce(published_at, created_at) AS since FROM pipelines WHERE id = $1""",
        pipeline.id,
    )
    return dict(row)


async def check(db: Any, pipeline: Pipeline) -> None:
    """The stored numbers are those of the stored votes."""
    row = await row_of(db, pipeline)
    counts = [0] * 20
    for one in await db.fetch("SELECT standing, stars FROM ratings WHERE pipeline_id = $1", pipeline.id):
        counts[one["standing"] * 5 + one["stars"] - 1] += 1
    assert row["rating_tally"] == counts
    assert (row["rating_count"], row["rating_sum"]) == (sum(counts), ranking.total(counts))
    assert row["rating_score"] == pytest.approx(ranking.score(counts))
    expected = ranking.trend(ranking.points(counts, ranking.grown(row["offshoot_tally"])), row["since"])
    assert row["trend"] == pytest.approx(expected)


async def test_a_vote_has_its_givers_standing(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    fresh, settled, old, published = await make.person(), await make.person(), await make.person(), None
    await joined(db, settled, days=8)
    await joined(db, old, days=400)
    published = await proven(make, db)
    young = await make.person()
    await make.pipeline(young, published=True)
    for one in (fresh, settled, old, published, young):
        await ratings.rate(sea.id, one.id, 5)
    assert await standings_of(db, sea) == {
        fresh.id: NEW, settled.id: SETTLED, old.id: SETTLED, published.id: PROVEN, young.id: NEW,
    }  # fmt: skip
    await check(db, sea)


async def test_votes_grow_up_with_their_givers(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    ada = await make.person()
    await make.pipeline(ada, published=True)
    await db.execute("UPDATE pipelines SET published_at = now() WHERE owner_id = $1", ada.id)
    await ratings.rate(sea.id, ada.id, 5)
    due = "SELECT extract(epoch FROM weigh_at - now()) / 86400 FROM ratings"
    assert float(await db.fetchval(due)) == pytest.approx(7, abs=0.01)
    assert await standings.reweigh() == 0
    for days, expected, next_look in ((8, SETTLED, 22), (31, PROVEN, 30)):
        await joined(db, ada, days=days)
        await db.execute("UPDATE ratings SET weigh_at = now() - interval '1 s'")
        assert await standings.reweigh() == 1
        assert await standings.reweigh() == 0
        assert await standings_of(db, sea) == {ada.id: expected}
        assert float(await db.fetchval(due)) == pytest.approx(next_look, abs=0.01)
        await check(db, sea)


async def test_who_rates_one_owner_only_is_close_to_them(make: Make, db: Any) -> None:
    owner, fan = await make.person(), await proven(make, db)
    made = [await make.pipeline(owner, published=True) for _ in range(OFTEN)]
    for one in made:
        await ratings.rate(one.id, fan.id, 5)
    assert [list((await standings_of(db, one)).values()) for one in made] == [[PROVEN]] * (OFTEN - 1) + [[CLOSE]]
    assert await standings.reweigh() == OFTEN  # the vote that made them many marked them all
    assert [list((await standings_of(db, one)).values()) for one in made] == [[CLOSE]] * OFTEN

    await ratings.withdraw(made[0].id, fan.id)
    assert await standings.reweigh() == OFTEN - 1
    assert [list((await standings_of(db, one)).values()) for one in made[1:]] == [[PROVEN]] * (OFTEN - 1)
    for one in made:
        await check(db, one)


async def test_who_rates_many_owners_is_close_to_none(make: Make, db: Any) -> None:
    owner, fan = await make.person(), await proven(make, db)
    made = [await make.pipeline(owner, published=True) for _ in range(OFTEN)]
    others = [await make.pipeline(published=True) for _ in range(BREADTH)]
    for one in (*made, *others[:-1]):
        await ratings.rate(one.id, fan.id, 4)
    await settle(db)
    assert await standings_of(db, made[0]) == {fan.id: CLOSE}
    await ratings.rate(others[-1].id, fan.id, 4)
    assert await standings.reweigh() >= OFTEN
    assert await standings_of(db, made[0]) == {fan.id: PROVEN}
    await ratings.withdraw(others[0].id, fan.id)
    assert await standings.reweigh() >= OFTEN
    assert await standings_of(db, made[0]) == {fan.id: CLOSE}


async def test_who_trades_stars_is_close(make: Make, db: Any) -> None:
    ada, bo = await proven(make, db), await proven(make, db)
    hers, his = await make.pipeline(ada, published=True), await make.pipeline(bo, published=True)
    await ratings.rate(hers.id, bo.id, 5)
    assert await standings_of(db, hers) == {bo.id: PROVEN}
    await ratings.rate(his.id, ada.id, 5)
    assert await standings_of(db, his) == {ada.id: CLOSE}
    assert await standings.reweigh() == 1
    assert await standings_of(db, hers) == {bo.id: CLOSE}


async def test_neither_the_order_of_votes_nor_withdrawn_ones_leave_a_trace(make: Make, db: Any) -> None:
    chance = random.Random(7)
    people = [await proven(make, db) if n % 3 else await make.person() for n in range(7)]
    made = [await make.pipeline(people[n % 4], published=True) for n in range(6)]
    votes = [
        (one.id, person.id, chance.randint(1, 5))
        for one in made for person in people if person.id != one.owner_id and chance.random() < 0.8
    ]  # fmt: skip
    found = []
    for _ in range(2):
        chance.shuffle(votes)
        for pipeline_id, person_id, stars in votes:
            await ratings.rate(pipeline_id, person_id, 1 + stars % 5)
            await ratings.rate(pipeline_id, person_id, stars)
        await settle(db)
        for one in made:
            await check(db, one)
        found.append([await row_of(db, one) for one in made])
        for pipeline_id, person_id, _ in chance.sample(votes, len(votes)):
            await ratings.withdraw(pipeline_id, person_id)
        for one in made:
            row = await row_of(db, one)
            assert (sum(row["rating_tally"]), row["rating_score"]) == (0, ranking.PRIOR_MEAN)
    assert found[0] == found[1]


async def test_a_ring_of_a_thousand_new_accounts_stays_below_ten_people(make: Make, db: Any) -> None:
    liked, pushed = await make.pipeline(published=True), await make.pipeline(published=True)
    await cards.refresh(liked.id)
    await cards.refresh(pushed.id)
    for _ in range(10):
        await ratings.rate(liked.id, (await proven(make, db)).id, 4)
    await db.execute(
        """WITH ring AS (INSERT INTO people (email, handle, password_hash)
               SELECT format('r%s@example.org', n), format('ring%s', n), '!' FROM generate_series(1, 1000) n
               RETURNING id)
           INSERT INTO ratings (pipeline_id, person_id, owner_id, stars, standing)
           SELECT $1, id, $2, 5, 0 FROM ring""",
        pushed.id, pushed.owner_id,
    )  # fmt: skip
    await settle(db)
    await check(db, pushed)
    best = [card.id for card in (await gallery.cards("best")).cards]
    assert best.index(liked.id) < best.index(pushed.id)
    assert (await ratings.read(pushed.id, None)).spread == (0, 0, 0, 0, 1000)  # people see every vote


async def test_votes_from_before_standings_are_found_and_counted(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    for stars in (5, 4, 4):
        await db.execute(
            "INSERT INTO ratings (pipeline_id, person_id, stars) VALUES ($1, $2, $3)",
            sea.id, (await make.person()).id, stars,
        )  # fmt: skip
    assert (await ratings.read(sea.id, None)).count == 0
    assert await standings.reweigh() == 3
    assert (await ratings.read(sea.id, None)).spread == (0, 0, 0, 2, 1)
    assert await db.fetchval("SELECT count(*) FROM ratings WHERE owner_id = $1", sea.owner_id) == 3
    await check(db, sea)


async def test_the_dispatcher_weighs_what_is_due(make: Make, db: Any, config: Any) -> None:
    sea, ada = await make.pipeline(published=True), await make.person()
    await ratings.rate(sea.id, ada.id, 5)
    await joined(db, ada, days=8)
    await db.execute("UPDATE ratings SET weigh_at = now() - interval '1 s'")
    weighing = asyncio.create_task(Dispatcher(config)._weigh())
    try:
        async with asyncio.timeout(20):
            while (await standings_of(db, sea))[ada.id] is NEW:  # noqa: ASYNC110 - another task's work
                await asyncio.sleep(0.05)
    finally:
        weighing.cancel()
        await asyncio.gather(weighing, return_exceptions=True)
    await check(db, sea)


async def test_a_person_who_leaves_takes_their_votes_along(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    ada, bo = await make.person(), await make.person()
    await ratings.rate(sea.id, ada.id, 1)
    await ratings.rate(sea.id, bo.id, 5)
    await db.execute("DELETE FROM people WHERE id = $1", ada.id)
    assert (await ratings.read(sea.id, None)).spread == (0, 0, 0, 0, 1)
    assert await standings.reweigh() == 1  # nobody but the housekeeping is there to count them
    assert await standings.reweigh() == 0
    await check(db, sea)


async def test_votes_and_weighing_at_once_keep_the_tally(make: Make, db: Any) -> None:
    owner = await make.person()
    made = [await make.pipeline(owner, published=True) for _ in range(3)]
    people = [await make.person() for _ in range(4)]

    async def vote(n: int) -> None:
        await ratings.rate(made[n % 3].id, people[n % 4].id, 1 + n % 5)
        if n % 4 == 3:
            await ratings.withdraw(made[n % 3].id, people[n % 4].id)

    async def weigh() -> None:
        await db.execute("UPDATE ratings SET weigh_at = now()")
        await standings.reweigh()

    await asyncio.gather(*(weigh() if n % 5 == 0 else vote(n) for n in range(40)))
    for one in made:
        await check(db, one)


async def test_a_vote_costs_the_same_however_many_there_are(make: Make, db: Any, queries: Queries) -> None:
    sea, ada, bo = await make.pipeline(published=True), await make.person(), await make.person()
    await db.execute(
        """WITH crowd AS (INSERT INTO people (email, handle, password_hash)
               SELECT format('c%s@example.org', n), format('crowd%s', n), '!' FROM generate_series(1, 3000) n
               RETURNING id)
           INSERT INTO ratings (pipeline_id, person_id, owner_id, stars, standing, weigh_at)
           SELECT $1, id, $2, 3, 2, now() + interval '9 days' FROM crowd""",
        sea.id, sea.owner_id,
    )  # fmt: skip
    await db.execute("VACUUM (ANALYZE) ratings")
    with queries:
        await ratings.rate(sea.id, ada.id, 5)
    assert queries.count <= 6, queries
    read = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'ratings'"
    async with db.transaction():
        before = await db.fetchval(read)
        await ratings.rate(sea.id, bo.id, 5)
        await ratings.withdraw(sea.id, bo.id)
        await cards.refresh(sea.id)
        assert await db.fetchval(read) < before + 40
    await check(db, sea)
