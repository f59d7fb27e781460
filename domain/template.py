"""The prompt template language: a small substitution, nothing that runs.

- `{subject}` puts in a variable: a declared input, or `text`, the text of the step before.
- `{red|blue|}` picks one alternative by the seed; alternatives may nest, and may be empty.
- `__colors__` draws an entry from one of the pipeline's own lists.
- `\\{`, `\\}`, `\\|`, `\\_` and `\\\\` stand for themselves.

The same template, variables, lists and seed always give the same text. Variables are put in
as they are: what a person typed into an input is never read as a template.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence

MAX_LENGTH = 40_000
"""Characters of a filled template: a text that a model wrote goes into the next step's prompt."""
MAX_DEPTH = 8
MAX_PICKS = 1_000

NAME = re.compile(r"(?<!\\)\{([a-z][a-z0-9_]{0,31})\}")
"""A variable where it is put in."""
LIST = re.compile(r"(?<!\\)__([a-z][a-z0-9_]{0,31}?)__")
"""A list where it is drawn from."""
_PIECE = re.compile(r"\\[{}|_\\]|[{}|]|__[a-z][a-z0-9_]{0,31}?__|[^\\{}|_]+|.", re.DOTALL)


class TemplateError(ValueError):
    """The template cannot be filled; the message says what to mend."""


def expand(template: str, variables: Mapping[str, str], lists: Mapping[str, Sequence[str]], seed: int) -> str:
    """Fill `template` (at most 10,000 characters out), choosing by `seed`.

    Raises TemplateError for an unknown name, an open brace, more than 8 levels of nesting,
    more than 1,000 choices or a text that grows past 10,000 characters.
    """
    expansion = _Expansion(variables, lists, random.Random(seed))
    return expansion.branch(iter(_PIECE.findall(template)), depth=0)[0]


def names(template: str) -> set[str]:
    """The variables a template asks for, wherever they stand."""
    return set(NAME.findall(template))


class _Expansion:
    """One filling: what may be put in, the dice, and how often they were thrown."""

    def __init__(self, variables: Mapping[str, str], lists: Mapping[str, Sequence[str]], chance: random.Random) -> None:
        self.variables = variables
        self.lists = lists
        self.chance = chance
        self.picks = 0

    def branch(self, pieces: Iterator[str], depth: int) -> tuple[str, str]:
        """Read up to the piece that ends this branch ("" at the end of the template).

        Returns the text and that piece."""
        parts: list[str] = []
        for piece in pieces:
            if piece == "{":
                parts.append(self._braces(pieces, depth + 1))
            elif depth and piece in "|}":
                return self._cap("".join(parts)), piece
            elif piece == "}":
                raise TemplateError("A } has no { before it. Write \\} for the sign itself")
            elif len(piece) == 2 and piece[0] == "\\":
                parts.append(piece[1])
            elif len(piece) > 4 and piece.startswith("__") and piece.endswith("__"):
                parts.append(self._draw(piece[2:-2]))
            else:
                parts.append(piece)
        if depth:
            raise TemplateError("A { is never closed. Write \\{ for the sign itself")
        return self._cap("".join(parts)), ""

    def _braces(self, pieces: Iterator[str], depth: int) -> str:
        if depth > MAX_DEPTH:
            raise TemplateError(f"Alternatives are nested more than {MAX_DEPTH} deep")
        branches: list[str] = []
        end = "|"
        while end == "|":
            text, end = self.branch(pieces, depth)
            branches.append(text)
        if len(branches) == 1:
            return self._variable(branches[0].strip())
        self._count()
        return self.chance.choice(branches)

    def _variable(self, name: str) -> str:
        if name not in self.variables:
            shown = name if len(name) <= 40 else name[:40] + "…"
            others = sorted(self.variables.keys() - {"text"})
            declared = "Inputs here: " + ", ".join(f"{{{other}}}" for other in others) if others else "None is declared"
            raise TemplateError(f"There is no input called {{{shown}}}. {declared}")
        return self._cap(self.variables[name])

    def _draw(self, name: str) -> str:
        if not self.lists.get(name):
            raise TemplateError(f"There is no list called __{name}__")
        self._count()
        return self._cap(self.chance.choice(self.lists[name]))

    def _count(self) -> None:
        self.picks += 1
        if self.picks > MAX_PICKS:
            raise TemplateError(f"The template makes more than {MAX_PICKS:,} choices")

    def _cap(self, text: str) -> str:
        if len(text) > MAX_LENGTH:
            raise TemplateError(f"The text grows past {MAX_LENGTH:,} characters")
        return text
