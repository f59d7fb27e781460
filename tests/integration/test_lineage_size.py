"""Large lines: 10,000 offshoots, 500 generations, circles made by hand. Parts are bounded and lead to each other."""

import re
from typing import Any
from uuid import UUID

import pytest

from domain import feeds, lineage, lists, pipelines
from domain.errors import NotFound
from domain.lineage import TWIGS, WIDE, Node
from tests.make import Make, Pipeline
from tests.queries import Queries

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}

STAR = """
INSERT INTO pipelines (owner_id, title, visibility, parent_id, root_id, generation, published_at, latest_version)
SELECT $2, 'Twig ' || n, 'public', p.id, coalesce(p.root_id, p.id), p.generation + 1,
    now() - make_interval(secs => $3 - n), 1
FROM pipelines p, generate_series(1, $3) n WHERE p.id = $1
"""
CHAIN = """
WITH made AS (SELECT n, uuidv7() AS id FROM generate_series(1, $3) n ORDER BY n)
INSERT INTO pipelines (id, owner_id, title, visibility, parent_id, root_id, generation, published_at, latest_version)
SELECT m.id, $2, 'Link ' || m.n, 'public', coalesce(above.id, $1), $1, m.n + 1, now(), 1
FROM made m LEFT JOIN made above ON above.n = m.n - 1 ORDER BY m.n
"""


def drawn(node: Node) -> list[Node]:
    return [node, *(one for child in node.children for one in drawn(child))]


async def star(make: Make, db: Any, n: int, **columns: Any) -> Pipeline:
    root = await make.pipeline(published=True, title="Root", **columns)
    await grow(db, root.id, (await make.person()).id, n)
    return root


async def grow(db: Any, parent_id: UUID, owner_id: UUID, n: int) -> None:
    """Offshoots in bulk: past the trigger that counts them one by one."""
    async with db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute(STAR, parent_id, owner_id, n)


async def chain(make: Make, db: Any, n: int) -> tuple[Pipeline, list[UUID]]:
    root = await make.pipeline(published=True, title="Root")
    await db.execute(CHAIN, root.id, root.owner_id, n)
    rows = await db.fetch("SELECT id FROM pipelines WHERE root_id = $1 ORDER BY generation", root.id)
    return root, [row["id"] for row in rows]


async def test_ten_thousand_offshoots_load_in_parts(make: Make, db: Any, queries: Queries, client: Any) -> None:
    root = await star(make, db, 10_000)
    with queries:
        tree = await lineage.whole(root.id, None)
    assert queries.count == 2, queries
    assert len(tree.top.children) == WIDE
    assert (tree.pipelines, tree.many, tree.top.many) == (lineage.COUNTED, True, True)
    page = (await client.get(f"/pipelines/{root.id}/lineage")).text
    assert "976+ more offshoots" in page
    assert len(page) < 60_000

    seen = [one.title for one in tree.top.children]
    after = tree.top.rest.removeprefix("after=")
    for _ in range(3):
        with queries:
            part = await lineage.rest(root.id, None, after)
        assert queries.count <= 3, queries
        assert len(part.of.children) == WIDE
        seen += [one.title for one in part.of.children]
        after = part.of.rest.removeprefix("after=")
    assert len(seen) == len(set(seen)) == 4 * WIDE
    last = await db.fetchval("SELECT id FROM pipelines WHERE parent_id = $1 ORDER BY id DESC OFFSET 5 LIMIT 1", root.id)
    end = await lineage.rest(root.id, None, lists.pack((False, last)))
    assert (len(end.of.children), end.of.more, end.of.rest) == (5, 0, "")


async def test_reading_a_large_line_reads_few_rows(make: Make, db: Any) -> None:
    root = await star(make, db, 10_000)
    await db.execute("VACUUM (ANALYZE) pipelines")
    child = await db.fetchval("SELECT id FROM pipelines WHERE parent_id = $1 ORDER BY id LIMIT 1", root.id)
    read = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = 'pipelines'"
    for name, ask in {
        "the tree": lambda: lineage.whole(root.id, None),
        "the page": lambda: lineage.around(root.id, None),
        "an offshoot's page": lambda: lineage.around(child, None),
        "a part": lambda: lineage.rest(root.id, None, lists.pack((False, child))),
        "the feed": lambda: feeds.of_lineage(root.id),
        "an offshoot's feed": lambda: feeds.of_lineage(child),
    }.items():
        async with db.transaction():
            before = await db.fetchval(read)
            await ask()
            assert await db.fetchval(read) == before, name


