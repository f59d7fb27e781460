"""What offshoots count for in the orders: other people, each once, by standing, for what everybody may see."""

import asyncio
import random
from typing import Any

import pytest

from domain import cards, gallery, growers, pipelines, ranking, ratings, runs, scores, search, search_query, standings
from domain.people import Person
from domain.pipelines import Details
from domain.ranking import BREADTH, OFTEN, Standing
from domain.steps import Recipe, TextToImage
from tests.make import Make, Pipeline

NEW, CLOSE, SETTLED, PROVEN = Standing
RECIPE = Recipe(steps=[TextToImage(prompt="b")])


async def joined(db: Any, *people: Person, days: float) -> None:
    """Have the people been here for so long."""
    ids = [one.id for one in people]
    await db.execute("UPDATE people SET created_at = now() - $2 * interval '1 day' WHERE id = ANY($1)", ids, days)


async def proven(make: Make, db: Any) -> Person:
    """Somebody who is here for long and has work of their own."""
    one = await make.person()
    await joined(db, one, days=60)
    await make.pipeline(one, published=True)
    return one


async def grown(make: Make, parent: Pipeline, owner: Person | None = None, **options: Any) -> Pipeline:
    """A listed offshoot."""
    return await make.pipeline(owner, parent=parent, published=True, **options)


async def row_of(db: Any, pipeline: Pipeline) -> dict[str, Any]:
    row = await db.fetchrow(
        """SELECT offshoot_count, offshoot_tally, offshoot_weight, grown_count, grown_tally, grown_weight, rating_tally,
           trend, recount_due, coalesce(published_at, created_at) AS since FROM pipelines WHERE id = $1""",
        pipeline.id,
    )
    return dict(row)


async def check(db: Any, pipeline: Pipeline) -> None:
    """The stored numbers are those of the offshoots that are listed."""
    row = await row_of(db, pipeline)
    for column, line, tally, count, weight in (
        ("parent_id", False, "offshoot_tally", "offshoot_count", "offshoot_weight"),
        ("root_id", True, "grown_tally", "grown_count", "grown_weight"),
    ):
        people = await db.fetch(
            f"""SELECT DISTINCT owner_id AS id FROM pipelines WHERE {column} = $1 AND owner_id <> $2
                AND visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL""",
            pipeline.id, pipeline.owner_id,
        )  # fmt: skip
        kept = await db.fetch(
            "SELECT person_id AS id, standing FROM growers WHERE pipeline_id = $1 AND line = $2", pipeline.id, line
        )
        assert {one["id"] for one in kept} == {one["id"] for one in people}
        counts = [sum(one["standing"] == standing for one in kept) for standing in Standing]
        assert row[tally] == counts
        assert (row[count], row[weight]) == (len(kept), ranking.whole(ranking.grown(counts)))
    points = ranking.points(row["rating_tally"], ranking.grown(row["offshoot_tally"]))
    assert row["trend"] == pytest.approx(ranking.trend(points, row["since"]))
    assert not row["recount_due"]


async def standing_of(db: Any, pipeline: Pipeline, person: Person, *, line: bool = False) -> Standing:
    return Standing(
        await db.fetchval(
            "SELECT standing FROM growers WHERE pipeline_id = $1 AND person_id = $2 AND line = $3",
            pipeline.id, person.id, line,
        )
    )  # fmt: skip


async def settle(db: Any) -> None:
    """Weigh everybody now, as months of housekeeping would."""
    await db.execute("UPDATE growers SET weigh_at = now() - interval '1 s'")
    for _ in range(100):
        if not await standings.reweigh(500):
            return
    raise AssertionError("somebody stays due")


async def order_of(order: str, *pipelines: Pipeline) -> list[Pipeline]:
    """The pipelines as a list of the gallery has them."""
    ids = [card.id for card in (await gallery.cards(order, limit=200)).cards]
    return sorted(pipelines, key=lambda one: ids.index(one.id))


# what counts


