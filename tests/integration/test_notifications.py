"""Notifications: who hears of what, once, never of themselves or of what they may not see; and the page."""

import re
from typing import Any

import httpx
import pytest

from domain import comments, forks, notifications, pipelines, runs
from domain.errors import NotFound
from domain.pipelines import Details
from domain.steps import Recipe, TextToImage
from tests.make import Make
from web.notifications import feed

RECIPE = Recipe(steps=[TextToImage(prompt="b")])
PART = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def heard(person: Any) -> list[tuple[str, str]]:
    """What a person was told: (kind, by whom), the oldest first."""
    found = (await notifications.listed(person.id)).notifications
    return [(one.kind, one.actor.handle) for one in reversed(found)]


@pytest.fixture
async def ada(make: Make) -> Any:
    return await make.person("ada")


@pytest.fixture
async def bo(make: Make) -> Any:
    return await make.person("bo")


@pytest.fixture
async def eve(make: Make) -> Any:
    return await make.person("eve")


async def test_the_owner_hears_of_comments_and_authors_of_replies(make: Make, ada: Any, bo: Any, eve: Any) -> None:
    sea = await make.pipeline(ada, title="Sea")
    first = await make.comment(sea, bo, "Where is *this*?")
    answer = await make.comment(sea, eve, "Nowhere", to=first)
    await make.comment(sea, ada, "Here", to=answer)
    assert await heard(ada) == [("comment", "bo"), ("comment", "eve")]
    assert await heard(bo) == [("reply", "eve"), ("reply", "ada")]
    assert await heard(eve) == [("reply", "ada")]
    (_, oldest) = (await notifications.listed(ada.id)).notifications
    assert (oldest.title, oldest.excerpt, oldest.comment_id, oldest.unread) == ("Sea", "Where is *this*?", first, True)


async def test_the_owner_of_a_run_hears_of_it(make: Make, ada: Any, bo: Any, eve: Any) -> None:
    run = await make.run(await make.pipeline(ada), bo, state="succeeded", published=True)
    await make.comment(run, eve)
    assert await heard(bo) == [("comment", "eve")]
    assert await heard(ada) == []


async def test_nobody_hears_of_themselves(make: Make, ada: Any) -> None:
    sea = await make.pipeline(ada)
    await make.comment(sea, ada, "@ada", to=await make.comment(sea, ada, "@ada"))
    assert await heard(ada) == []


async def test_one_comment_is_told_once(make: Make, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada)
    first = await make.comment(sea, ada, "mine")
    said = await make.comment(sea, bo, "@ada, @ada, this is yours", to=first)
    assert await heard(ada) == [("reply", "bo")]
    await comments.edit(said, bo.id, "@ada once more")
    assert await heard(ada) == [("reply", "bo")]


async def test_who_is_mentioned_hears_of_it_when_it_is_changed_too(make: Make, ada: Any, bo: Any, eve: Any) -> None:
    sea = await make.pipeline(ada)
    said = await make.comment(sea, bo, "Hm")
    assert await heard(eve) == []
    await comments.edit(said, bo.id, "Hm, @eve")
    assert await heard(eve) == [("mention", "bo")]


async def test_a_mention_that_a_change_adds_is_told_however_many_heard_before(make: Make, ada: Any, bo: Any) -> None:
    """Those who heard already take no place from those who did not."""
    sea = await make.pipeline(ada)
    first = await make.comment(sea, await make.person("starter"), "Hm")
    others = [await make.person(f"one{n}") for n in range(7)]
    named = " ".join(f"@{one.handle}" for one in others)
    said = await make.comment(sea, bo, f"@bo @starter {named}", to=first)
    assert [len(await heard(one)) for one in others] == [1] * 7
    late = [await make.person(f"late{n}") for n in range(4)]
    await comments.edit(said, bo.id, f"@bo {named} " + " ".join(f"@{one.handle}" for one in late))
    assert [await heard(one) for one in late] == [[("mention", "bo")]] * 2 + [[]] * 2  # the tenth name is the last
    assert [len(await heard(one)) for one in others] == [1] * 7


async def test_a_crowd_is_not_told(make: Make, db: Any, ada: Any) -> None:
    sea = await make.pipeline(ada)
    crowd = [await make.person(f"crowd{n}") for n in range(50)]
    said = await make.comment(sea, ada, " ".join(f"@{one.handle}" for one in crowd))
    assert await db.fetchval("SELECT count(*) FROM notifications") == 10
    await comments.edit(said, ada.id, " ".join(f"@{one.handle}" for one in crowd[20:]))
    assert await db.fetchval("SELECT count(*) FROM notifications") == 10


