"""The gallery: orders, kinds, pages that neither skip nor repeat, the branch, conditional GET."""

import random
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import cards, feeds, gallery, lists, ratings, runs
from domain.errors import NotFound
from domain.steps import ImageToImage, PromptTemplate, TextToImage
from tests.make import Make
from web import conditional
from web import gallery as page
from web.feeds import BEGAN

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The opening as it is now, not as it was a moment ago."""
    monkeypatch.setattr(page, "OPENING_FRESH", 0.0)


async def listed(db: Any, owner: Any, count: int, **columns: Any) -> list[UUID]:
    """Listed pipelines, one a minute, oldest first."""
    start = datetime.now(UTC) - timedelta(minutes=count + 1)
    names = "".join(f", {name}" for name in columns)
    marks = "".join(f", ${number}" for number in range(4, len(columns) + 4))
    sql = f"""INSERT INTO pipelines (owner_id, title, published_at, visibility{names})
        VALUES ($1, $2, $3, 'public'{marks}) RETURNING id"""
    return [
        await db.fetchval(sql, owner.id, f"Card {n}", start + timedelta(minutes=n), *columns.values())
        for n in range(count)
    ]


# cards


async def test_a_card_says_what_its_cover_shows(make: Make, db: Any) -> None:
    owner = await make.person("ada", name="Ada M")
    steps = [
        PromptTemplate(template="a {red|red} kite"),
        TextToImage(prompt="{text}, gouache", model="starter"),
        ImageToImage(prompt="softer", model="other"),
    ]
    pipeline = await make.pipeline(owner, steps=steps, title="Kite", published=True)
    await db.execute(
        """UPDATE step_runs SET resolved = '{"prompt": "a red kite, gouache"}'
           WHERE run_id = $1 AND kind = 'text_to_image'""",
        pipeline.run_id,
    )
    await cards.refresh(pipeline.id)
    (card,) = (await gallery.cards()).cards
    last = await db.fetchval(
        "SELECT sha256 FROM outputs JOIN step_runs s ON s.id = step_run_id WHERE s.run_id = $1 AND s.ordinal = 3",
        pipeline.run_id,
    )
    assert (card.title, card.prompt, card.model, card.medium) == ("Kite", "a red kite, gouache", "starter", "image")
    assert (card.owner_handle, card.owner_name) == ("ada", "Ada M")
    assert (card.cover_sha256, card.cover_width, card.cover_height) == (last, 128, 128)
    assert (card.rating, card.rating_count, card.generation, card.offshoot_count) == (None, 0, 1, 0)


async def test_only_the_owner_decides_what_stands_on_a_card(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    shown, hidden = await make.pipeline(ada, published=True), await make.pipeline(ada)
    await cards.refresh(hidden.id)
    card = """SELECT prompt, cover_run_id, cover_sha256, published_at, updated_at FROM pipelines
              WHERE id = ANY($1) ORDER BY id"""
    before = await db.fetch(card, [shown.id, hidden.id])
    for pipeline in (shown, hidden):
        run = await make.run(pipeline, bo, state="succeeded")
        await db.execute("UPDATE step_runs SET resolved = $2 WHERE run_id = $1", run.id, {"prompt": "buy at bo's"})
        await runs.publish(run.id, bo.id)
        assert (await feeds.of_results(pipeline.id)).entries[0].run_id == run.id
    assert await db.fetch(card, [shown.id, hidden.id]) == before
    assert [one.id for one in (await gallery.cards()).cards] == [shown.id]


async def test_a_text_result_is_its_own_cover(make: Make) -> None:
    await make.pipeline(steps=[PromptTemplate(template="Four lines about tea")], published=True)
    (card,) = (await gallery.cards(medium="text")).cards
    assert (card.medium, card.cover_sha256, card.cover_text) == ("text", None, "Four lines about tea")
    assert card.prompt == "Four lines about tea"


async def test_a_card_without_a_prompt_takes_the_template_or_nothing(make: Make, db: Any) -> None:
    words = await make.pipeline(steps=[PromptTemplate(template="Softly"), ImageToImage(upload="0" * 64)])
    mute = await make.pipeline(steps=[ImageToImage(upload="0" * 64, model="other")])
    for pipeline, expected in ((words, ("Softly", "starter", "image")), (mute, ("", "other", "image"))):
        await cards.refresh(pipeline.id)
        row = await db.fetchrow("SELECT prompt, model, medium FROM pipelines WHERE id = $1", pipeline.id)
        assert tuple(row) == expected


async def test_only_public_published_living_pipelines_are_listed(make: Make, db: Any) -> None:
    shown = await make.pipeline(published=True)
    await make.pipeline(visibility="unlisted", published=True)
    await make.pipeline(visibility="private", published=True)
    await make.pipeline()
    gone = await make.pipeline(published=True)
    await db.execute("UPDATE pipelines SET deleted_at = now() WHERE id = $1", gone.id)
    assert [card.id for card in (await gallery.cards()).cards] == [shown.id]


async def test_it_leaves_the_gallery_with_its_last_published_run(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(published=True)
    before = await db.fetchval("SELECT published_at FROM pipelines WHERE id = $1", pipeline.id)
    await cards.refresh(pipeline.id)
    assert await db.fetchval("SELECT published_at FROM pipelines WHERE id = $1", pipeline.id) == before
    await db.execute("UPDATE runs SET visibility = 'private', published_at = NULL WHERE id = $1", pipeline.run_id)
    await cards.refresh(pipeline.id)
    row = await db.fetchrow("SELECT published_at, cover_sha256, prompt FROM pipelines WHERE id = $1", pipeline.id)
    assert (row["published_at"], row["cover_sha256"], row["prompt"]) == (None, None, "a red circle")


async def test_going_private_and_back_is_not_new_again(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(published=True)
    before = await db.fetchval("SELECT published_at FROM pipelines WHERE id = $1", pipeline.id)
    for visibility in ("private", "public"):
        await db.execute("UPDATE pipelines SET visibility = $2 WHERE id = $1", pipeline.id, visibility)
        await cards.refresh(pipeline.id)
    assert await db.fetchval("SELECT published_at FROM pipelines WHERE id = $1", pipeline.id) == before


async def test_an_offshoot_counts_for_its_parent_while_it_is_public(make: Make, db: Any) -> None:
    parent = await make.pipeline(published=True)
    child = await make.pipeline(parent=parent, published=True)
    count = "SELECT offshoot_count FROM pipelines WHERE id = $1"
    assert await db.fetchval(count, parent.id) == 1
    lively = await db.fetchval("SELECT trend FROM pipelines WHERE id = $1", parent.id)
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", child.id)
    await cards.refresh(child.id)
    assert await db.fetchval(count, parent.id) == 0
    assert await db.fetchval("SELECT trend FROM pipelines WHERE id = $1", parent.id) < lively


async def test_refreshing_what_does_not_exist_does_nothing(db: Any) -> None:
    await cards.refresh(uuid4())
    await cards.recount(uuid4())


async def test_refreshing_recounts_votes(make: Make, db: Any) -> None:
    pipeline = await make.pipeline(published=True)
    ada = await make.person()
    await ratings.rate(pipeline.id, ada.id, 4)
    await db.execute("DELETE FROM people WHERE id = $1", ada.id)
    await cards.refresh(pipeline.id)
    row = await db.fetchrow("SELECT rating_count, rating_sum FROM pipelines WHERE id = $1", pipeline.id)
    assert tuple(row) == (0, 0)


# pages


@pytest.mark.parametrize("order", gallery.ORDERS)
async def test_paging_neither_skips_nor_repeats_while_new_ones_arrive(make: Make, db: Any, order: str) -> None:
    chance = random.Random(order)
    owner = await make.person()
    old = set(await listed(db, owner, 40))
    await db.execute(
        "UPDATE pipelines SET trend = (random() * 10)::int, rating_score = 3 + (random() * 4)::int / 2.0, "
        "offshoot_weight = (random() * 3)::int, grown_weight = (random() * 3)::int"
    )
    seen: list[UUID] = []
    after, firsts = None, []
    while True:
        found = await gallery.cards(order, after=after, limit=7)
        seen += [card.id for card in found.cards]
        firsts.append(found.first)
        if found.next is None:
            break
        after = found.next
        for _ in range(3):
            await listed(
                db, owner, 1, trend=20.0 * chance.random(), rating_score=1 + 4 * chance.random(),
                offshoot_weight=chance.randrange(5), grown_weight=chance.randrange(5),
            )  # fmt: skip
    assert len(seen) == len(set(seen))
    assert old <= set(seen)
    assert firsts == [1 + 7 * n for n in range(len(firsts))]


async def test_each_order_puts_its_best_first(make: Make, db: Any) -> None:
    owner = await make.person()
    first, second, third = await listed(db, owner, 3)
    await db.execute("UPDATE pipelines SET trend = 9, rating_score = 4.5 WHERE id = $1", second)
    await db.execute("UPDATE pipelines SET offshoot_weight = 4 WHERE id = $1", first)
    found = {order: (await gallery.cards(order)).cards[0].id for order in gallery.ORDERS}
    assert found == {
        "newest": third,
        "trending": second,
        "best": second,
        "top": second,
        "offshoots": first,
        "grown": third,
    }


async def test_best_looks_back_one_week_and_top_for_all_time(make: Make, db: Any, client: Any) -> None:
    owner = await make.person()
    old, new = await listed(db, owner, 2)
    await db.execute(
        "UPDATE pipelines SET published_at = now() - interval '8 days', rating_score = 5 WHERE id = $1", old
    )
    assert [card.id for card in (await gallery.cards("best")).cards] == [new]
    assert [card.id for card in (await gallery.cards("top")).cards] == [old, new]
    text = (await client.get("/?order=top")).text
    assert '<a href="/?order=top" aria-current="true">Top rated</a>' in text
    feed = re.findall(r'href="(/gallery/feed.json[^"]+)"', text)[0]
    assert (await client.get(feed)).json()["items"][0]["url"].endswith(str(old))


async def test_the_top_is_read_from_its_index(make: Make, db: Any) -> None:
    await listed(db, await make.person(), 3)
    sql, args = lists.select("p.id", "", lists.Filter("top"), None, 24)
    async with db.transaction():
        await db.execute("SET LOCAL enable_seqscan = off")
        await db.execute("SET LOCAL enable_sort = off")  # few rows are sorted as fast as read in order
        plan = "\n".join(row[0] for row in await db.fetch(f"EXPLAIN {sql}", *args))
    assert " using pipelines_best " in plan
    assert "Sort" not in plan


async def test_filters_combine(make: Make, db: Any) -> None:
    ada, bo = await make.person(), await make.person()
    (one,) = await listed(db, ada, 1, medium="audio", tags=["night", "sea"])
    (two,) = await listed(db, bo, 1, medium="audio", tags=["night"], parent_id=one)
    await listed(db, bo, 1, medium="image", tags=["sea"])

    async def ids(**filters: Any) -> list[UUID]:
        return [card.id for order in gallery.ORDERS for card in (await gallery.cards(order, **filters)).cards]

    assert await ids(medium="audio", tag="sea") == [one] * 6
    assert await ids(tag="night", owner_id=bo.id) == [two] * 5
    assert await ids(forked_from=ada.id) == [two] * 5
    assert await ids(medium="mesh") == []


@pytest.mark.parametrize(
    "query", ["order=random", "kind=gif", "after=nonsense", "page=999", "after=AAAA", "after=%E2%82"]
)
async def test_what_no_list_has_is_not_found_in_words(client: Any, query: str) -> None:
    answer = await client.get(f"/?{query}")
    assert answer.status_code == 404
    assert "There is no" in answer.text


async def test_a_cursor_of_another_order_is_no_page(make: Make, db: Any) -> None:
    owner = await make.person()
    await listed(db, owner, 3)
    cursor = (await gallery.cards("newest", limit=1)).next
    assert cursor is not None
    for order in ("trending", "best", "top", "offshoots"):
        with pytest.raises(NotFound):
            await gallery.cards(order, after=cursor)
    for value in ("x", 2**40, 1.5):
        with pytest.raises(NotFound):
            await gallery.cards("offshoots", after=lists.encode("offshoots", value, uuid4(), 0))
    with pytest.raises(NotFound):
        await gallery.cards("newest", after=lists.encode("newest", datetime(2026, 1, 1), uuid4(), 0))
    with pytest.raises(NotFound):
        await gallery.cards("newest", after="A" * 301)
    assert (await gallery.cards("trending", after=lists.encode("trending", 1e9, uuid4(), 0))).cards


# the page


async def test_a_page_shows_cards_and_one_link_on(client: Any, make: Make, db: Any) -> None:
    owner = await make.person("marlow")
    await listed(db, owner, 30)
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.text.count('<article class="card">') == 24
    assert answer.text.count('rel="next"') == 2  # the pager's, and one for machines
    assert "1 to 24" in answer.text
    more = await client.get(_next(answer.text))
    assert more.text.count('<article class="card">') == 6
    assert "25 to 30 of 30" in more.text
    assert 'class="btn" href' not in more.text.partition('id="pager"')[2]


def _next(html: str) -> str:
    from html import unescape

    return unescape(html.partition('id="pager"')[2].partition('href="')[2].partition('"')[0])


async def test_a_card_shows_whose_it_is_how_it_was_made_and_what_became_of_it(client: Any, make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    parent = await make.pipeline(ada, visibility="unlisted", title="Harbor")
    drawn = [TextToImage(prompt="A harbor <in> snow", model="painter")]
    child = await make.pipeline(bo, parent=parent, title="Snow & harbor", steps=drawn, published=True)
    for stars in (5, 4):
        await ratings.rate(child.id, (await make.person()).id, stars)
    for _ in range(2):
        await make.pipeline(parent=child, published=True, published_at=datetime(2026, 1, 1, tzinfo=UTC))
    card = re.findall(r'<article class="card">.*?</article>', (await client.get("/")).text, re.S)[0]
    sha256 = await db.fetchval("SELECT cover_sha256 FROM pipelines WHERE id = $1", child.id)
    assert f'<img src="/artifacts/{sha256}/320"' in card
    assert f'<a href="/pipelines/{child.id}">Snow &amp; harbor</a>' in card
    assert '<p class="prompt clamp" dir="auto">A harbor &lt;in&gt; snow</p>' in card
    assert '<a class="clip" href="/@bo"><bdi>bo</bdi></a>' in card
    assert '<span class="model clip">painter</span>' in card
    assert 'title="4.5 of 5"' in card
    assert '<span class="vh">Rated </span>4.5</span>' in card
    sprig = card.partition('<svg class="sprig"')[2].partition("</svg>")[0]
    assert 'role="img" aria-label="Generation 2, offshoots by 2 other people"' in sprig
    assert sprig.count("C") == 2  # a curve for each of them


async def test_htmx_gets_the_cards_and_the_next_pager(client: Any, make: Make, db: Any) -> None:
    await listed(db, await make.person(), 30)
    url = _next((await client.get("/")).text)
    part = await client.get(url, headers=HTMX)
    assert "<html" not in part.text
    assert part.text.lstrip().startswith("<li data-ar=")
    assert part.text.count("<article") == 6
    assert '<hx-partial hx-target="#pager" hx-swap="outerHTML"><nav class="pager" id="pager"' in part.text
    assert part.text.count(" autofocus") == 1
    assert "All 30" in part.text


async def test_kinds_and_orders_are_links_that_keep_each_other(client: Any, make: Make, db: Any) -> None:
    await listed(db, await make.person(), 1, medium="audio")
    answer = await client.get("/?kind=audio&order=trending")
    for link in ("/?order=trending", "/?order=best&amp;kind=audio", "/?kind=audio", "/?order=trending&amp;kind=mesh"):
        assert f'href="{link}"' in answer.text
    assert 'href="/gallery/feed.atom?order=trending&amp;kind=audio"' in answer.text
    assert answer.text.count('aria-current="page"') >= 1


@pytest.mark.parametrize(
    ("query", "words", "link"),
    [
        ("", "Nothing here yet", "/pipelines/new"),
        ("?kind=mesh", "No 3D models yet", "/"),
        ("?kind=animation&order=trending", "No animations yet", "/?order=trending"),
        ("?order=best", "Nothing published this week", "/"),
        ("?tag=sea", "Nothing tagged “sea” yet", "/"),
    ],
)
async def test_an_empty_list_says_so_and_leads_on(client: Any, query: str, words: str, link: str) -> None:
    answer = await client.get(f"/{query}")
    assert answer.status_code == 200
    assert words in answer.text
    assert f'<a class="btn primary" href="{link}"' in answer.text
    assert 'class="gallery"' not in answer.text


async def test_a_page_past_the_end_leads_back(client: Any, make: Make, db: Any) -> None:
    await listed(db, await make.person(), 1)
    past = lists.encode("newest", BEGAN, uuid4(), 24)
    answer = await client.get(f"/?after={past}")
    assert answer.status_code == 200
    assert "That was all" in answer.text


async def test_how_many_queries_a_page_takes(client: Any, make: Make, db: Any, log_in: Any, queries: Any) -> None:
    parent = await make.pipeline(published=True)
    for _ in range(3):
        await make.pipeline(parent=parent, published=True)
    with queries:
        await client.get("/")
    assert queries.count <= 2, queries
    await log_in(client, await make.person())
    with queries:
        await client.get("/")
    assert queries.count <= 3, queries
    with queries:
        await client.get("/?order=best&kind=image")
    assert queries.count <= 2, queries


# the branch


async def test_the_branch_shows_what_each_offshoot_changed(client: Any, make: Make) -> None:
    def draw(prompt: str) -> list[Any]:
        return [TextToImage(prompt=prompt)]

    parent = await make.pipeline(title="Harbor", steps=draw("A small harbor at dusk, gouache"), published=True)
    words = ("in falling snow", "after midnight", "at dusk")
    children = [
        await make.pipeline(parent=parent, title=f"H{n}", steps=draw(f"A small harbor {word}, gouache"), published=True)
        for n, word in enumerate(words)
    ]
    twig = await make.pipeline(parent=children[0], title="Snowed in", published=True)
    branch = await gallery.branch()
    assert branch is not None
    assert branch.parent.id == parent.id
    assert {one.card.id for one in branch.offshoots} == {child.id for child in children}
    assert [one.next.id for one in branch.offshoots if one.next] == [twig.id]
    answer = await client.get("/")
    assert "Harbor, three offshoots" in answer.text
    assert "[removed] </span>at dusk</del>" in answer.text
    assert "[added] </span>after midnight</ins>" in answer.text
    assert "the same prompt" in answer.text
    assert f'href="/pipelines/{parent.id}/lineage"' in answer.text
    assert "Harbor, three offshoots" not in (await client.get("/?kind=image")).text


async def test_no_branch_without_three_that_everybody_may_see(client: Any, make: Make) -> None:
    parent = await make.pipeline(published=True)
    for visibility in ("public", "public", "unlisted", "private"):
        await make.pipeline(parent=parent, visibility=visibility, published=True)
    assert await gallery.branch() is None
    assert 'class="branch"' not in (await client.get("/")).text


async def test_an_opening_is_made_once_a_moment(
    client: Any, make: Make, log_in: Any, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "OPENING_FRESH", 60.0)
    page._openings.clear()
    await client.get("/")
    with queries:
        await client.get("/")
    assert queries.count == 1, queries
    await log_in(client, await make.person())
    with queries:
        await client.get("/")
    assert queries.count == 2, queries  # the session and the cards
    page._openings.clear()


def test_the_first_change_is_shown_and_the_rest_counted() -> None:
    assert page.changed_words("a red cat by a lake", "a blue cat by a sea") == page.Changed("red", "blue", 1)
    assert page.changed_words("same", "same") == page.Changed("", "", 0)
    long = page.changed_words("", "word " * 100)
    assert long.added.endswith("…")
    assert len(long.added) <= page.SHOWN


# conditional GET


async def test_an_unchanged_page_is_not_sent_again(client: Any, make: Make, db: Any) -> None:
    owner = await make.person()
    await listed(db, owner, 2)
    first = await client.get("/")
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    again = await client.get("/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert "Cookie" in again.headers["vary"]
    await listed(db, owner, 1)
    assert (await client.get("/", headers={"If-None-Match": tag})).status_code == 200


async def test_a_crowd_gets_one_page_each_with_a_form_token_of_their_own(
    clients: Any, make: Make, db: Any, queries: Any, log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditional, "FRESH", 60.0)
    await listed(db, await make.person(), 2)
    first, second, third = clients(), clients(), clients()
    made = await first.get("/")
    with queries:
        kept = await second.get("/")
        alone = await second.get("/")
        head = await third.head("/")
    assert queries.count == 0, queries
    mine, theirs = (re.search(r'name="_csrf" value="([^"]+)"', page.text) for page in (made, kept))
    assert mine is not None
    assert theirs is not None
    assert mine[1] != theirs[1]
    assert kept.text.replace(theirs[1], "") == made.text.replace(mine[1], "")
    assert alone.text == kept.text
    assert {**made.headers, **dict.fromkeys(("etag", "set-cookie", "x-request-id"))}.keys() == kept.headers.keys()
    assert kept.headers["content-security-policy"] == made.headers["content-security-policy"]
    assert (head.status_code, head.content, head.headers["content-length"]) == (
        200,
        b"",
        kept.headers["content-length"],
    )
    sent = await second.post("/settings/theme", data={"_csrf": theirs[1], "theme": "dark", "next": "/"})
    assert sent.status_code == 303
    assert (await second.get("/")).text != kept.text
    await log_in(third, await make.person())
    with queries:
        await third.get("/")
    assert queries.count > 0
    conditional._seen.clear()


async def test_the_tag_knows_theme_query_part_and_browser(client: Any, clients: Any, make: Make, db: Any) -> None:
    await listed(db, await make.person(), 2)
    tag = (await client.get("/")).headers["etag"]
    asked = {"If-None-Match": tag}
    assert (await client.get("/?order=trending", headers=asked)).status_code == 200
    assert (await client.get("/", headers={**asked, **HTMX})).status_code == 200
    client.cookies.set("theme-8000", "dark")
    assert (await client.get("/", headers=asked)).status_code == 200
    other = clients()
    assert (await other.get("/", headers=asked)).status_code == 304  # keeps no cookies so far, so uses no form
    assert (await other.get("/login")).status_code == 200
    assert (await other.get("/", headers=asked)).status_code == 200  # a browser with a form token of its own


async def test_who_is_logged_in_always_gets_the_page(client: Any, make: Make, log_in: Any) -> None:
    tag = (await client.get("/")).headers["etag"]
    await log_in(client, await make.person())
    answer = await client.get("/", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert "etag" not in answer.headers


async def test_a_fresh_answer_to_a_known_tag_costs_no_query(
    client: Any, make: Make, db: Any, queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditional, "FRESH", 60.0)
    await listed(db, await make.person(), 2)
    tag = (await client.get("/?order=newest")).headers["etag"]
    with queries:
        answer = await client.get("/?order=newest", headers={"If-None-Match": f'"other", {tag}'})
    assert answer.status_code == 304
    assert queries.count == 0, queries
    for number in range(conditional.KEPT):
        conditional._seen[(number,)] = conditional.Seen(0.0, "", [])
    assert (await client.get("/?kind=text")).status_code == 200
    assert len(conditional._seen) == 1
    conditional._seen.clear()
