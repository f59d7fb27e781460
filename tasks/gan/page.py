"""A page of how a training goes, written beside what it tells of: it loads itself anew for as long as there is more."""

from collections.abc import Sequence
from math import ceil, floor, log10
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 84, 44, 16, 84
"""What the axes' words need around the curves, in the drawing's own pixels."""
GUESSING = 1.386
"""The discriminator's loss where it cannot tell one from the other: 2 log 2."""
MOST = 300
"""Points of a curve; of more lines, each point is the mean of some."""
NAMES = ("discriminator", "generator")

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


class Line(Struct, frozen=True):
    """Mean losses up to a step."""

    step: int
    discriminator: float
    generator: float


class Tick(Struct, frozen=True):
    """A place on an axis, and what stands there."""

    at: float
    words: str


class Chart(Struct, frozen=True):
    """Curves as an SVG draws them. `guessing` is the height of a line where the discriminator guesses."""

    curves: dict[str, str]
    across: list[Tick]
    up: list[Tick]
    guessing: float


def written(lines: Sequence[Line], classes: Sequence[str], minutes: float, running: bool, fault: str = "") -> str:
    """The page after these lines. `minutes` are those of this go; `fault` is what ended it, if something went wrong."""
    return _pages.get_template("page.html").render(
        lines=lines,
        steps=lines[-1].step if lines else 0,
        classes=classes,
        minutes=minutes,
        running=running,
        fault=fault,
        chart=chart(lines) if lines else None,
        names=NAMES,
        guessing=GUESSING,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        bottom=HEIGHT - BOTTOM,
    )


def chart(lines: Sequence[Line]) -> Chart:
    """The curves over steps that begin at 0, and losses that begin at 0 and reach above guessing."""
    points = thinned(lines)
    most = max(GUESSING, *(max(point.discriminator, point.generator) for point in points)) * 1.05

    def x(step: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * step / points[-1].step, 1)

    def y(loss: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / most, 1)

    return Chart(
        {name: _curve([(x(point.step), y(getattr(point, name))) for point in points]) for name in NAMES},
        [Tick(x(step), f"{step:,.0f}") for step in ticks(points[-1].step) if step == floor(step)],
        [Tick(y(loss), f"{loss:g}") for loss in ticks(most)],
        y(GUESSING),
    )


def thinned(lines: Sequence[Line]) -> list[Line]:
    """At most so many as a curve has points."""
    size = ceil(len(lines) / MOST)
    parts = [lines[at : at + size] for at in range(0, len(lines), size)]
    return [
        Line(part[-1].step, *(sum(getattr(line, name) for line in part) / len(part) for name in NAMES))
        for part in parts
    ]


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to `most`, three to six of them."""
    power = 10.0 ** floor(log10(most / 3))
    apart = max(power * factor for factor in (1, 2, 5) if power * factor <= most / 2)
    return [number * apart for number in range(floor(most / apart) + 1)]


def _curve(points: list[tuple[float, float]]) -> str:
    """As a polyline has them; one alone comes twice, so that it is drawn as a dot."""
    return " ".join(f"{x},{y}" for x, y in (points if len(points) > 1 else points * 2))
