"""Code in Markdown is colored, and nothing comes through that was not meant to."""

import re
from html import unescape

import pytest

from web import code_colors
from web.filters import answer, markdown

PYTHON = "```python\n# a comment\ndef draw(count: int) -> str:\n    return 'circle' * 2\n```"


def test_words_of_a_known_language_have_their_classes() -> None:
    html = str(answer(PYTHON))
    for css, word in (("co", "# a comment"), ("kw", "def"), ("fn", "draw"), ("nu", "2")):
        assert f'<span class="{css}">{word}</span>' in html
    assert re.search(r'<span class="st">.*circle', html)


def test_the_code_itself_stays_as_it_was_written() -> None:
    code = "\n\n  if a < b && c:\n\tprint('<script>alert(1)</script>')\n\n"
    html = str(answer(f"```py\n{code}```"))
    assert "<script" not in html
    assert unescape(re.sub("<[^>]*>", "", html)).rstrip() == code.rstrip()


@pytest.mark.parametrize("fence", ["", "brainfuck", "../etc", "kw onload=x"])
def test_other_languages_stay_plain(fence: str) -> None:
    html = str(answer(f"```{fence}\ndef draw(): pass\n```"))
    assert "<span" not in html
    assert "onload" not in html


def test_a_long_program_is_colored_to_its_end() -> None:
    html = str(answer("```python\n" + "x = 1\n" * 300 + "```"))
    assert html.count('<span class="nu">1</span>') == 300


def test_code_that_is_meant_to_be_hard_ends_plain() -> None:
    code = "\n" * 20_000 + "class X"
    assert code_colors.colored(code, "java", "") == code, "all of it would take seventeen seconds"


def test_only_the_first_code_of_results_is_colored() -> None:
    fence = "```python\nx = 1\n```\n"
    assert str(answer(fence * 6)).count('<span class="nu">') == code_colors.FENCES
    assert "<span" not in str(markdown(PYTHON)), "what people write about their pipelines stays plain"
    assert "<span" not in str(answer('<span class="kw">no</span>'))


OWN = {
    "bash": ("fi", "kw"),
    "c": ("typedef", "kw"),
    "cpp": ("constexpr", "kw"),
    "css": ("/* c */", "co"),
    "go": ("defer", "kw"),
    "html": ("<b>", "kw"),
    "java": ("implements", "kw"),
    "javascript": ("return", "kw"),
    "json": ('"a"', "st"),
    "python": ("nonlocal", "kw"),
    "rust": ("impl", "kw"),
    "sql": ("SELECT", "kw"),
    "toml": ("# c", "co"),
    "typescript": ("readonly", "kw"),
    "yaml": ("# c", "co"),
}


@pytest.mark.parametrize("language", sorted(set(code_colors.LANGUAGES.values())))
def test_every_language_is_told_by_a_word_of_its_own(language: str) -> None:
    code, css = OWN[language]
    wrapped = f"[{code}]" if language == "json" else code
    assert f'<span class="{css}">' in code_colors.colored(wrapped, language, "")
