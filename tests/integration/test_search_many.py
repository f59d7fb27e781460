"""Where very many match: what is counted, which orders hold for all, and that no plan scans a table."""

from typing import Any

import pytest

from domain import (
    db,
    search,
    search_candidates,
    search_conditions,
    search_corrections,
    search_lines,
    search_query,
    search_suggestions,
)
from domain.search_candidates import Look, Page
from domain.search_query import Query
from tests.make import Make
from tests.searching import drawn, titles

WINDOWS = """
UPDATE search_documents SET marks = array(SELECT m FROM unnest(marks) m WHERE m !~ '^(window|stretch|era):')
    || ('window:' || number / 4)
"""


@pytest.fixture
async def forty(make: Make, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty boats, the older half of them old, where ten are very many and four share a window."""
    await db.execute("ALTER SEQUENCE search_documents_number_seq RESTART")
    ada = await make.person("ada")
    for n in range(40):
        prompt = "a rare boat" if n % 10 == 0 else "an old boat" if n < 20 else "a boat"
        await drawn(make, f"Boat {n}", prompt, ada)
    monkeypatch.setattr(search_candidates, "WINDOW", 4)
    monkeypatch.setattr(search_candidates, "MOST", 10)
    await db.execute(WINDOWS)
    await db.execute("ANALYZE search_documents")


async def test_of_very_many_the_newest_are_counted(forty: None, db: Any) -> None:
    found = await search.find(search_query.parse("boat"), "match", limit=5)
    assert (found.more, found.whole) == (True, False)
    assert 5 <= found.total <= 10
    rare = await search.find(search_query.parse("rare boat"), "newest")
    assert (rare.total, rare.more, rare.whole) == (4, False, True)
    unwanted = await search.find(search_query.parse("-rare"), "newest")
    assert unwanted.more
    everything = await search.find(Query(), "match")
    assert everything.more
    assert everything.facets["kind"][0].value == "image"


async def test_many_old_ones_are_found_behind_newer_ones_that_do_not_match(forty: None) -> None:
    found = await search.find(search_query.parse("old boat kind:image"), "match")
    assert 2 <= found.total <= 10
    assert found.more
    assert found.facets["kind"][0].count > 1


@pytest.mark.parametrize("asked", ["", "boat", "boat kind:image by:ada", "-rare"])
@pytest.mark.parametrize("order", ["newest", "rating", "offshoots"])
@pytest.mark.parametrize("sorted_", [0, 100])
async def test_an_order_holds_for_all_however_many_match(
    forty: None, db: Any, monkeypatch: pytest.MonkeyPatch, asked: str, order: str, sorted_: int
) -> None:
    monkeypatch.setattr(search_candidates, "SORTED", sorted_)
    await db.execute(
        """UPDATE pipelines SET rating_score = 1 + hashtext(title) % 5, offshoot_weight = 1 + hashtext(title) % 3,
           rating_count = 1, rating_sum = 4"""
    )
    key = {"newest": "published_at", "rating": "rating_score", "offshoots": "offshoot_weight"}[order]
    rows = await db.fetch(f"SELECT id, prompt FROM pipelines ORDER BY {key} DESC, id DESC")
    expected = [row["id"] for row in rows if not (asked == "-rare" and "rare" in row["prompt"])]
    after, seen, cursors = None, list[Any](), list[Any]()
    while True:
        page = await search.find(search_query.parse(asked), order, after, limit=7)
        assert (page.more, page.whole) == (True, True)
        assert page.first == len(seen) + 1
        seen += page.ids
        cursors.append((after, page.previous))
        if page.next is None:
            break
        after = page.next
    assert seen == expected
    assert [previous for _, previous in cursors[:4]] == [None, "", cursors[1][0], cursors[2][0]]


async def test_matches_too_far_apart_are_ordered_among_the_newest(
    forty: None, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_candidates, "FAR", 3)
    monkeypatch.setattr(search_candidates, "SORTED", 0)
    await db.execute("UPDATE pipelines SET rating_score = 5 WHERE title LIKE 'Boat 2_'")
    found = await search.find(search_query.parse("old boat"), "rating", limit=5)
    assert (found.more, found.whole) == (True, False)
    assert len(found.ids) == 5
    second = await search.find(search_query.parse("old boat"), "rating", found.next, limit=5)
    assert not set(second.ids) & set(found.ids)


async def test_days_long_ago_are_looked_for_where_they_lie(forty: None, db: Any) -> None:
    """The windows that are looked at begin where the days do, not at the newest document."""
    await db.execute(
        """UPDATE search_documents SET published_at = '2020-05-05', marks = array_append(marks, 'made:2020-05')
           WHERE number BETWEEN 5 AND 16"""
    )
    await db.execute(
        """UPDATE pipelines p SET published_at = d.published_at FROM search_documents d
           WHERE d.pipeline_id = p.id AND d.published_at < '2021-01-01'"""
    )
    compiled = await search_conditions.prepare(search_query.parse("made:2020-05"))
    assert (compiled.oldest, compiled.newest) == (5, 16)
    found = await search.find(search_query.parse("boat made:2020-05"), "match")
    assert (found.total > 4, found.total <= 10, found.more) == (True, True, True)
    assert len(await titles(db, "boat made:2020-05", "newest")) == 12
    assert not await titles(db, "boat made:2020-06")


async def test_a_search_without_facets_finds_the_same_and_nothing_is_left_set(forty: None, db: Any) -> None:
    query = search_query.parse("boat kind:image")
    whole, bare = await search.find(query), await search.find(query, facets=False)
    assert whole.facets["model"]
    assert not bare.facets["model"]
    assert (bare.ids, bare.more) == (whole.ids, whole.more)
    names = ("enable_seqscan", "enable_indexscan", "statement_timeout", "plan_cache_mode")
    assert [await db.fetchval("SELECT current_setting($1)", name) for name in names] == ["on", "on", "0", "auto"]


async def test_the_page_says_which_order_holds(forty: None, client: Any) -> None:
    text = (await client.get("/search?q=boat")).text
    assert "are counted and put in order. Another word" in text
    text = (await client.get("/search?q=boat&order=rating")).text
    assert "of them are counted.</p>" in text
    assert "of 40" not in text
    text = (await client.get("/search?q=boat+seed:999")).text
    assert "Without “Seed 999” there are more than 10 results." in text


def test_one_mark_stands_for_many_windows() -> None:
    for last, first in ((0, 0), (5, 3), (63, 0), (80, 0), (100, 40), (977, 521)):
        covered: list[int] = []
        for mark in search_candidates._marks(last, first):
            kind, _, n = mark.partition(":")
            size = search_candidates.LEVELS[kind]
            covered += range(int(n) * size, (int(n) + 1) * size)
        assert sorted(covered) == list(range(first, last + 1))
    assert len(search_candidates._marks(977, 1)) < 45


@pytest.mark.parametrize(("newest", "wide"), [(1_024 * 10 + 100, 2), (1_024 * 10 + 1_000, 1), (500, 1), (700, 1)])
def test_a_window_that_has_only_begun_is_not_taken_for_a_whole(newest: int, wide: int) -> None:
    span = search_candidates._span(search_conditions.Compiled("", ""), newest)
    assert search_candidates._width(newest, 0, span, newest + 1, search_candidates.MOST) == wide


# plans


async def plan_of(sql: str, *args: Any) -> str:
    return "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {sql}", *args))


@pytest.fixture
async def twenty(make: Make, db: Any) -> None:
    """Twenty boats, and words enough that an index is worth its while."""
    ada = await make.person("ada")
    for n in range(20):
        await drawn(make, f"Boat {n}", "a boat", ada, tags=["night"])
    await db.execute(
        "INSERT INTO search_words SELECT 'word', 'word' || md5(n::text), 1 FROM generate_series(1, 3000) n"
    )
    await db.execute("VACUUM (ANALYZE) search_words")
    await db.execute("ANALYZE search_documents, pipelines, search_texts")


ASKED = (
    "boat",
    "boat -sea",
    '"a boat" tag:night',
    "kind:image rating:<5",
    "steps:>10 -tag:night",
    "made:2026",
    "kind:upscale model:starter",
    "-sea",
    "",
)


async def test_no_plan_of_a_search_scans_the_table(twenty: None, db: Any) -> None:
    for asked in ASKED:
        compiled = await search_conditions.prepare(search_query.parse(asked))
        # of a field in use, the other values are counted by a question that it does not narrow
        for beside in ("", *({"kind", "model", "license"} & compiled.groups.keys())):
            async with db.transaction():
                newest = await search_candidates.begin(4_000)
                assert newest is not None
                plan = await plan_of(
                    *_flat(search_candidates.question(compiled, Look(Page("match", None, 24), newest, 1, beside)))
                )
                counted = await plan_of(*_flat(search.totals([compiled.without(beside)], newest)))
            for said in (plan, counted):
                assert "Bitmap Index Scan on search_documents_found" in said, (asked, said)
                assert "Seq Scan" not in said, (asked, said)


@pytest.mark.parametrize(
    ("order", "index"),
    [("newest", "pipelines_newest"), ("rating", "pipelines_best"), ("offshoots", "pipelines_most_offshoots")],
)
async def test_an_order_over_everything_reads_its_index_and_sorts_nothing(
    twenty: None, db: Any, order: str, index: str
) -> None:
    first = await search.find(Query(), order, limit=3)
    assert first.next
    place = search._decode(first.next, order)
    for asked in ASKED:
        compiled = await search_conditions.prepare(search_query.parse(asked))
        async with db.transaction():
            await search_candidates.begin(4_000)
            await search_candidates.walk(compiled, Page(order, None, 24))
            for edge, backward in ((None, False), (place, False), (place, True)):
                sql, args = search_candidates.walking(compiled, Page(order, edge, 24), backward=backward)
                plan = await plan_of(sql, *args)
                assert f" using {index} " in plan, (asked, plan)
                assert "Sort" not in plan, (asked, plan)
                assert "Seq Scan" not in plan, (asked, plan)


async def test_no_plan_around_a_search_scans_a_table(twenty: None, db: Any) -> None:
    ids = [row["id"] for row in await db.fetch("SELECT id FROM pipelines")]
    plan = await plan_of(search_candidates.PLAIN)
    assert "Index Only Scan Backward using search_documents_number_key" in plan, plan
    async with db.transaction():
        await db.execute("SET LOCAL enable_seqscan = off")
        for sql, args in (
            (search_lines.LINES, (ids,)),
            (search_lines.PARTS, (ids, 100)),
            (search_corrections.UNKNOWN, (["boat"],)),
            (search_suggestions.SUGGEST, ("bo", "bo", "bo")),
            (search_suggestions.NAMED, ("model", "st")),
        ):
            plan = await plan_of(sql, *args)
            assert "Seq Scan" not in plan, plan
        plan = await plan_of(search_corrections.NEAREST, "wordy")
        assert "search_words_alike" in plan, plan


def _flat(question: tuple[str, list[Any]]) -> tuple[Any, ...]:
    return question[0], *question[1]


async def test_made_is_asked_of_the_index(make: Make, db: Any) -> None:
    """Months are marks: without them, the newest of a large site would be searched for what is old."""
    await drawn(make, "Boat")
    compiled = await search_conditions.prepare(search_query.parse("made:2025-11..2026-02"))
    assert compiled.narrows
    assert compiled.groups["made"][1] == [f"made:{month}" for month in ("2025-11", "2025-12", "2026-01", "2026-02")]
    assert await titles(db, "made:<2020") == []
