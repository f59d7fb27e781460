"""Signing up, and what the forms say."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from domain import accounts, people
from domain.errors import Invalid, NotFound
from tests.make import PASSWORD, Make
from tests.sessions import with_csrf

FORM = {"handle": "marlow", "name": "Marlow Ķ", "email": "m@example.org", "password": PASSWORD}


async def sign_up(client: httpx.AsyncClient, **changed: str) -> httpx.Response:
    await with_csrf(client, "/signup")
    return await client.post("/signup", data={**FORM, **changed})


async def test_sign_up_logs_in_and_shows_the_profile(client: httpx.AsyncClient) -> None:
    answer = await sign_up(client)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/@marlow"
    page = await client.get("/@marlow")
    assert "Marlow Ķ" in page.text
    assert "Edit profile" in page.text
    assert "m@example.org" not in page.text


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"handle": "MARLOW"}, "handle", "This handle is taken"),
        ({"email": "M@Example.org"}, "email", "There is an account with this e-mail"),
    ],
)
async def test_what_is_taken_is_said_beside_its_field(
    client: httpx.AsyncClient, make: Make, changed: dict[str, str], field: str, words: str
) -> None:
    await make.person("marlow", email="m@example.org")
    other = {"handle": "other", "email": "o@example.org"} | changed
    answer = await sign_up(client, **other)
    assert answer.status_code == 422
    assert re.search(rf'id="{field}-e">.*{words}', answer.text)
    assert f'value="{other["handle"]}"' in answer.text
    assert "Marlow Ķ" in answer.text
    assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"handle": "admin"}, "handle"),
        ({"handle": "аdmin"}, "handle"),
        ({"handle": ""}, "handle"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b@c.org"}, "email"),
        ({"email": "x" * 250 + "@example.org"}, "email"),
        ({"password": "short"}, "password"),
        ({"name": "x" * 61}, "name"),
        ({"name": "zero\u200bwidth\u202e"}, "name"),
    ],
)
async def test_bad_input_gets_words_beside_its_field(
    client: httpx.AsyncClient, db: Any, changed: dict[str, str], field: str
) -> None:
    answer = await sign_up(client, **changed)
    assert answer.status_code == 422
    assert f'id="{field}-e"' in answer.text
    assert f'aria-describedby="{field}-e' in answer.text
    assert await db.fetchval("SELECT count(*) FROM people") == 0


async def test_htmx_gets_the_form_alone_and_a_redirect(client: httpx.AsyncClient) -> None:
    htmx = {"HX-Request": "true", "HX-Request-Type": "partial"}
    await with_csrf(client, "/signup")
    answer = await client.post("/signup", data={**FORM, "handle": "x"}, headers=htmx)
    assert answer.status_code == 422
    assert answer.text.lstrip().startswith("<form")
    assert "hx-request-type" in answer.headers["vary"].lower()
    answer = await client.post("/signup", data=FORM, headers=htmx)
    assert answer.headers["hx-redirect"] == "/@marlow"


async def test_two_at_once_make_one_account(client: httpx.AsyncClient, db: Any) -> None:
    import asyncio

    results = await asyncio.gather(
        *(accounts.sign_up("m@example.org", "marlow", PASSWORD) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, people.Person) for result in results) == 1
    assert all(isinstance(result, (people.Person, Invalid)) for result in results)


async def test_log_in_by_handle_or_email(client: httpx.AsyncClient, make: Make) -> None:
    person = await make.person("marlow", email="Marlow@example.org", password=PASSWORD)
    for name in ("marlow", "MARLOW", "marlow@example.org", " marlow "):
        assert (await accounts.log_in(name, PASSWORD)).id == person.id
    with pytest.raises(Invalid):
        await accounts.log_in("marlow", PASSWORD + "x")
    with pytest.raises(Invalid):
        await accounts.log_in("marlow", "x" * 100_000)


async def test_who_is_logged_in_goes_on(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    await log_in(client, await make.person("ada"))
    assert (await client.get("/signup")).headers["location"] == "/@ada"
    assert (await client.get("/login?next=/runs")).headers["location"] == "/runs"


async def test_a_busy_session_is_touched_once_an_hour(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    person = await make.person("ada")
    token = await accounts.open_session(person.id)
    await db.execute("UPDATE sessions SET seen_at = now() - interval '2 hours'")
    assert await accounts.person_of(token)
    assert await db.fetchval("SELECT seen_at > now() - interval '1 minute' FROM sessions")
    assert await accounts.person_of("x" * 1000) is None


async def test_people_by_handle_id_and_in_one_query(client: httpx.AsyncClient, make: Make) -> None:
    ada, bo = await make.person("Ada"), await make.person("bo", name="Bo L")
    assert (await people.by_handle("ADA")).id == ada.id
    assert (await people.by_id(bo.id)).shown == "Bo L"
    names = await people.card_names([ada.id, bo.id])
    assert names[ada.id].handle == "Ada"
    assert names[bo.id].name == "Bo L"
    with pytest.raises(NotFound):
        await people.by_handle("nobody")
    with pytest.raises(NotFound):
        await people.by_id(make_id())


def make_id() -> Any:
    from uuid import UUID

    return UUID(int=7)


async def test_the_theme_is_kept_in_the_browser(client: httpx.AsyncClient) -> None:
    await with_csrf(client)
    answer = await client.post("/settings/theme", data={"theme": "dark", "next": "/login?next=/runs"})
    assert answer.headers["location"] == "/login?next=/runs"
    page = (await client.get("/login")).text
    assert '<html lang="en" dir="ltr" data-theme="dark">' in page
    assert 'id="theme-dark" checked' in page
    await client.post("/settings/theme", data={"theme": "auto"})
    assert "data-theme" not in (await client.get("/login")).text
    assert (await client.post("/settings/theme", data={"theme": "pink"})).status_code == 422


async def test_what_needs_a_login_leads_there_and_back(client: httpx.AsyncClient) -> None:
    plain = await client.get("/settings/profile")
    assert (plain.status_code, plain.headers["location"]) == (303, "/login?next=/settings/profile")
    htmx = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Current-URL": "http://127.0.0.1:8000/@ada?tab=runs"}
    part = await client.get("/settings/profile", headers=htmx)
    assert part.headers["hx-redirect"] == "/login?next=/@ada%3Ftab%3Druns"
    json = await client.get("/settings/profile", headers={"Accept": "application/json"})
    assert json.status_code == 401
    assert json.json()["title"] == "Log in first"
    await with_csrf(client)
    sent = await client.post("/settings/profile", data={"name": ""}, headers={"Referer": "https://evil.example//x"})
    assert sent.headers["location"] == "/login?next=/"


@pytest.mark.parametrize("handle", ["mar1ow", "Marl0w", "m.a.r-low", "marIow"])
async def test_a_handle_that_looks_like_anothers_is_refused(db: Any, make: Make, handle: str) -> None:
    await make.person("marlow")
    with pytest.raises(Invalid, match="looks like marlow, which is taken"):
        await accounts.sign_up("b@example.org", handle, "a long walk home")


async def test_look_alikes_at_once_are_one_account(db: Any) -> None:
    handles = ["corn", "com", "c0rn", "c0m"]
    people = [accounts.sign_up(f"{handle}@example.org", handle, "a long walk home") for handle in handles]
    made = await asyncio.gather(*people, return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["Invalid", "Invalid", "Invalid", "Person"]
    assert await db.fetchval("SELECT count(*) FROM people") == 1