async def test_the_owner_hears_of_an_offshoot_once_everybody_may_see_it(make: Make, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada, title="Sea")
    made = await forks.fork(sea.version_id, bo.id)
    assert await heard(ada) == []
    await pipelines.save(made.id, bo.id, Details("Snow", visibility="unlisted"), RECIPE)
    assert await heard(ada) == []
    for visibility in ("public", "private", "public"):
        await pipelines.save(made.id, bo.id, Details("Snow", visibility=visibility), RECIPE)
    assert await heard(ada) == [("fork", "bo")]
    (one,) = (await notifications.listed(ada.id)).notifications
    assert (one.title, one.parent_title, one.pipeline_id, one.comment_id) == ("Snow", "Sea", made.id, None)
    await forks.fork(sea.version_id, ada.id)
    await pipelines.delete(made.id, bo.id)
    assert await heard(ada) == []


@pytest.mark.parametrize("change", ["visibility = 'private'", "visibility = 'unlisted'", "deleted_at = now()"])
async def test_a_feed_names_no_parent_that_not_everybody_may_see(
    make: Make, db: Any, ada: Any, bo: Any, change: str
) -> None:
    sea = await make.pipeline(ada, title="Secret sea")
    made = await forks.fork(sea.version_id, bo.id)
    await pipelines.save(made.id, bo.id, Details("Snow", visibility="public"), RECIPE)
    assert [entry.title for entry in (await feed(ada.id, None)).entries] == [
        "bo made an offshoot, Snow, of your Secret sea"
    ]
    await db.execute(f"UPDATE pipelines SET {change} WHERE id = $1", sea.id)
    assert [entry.title for entry in (await feed(ada.id, None)).entries] == ["bo made an offshoot, Snow"]
    (one,) = (await notifications.listed(ada.id)).notifications
    assert one.parent_title == ("" if "deleted" in change else "Secret sea")


async def test_publishing_a_result_of_a_private_offshoot_tells_too(make: Make, ada: Any, bo: Any) -> None:
    made = await forks.fork((await make.pipeline(ada)).version_id, bo.id)
    run = await make.run(await make.version(made), bo, state="succeeded")  # type: ignore[arg-type]
    await runs.publish(run.id, bo.id, to_everyone=True)
    assert await heard(ada) == [("fork", "bo")]


async def test_ones_own_offshoot_is_no_news(make: Make, ada: Any) -> None:
    made = await forks.fork((await make.pipeline(ada)).version_id, ada.id)
    await pipelines.save(made.id, ada.id, Details("Mine", visibility="public"), RECIPE)
    assert await heard(ada) == []


async def test_what_one_may_not_see_any_more_is_left_out(make: Make, db: Any, ada: Any, bo: Any, eve: Any) -> None:
    sea = await make.pipeline(ada)
    run = await make.run(sea, ada, state="succeeded", published=True)
    said = await make.comment(sea, eve, "@bo")
    await make.comment(run, eve, "@bo")
    assert len(await heard(bo)) == 2
    await runs.unpublish(run.id, ada.id)
    assert await heard(bo) == [("mention", "eve")]
    await db.execute("UPDATE pipelines SET visibility = 'private' WHERE id = $1", sea.id)
    assert await heard(bo) == []
    assert await heard(ada) == [("comment", "eve")]
    assert await unread(bo) == 0
    (one,) = (await notifications.listed(ada.id)).notifications
    with pytest.raises(NotFound):
        await notifications.read(one.id, bo.id)
    await db.execute("UPDATE pipelines SET visibility = 'public' WHERE id = $1", sea.id)
    assert await heard(bo) == [("mention", "eve")]
    await comments.delete(said, eve.id, "member")
    assert await heard(bo) == await heard(ada) == []
    assert await db.fetchval("SELECT count(*) FROM notifications WHERE comment_id = $1", said) == 0


async def test_a_failed_comment_tells_nobody(make: Make, db: Any, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada)
    async with db.transaction() as connection:
        undone = connection.transaction()
        await undone.start()
        await make.comment(sea, bo)
        assert await heard(ada) == [("comment", "bo")]
        await undone.rollback()
    assert await heard(ada) == []


async def test_accounts_that_go_take_their_news_along(make: Make, db: Any, ada: Any, bo: Any, eve: Any) -> None:
    sea = await make.pipeline(ada)
    await make.comment(sea, bo, "@eve")
    await make.comment(sea, eve, "hm")
    await db.execute("DELETE FROM people WHERE id = $1", bo.id)
    assert await heard(eve) == []
    assert await heard(ada) == [("comment", "eve")]


async def unread(person: Any) -> int:
    from domain import accounts

    found = await accounts.person_of(await accounts.open_session(person.id))
    assert found is not None
    return found.unread


async def test_unread_ones_are_counted_to_ten(make: Make, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada)
    assert await unread(ada) == 0
    for n in range(12):
        await make.comment(sea, bo)
        assert await unread(ada) == min(n + 1, 10)
    newest, *_ = (await notifications.listed(ada.id)).notifications
    await notifications.read(newest.id, ada.id)
    assert await unread(ada) == 10
    await notifications.read_all(ada.id, newest.id)
    assert await unread(ada) == 0


async def test_pages_neither_skip_nor_repeat(make: Make, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada)
    for _ in range(5):
        await make.comment(sea, bo)
    whole = [one.id for one in (await notifications.listed(ada.id)).notifications]
    seen, after = [], None
    while True:
        found = await notifications.listed(ada.id, after, limit=2)
        seen += [one.id for one in found.notifications]
        after = found.next
        if after is None:
            break
    assert seen == whole == sorted(whole, reverse=True)


