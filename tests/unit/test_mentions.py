"""Whom words mention, and how a comment's words become HTML."""

import re

import pytest

from domain import mentions
from web.filters import plain, said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@ada", ["ada"]),
        ("Hello @Ada, and @bo.", ["ada", "bo"]),
        ("(@ada) “@bo” @ada’s @x-y.z_1!", ["ada", "bo", "x-y.z_1"]),
        ("*@ada* > @bo", ["ada", "bo"]),
        ("> @ada\n\n- @bo", ["ada", "bo"]),
        ("@ada @ADA @ada", ["ada"]),
        ("me@example.org @ada@example.org /@ada a@b", []),
        ("`@ada` and\n\n    @bo\n\n```\n@cy\n```", []),
        ("[@ada](https://example.org) [x](/@bo)", []),
        ("@", []),
        ("@a @ ada @-ada @.ada @адам", []),
        ("@адаada @adaж", []),
        ("@" + "a" * 40, []),
        ("", []),
    ],
)
def test_handles_stand_alone_in_plain_text(text: str, found: list[str]) -> None:
    assert mentions.handles(text) == found


def test_only_so_many_count() -> None:
    text = " ".join(f"@person{n}" for n in range(50))
    assert mentions.handles(text) == [f"person{n}" for n in range(mentions.MOST)]


def test_a_mention_of_somebody_leads_to_them() -> None:
    html = str(said("Hi @ADA and @nobody, **@Bo**!", ("Ada", "bo")))
    assert re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', html) == [("/@Ada", "@ADA"), ("/@bo", "@Bo")]
    assert "and @nobody, <strong>" in html


def test_code_and_links_stay_as_they_are() -> None:
    html = str(said("`@ada` [@ada](https://example.org)", ("ada",)))
    assert "/@ada" not in html
    assert "<code>@ada</code>" in html


HOSTILE = [
    "<script>alert(1)</script> @ada",
    '<a hx-get="/logout" onclick="x()">@ada</a>',
    "[x](javascript:alert(1)) @ada",
    "![x](https://evil.example/pixel.gif) @ada",
    '@ada"><img src=x onerror=alert(1)>',
    "[a]: javascript:alert(1)\n\n[a] @ada",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_stay_words(text: str) -> None:
    html = str(said(text, ("ada",)))
    assert set(re.findall(r"<(\w+)", html)) <= {"p", "a"}
    for attributes in re.findall(r"<\w+([^>]*)>", html):
        assert set(re.findall(r'([\w-]+)="', attributes)) <= {"href", "rel", "title"}
    assert not re.search(r'href="(?!https:|/@ada)', html)


def test_a_bomb_of_quotes_is_flat() -> None:
    html = str(said(">" * 4_990 + " @ada", ("ada",)))
    assert html.count("<blockquote>") <= 20


@pytest.mark.parametrize("piece", ["[", "*a **b ", "- ", "`", "<", "[a](", "![[", "@a@", "@aa ", "a_b*", "|a\n"])
def test_any_words_can_be_read(piece: str) -> None:
    text = (piece * 5_000)[:5_000]
    assert mentions.handles(text) == (["aa"] if piece == "@aa " else [])
    assert len(said(text, ("aa",))) < 200_000


def test_an_excerpt_has_the_words_without_their_marks() -> None:
    text = "# A *sea*\nof **fog**\n\n- `one`\n- [two](https://example.org) ![three](x)\n\n    four <b>\n"
    assert plain(text) == "A sea of fog one two !three four <b>"
    assert plain("") == ""
