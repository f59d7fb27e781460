"""SECURITY.md 24, 25: what people write stays text."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import people
from tests.make import Make
from web.filters import markdown

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<a href="/" onclick="alert(1)">x</a>',
    '<div hx-get="/logout" hx-trigger="load">x</div>',
    '<div data-hx-post="/logout">x</div>',
    '<p style="position:fixed;inset:0">x</p>',
    "<style>body{display:none}</style>",
    "<iframe src=//evil.example></iframe>",
    "[x](javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "![x](https://evil.example/pixel.gif)",
    '[x](/a "onmouseover=alert(1)")',
    "<svg><script>alert(1)</script></svg>",
    "<base href=//evil.example>",
    "<form action=//evil.example><button>x</button></form>",
    "`<script>`",
    "\n    <script>alert(1)</script>\n",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
]


ALLOWED = set("a b blockquote br code del em h3 h4 h5 h6 hr i li ol p pre s strong ul".split())  # noqa: SIM905


def _elements(html: str) -> tuple[set[str], set[str]]:
    """The names of all tags and attributes, as a browser would read them."""
    tags: set[str] = set()
    names: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            names.update(name for name, _ in attrs)

    Reader().feed(html)
    return tags, names


@pytest.mark.parametrize("text", HOSTILE)
def test_24_markdown_is_rebuilt_from_allowed_tags(text: str) -> None:
    html = str(markdown(text))
    for tag, attributes in re.findall(r"<(\w+)([^>]*)>", html):
        assert tag in ALLOWED
        names = re.findall(r"([\w-]+)=\"", attributes)
        assert set(names) <= {"href", "title", "rel", "start"}, html
    assert not re.search(r'href="(?!https?:|mailto:|/|#)', html), html


def test_24_markdown_still_says_what_was_meant() -> None:
    html = str(markdown("# Sea\n\n*fog* and **slow** [loops](https://example.org)\n\n- one\n- two"))
    assert html.startswith("<h3>Sea</h3>")
    assert "<em>fog</em>" in html
    assert "<strong>slow</strong>" in html
    assert 'href="https://example.org" rel="nofollow ugc noopener"' in html
    assert html.count("<li>") == 2


FOLLOW = (
    '<form id="follow" action="/@ada/follow" method="post" autocomplete="off"'
    ' hx-post="/@ada/follow" hx-swap="outerMorph">'
)
"""The one form of ours on the page."""


@pytest.mark.parametrize("text", HOSTILE)
async def test_24_a_profile_shows_hostile_text_as_text(client: httpx.AsyncClient, make: Make, text: str) -> None:
    ada = await make.person("ada")
    await people.edit(ada.id, text.replace("\n", " ").strip()[:60], text)
    page = await client.get("/@ada")
    assert page.status_code == 200
    main = page.text.split("<main", 1)[1].split("</main>")[0]
    assert FOLLOW in main
    tags, attributes = _elements(main.replace(FOLLOW, "", 1))
    assert not tags & {"script", "style", "iframe", "base", "math", "img", "form"}
    assert not [name for name in attributes if name.startswith(("on", "hx-", "data-hx-", "style"))]


async def test_24_hostile_text_in_every_field_of_a_form_comes_back_escaped(client: httpx.AsyncClient) -> None:
    from tests.sessions import with_csrf

    await with_csrf(client, "/signup")
    bad = '"><script>alert(1)</script>{{ 7*7 }}{% raw %}'
    form = {"handle": bad, "email": bad, "name": bad, "password": bad, "next": bad}
    page = await client.post("/signup", data=form)
    assert page.status_code == 422
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "{{ 7*7 }}" in page.text


def test_24_no_template_marks_text_as_safe(root: Path) -> None:
    for template in (root / "templates").rglob("*"):
        if template.is_file():
            text = template.read_text()
            assert not re.search(r"\|\s*safe\b|autoescape\s+false|Markup", text), template


RENDERING = {"filters.py", "gallery.py"}
"""The filters, and the gallery, which keeps blocks that its own templates rendered."""


def test_24_markup_is_made_of_our_own_words(root: Path) -> None:
    """Outside the filters, Markup() wraps literals and templates; the rest goes through its escaping format()."""
    for module in (root / "web").rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Markup":
                ours = all(isinstance(part, ast.Constant) or ".render(" in ast.unparse(part) for part in call.args)
                assert ours or module.name in RENDERING, f"{module}:{call.lineno}"


@pytest.mark.parametrize("text", ["'; DROP TABLE people; --", "{{ config }}", "${7*7}", "%(x)s", "$1", "\\", "{a|b}"])
async def test_25_text_is_data(client: httpx.AsyncClient, make: Make, db: Any, text: str) -> None:
    ada = await make.person("ada")
    await people.edit(ada.id, text, "")
    assert (await people.by_handle("ada")).name == text
    made = await make.pipeline(ada, published=True, title=text, prompt=text, tags=["sea"])
    for path in ("/", "/@ada", "/tags/sea"):
        page = await client.get(path)
        assert page.status_code == 200, path
        assert text.replace("'", "&#39;") in page.text
    assert made.id


@pytest.mark.parametrize(
    "path", ["/@%00", "/@ada%00", "/tags/%00", "/?tag=%00", "/@%ED%A0%80", "/@" + "a" * 5000, "/@'--"]
)
async def test_25_odd_addresses_are_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code in (404, 200) if "?" in path else 404
