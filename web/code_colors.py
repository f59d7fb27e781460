"""Code in Markdown, colored by what its words are: Pygments tells, five classes show."""

from functools import cache
from time import thread_time

from markupsafe import escape
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType

LANGUAGES = {
    **dict.fromkeys(("bash", "sh", "shell"), "bash"),
    **dict.fromkeys(("javascript", "js"), "javascript"),
    **dict.fromkeys(("typescript", "ts"), "typescript"),
    **dict.fromkeys(("python", "py"), "python"),
    **dict.fromkeys(("rust", "rs"), "rust"),
    **dict.fromkeys(("yaml", "yml"), "yaml"),
    **{name: name for name in ("c", "cpp", "css", "go", "html", "java", "json", "sql", "toml")},
}
"""What a fence may name, and Pygments' name for it. All other code stays plain."""
FENCES, SECONDS = 4, 0.05
"""Fences of a text that are colored, and the processor time that each may take; what is left of it then stays plain.
An ordinary program of 200 lines takes a fifth of that; some that are meant to be hard take seconds, by a hundredth at
most for a word, and what a stranger wrote must not hold a page up."""
CLASSES: dict[_TokenType, str] = {
    Keyword: "kw",
    Name.Tag: "kw",
    Name.Function: "fn",
    Name.Class: "fn",
    Name.Attribute: "fn",
    String: "st",
    Number: "nu",
    Comment: "co",
}


def colored(code: str, language: str, _attributes: str) -> str:
    """The code as HTML with a span around each word of a class, "" where it stays plain: markdown-it's `highlight`."""
    name = LANGUAGES.get(language.lower())
    if name is None:
        return ""
    began, done, html = thread_time(), 0, []
    for kind, text in _lexer(name).get_tokens(code):
        html.append(_span(kind, text))
        done += len(text)
        if thread_time() - began > SECONDS:
            break
    return "".join([*html, escape(code[done:])])


def _span(kind: _TokenType, text: str) -> str:
    shown = next((css for parent, css in CLASSES.items() if kind in parent), "")
    return f'<span class="{shown}">{escape(text)}</span>' if shown else str(escape(text))


@cache
def _lexer(name: str) -> Lexer:
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)
