"""Collections: their order, their notes, and what others see of them."""

import asyncio
import re
from datetime import UTC, datetime
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from domain import collection_pages, collections
from domain.collections import Details
from domain.errors import Invalid, NotFound, TooMany
from tests.make import Make
from tests.queries import Queries

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def collected(make: Make, owner: Any, titles: str, visibility: str = "public") -> tuple[UUID, dict[str, UUID]]:
    """A collection with a public pipeline for each word: its id, and each item's."""
    made = await collections.create(owner.id, Details("Harbors", "", visibility))
    items = {}
    for title in titles.split():
        pipeline = await make.pipeline(title=title, published=True)
        items[title] = await collections.add(made, owner.id, pipeline.id)
    return made, items


async def order(collection_id: UUID, viewer: Any = None) -> str:
    page = await collections.items(collection_id, viewer and viewer.id, viewer is not None)
    return " ".join(item.thing.title if item.thing else item.state for item in page.items)


async def test_a_collection_keeps_its_order(make: Make) -> None:
    ada = await make.person("ada")
    made, items = await collected(make, ada, "a b c d")
    assert await order(made, ada) == "a b c d"
    for title, way, expected in (
        ("c", "up", "a c b d"), ("c", "up", "c a b d"), ("c", "up", "c a b d"), ("d", "first", "d c a b"),
        ("d", "down", "c d a b"), ("c", "last", "d a b c"), ("c", "down", "d a b c"), ("a", "last", "d b c a"),
    ):  # fmt: skip
        await collections.move(made, ada.id, items[title], way)  # type: ignore[arg-type]
        assert await order(made, ada) == expected, (title, way)
    await collections.remove(made, ada.id, items["b"])
    await collections.remove(made, ada.id, items["b"])
    await collections.move(made, ada.id, items["a"], "up")
    assert await order(made, ada) == "d a c" == await order(made)


async def test_two_moves_at_once_lose_nothing(make: Make) -> None:
    ada = await make.person("ada")
    made, items = await collected(make, ada, "a b c d e")
    moves = [collections.move(made, ada.id, item, way) for item in items.values() for way in ("down", "first", "up")]  # type: ignore[arg-type]
    await asyncio.gather(*moves)
    assert sorted((await order(made, ada)).split()) == ["a", "b", "c", "d", "e"]


async def test_the_same_thing_is_in_there_once(make: Make) -> None:
    ada = await make.person("ada")
    made = await collections.create(ada.id, Details("Harbors"))
    pipeline = await make.pipeline(published=True)
    assert pipeline.run_id
    twice = await asyncio.gather(*(collections.add(made, ada.id, pipeline.id, note=str(n)) for n in range(4)))
    assert len(set(twice)) == 1
    of_run = await collections.add(made, ada.id, pipeline.id, pipeline.run_id)
    assert await collections.add(made, ada.id, pipeline.id, pipeline.run_id) == of_run != twice[0]
    assert len((await collections.items(made, ada.id, True)).items) == 2


