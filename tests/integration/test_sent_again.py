"""A page that grew old, or text that cannot be stored: what was typed is kept and can be sent again."""

import html
import re
from typing import Any

import httpx
import pytest

from domain import db as database
from domain import drafts
from domain.steps import Input
from tests.make import Make, png
from tests.sessions import with_csrf
from web import auth

HERE = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
PART = {"HX-Request": "true", "HX-Request-Type": "partial"}
TYPED = {
    "title": 'The "sea" & <b>fog</b>',
    "description": "One line\nand Кіт\n",
    "s1-kind": "text_to_image",
    "s1-prompt": "a calm sea",
    "do": "draft",
}


def form_in(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Where the page's own form goes, and its hidden fields in order."""
    found = re.search(r'<form class="stack tight" action="([^"]+)" method="post".*?</form>', text, re.DOTALL)
    assert found, text
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', found[0])
    return html.unescape(found[1]), [(name, html.unescape(value)) for name, value in fields]


async def send(client: httpx.AsyncClient, sent: tuple[str, list[tuple[str, str]]]) -> httpx.Response:
    """Press the button, as a browser does."""
    client.headers.pop(auth.CSRF_HEADER, None)
    path, fields = sent
    return await client.post(path, files=[(name, (None, value)) for name, value in fields], headers=HERE)


@pytest.mark.parametrize("headers", [HERE, {**HERE, **PART, auth.CSRF_HEADER: "0" * 64}])
async def test_what_an_old_page_sent_can_be_sent_again(
    client: httpx.AsyncClient, make: Make, log_in: Any, headers: dict[str, str]
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    client.headers.pop(auth.CSRF_HEADER)
    answer = await client.post("/pipelines", data={**TYPED, "_csrf": "0" * 64}, headers=headers)
    assert answer.status_code == 403
    assert ("<html" in answer.text) == ("HX-Request" not in headers)
    assert answer.headers["cache-control"] == "no-store"
    assert "logged in as <bdi>ada</bdi>" in answer.text
    path, fields = form_in(answer.text)
    assert path == "/pipelines"
    assert dict(fields[1:]) == TYPED
    assert (await send(client, (path, fields))).status_code == 303
    kept = await drafts.read(ada.id, None)
    assert kept is not None
    assert kept.form["title"] == TYPED["title"]
    assert kept.form["description"] == TYPED["description"]


async def test_whoever_was_logged_out_logs_in_in_between(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    ada = await make.person("ada")
    old = {"_csrf": (await log_in(client, ada)).headers.pop(auth.CSRF_HEADER)}
    await database.execute("DELETE FROM sessions")
    answer = await client.post("/pipelines", data={**TYPED, **old}, headers=HERE)
    assert answer.status_code == 403
    assert 'href="/login" target="_blank"' in answer.text
    early = await send(client, form_in(answer.text))
    assert early.status_code == 403
    assert dict(form_in(early.text)[1]) == TYPED
    await log_in(client, ada)
    late = await send(client, form_in(early.text))
    assert late.status_code == 403
    assert "logged in as <bdi>ada</bdi>" in late.text
    assert (await send(client, form_in(late.text))).status_code == 303
    assert await database.fetchval("SELECT form->>'title' FROM drafts") == TYPED["title"]


async def test_passwords_are_not_kept(client: httpx.AsyncClient, make: Make) -> None:
    await make.person("ada", password="boats at the quay")
    await with_csrf(client)
    client.headers.pop(auth.CSRF_HEADER)
    form = {"login": "ada", "password": "boats at the quay", "_csrf": "0" * 64}
    answer = await client.post("/login", data=form, headers=HERE)
    assert answer.status_code == 403
    assert "boats" not in answer.text
    assert "The password is not kept" in answer.text
    again = await send(client, form_in(answer.text))
    assert again.status_code == 422
    assert 'value="ada"' in again.text


async def test_a_picture_is_not_kept_and_that_is_said(client: httpx.AsyncClient, make: Make, log_in: Any) -> None:
    await log_in(client, await make.person("ada"))
    client.headers.pop(auth.CSRF_HEADER)
    form = {**TYPED, "s1-kind": "image_to_image"}
    files = {"s1-upload-file": ("a.png", png())}
    answer = await client.post("/pipelines", data=form, files=files, headers=HERE)
    assert answer.status_code == 403
    assert "The picture is not kept" in answer.text
    assert dict(form_in(answer.text)[1][1:]) == form
    by_htmx = await client.post("/uploads?field=s1-upload-file", data=form, files=files, headers=HERE | PART)
    assert by_htmx.status_code == 403
    assert "<form" not in by_htmx.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_what_no_page_of_ours_sent_is_not_kept(
    client: httpx.AsyncClient, make: Make, log_in: Any, headers: dict[str, str]
) -> None:
    await log_in(client, await make.person("ada"))
    client.headers.pop(auth.CSRF_HEADER)
    answer = await client.post("/pipelines", data=TYPED, headers=headers)
    assert answer.status_code == 403
    assert "Send it again" not in answer.text
    assert "a calm sea" not in answer.text


async def test_json_gets_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/pipelines", data=TYPED, headers=HERE | {"Accept": "application/json"})
    assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed")


async def test_a_run_form_with_a_character_that_cannot_be_stored(
    client: httpx.AsyncClient, make: Make, log_in: Any
) -> None:
    ada = await make.person("ada")
    await log_in(client, ada)
    pipeline = await make.pipeline(ada, inputs=[Input(name="mood", default="calm")])
    path = f"/pipelines/{pipeline.id}/versions/1/runs"
    answer = await client.post(path, data={"input-mood": "wi\0ld", "seed": "7", "key": "k"}, headers=HERE)
    assert answer.status_code == 422
    assert "“<bdi>input-mood</bdi>”" in answer.text
    again = await send(client, form_in(answer.text))
    assert again.status_code == 303
    row = await database.fetchrow("SELECT inputs, seed FROM runs")
    assert row is not None
    assert tuple(row) == ({"mood": "wild"}, 7)


@pytest.mark.parametrize("path", ["/settings/profile", "/signup"])
async def test_a_form_of_ones_own_says_it_beside_the_field(
    client: httpx.AsyncClient, make: Make, log_in: Any, path: str
) -> None:
    if path == "/signup":
        await with_csrf(client)
    else:
        await log_in(client, await make.person("ada"))
    answer = await client.post(path, data={"name": "A\0da"})
    assert answer.status_code == 422
    assert re.search(r'<input id="name" name="name"[^>]*aria-invalid="true"[^>]*value="Ada"', answer.text)
    assert "A character that cannot be stored was taken out" in answer.text
