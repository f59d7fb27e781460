"""Logging a test's browser in."""

import re

import httpx
from litestar import Litestar

from domain import accounts
from domain.people import Person
from web import auth
from web.forms import CSRF_FIELD


async def log_in(client: httpx.AsyncClient, person: Person) -> httpx.AsyncClient:
    """Give the browser a fresh session of `person`, and every later request its CSRF token."""
    app: Litestar = client._transport.app  # type: ignore[attr-defined]
    name = auth.cookie_name(app.state.config, "session")
    client.cookies.clear()
    client.cookies.set(name, await accounts.open_session(person.id))
    return await with_csrf(client, "/settings/profile")


async def with_csrf(client: httpx.AsyncClient, path: str = "/login") -> httpx.AsyncClient:
    """Read the CSRF token from a page's form and send it with every later request of this browser."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    found = re.search(rf'name="{CSRF_FIELD}" value="([^"]+)"', answer.text)
    assert found, f"{path} has no form with a CSRF token"
    client.headers[auth.CSRF_HEADER] = found[1]
    return client