# the page


@pytest.fixture
async def reader(client: httpx.AsyncClient, log_in: Any, ada: Any) -> httpx.AsyncClient:
    """Ada's browser."""
    return await log_in(client, ada)  # type: ignore[no-any-return]


async def test_the_page_says_what_happened(reader: httpx.AsyncClient, make: Make, ada: Any, bo: Any) -> None:
    assert "Nothing new, nothing old" in (await reader.get("/notifications")).text
    sea = await make.pipeline(ada, title="Sea <3")
    said = await make.comment(sea, bo, "*Where* is <b>this</b>?")
    run = await make.run(sea, bo, state="succeeded", published=True)
    await make.comment(run, bo, "@ada look")
    made = await forks.fork(sea.version_id, bo.id)
    await pipelines.save(made.id, bo.id, Details("Snow", visibility="public"), RECIPE)
    page = (await reader.get("/notifications")).text
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.split("<main")[1]))
    assert "bo made an offshoot, Snow, of your Sea &lt;3" in text
    assert "bo mentioned you on Sea &lt;3, result 1" in text
    assert "bo commented on your Sea &lt;3" in text
    assert "Where is &lt;b&gt;this&lt;/b&gt;?" in text
    assert page.count('<span class="tag new">new</span>') == 3
    assert f'href="/comments/{said}"' in page
    assert 'aria-label="Notifications, 3 unread"' in page


async def test_opening_one_marks_it_as_read(reader: httpx.AsyncClient, make: Make, ada: Any, bo: Any) -> None:
    said = await make.comment(await make.pipeline(ada), bo)
    found = re.search(r'hx-post="(/notifications/[^"]+/reading)"', (await reader.get("/notifications")).text)
    assert found
    by_htmx = await reader.post(found[1], headers=PART)
    assert by_htmx.headers["hx-redirect"] == f"/comments/{said}"
    plain = await reader.post(found[1])
    assert (plain.status_code, plain.headers["location"]) == (303, f"/comments/{said}")
    page = (await reader.get("/notifications")).text
    assert 'aria-label="Notifications"' in page
    assert 'hx-post="/notifications/' not in page


async def test_all_are_marked_up_to_the_newest_seen(reader: httpx.AsyncClient, make: Make, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada)
    await make.comment(sea, bo)
    await make.comment(sea, bo)
    found = re.search(r'name="until" value="([^"]+)"', (await reader.get("/notifications")).text)
    assert found
    await make.comment(sea, bo, "meanwhile")
    answer = await reader.post("/notifications/reading", data={"until": found[1]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/notifications")
    assert await unread(ada) == 1
    for wrong in ("", "x", "'; --"):
        assert (await reader.post("/notifications/reading", data={"until": wrong})).status_code == 422


async def test_other_peoples_are_not_to_be_found(reader: httpx.AsyncClient, make: Make, bo: Any, eve: Any) -> None:
    await make.comment(await make.pipeline(bo), eve)
    (theirs,) = (await notifications.listed(bo.id)).notifications
    assert (await reader.post(f"/notifications/{theirs.id}/reading")).status_code == 404
    assert await unread(bo) == 1


async def test_the_badge_stands_on_every_page_at_no_query_of_its_own(
    reader: httpx.AsyncClient, make: Make, ada: Any, bo: Any, queries: Any
) -> None:
    sea = await make.pipeline(ada)
    for _ in range(12):
        await make.comment(sea, bo)
    for path in ("/", "/@ada", "/runs", "/nowhere", "/settings/profile"):
        with queries:
            page = await reader.get(path)
        assert 'aria-label="Notifications, more than 9 unread"' in page.text, path
        assert sum("notifications" in sql for sql in queries.statements) == 1
    with queries:
        await reader.get("/notifications")
    assert queries.count == 3, queries  # the session, the list, the key of its private feed


async def test_older_ones_come_page_by_page(reader: httpx.AsyncClient, make: Make, db: Any, ada: Any, bo: Any) -> None:
    sea = await make.pipeline(ada)
    await db.execute(
        """WITH said AS (INSERT INTO comments (pipeline_id, author_id, body)
               SELECT $1, $2, 'number ' || n FROM generate_series(1, 30) n RETURNING id)
           INSERT INTO notifications (person_id, kind, actor_id, comment_id) SELECT $3, 'comment', $2, id FROM said""",
        sea.id,
        bo.id,
        ada.id,
    )
    page = (await reader.get("/notifications")).text
    more = re.search(r'href="(/notifications\?after=[^"]+)" rel="next"', page)
    assert more
    part = await reader.get(more[1], headers=PART)
    assert "<html" not in part.text
    assert part.text.count("<li") == 6
    assert '<hx-partial hx-target="#pager"' in part.text
    past = "/notifications?after=00000000-0000-7000-8000-000000000000"
    assert "That was all" in (await reader.get(past)).text