async def test_five_hundred_generations(make: Make, db: Any, queries: Queries, client: Any) -> None:
    root, line = await chain(make, db, 499)
    top = await lineage.whole(root.id, None)
    assert [one.generation for one in drawn(top.top)] == [1, 2, 3, 4, 5]
    assert (top.generations, top.pipelines, top.earlier) == (500, 500, 0)
    with queries:
        end = await lineage.whole(line[-1], None)
    assert queries.count == 3, queries
    assert [one.generation for one in drawn(end.top)] == [498, 499, 500]
    assert (end.earlier, end.above, end.first) == (497, line[-4], root.id)

    # all the way down and up again by links
    where, pages = f"/pipelines/{line[-60]}/lineage", 0
    while True:
        page, pages = (await client.get(where)).text, pages + 1
        onward = re.findall(r'<a class="btn quiet small" href="(/pipelines/[^"]+/lineage)">', page)
        if not onward:
            break
        (where,) = onward
    assert "Link 499" in page
    assert 10 < pages < 40
    upward = re.search(r'<a href="([^"]+)" rel="prev">\d+ earlier generations', page)
    assert upward
    assert "earlier generation" in (await client.get(upward[1])).text


async def test_what_grew_last_is_first_in_the_feed_of_a_large_line(make: Make, db: Any) -> None:
    root = await star(make, db, 10_000)
    middle = await db.fetchval("SELECT id FROM pipelines WHERE parent_id = $1 LIMIT 1", root.id)
    assert [one.title for one in (await feeds.of_lineage(root.id, limit=2)).entries] == ["Twig 10000", "Twig 9999"]
    await grow(db, middle, root.owner_id, 3_000)
    assert [one.title for one in (await feeds.of_lineage(middle, limit=2)).entries] == ["Twig 3000", "Twig 2999"]


async def test_a_feed_follows_a_line_to_its_end(make: Make, db: Any) -> None:
    _, line = await chain(make, db, 300)
    await db.execute("UPDATE pipelines SET published_at = now() + interval '1 h' WHERE id = $1", line[-1])
    (newest,) = (await feeds.of_lineage(line[2], limit=1)).entries
    assert newest.id == line[-1]


async def test_more_offshoots_by_link_and_by_htmx(make: Make, db: Any, client: Any) -> None:
    root = await star(make, db, 60)
    page = (await client.get(f"/pipelines/{root.id}/lineage")).text
    assert "37 more offshoots" not in page
    (url,) = re.findall(r'hx-get="(/pipelines/[^"]+/lineage\?after=[^"]+)" hx-target="closest li"', page)
    assert "36 more offshoots" in page
    part = (await client.get(url, headers=HTMX)).text
    assert part.lstrip().startswith("<li")
    assert "<html" not in part
    assert "Twig 25<" in part
    assert "Twig 24<" not in part
    assert "12 more offshoots" in part
    whole = (await client.get(url)).text
    assert "More offshoots of <bdi>Root</bdi>" in whole
    assert "Twig 25<" in whole
    (second,) = re.findall(r'hx-get="([^"]+)"', part)
    end = (await client.get(second, headers=HTMX)).text
    assert "Twig 60<" in end
    assert "more offshoot" not in end


async def test_public_offshoots_stand_before_hidden_ones_on_every_part(make: Make, db: Any) -> None:
    root = await star(make, db, 40)
    await db.execute(
        "UPDATE pipelines SET visibility = 'private' WHERE parent_id = $1 AND title ~ '[1-3]$' OR title = 'Twig 30'",
        root.id,
    )
    await db.execute("UPDATE pipelines SET deleted_at = now() WHERE title = 'Twig 4'")
    first = await lineage.whole(root.id, None)
    rest = await lineage.rest(root.id, None, first.top.rest.removeprefix("after="))
    states = [one.state for one in (*first.top.children, *rest.of.children)]
    assert states == ["unrun"] * 26 + [one for one in states if one != "unrun"]
    assert (states.count("private"), states.count("removed")) == (13, 1)


@pytest.mark.parametrize("hide", ["private", "removed"])
async def test_offshoots_of_a_hidden_pipeline_load_without_revealing_it(
    make: Make, db: Any, client: Any, hide: str
) -> None:
    root = await star(make, db, 60)
    if hide == "private":
        await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", root.id)
    else:
        await pipelines.delete(root.id, root.owner_id)
    child = (await make.pipeline(parent=root, published=True)).id
    for path in (f"/pipelines/{child}", f"/pipelines/{child}/lineage"):
        page = (await client.get(path)).text
        assert str(root.id) not in page
        assert ">Root<" not in page
        (url,) = re.findall(r'hx-get="(/pipelines/[^"]+/lineage\?[^"]+)" hx-target="closest li"', page)
        following = await client.get(url.replace("&amp;", "&"), headers=HTMX)
        assert following.status_code == 200
        assert "Twig 12<" in following.text
        assert str(root.id) not in following.text
        whole = (await client.get(url.replace("&amp;", "&"))).text
        assert str(root.id) not in whole
        assert {"private": "Private offshoot", "removed": "Removed by its owner"}[hide] in whole
    assert (await client.get(f"/pipelines/{root.id}/lineage")).status_code == 404
    after = lists.pack((False, child))
    assert (await client.get(f"/pipelines/{root.id}/lineage?after={after}")).status_code == 404