async def test_other_people_count_once_each_for_what_is_listed(make: Make, db: Any) -> None:
    owner, ada, bo = await make.person(), await make.person(), await make.person()
    sea = await make.pipeline(owner, published=True)
    made = [await grown(make, sea, ada), await grown(make, sea, ada)]
    await make.pipeline(bo, parent=sea)  # never run
    for visibility in ("private", "unlisted"):
        await grown(make, sea, bo, visibility=visibility)
    await grown(make, sea, owner)
    assert (await row_of(db, sea))["offshoot_count"] == 1
    await check(db, sea)
    await pipelines.delete(made[0].id, ada.id)
    assert (await row_of(db, sea))["offshoot_count"] == 1  # there is another one
    await pipelines.save(made[1].id, ada.id, Details("Mine", visibility="private"), RECIPE)
    assert (await row_of(db, sea))["offshoot_count"] == 0
    await pipelines.save(made[1].id, ada.id, Details("Mine", visibility="public"), RECIPE)
    assert (await row_of(db, sea))["offshoot_count"] == 1
    assert made[1].run_id
    await runs.unpublish(made[1].run_id, ada.id)
    assert (await row_of(db, sea))["offshoot_count"] == 0
    await check(db, sea)


async def test_the_first_of_a_line_counts_who_is_in_it_near_and_far(make: Make, db: Any) -> None:
    owner, ada, bo = await make.person(), await make.person(), await make.person()
    root = await make.pipeline(owner, published=True)
    child = await grown(make, root, ada)
    grandchild = await grown(make, child, bo)
    await grown(make, child, bo)
    await grown(make, child, owner)
    row = await row_of(db, root)
    assert (row["offshoot_count"], row["grown_count"]) == (1, 2)
    row = await row_of(db, child)
    assert (row["offshoot_count"], row["grown_count"]) == (2, 0)
    for one in (root, child, grandchild):
        await check(db, one)


async def test_what_one_makes_oneself_lifts_nothing(make: Make, db: Any) -> None:
    owner = await make.person()
    mine, liked = await make.pipeline(owner, published=True), await make.pipeline(published=True)
    await db.execute("UPDATE pipelines SET published_at = '2026-02-01' WHERE id = ANY($1)", [mine.id, liked.id])
    for one in (mine, liked):
        await cards.refresh(one.id)
    before = await row_of(db, mine)
    for _ in range(5):
        await grown(make, mine, owner)
    assert await row_of(db, mine) == before
    await grown(make, liked)
    for order in ("trending", "offshoots", "grown"):
        assert await order_of(order, mine, liked) == [liked, mine], order


async def test_one_person_s_many_offshoots_do_not_open_the_gallery(make: Make, db: Any) -> None:
    owner = await make.person()
    liked, mine = await make.pipeline(published=True), await make.pipeline(owner, published=True)
    for _ in range(3):
        await grown(make, liked)
    for _ in range(5):
        await grown(make, mine, owner)
    branch = await gallery.branch()
    assert branch is not None
    assert branch.parent.id == liked.id


# rings


async def ring(db: Any, pipeline: Pipeline, people: int, standing: Standing = NEW) -> None:
    """So many made-up accounts, each with a listed offshoot of a pipeline, counted as they are found."""
    await db.execute(
        """WITH ring AS (INSERT INTO people (email, handle, password_hash, created_at)
               SELECT format('r%s@example.org', n), format('ring%s', n), '!',
                   now() - (CASE WHEN $4 = 0 THEN 0 ELSE 90 END) * interval '1 day' FROM generate_series(1, $3) n
               RETURNING id),
           made AS (INSERT INTO pipelines (owner_id, title, visibility, published_at, parent_id, root_id, generation)
               SELECT id, 'Made up', 'public', '2026-01-05', $1, $1, 2 FROM ring)
           INSERT INTO growers (pipeline_id, person_id, line, owner_id, standing, weigh_at)
           SELECT $1, ring.id, line, CASE WHEN NOT line THEN $2::uuid END, 0, now() - interval '1 s'
           FROM ring, unnest(ARRAY[false, true]) line""",
        pipeline.id, pipeline.owner_id, people, int(standing),
    )  # fmt: skip
    await settle(db)


async def test_a_ring_of_new_accounts_stays_below_one_person(make: Make, db: Any) -> None:
    liked, pushed = await make.pipeline(published=True), await make.pipeline(published=True)
    await db.execute("UPDATE pipelines SET published_at = '2026-02-01' WHERE id = ANY($1)", [liked.id, pushed.id])
    for one in (liked, pushed):
        await cards.refresh(one.id)
    await grown(make, liked, await proven(make, db))
    await ring(db, pushed, 1000)
    for one in (liked, pushed):
        await check(db, one)
    for order in ("trending", "offshoots", "grown"):
        assert await order_of(order, liked, pushed) == [liked, pushed], order
    found = await search.find(search_query.parse(""), "offshoots")
    assert found.ids.index(liked.id) < found.ids.index(pushed.id)
    (card,) = [one for one in (await gallery.cards("offshoots")).cards if one.id == pushed.id]
    assert card.offshoot_count == 1000  # people see how many there are


