"""Words of a prompt that count more or less than the others: `(red:1.3)`, as most tools for pictures write it. Pure."""

import re

MAX_WEIGHT = 3.0
_EMPHASIS = re.compile(r"\(([^():]+):\s*(\d*\.?\d+)\s*\)")


def parts(prompt: str) -> list[tuple[str, float]]:
    """The prompt cut where a weight begins or ends: each piece of text with its weight, 1 for what has none."""
    found: list[tuple[str, float]] = []
    end = 0
    for emphasis in _EMPHASIS.finditer(prompt):
        found += [(prompt[end : emphasis.start()], 1.0), (emphasis[1], float(emphasis[2]))]
        end = emphasis.end()
    found.append((prompt[end:], 1.0))
    return [(text, weight) for text, weight in found if text.strip()]


def is_in(prompt: str) -> bool:
    """Whether the prompt weighs any of its words."""
    return _EMPHASIS.search(prompt) is not None


def fault(prompt: str) -> str:
    """What is wrong with the weights of a prompt, in words; "" for nothing."""
    heaviest = max((weight for _, weight in parts(prompt)), default=1.0)
    return f"A weight is at most {MAX_WEIGHT:g}; this has {heaviest:g}" if heaviest > MAX_WEIGHT else ""
