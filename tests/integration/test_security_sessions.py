"""SECURITY.md 1, 2, 4, 5: sessions and login."""

import dataclasses
import hashlib
import re
import statistics
import time
from http.cookiejar import CookieJar
from typing import Any

import httpx
import pytest

from domain import accounts, passwords
from tests.make import PASSWORD, Make
from tests.sessions import with_csrf
from web import auth
from web.app import create_app

SESSION = "session-8000"
"""The cookie's name on a site at http://127.0.0.1:8000."""


async def login(client: httpx.AsyncClient, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    """The login form, filled in and sent."""
    client.headers.pop(auth.CSRF_HEADER, None)
    page = await client.get("/login")
    token = re.search(r'name="_csrf" value="(\w+)"', page.text)
    assert token, page.text
    return await client.post("/login", data={"_csrf": token[1], "login": name, "password": password, **more})


async def test_1_login_rotates_the_session(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("ada", password=PASSWORD)
    await login(client, "ada")
    first = client.cookies[SESSION]
    await client.post("/logout", headers={auth.CSRF_HEADER: await _token(client)})
    await login(client, "ada")
    assert client.cookies[SESSION] != first


async def test_1_a_cookie_planted_before_login_is_worthless(
    client: httpx.AsyncClient, clients: Any, make: Make
) -> None:
    await make.person("ada", password=PASSWORD)
    planted = "x" * 43
    client.cookies.set(SESSION, planted, domain="127.0.0.1")
    assert (await login(client, "ada")).status_code == 303
    assert client.cookies[SESSION] != planted
    attacker = clients()
    attacker.cookies.set(SESSION, planted)
    assert (await attacker.get("/settings/profile")).status_code == 303


async def test_1_logging_in_ends_the_session_that_was_there(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    await make.person("ada", password=PASSWORD)
    await log_in(client, await make.person("mallory"))
    before = client.cookies[SESSION]
    client.cookies.clear()
    client.cookies.set(SESSION, before, domain="127.0.0.1")
    answer = await client.post("/login", data={"login": "ada", "password": PASSWORD})
    assert answer.status_code == 303
    assert client.cookies[SESSION] != before
    assert await accounts.person_of(before) is None
    assert "/@ada" in (await client.get("/")).text


async def test_2_logout_ends_the_session_on_the_server(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    await log_in(client, await make.person("ada"))
    token = client.cookies[SESSION]
    answer = await client.post("/logout")
    assert answer.status_code == 303
    client.cookies.set(SESSION, token)
    assert (await client.get("/settings/profile")).status_code == 303
    assert await accounts.person_of(token) is None


async def test_2_only_a_hash_of_the_token_is_kept(client: httpx.AsyncClient, make: Make, log_in: Any, db: Any) -> None:
    await log_in(client, await make.person("ada"))
    token = client.cookies[SESSION]
    assert len(token) >= 43, "256 bits"
    rows = await db.fetch("SELECT * FROM sessions")
    assert [row["token_hash"] for row in rows] == [hashlib.sha256(token.encode()).digest()]
    assert token not in str(rows)


@pytest.mark.parametrize("column", ["seen_at = now() - interval '31 days'", "expires_at = now() - interval '1 s'"])
async def test_3_sessions_run_out(client: httpx.AsyncClient, make: Make, log_in: Any, db: Any, column: str) -> None:
    await log_in(client, await make.person("ada"))
    await db.execute(f"UPDATE sessions SET {column}")
    assert (await client.get("/settings/profile")).status_code == 303


async def test_3_a_session_may_end_with_the_browser(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    await make.person("ada", password=PASSWORD)
    answer = await login(client, "ada")
    assert "max-age" not in _cookie(answer, SESSION).lower()
    assert await db.fetchval("SELECT expires_at < now() + interval '25 hours' FROM sessions")
    client.cookies.clear()
    answer = await login(client, "ada", stay="1")
    assert "max-age=7776000" in _cookie(answer, SESSION).lower()


async def test_4_cookies_are_pinned_under_tls(config: Any, db: Any, make: Make) -> None:
    site = create_app(dataclasses.replace(config, site_url="https://offshoot.example"))
    await make.person("ada", password=PASSWORD)
    transport = httpx.ASGITransport(app=site)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="https://offshoot.example") as client:
        await with_csrf(client)
        answer = await client.post("/login", data={"login": "ada", "password": PASSWORD})
        assert answer.status_code == 303
        await with_csrf(client, "/settings/profile")
        theme = await client.post("/settings/theme", data={"theme": "dark"})
    for header in answer.headers.get_list("set-cookie") + theme.headers.get_list("set-cookie"):
        assert header.startswith("__Host-"), header
        for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
            assert word in header, header
        assert "Domain" not in header


async def test_4_cookies_are_closed_to_scripts_without_tls(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("ada", password=PASSWORD)
    header = _cookie(await login(client, "ada"), SESSION)
    assert "HttpOnly" in header
    assert "SameSite=lax" in header
    assert "Secure" not in header


async def test_4_two_sites_on_one_host_keep_their_cookies_apart(config: Any, db: Any, make: Make) -> None:
    """A browser has one jar for all ports of a host."""
    await make.person("ada", password=PASSWORD)
    jar = CookieJar()
    browsers = []
    for port in (8001, 8002):
        site = create_app(dataclasses.replace(config, site_url=f"http://127.0.0.1:{port}"))
        transport = httpx.ASGITransport(app=site)  # type: ignore[arg-type]
        browsers.append(httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}", cookies=jar))
    for browser in browsers:
        assert (await login(browser, "ada")).status_code == 303
        assert (
            await browser.post("/settings/theme", data={"theme": "dark", "_csrf": await _token(browser)})
        ).is_redirect
    for browser in browsers:
        assert (await browser.get("/settings/profile")).status_code == 200
        await browser.aclose()
    names = {f"{name}-{port}" for name in ("session", "theme") for port in (8001, 8002)}
    assert names <= {cookie.name for cookie in jar}


async def test_5_passwords_are_kept_as_argon2id(client: httpx.AsyncClient, db: Any) -> None:
    await accounts.sign_up("a@example.org", "ada", PASSWORD)
    kept = await db.fetchval("SELECT password_hash FROM people")
    found = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$", kept)
    assert found
    memory, passes, lanes = map(int, found.groups())
    assert memory >= 19456
    assert passes >= 2
    assert lanes == 1


async def test_5_weaker_hashes_are_replaced_at_login(client: httpx.AsyncClient, make: Make, db: Any) -> None:
    from argon2 import PasswordHasher

    person = await make.person("ada")
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await db.execute("UPDATE people SET password_hash = $2 WHERE id = $1", person.id, weak)
    await accounts.log_in("ada", PASSWORD)
    kept = await db.fetchval("SELECT password_hash FROM people")
    assert kept != weak
    assert not passwords.outdated(kept)
    assert (await accounts.log_in("ada", PASSWORD)).id == person.id


@pytest.mark.parametrize(
    ("password", "accepted"),
    [
        ("nine char", False),
        ("ten chars!", True),
        ("длинный пароль", True),
        ("boats at the quay " * 7 + "xy", True),
        ("boats at the quay " * 8, False),
        ("password123", False),
        ("Password2024!", False),
        ("1234567890", False),
        ("qwertyuiop", False),
        ("aaaaaaaaaaaa", False),
        ("adaadaada1815", False),
        ("ada@example.org", False),
    ],
)
async def test_5_length_and_common_passwords(client: httpx.AsyncClient, password: str, accepted: bool) -> None:
    await with_csrf(client, "/signup")
    form = {"handle": "adaadaada", "email": "ada@example.org", "password": password}
    answer = await client.post("/signup", data=form)
    assert answer.status_code == (303 if accepted else 422), answer.text
    if not accepted:
        assert 'id="password-e"' in answer.text
        assert not re.search(r'type="password"[^>]* value=', answer.text)


async def test_6_the_same_words_and_time_for_an_unknown_account(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("ada", password=PASSWORD)
    await login(client, "ada", "wrong password")  # both paths warm
    await login(client, "nobody", "wrong password")
    times: dict[str, list[float]] = {"ada": [], "boo": []}
    words = set()
    for _ in range(5):
        for name, spent in times.items():
            start = time.perf_counter()
            answer = await login(client, name, "wrong password")
            spent.append(time.perf_counter() - start)
            assert answer.status_code == 422
            words.add(re.sub(r'value="\w+"', "", answer.text))
    assert len(words) == 1
    known, unknown = (statistics.median(spent) for spent in times.values())
    assert 0.4 < known / unknown < 2.5


async def _token(client: httpx.AsyncClient) -> str:
    found = re.search(r'name="_csrf" value="(\w+)"', (await client.get("/")).text)
    assert found
    return found[1]


def _cookie(answer: httpx.Response, name: str) -> str:
    return next(header for header in answer.headers.get_list("set-cookie") if header.startswith(f"{name}="))