async def test_a_patient_ring_with_nothing_of_its_own_stays_below_ten_people(make: Make, db: Any) -> None:
    liked, pushed = await make.pipeline(published=True), await make.pipeline(published=True)
    for _ in range(10):
        await grown(make, liked, await proven(make, db))
    await ring(db, pushed, 300, SETTLED)
    row = await row_of(db, pushed)
    assert row["offshoot_tally"] == [0, 0, 300, 0]  # months old, but what they grew from here proves nobody
    assert await order_of("offshoots", liked, pushed) == [liked, pushed]


async def test_search_keeps_what_offshoots_weigh_whoever_writes_its_row(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    await grown(make, sea, await proven(make, db))
    kept = "SELECT offshoots FROM search_documents WHERE pipeline_id = $1"
    assert await db.fetchval(kept, sea.id) == 1000
    await cards.refresh(sea.id)
    assert await db.fetchval(kept, sea.id) == 1000
    await db.execute("DELETE FROM search_documents")
    await cards.refresh(sea.id)
    assert await db.fetchval(kept, sea.id) == 1000


# standing


async def test_standing_is_that_of_voters(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    fresh, settled, known = await make.person(), await make.person(), await proven(make, db)
    await joined(db, settled, days=60)
    for one in (fresh, settled, known):
        await grown(make, sea, one)
    found = [await standing_of(db, sea, one, line=line) for one in (fresh, settled, known) for line in (False, True)]
    assert found == [NEW, NEW, SETTLED, SETTLED, PROVEN, PROVEN]
    await make.pipeline(settled, published=True)
    await settle(db)
    assert await standing_of(db, sea, settled) is PROVEN
    await check(db, sea)


async def test_growers_grow_up(make: Make, db: Any) -> None:
    sea, ada = await make.pipeline(published=True), await make.person()
    await grown(make, sea, ada)
    due = "SELECT extract(epoch FROM weigh_at - now()) / 86400 FROM growers WHERE NOT line"
    assert float(await db.fetchval(due)) == pytest.approx(7, abs=0.01)
    await joined(db, ada, days=8)
    await settle(db)
    assert await standing_of(db, sea, ada) is SETTLED
    assert float(await db.fetchval(due)) == pytest.approx(22, abs=0.01)
    await check(db, sea)


async def test_who_grows_from_one_owner_only_is_close_to_them(make: Make, db: Any) -> None:
    owner, fan = await make.person(), await proven(make, db)
    made = [await make.pipeline(owner, published=True) for _ in range(OFTEN)]
    for one in made:
        await grown(make, one, fan)
    await settle(db)
    assert [await standing_of(db, one, fan) for one in made] == [CLOSE] * OFTEN
    for _ in range(BREADTH):
        await grown(make, await make.pipeline(published=True), fan)
    await settle(db)
    assert [await standing_of(db, one, fan) for one in made] == [PROVEN] * OFTEN
    for one in made:
        await check(db, one)


async def test_who_trades_offshoots_is_close(make: Make, db: Any) -> None:
    ada, bo = await proven(make, db), await proven(make, db)
    hers, his = await make.pipeline(ada, published=True), await make.pipeline(bo, published=True)
    await grown(make, hers, bo)
    assert await standing_of(db, hers, bo) is PROVEN
    await grown(make, his, ada)
    await settle(db)
    assert [await standing_of(db, hers, bo), await standing_of(db, his, ada)] == [CLOSE, CLOSE]


# kept in step


async def test_whatever_happens_the_numbers_are_those_of_the_offshoots(make: Make, db: Any) -> None:
    chance = random.Random(11)
    people = [await make.person() for _ in range(4)]
    line = [await make.pipeline(people[0], published=True)]
    for n in range(9):
        line.append(await make.pipeline(chance.choice(people), parent=chance.choice(line), published=n % 3 > 0))
    for n in range(40):
        one = chance.choice(line)
        if n % 9 == 8 and one.run_id:
            await runs.unpublish(one.run_id, one.owner_id)
        elif n % 9 == 4 and one.run_id:
            await runs.publish(one.run_id, one.owner_id, to_everyone=True)
        else:
            details = Details("Some", visibility=chance.choice(("public", "public", "private", "unlisted")))
            await pipelines.save(one.id, one.owner_id, details, RECIPE)
    for one in line:
        await check(db, one)
    await settle(db)
    for one in line:
        await check(db, one)


async def test_offshoots_at_once_are_all_counted(make: Make, db: Any) -> None:
    root = await make.pipeline(published=True)
    child = await grown(make, root)
    people = [await make.person() for _ in range(4)]
    made = [await make.pipeline(people[n % 4], parent=(root, child)[n % 2], published=True) for n in range(12)]

    async def turn(n: int) -> None:
        one = made[n % 12]
        visibility = "private" if n < 12 and n % 3 else "public"
        await pipelines.save(one.id, one.owner_id, Details(f"Turn {n}", visibility=visibility), RECIPE)

    await db.execute("UPDATE growers SET weigh_at = now() - interval '1 s'")
    await asyncio.gather(*(standings.reweigh(3) if n % 6 == 5 else turn(n) for n in range(24)))
    for one in (root, child):
        await check(db, one)


async def test_who_leaves_takes_votes_and_offshoots_along(make: Make, db: Any) -> None:
    sea, ada, bo = await make.pipeline(published=True), await make.person(), await make.person()
    for one in (ada, bo):
        await grown(make, sea, one)
        await ratings.rate(sea.id, one.id, 5)
    await db.execute("DELETE FROM runs WHERE owner_id = $1", ada.id)
    await db.execute("DELETE FROM people WHERE id = $1", ada.id)
    assert (await row_of(db, sea))["recount_due"]
    while await standings.reweigh():
        pass
    await check(db, sea)
    row = await db.fetchrow("SELECT rating_count, rating_score, offshoot_count FROM pipelines WHERE id = $1", sea.id)
    five = list(ranking.NO_VOTES)
    five[4] = 1
    assert tuple(row) == (1, ranking.score(five), 1)


async def test_one_more_costs_the_same_however_many_there_are(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    ada = await make.person()
    one = await grown(make, sea, ada)
    await ring(db, sea, 1000)
    await db.execute("VACUUM (ANALYZE) pipelines, growers")
    read = """SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_xact_user_tables
              WHERE relname IN ('growers', 'pipelines')"""
    async with db.transaction():
        before = await db.fetchval(read)
        for visibility in ("private", "public"):
            await db.execute("UPDATE pipelines SET visibility = $2 WHERE id = $1", one.id, visibility)
            await cards.refresh(one.id)
        assert await db.fetchval(read) < before + 300
    await check(db, sea)


# what people see


async def test_the_sprig_says_how_many_other_people(make: Make, client: Any) -> None:
    owner, ada = await make.person(), await make.person()
    sea = await make.pipeline(owner, published=True, title="Sea")
    for one in (owner, ada, ada):
        await grown(make, sea, one)
    words = "First of its line, offshoots by 1 other person"
    assert words in (await client.get(f"/pipelines/{sea.id}")).text
    page = (await client.get("/?order=offshoots")).text
    assert words in page
    assert "Most offshoots by others" in page
    assert '<a class="small" href="/help/ranking#lists">' in page
    assert "/help/ranking" not in (await client.get("/")).text
    told = (await client.get("/help/ranking")).text
    assert 'id="lists"' in told
    assert "how many other people have an offshoot of it in the gallery" in told


async def test_offshoots_that_an_older_site_listed_are_counted(make: Make, db: Any) -> None:
    sea = await make.pipeline(published=True)
    await grown(make, sea, await make.person())
    await db.execute("DELETE FROM growers")
    await scores.recount(sea.id)
    assert (await row_of(db, sea))["offshoot_count"] == 0
    assert await growers.catch_up() == 1
    await check(db, sea)
    assert await growers.catch_up() == 0


async def test_more_offshoots_of_one_owner_have_the_first_weighed_again(make: Make, db: Any) -> None:
    owner, friend = await make.person(), await proven(make, db)
    made = [await make.pipeline(owner, published=True) for _ in range(OFTEN + 1)]
    first, *others = made
    await grown(make, first, friend)
    assert await standing_of(db, first, friend) is PROVEN
    for other in others:
        await grown(make, other, friend)
    while await standings.reweigh():
        pass
    assert await standing_of(db, first, friend) is CLOSE
