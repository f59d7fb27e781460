"""Whom words mention: `@handle`, unless it stands in code, in a link, or in an address. Pure."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20}).disable("image")
"""How everything that people write is read: no HTML, no pictures."""
MOST = 10
"""People that one comment tells of itself by name."""
HANDLE = re.compile(r"(?<![\w@/.+-])@([a-zA-Z0-9](?:[._-]?[a-zA-Z0-9]){1,31})(?![\w@/])")


def handles(text: str) -> list[str]:
    """The first handles that Markdown mentions, in lower case, each once."""
    found: dict[str, None] = {}
    for token in MARKDOWN.parse(text):
        for spoken in outside_links(token.children or ()):
            found.update(dict.fromkeys(match[1].lower() for match in HANDLE.finditer(spoken.content)))
    return list(found)[:MOST]


def outside_links(children: Sequence[Token]) -> Iterator[Token]:
    """The inline tokens of plain text that stand in no link."""
    links = 0
    for child in children:
        links += {"link_open": 1, "link_close": -1}.get(child.type, 0)
        if child.type == "text" and not links:
            yield child