async def test_what_went_away_keeps_its_place_for_the_owner_alone(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    made = await collections.create(ada.id, Details("Harbors", "", "public"))
    things = [await make.pipeline(bo, title=title, published=True) for title in "abcdef"]
    for thing in things[:5]:
        await collections.add(made, ada.id, thing.id, note=f"about {thing.id}")
    await collections.add(made, ada.id, things[5].id, things[5].run_id)
    await db.execute("UPDATE pipelines SET deleted_at = now() WHERE id = $1", things[1].id)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", things[2].id)
    await db.execute("UPDATE pipelines SET visibility = 'unlisted' WHERE id = $1", things[3].id)
    await db.execute("UPDATE runs SET visibility = 'private', published_at = NULL WHERE id = $1", things[5].run_id)
    assert await order(made, ada) == "a removed private d e private"
    assert await order(made) == "a e"
    assert (await collections.read(made, ada.id)).count == 6
    assert (await collections.read(made, bo.id)).count == (await collections.read(made, None)).count == 2
    (mine,) = (await collections.of_person(ada.id, ada.id)).collections
    (theirs,) = (await collections.of_person(ada.id, None)).collections
    assert (mine.count, theirs.count) == (6, 2)


async def test_pages_tell_no_more_than_everybody_may_know(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    made, _ = await collected(make, ada, "a b")
    secret = await make.pipeline(bo, title="Secret harbor", published=True)
    hidden = await collections.add(made, ada.id, secret.id, note="psst")
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", secret.id)
    for path in (f"/collections/{made}", f"/collections/{made}/feed.json", "/@ada?tab=collections"):
        text = (await client.get(path)).text
        for word in ("Secret harbor", "psst", str(hidden), str(secret.id), "3 entries", "Made private"):
            assert word not in text, (path, word)
    assert "2 entries" in (await client.get(f"/collections/{made}")).text


async def test_one_s_own_private_pipeline_may_be_in_it(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    sketch = await make.pipeline(ada, title="Sketch", visibility="private")
    made = await collections.create(ada.id, Details("Mine", "", "public"))
    await collections.add(made, ada.id, sketch.id)
    assert await order(made, ada) == "Sketch"
    assert await order(made) == ""
    await log_in(client, ada)
    page = (await client.get(f"/collections/{made}")).text
    assert "Not everybody sees this one" in page


async def test_pages_neither_skip_nor_repeat(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    ada = await make.person("ada")
    made, items = await collected(make, ada, " ".join(f"t{n}." for n in range(30)))
    hidden = [f"t{n}." for n in range(0, 30, 7)]
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE title = ANY($1)", hidden)
    seen: list[str] = []
    after = None
    while True:
        page = await collections.items(made, None, False, after, limit=4)
        seen += [item.thing.title for item in page.items if item.thing]
        if page.next is None:
            break
        after = UUID(page.next)
    assert seen == [f"t{n}." for n in range(30) if f"t{n}." not in hidden]
    first = (await client.get(f"/collections/{made}")).text
    more = unescape(first.partition('class="btn" href="')[2].partition('"')[0])
    assert more.startswith(f"/collections/{made}?after=")
    assert "Show more" not in (await client.get(more)).text
    last = await client.get(f"/collections/{made}?after={items['t29.']}")
    assert "That was all" in last.text
    for wrong in (uuid4(), "sideways", "9" * 40):
        assert (await client.get(f"/collections/{made}?after={wrong}")).status_code == 404
    _, others = await collected(make, await make.person(), "z")
    assert (await client.get(f"/collections/{made}?after={others['z']}")).status_code == 404


@pytest.mark.parametrize("count", [2, 20])
async def test_many_entries_take_as_many_queries_as_few(
    client: httpx.AsyncClient, make: Make, queries: Queries, log_in: Any, count: int
) -> None:
    ada = await make.person("ada")
    made, _ = await collected(make, ada, " ".join(f"t{n}" for n in range(count)), "private")
    run = await make.pipeline(published=True)
    await collections.add(made, ada.id, run.id, run.run_id)
    await log_in(client, ada)
    with queries:
        assert (await client.get(f"/collections/{made}")).status_code == 200
    assert queries.count <= 6, queries  # session, head, items, pipelines, runs, feed
    with queries:
        assert (await client.get("/@ada?tab=collections")).status_code == 200
    assert queries.count <= 4, queries


async def test_limits(make: Make, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await make.person("ada")
    made, _ = await collected(make, ada, "a")
    monkeypatch.setattr(collections, "MAX_ITEMS", 2)
    monkeypatch.setattr(collections, "MAX_COLLECTIONS", 2)
    second, third = await make.pipeline(), await make.pipeline()
    await collections.add(made, ada.id, second.id)
    with pytest.raises(TooMany, match="no more fit"):
        await collections.add(made, ada.id, third.id)
    await collections.add(made, ada.id, second.id)
    await collections.create(ada.id, Details("Another"))
    with pytest.raises(TooMany, match="no more fit"):
        await collections.create(ada.id, Details("One too many"))


async def test_ten_thousand_entries_stay_quick_to_page(make: Make, db: Any) -> None:
    ada = await make.person("ada")
    made = await collections.create(ada.id, Details("All", "", "public"))
    await db.execute(
        "INSERT INTO pipelines (owner_id, title, visibility) SELECT $1, 't', 'public' FROM generate_series(1, 9999)",
        ada.id,
    )
    await db.execute(
        """INSERT INTO collection_items (collection_id, pipeline_id, position)
           SELECT $1, id, row_number() OVER (ORDER BY id) FROM pipelines""",
        made,
    )
    await db.execute("ANALYZE collection_items, pipelines")
    middle = await db.fetchval("SELECT id FROM collection_items WHERE position = 5000")
    plan = "\n".join(
        row[0]
        for row in await db.fetch(
            "EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, SUMMARY OFF) " + collection_pages._PAGE,
            made,
            None,
            False,
            middle,
            25,
        )
    )
    rows = [int(float(found)) for found in re.findall(r"actual rows=([\d.]+)", plan)]
    assert max(rows) <= 26, plan
    last = await make.pipeline(ada)
    await collections.add(made, ada.id, last.id)
    with pytest.raises(TooMany):
        await collections.add(made, ada.id, (await make.pipeline(ada)).id)


@pytest.mark.parametrize(
    ("details", "field"),
    [
        (Details(""), "title"), (Details("\u202e \x07"), "title"), (Details("x" * 121), "title"),
        (Details("x", "y" * 4001), "about"), (Details("x", "", "unlisted"), "visibility"),
    ],
)  # fmt: skip
async def test_details_that_must_be_mended(make: Make, details: Details, field: str) -> None:
    ada = await make.person()
    with pytest.raises(Invalid) as wrong:
        await collections.create(ada.id, details)
    assert list(wrong.value.fields) == [field]


async def test_what_cannot_be_put_in(make: Make) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    mine, theirs = await collections.create(ada.id, Details("A")), await collections.create(bo.id, Details("B"))
    shown, secret = await make.pipeline(bo, published=True), await make.pipeline(bo, visibility="private")
    removed = await make.pipeline(ada, deleted_at=datetime.now(UTC))
    unpublished = await make.run(shown, ada, state="succeeded")
    elsewhere = await make.pipeline(bo, published=True)
    for collection, pipeline, run in (
        (theirs, shown.id, None), (uuid4(), shown.id, None), (mine, secret.id, None), (mine, removed.id, None),
        (mine, uuid4(), None), (mine, shown.id, unpublished.id), (mine, shown.id, elsewhere.run_id),
        (mine, shown.id, uuid4()),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await collections.add(collection, ada.id, pipeline, run)
    with pytest.raises(Invalid):
        await collections.add(mine, ada.id, shown.id, note="x" * 1001)


async def test_nobody_touches_another_s_collection(make: Make) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    made, items = await collected(make, ada, "a b")
    other, _ = await collected(make, bo, "c")
    for attempt in (
        collections.edit(made, bo.id, Details("Mine now")), collections.delete(made, bo.id),
        collections.move(made, bo.id, items["a"], "down"), collections.remove(made, bo.id, items["a"]),
        collections.annotate(made, bo.id, items["a"], "psst"), collections.item(made, bo.id, items["a"]),
        collections.move(other, bo.id, items["a"], "down"), collections.annotate(other, bo.id, items["a"], "psst"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
    await collections.remove(other, bo.id, items["a"])
    assert await order(made, ada) == "a b"
    assert (await collections.read(made, None)).title == "Harbors"


# pages


async def test_making_one_and_putting_things_in(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    pipeline = await make.pipeline(title="Harbor", published=True)
    form = await client.get(f"/pipelines/{pipeline.id}/collections")
    assert '<option value="new" selected>' in form.text
    part = await client.get(f"/pipelines/{pipeline.id}/collections", headers=HTMX)
    assert part.text.strip().startswith("<form")
    sent = {"collection": "new", "title": "  مرافئ   Harbors ", "visibility": "public", "note": "first\r\nlight"}
    answers = await asyncio.gather(
        *(client.post(f"/pipelines/{pipeline.id}/collections", data=sent) for _ in range(2))  # a double click
    )
    (made,) = {answer.headers["location"] for answer in answers}
    page = await client.get(made)
    assert '<h1 dir="auto">مرافئ Harbors</h1>' in page.text
    assert "first\nlight" in page.text
    assert "1 entry" in page.text
    form = await client.get(f"/runs/{pipeline.run_id}/collections")
    assert f'<option value="{made.rpartition("/")[2]}" selected>' in form.text
    into = {"collection": made.rpartition("/")[2]}
    assert (await client.post(f"/runs/{pipeline.run_id}/collections", data=into)).headers["location"] == made
    page = await client.get(made)
    assert "2 entries" in page.text
    assert f'href="/runs/{pipeline.run_id}"' in page.text
    assert "Already in" in (await client.get(f"/pipelines/{pipeline.id}/collections")).text
    assert "مرافئ" in (await client.get("/@ada?tab=collections")).text


async def test_forms_keep_what_was_typed(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    made, items = await collected(make, ada, "a")
    pipeline = await make.pipeline()
    note = f"/collections/{made}/items/{items['a']}/note"
    choose = f"/pipelines/{pipeline.id}/collections"
    for path, form, field in (
        ("/collections", {"title": "t" * 121, "about": "kept"}, "title"),
        ("/collections", {"title": "kept\x00", "about": "y"}, "title"),
        (f"/collections/{made}/edit", {"title": "kept", "about": "y" * 4001, "visibility": "public"}, "about"),
        (f"/collections/{made}/edit", {"title": "kept", "visibility": "everybody"}, "visibility"),
        (note, {"note": "kept" + "n" * 1000}, "note"),
        (note, {"note": "kept\x00"}, "note"),
        (choose, {"collection": "new", "title": "", "note": "kept"}, "title"),
        (choose, {"collection": "new", "title": "kept", "note": "n" * 1001}, "note"),
        (choose, {"collection": "sideways", "note": "kept"}, "collection"),
    ):  # fmt: skip
        answer = await client.post(path, data=form)
        assert answer.status_code == 422, path
        assert f'id="{field}-e"' in answer.text, (path, field)
        assert "kept" in answer.text, path
    assert (await client.post("/collections", data={"title": "x", "page": "1"})).status_code == 422
    assert (await client.post(choose, data={"collection": str(uuid4())})).status_code == 404
    assert len((await collections.of_person(ada.id, ada.id)).collections) == 1


async def test_moving_noting_and_taking_out(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    made, items = await collected(make, ada, "a b c")
    base = f"/collections/{made}"
    answer = await client.post(f"{base}/items/{items['c']}/position", data={"to": "up", "after": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{base}#item-{items['c']}")
    assert await order(made, ada) == "a c b"
    part = await client.post(
        f"{base}/items/{items['b']}/position", data={"to": "first", "after": str(items["a"])}, headers=HTMX
    )
    assert part.status_code == 200
    assert "<html" not in part.text
    assert await order(made, ada) == "b a c"
    for form in ({"to": "sideways"}, {}, {"to": "up", "place": "7"}):
        assert (await client.post(f"{base}/items/{items['c']}/position", data=form)).status_code == 422
    assert (
        await client.post(f"{base}/items/{items['c']}/position", data={"to": "up", "after": "x"})
    ).status_code == 404
    assert (await client.post(f"{base}/items/{uuid4()}/position", data={"to": "up"})).status_code == 404
    answer = await client.post(f"{base}/items/{items['a']}/note", data={"note": " Look at the light "})
    assert answer.headers["location"] == f"{base}#item-{items['a']}"
    assert '<p dir="auto">Look at the light</p>' in (await client.get(base)).text
    assert "Look at the light" in (await client.get(f"{base}/items/{items['a']}/note")).text
    await client.post(f"{base}/items/{items['a']}/removal", data={"after": ""})
    assert await order(made, ada) == "b c"
    await client.post(f"{base}/edit", data={"title": "Ports", "visibility": "private"})
    assert "Ports" in (await client.get(f"{base}/deletion")).text
    assert (await client.post(f"{base}/deletion")).headers["location"] == "/@ada?tab=collections"
    assert (await client.get(base)).status_code == 404
    assert (await client.post(f"{base}/deletion")).status_code == 404


async def test_a_forged_form_changes_nothing(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    made, items = await collected(make, ada, "a b")
    pipeline = await make.pipeline()
    await log_in(client, ada)
    client.headers["X-CSRF-Token"] = "forged"
    for path, form in (
        ("/collections", {"title": "x"}), (f"/collections/{made}/edit", {"title": "x"}),
        (f"/collections/{made}/deletion", {}), (f"/collections/{made}/items/{items['b']}/position", {"to": "up"}),
        (f"/collections/{made}/items/{items['b']}/removal", {}),
        (f"/pipelines/{pipeline.id}/collections", {"collection": str(made)}),
        (f"/pipelines/{pipeline.id}/bookmark", {"bookmarked": "1"}),
        (f"/pipelines/{pipeline.id}/follow", {"followed": "1"}),
        ("/feeds", {"list": "following"}), ("/feeds/withdrawal", {"list": "following"}),
    ):  # fmt: skip
        assert (await client.post(path, data=form)).status_code == 403, path
    assert await order(made, ada) == "a b"


@pytest.mark.parametrize("visibility", ["public", "private"])
async def test_empty_ones_say_what_to_do(
    client: httpx.AsyncClient, clients: Any, make: Make, log_in: Any, visibility: str
) -> None:
    ada = await make.person("ada")
    made = await collections.create(ada.id, Details("Nothing", "*fog* <b onclick=x>", visibility))
    theirs = await client.get(f"/collections/{made}")
    assert theirs.status_code == (200 if visibility == "public" else 404)
    assert ("Nothing in here yet" in theirs.text) is (visibility == "public")
    mine = await (await log_in(clients(), ada)).get(f"/collections/{made}")
    assert "Press “Add to a collection”" in mine.text
    assert "<em>fog</em>" in mine.text
    assert "<b onclick" not in mine.text
