"""Comments: written, answered, changed, taken away; by whom, how often, and what others see of it."""

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from domain import comments, mentions, pipelines, runs, subjects, talk
from domain.errors import Invalid, NotFound, Refused, TooMany
from tests.make import Make

PART = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def page_of(pipeline_id: UUID, viewer: Any = None, after: UUID | None = None, limit: int = 24) -> talk.Talk:
    viewer_id = viewer and viewer.id
    subject = await subjects.pipeline(pipeline_id, viewer_id)
    return await talk.read(subject, viewer_id, viewer.role if viewer else "", after, limit)


def words(page: talk.Talk) -> list[str]:
    return [one.body for one in page.comments]


# writing


async def test_threads_stand_in_the_order_they_began_with_replies_under_them(make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person("bo", name="Bo")
    first = await make.comment(sea, bo, "first")
    await make.comment(sea, body="second")
    late = await make.comment(sea, body="answer to first", to=first)
    await make.comment(sea, body="answer to the answer", to=late)
    found = await page_of(sea.id)
    assert words(found) == ["first", "answer to first", "answer to the answer", "second"]
    assert [one.is_reply for one in found.comments] == [False, True, True, False]
    assert {one.thread_id for one in found.comments[:3]} == {first}
    assert found.comments[1].to == found.comments[0].author == talk.Author(bo.id, "bo", "Bo")
    assert (found.count, found.next) == (4, None)


async def test_a_published_run_has_its_own(make: Make) -> None:
    sea = await make.pipeline(published=True)
    run = await make.run(sea, state="succeeded", published=True)
    await make.comment(run, body="about the run")
    await make.comment(sea, body="about the pipeline")
    assert words(await page_of(sea.id)) == ["about the pipeline"]
    assert words(await talk.read(await subjects.run(run.id, None), None)) == ["about the run"]


async def test_pages_neither_skip_nor_repeat(make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person()
    threads = [await make.comment(sea, bo) for _ in range(4)]
    for thread in threads[:2]:
        for _ in range(5):
            await make.comment(sea, bo, to=thread)
    whole = [one.id for one in (await page_of(sea.id)).comments]
    assert len(whole) == 14
    seen: list[UUID] = []
    after = None
    while True:
        found = await page_of(sea.id, after=after, limit=3)
        seen += [one.id for one in found.comments]
        after = found.next
        if after is None:
            break
    assert seen == whole


@pytest.mark.parametrize("body", ["", " \n\t ", "\u200b\u2060", "\x01\x02", "́"])
async def test_nothing_is_no_comment(make: Make, body: str) -> None:
    sea, bo = await make.pipeline(), await make.person()
    with pytest.raises(Invalid, match="Write something first"):
        await comments.on_pipeline(sea.id, bo.id, body)


async def test_it_may_be_so_long_and_no_longer(make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person()
    await comments.on_pipeline(sea.id, bo.id, " " + "ж" * 5_000 + "\n")
    with pytest.raises(Invalid, match="this has 5,001"):
        await comments.on_pipeline(sea.id, bo.id, "ж" * 5_001)


async def test_what_one_may_not_see_one_may_not_talk_about(make: Make, db: Any) -> None:
    ada, eve = await make.person(), await make.person()
    private = await make.pipeline(ada, visibility="private")
    run = await make.run(private, ada, state="succeeded", published=True)
    unpublished = await make.run(await make.pipeline(ada), ada, state="succeeded")
    removed = await make.pipeline(ada)
    on_removed = await make.comment(removed, eve)
    on_private = await make.comment(private, ada, "a note to myself")
    await pipelines.delete(removed.id, ada.id)
    for attempt in (
        comments.on_pipeline(private.id, eve.id, "x"), comments.on_pipeline(removed.id, eve.id, "x"),
        comments.on_pipeline(uuid4(), eve.id, "x"), comments.on_run(run.id, eve.id, "x"),
        comments.on_run(unpublished.id, ada.id, "x"), comments.reply(on_private, eve.id, "x"),
        comments.reply(on_removed, ada.id, "x"), comments.edit(on_removed, eve.id, "x"),
        comments.delete(on_private, eve.id, "admin"), comments.reply(uuid4(), eve.id, "x"),
        talk.one(on_private, eve.id), talk.place(on_private, None),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await attempt
    assert await db.fetchval("SELECT count(*) FROM comments") == 2


async def test_many_at_once_are_counted_one_after_the_other(make: Make, db: Any) -> None:
    sea, bo = await make.pipeline(), await make.person()
    for _ in range(comments.MOST - 2):
        await make.comment(sea, bo)
    tries = [comments.on_pipeline(sea.id, bo.id, f"late {n}") for n in range(6)]
    ended = await asyncio.gather(*tries, return_exceptions=True)
    refused = [one for one in ended if isinstance(one, TooMany)]
    assert len(refused) == 4
    assert re.search(r"30 comments in 10 minutes.*in 10 min", refused[0].message)
    await db.execute("UPDATE comments SET created_at = created_at - interval '11 minutes'")
    assert await comments.on_pipeline(sea.id, bo.id, "later")


async def test_deleting_makes_no_room(make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person()
    for _ in range(comments.MOST):
        await comments.delete(await make.comment(sea, bo), bo.id, "member")
    with pytest.raises(TooMany):
        await make.comment(sea, bo)


async def test_one_form_sent_twice_is_one_comment(make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person()
    twice = await asyncio.gather(*(comments.on_pipeline(sea.id, bo.id, "Calm", "key") for _ in range(5)))
    assert len(set(twice)) == 1
    other = await comments.on_pipeline(sea.id, bo.id, "Calmer", "key")
    answer = await comments.reply(twice[0], bo.id, "Calm", "key")
    somebody = await comments.on_pipeline(sea.id, (await make.person()).id, "Calm", "key")
    assert len({twice[0], other, answer, somebody}) == 4
    await comments.delete(twice[0], bo.id, "member")
    assert await comments.on_pipeline(sea.id, bo.id, "Calm", "key") != twice[0]


# changing and taking away


async def test_only_its_author_changes_it(make: Make) -> None:
    ada, bo = await make.person(), await make.person()
    sea = await make.pipeline(ada)
    said = await make.comment(sea, bo, "fog")
    await comments.edit(said, bo.id, "fog")
    assert (await page_of(sea.id)).comments[0].edited_at is None
    await comments.edit(said, bo.id, "  dense fog ")
    (one,) = (await page_of(sea.id, bo)).comments
    assert (one.body, one.edited_at is not None, one.mine) == ("dense fog", True, True)
    with pytest.raises(Refused):
        await comments.edit(said, ada.id, "sun")
    with pytest.raises(Invalid):
        await comments.edit(said, bo.id, "")
    await comments.delete(said, bo.id, "member")
    with pytest.raises(NotFound):
        await comments.edit(said, bo.id, "back")


@pytest.mark.parametrize(
    ("who", "role", "by"),
    [("author", "member", "author"), ("owner", "member", "owner"), ("other", "moderator", "moderator"),
     ("other", "admin", "moderator"), ("other", "member", "")],
)  # fmt: skip
async def test_who_may_take_it_away(make: Make, db: Any, who: str, role: str, by: str) -> None:
    people = {name: await make.person() for name in ("author", "owner", "other")}
    sea = await make.pipeline(people["owner"])
    said = await make.comment(sea, people["author"], "fog")
    viewer = people[who]
    (shown,) = (await talk.read(await subjects.pipeline(sea.id, None), viewer.id, role)).comments
    assert shown.may_delete is bool(by)
    if not by:
        with pytest.raises(Refused):
            await comments.delete(said, viewer.id, role)
        return
    await comments.delete(said, viewer.id, role)
    await comments.delete(said, people["owner"].id, "member")
    row = await db.fetchrow("SELECT body, deleted_by FROM comments")
    assert tuple(row) == ("", by)
    assert (await page_of(sea.id)).comments == []


async def test_on_a_run_its_owner_and_the_pipelines_may_take_it_away(make: Make) -> None:
    ada, bo, eve = await make.person(), await make.person(), await make.person()
    run = await make.run(await make.pipeline(ada), bo, state="succeeded", published=True)
    for owner in (ada, bo):
        said = await make.comment(run, eve)
        assert (await comments.delete(said, owner.id, "member")).run_id == run.id


async def test_a_deleted_comment_keeps_its_place_while_it_has_replies(make: Make) -> None:
    sea, bo = await make.pipeline(), await make.person()
    first = await make.comment(sea, bo, "fog @nobody")
    answer = await make.comment(sea, body="why?", to=first)
    await comments.delete(first, bo.id, "member")
    found = await page_of(sea.id)
    assert [(one.body, one.deleted_by) for one in found.comments] == [("", "author"), ("why?", "")]
    assert found.count == 1
    with pytest.raises(NotFound):
        await comments.reply(first, bo.id, "still here")
    more = await comments.reply(answer, bo.id, "because")
    assert (await talk.place(first, None)).after is None
    for one in (answer, more):
        await comments.delete(one, bo.id, "admin")
    assert (await page_of(sea.id)).comments == []
    with pytest.raises(NotFound):
        await talk.place(first, None)


async def test_deleting_an_account_takes_its_words_and_leaves_the_answers(make: Make, db: Any) -> None:
    ada, bo = await make.person(), await make.person("bo")
    sea = await make.pipeline(ada)
    first = await make.comment(sea, bo, "my words, @bo")
    await make.comment(sea, ada, "an answer @bo", to=first)
    await make.comment(sea, bo, "alone")
    await db.execute("DELETE FROM people WHERE id = $1", bo.id)
    found = await page_of(sea.id)
    assert [(one.body, one.author is None, one.mentioned) for one in found.comments] == [
        ("", True, ()), ("an answer @bo", False, ()),
    ]  # fmt: skip
    assert await db.fetchval("SELECT string_agg(body, '') FROM comments") == "an answer @bo"


async def test_a_pipeline_that_goes_takes_its_comments_along(make: Make, db: Any) -> None:
    sea = await make.pipeline()
    await make.comment(sea, to=await make.comment(sea))
    await db.execute("DELETE FROM pipelines WHERE id = $1", sea.id)
    assert await db.fetchval("SELECT count(*) FROM comments") == 0


async def test_a_place_is_on_the_first_page_or_begins_with_its_thread(make: Make, db: Any) -> None:
    sea, bo = await make.pipeline(), await make.person()
    threads = []
    for _ in range(26):
        threads.append(await make.comment(sea, bo))
        await db.execute("UPDATE comments SET created_at = created_at - interval '1 hour'")
    answer = await make.comment(sea, to=threads[25])
    assert (await talk.place(threads[23], None)).after is None
    assert (await talk.place(threads[24], None)).after == threads[23]
    place = await talk.place(answer, None)
    assert place.after == threads[24]
    assert [one.id for one in (await page_of(sea.id, after=place.after)).comments] == [threads[25], answer]


# the pages


@pytest.fixture
async def ada(client: httpx.AsyncClient, make: Make, log_in: Any) -> Any:
    person = await make.person("ada", name="Ада")
    await log_in(client, person)
    return person


async def test_the_form_leads_to_the_comment(client: httpx.AsyncClient, make: Make, ada: Any, db: Any) -> None:
    sea = await make.pipeline(title="Sea")
    url = f"/pipelines/{sea.id}"
    page = (await client.get(url)).text
    assert "No comments yet" in page
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found
    form = {"body": "Calm, *so* calm\n\n@ada", "key": found[1]}
    for _ in range(2):
        answer = await client.post(f"{url}/comments", data=form)
        said = await db.fetchval("SELECT id FROM comments")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{url}#comment-{said}")
    page = (await client.get(url)).text
    assert "One comment" in page
    assert f'id="comment-{said}"' in page
    assert "<em>so</em>" in page
    assert 'href="/@ada"' in page
    direct = await client.get(f"/comments/{said}")
    assert (direct.status_code, direct.headers["location"]) == (303, f"{url}#comment-{said}")


async def test_htmx_gets_the_comment_a_fresh_form_and_the_count(client: Any, make: Make, ada: Any) -> None:
    sea = await make.pipeline()
    answer = await client.post(f"/pipelines/{sea.id}/comments", data={"body": "Calm", "key": "k"}, headers=PART)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert answer.text.lstrip().startswith('<article class="comment" id="comment-')
    assert '<hx-partial hx-target="#talk" hx-swap="innerHTML">One comment</hx-partial>' in answer.text
    form = answer.text[answer.text.index('<hx-partial hx-target="#say"') :]
    fresh = re.search(r'name="key" value="([^"]+)"', form)
    assert fresh
    assert fresh[1] != "k"
    assert re.search(r"<textarea[^>]*>\s*</textarea>", form)


async def test_a_run_has_the_same_on_its_page(client: Any, make: Make, ada: Any) -> None:
    sea = await make.pipeline(title="Sea")
    run = await make.run(sea, state="succeeded", published=True)
    answer = await client.post(f"/runs/{run.id}/comments", data={"body": "Calm"})
    assert answer.headers["location"].startswith(f"/runs/{run.id}#comment-")
    page = (await client.get(f"/runs/{run.id}")).text
    assert "One comment" in page
    assert f"/runs/{run.id}/comments.rss" in page
    mine = await make.run(await make.pipeline(ada), ada, state="succeeded")
    assert 'id="talk"' not in (await client.get(f"/runs/{mine.id}")).text


async def test_an_answer_shows_what_it_answers(client: Any, make: Make, ada: Any) -> None:
    sea, bo = await make.pipeline(), await make.person("bo")
    first = await make.comment(sea, bo, "Where is *this*?")
    page = await client.get(f"/comments/{first}/replies")
    assert "<html" in page.text
    assert "Where is <em>this</em>?" in page.text
    assert "Your reply to bo" in page.text
    part = await client.get(f"/comments/{first}/replies", headers=PART)
    assert part.text.lstrip().startswith("<form")
    answer = await client.post(f"/comments/{first}/replies", data={"body": "Nowhere"}, headers=PART)
    assert 'class="comment reply"' in answer.text
    assert answer.text.count('<div class="slot"></div>') == 1
    second = re.search(r'id="comment-([^"]+)"', answer.text)
    assert second
    mine = await client.get(f"/comments/{second[1]}/replies")
    assert "@ada" not in mine.text.split("<textarea")[1].split("</textarea>")[0]
    theirs = await make.comment(sea, bo, "And yet", to=first)
    form = (await client.get(f"/comments/{theirs}/replies")).text
    assert "\n@bo </textarea>" in form


async def test_a_change_shows_at_once(client: Any, make: Make, ada: Any) -> None:
    sea = await make.pipeline()
    said = await make.comment(sea, ada, "Foggy & <b>")
    form = await client.get(f"/comments/{said}/edit", headers=PART)
    assert "Foggy &amp; &lt;b&gt;</textarea>" in form.text
    answer = await client.post(f"/comments/{said}/edit", data={"body": "Sunny"}, headers=PART)
    assert "Sunny" in answer.text
    assert ">edited<" in answer.text
    assert "hx-partial" not in answer.text
    plain = await client.post(f"/comments/{said}/edit", data={"body": "Rainy"})
    assert plain.headers["location"] == f"/pipelines/{sea.id}#comment-{said}"


async def test_deleting_asks_first(client: Any, make: Make, ada: Any, db: Any) -> None:
    sea = await make.pipeline()
    said = await make.comment(sea, ada, "Foggy")
    page = await client.get(f"/comments/{said}/deletion")
    assert "Delete this comment?" in page.text
    assert "Foggy" in page.text
    answer = await client.post(f"/comments/{said}/deletion")
    assert answer.headers["location"] == f"/pipelines/{sea.id}#talk"
    again = await client.post(f"/comments/{said}/deletion")
    assert again.status_code == 303
    assert (await client.get(f"/comments/{said}")).status_code == 404


BAD = [("", "Write something first"), ("   ", "Write something first"), ("x" * 5_001, "this has 5,001")]


@pytest.mark.parametrize("headers", [{}, PART], ids=["plain", "htmx"])
@pytest.mark.parametrize(("body", "said"), [*BAD, ("fo\0g", "cannot be stored")])
async def test_bad_words_come_back_with_what_is_wrong(
    client: Any, make: Make, ada: Any, body: str, said: str, headers: dict[str, str]
) -> None:
    sea = await make.pipeline(ada)
    first = await make.comment(sea, ada)
    for url in (f"/pipelines/{sea.id}/comments", f"/comments/{first}/replies", f"/comments/{first}/edit"):
        answer = await client.post(url, data={"body": body, "key": "k"}, headers=headers)
        assert answer.status_code == 422
        assert said in answer.text
        assert 'aria-invalid="true"' in answer.text
        assert f"\n{body}".replace("\0", "") + "</textarea>" in answer.text
        assert ("<html" in answer.text) == (not headers)
        if headers:
            assert answer.headers["hx-reswap"] == "outerHTML"
            assert f'id="{answer.headers["hx-retarget"][1:]}"' in answer.text
    assert (await client.post(f"/pipelines/{sea.id}/comments", data={"text": "x"})).status_code == 422


async def test_half_a_surrogate_pair_is_taken_out(client: Any, make: Make, ada: Any) -> None:
    sea = await make.pipeline()
    answer = await client.post(
        f"/pipelines/{sea.id}/comments",
        content=b"body=fo%ED%A0%80g",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 422
    assert "\nfog</textarea>" in answer.text


async def test_too_many_keeps_the_words(client: Any, make: Make, ada: Any) -> None:
    sea = await make.pipeline()
    for _ in range(comments.MOST):
        await make.comment(sea, ada)
    for headers in ({}, PART):
        answer = await client.post(f"/pipelines/{sea.id}/comments", data={"body": "One more"}, headers=headers)
        assert answer.status_code == 429
        assert "30 is the most" in answer.text
        assert "\nOne more</textarea>" in answer.text


async def test_many_pages_lead_on(client: Any, make: Make, db: Any) -> None:
    sea, bo = await make.pipeline(), await make.person("bo")
    await db.execute(
        """INSERT INTO comments (pipeline_id, author_id, body)
           SELECT $1, $2, 'number ' || n FROM generate_series(1, 50) n""",
        sea.id,
        bo.id,
    )
    url, seen = f"/pipelines/{sea.id}", list[str]()
    page = (await client.get(url)).text
    assert "50 comments" in page
    while True:
        seen += re.findall(r"<p>(number \d+)</p>", page)
        more = re.search(r'href="([^"]+)" rel="next" hx-get', page)
        if not more:
            break
        page = (await client.get(more[1])).text
    assert seen == [f"number {n}" for n in range(1, 51)]
    part = await client.get(f"{url}/comments", headers=PART)
    assert "<html" not in part.text
    assert part.text.count("<article") == 24
    assert '<hx-partial hx-target="#newer"' in part.text
    past = await client.get(f"{url}/comments?after={uuid4()}")
    assert "That was all" in past.text


async def test_a_page_that_does_not_show_the_last_comment_sends_plainly(client: Any, make: Make, ada: Any) -> None:
    sea, bo = await make.pipeline(), await make.person()
    for _ in range(25):
        await make.comment(sea, bo)
    form = re.search(r'<form[^>]* id="say"[^>]*>', (await client.get(f"/pipelines/{sea.id}")).text)
    assert form
    assert "hx-post" not in form[0]
    answer = await client.post(f"/pipelines/{sea.id}/comments", data={"body": "The last"})
    place = answer.headers["location"]
    assert re.fullmatch(rf"/pipelines/{sea.id}/comments\?after=[0-9a-f-]+#comment-[0-9a-f-]+", place)
    assert "The last" in (await client.get(place.partition("#")[0])).text


async def test_a_page_takes_one_query_more_however_many_there_are(client: Any, make: Make, queries: Any) -> None:
    sea = await make.pipeline()
    counts = []
    for _ in range(3):
        with queries:
            assert (await client.get(f"/pipelines/{sea.id}/comments")).status_code == 200
        counts.append(queries.count)
        for _ in range(4):
            await make.comment(sea, to=await make.comment(sea))
    assert counts == [2, 2, 2]


async def test_a_visitor_is_led_to_log_in(client: Any, make: Make) -> None:
    from tests.sessions import with_csrf

    sea = await make.pipeline()
    said = await make.comment(sea)
    page = (await client.get(f"/pipelines/{sea.id}")).text
    assert f'href="/login?next=/pipelines/{sea.id}">Log in to comment' in page
    assert "/replies" not in page
    await with_csrf(client)
    for url in (f"/pipelines/{sea.id}/comments", f"/comments/{said}/replies"):
        answer = await client.post(url, data={"body": "x"})
        assert answer.headers["location"].startswith("/login?next=")


async def test_names_and_words_of_any_script_stay_apart(client: Any, make: Make) -> None:
    sea = await make.pipeline(title="ميناء")
    await make.comment(sea, await make.person("zaynab", name="زينب"), "جميل جداً \u202e sun")
    page = (await client.get(f"/pipelines/{sea.id}")).text
    assert "<bdi>زينب</bdi>" in page
    assert '<div class="prose" dir="auto">' in page


async def test_mentions_are_of_those_who_may_see(make: Make, db: Any) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    sea = await make.pipeline(ada, visibility="private")
    await make.comment(sea, ada, "@bo @Ada @nobody")
    assert (await page_of(sea.id, ada)).comments[0].mentioned == ("ada",)
    assert await db.fetchval("SELECT count(*) FROM notifications") == 0
    open_ = await make.pipeline(ada)
    await make.comment(open_, ada, "@BO @ada @nobody")
    assert (await page_of(open_.id)).comments[0].mentioned == ("ada", "bo")
    assert await db.fetchval("SELECT person_id FROM notifications") == bo.id
    assert mentions.MOST == 10


async def test_unpublishing_hides_them(client: Any, make: Make) -> None:
    ada = await make.person()
    run = await make.run(await make.pipeline(ada), ada, state="succeeded", published=True)
    said = await make.comment(run)
    await runs.unpublish(run.id, ada.id)
    assert (await client.get(f"/comments/{said}")).status_code == 404
    assert (await client.get(f"/runs/{run.id}/comments.json")).status_code == 404