async def test_a_hidden_beginning_is_counted_but_not_linked(make: Make, db: Any, client: Any) -> None:
    root, line = await chain(make, db, 8)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = ANY($1)", [root.id, *line[:3]])
    tree = await lineage.whole(line[-1], None)
    assert (tree.earlier, tree.above, tree.first) == (6, line[4], None)
    tree = await lineage.whole(line[5], None)
    assert (tree.earlier, tree.above) == (4, None)
    page = (await client.get(f"/pipelines/{line[5]}/lineage")).text
    assert "4 earlier generations, private or removed" in page
    assert not {str(one) for one in (root.id, *line[:3])} & set(re.findall(r"[0-9a-f-]{36}", page))


async def test_cursors_made_by_hand(make: Make, db: Any, client: Any) -> None:
    root = await star(make, db, 3)
    for after in ("x", "AAAA", lists.pack((1, 2)), lists.pack((True, "no")), "W10", "x" * 400):
        with pytest.raises(NotFound):
            await lineage.rest(root.id, None, after)
        assert (await client.get(f"/pipelines/{root.id}/lineage?after={after}")).status_code == 404
    past = lists.pack((True, UUID(int=2**128 - 1)))
    page = await client.get(f"/pipelines/{root.id}/lineage?after={past}")
    assert page.status_code == 200
    assert "That was all" in page.text
    start = lists.pack(lineage.START)
    assert (await client.get(f"/pipelines/{root.id}/lineage?after={start}&beside=1")).status_code == 404


@pytest.mark.parametrize("length", [1, 2, 3, 40])
async def test_circles_end(make: Make, db: Any, client: Any, length: int) -> None:
    ring = [await make.pipeline(published=True, title=f"Round {n}") for n in range(length)]
    for n, one in enumerate(ring):
        await db.execute(
            "UPDATE pipelines SET parent_id = $2, root_id = $2, generation = 1 + $3 WHERE id = $1",
            one.id, ring[n - 1].id, n,
        )  # fmt: skip
    tail = await make.pipeline(parent=ring[0], published=True)
    for one in (*ring[:4], tail):
        for tree in (await lineage.around(one.id, None), await lineage.whole(one.id, None)):
            ids = [node.id for node in drawn(tree.top)]
            assert len(ids) == len(set(ids))
            assert one.id in ids
        for path in ("", "/lineage", "/lineage.json"):
            assert (await client.get(f"/pipelines/{one.id}{path}")).status_code == 200
    feed = [one.id for one in (await feeds.of_lineage(ring[0].id, limit=60)).entries]
    assert len(feed) == len(set(feed))
    assert (await client.get("/")).status_code == 200


async def test_a_part_is_never_larger_than_promised(make: Make, db: Any) -> None:
    root = await star(make, db, 30)
    for _ in range(3):
        await db.execute(
            """INSERT INTO pipelines (owner_id, title, visibility, parent_id, root_id, generation, latest_version)
               SELECT owner_id, 'Leaf', 'public', id, coalesce(root_id, id), generation + 1, 1
               FROM pipelines p, generate_series(1, 8)
               WHERE NOT EXISTS (SELECT FROM pipelines c WHERE c.parent_id = p.id) LIMIT 2000"""
        )
    tree = await lineage.whole(root.id, None)
    assert WIDE < len(drawn(tree.top)) <= lineage.MOST + lineage.LEVELS_UP + 1
    for node in drawn(tree.top):
        assert len(node.children) <= (WIDE if node.current else TWIGS)
        shown = len(node.children)
        total = await db.fetchval("SELECT count(*) FROM pipelines WHERE parent_id = $1", node.id)
        assert shown + node.more == total


# most grown


async def test_most_grown_lists_the_first_of_their_lines(make: Make, db: Any, client: Any) -> None:
    large, small = await make.pipeline(published=True), await make.pipeline(published=True)
    for root, people in ((small, 2), (large, 5)):
        for _ in range(people):
            await make.pipeline(parent=root, published=True)
    crowded = await make.pipeline(published=True)
    one = await make.person()
    for _ in range(6):
        await make.pipeline(one, parent=crowded, published=True)
    page = (await client.get("/?order=grown")).text
    found = re.findall(r'<h3 class="clip" dir="auto"><a href="/pipelines/([^"]+)"', page)
    assert found == [str(one.id) for one in (large, small, crowded)]
    assert "Most grown" in page
    feed = (await client.get("/gallery/feed.json?order=grown")).json()
    assert [item["id"] for item in feed["items"]] == [f"urn:uuid:{one.id}" for one in (large, small, crowded)]
