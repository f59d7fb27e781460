"""How a grid reads: headline, heads of rows and columns, and the chart of its times."""

import re
from collections.abc import Mapping
from statistics import mean

from msgspec import Struct

from domain.grid_axes import EACH, Axis, Target, titles
from domain.grid_pages import CellShown, GridPage
from web.filters import number, plural, seconds

__all__ = ["titles"]

STARTERS = ("guidance_scale", "prompt", "num_inference_steps")
"""What a form offers to vary first."""
HINTS = {
    "number": "Numbers such as 20, 30, 40, or a range such as 10..50 by 10.",
    "prompt": f"One prompt a line. If one has line breaks or is empty, a line of {EACH} before each.",
    "text": f"One value a line. If one has line breaks or is empty, a line of {EACH} before each.",
}
POINT = "A comma stands between two numbers: write 7.5 with a point."


def first_choice(targets: Mapping[str, Target]) -> str:
    """The parameter that a fresh form varies: guidance where there is one."""
    for name in STARTERS:
        for key, target in targets.items():
            if target.field == name and target.step:
                return key
    return next(iter(targets))


def grouped(targets: Mapping[str, Target]) -> dict[str, list[Target]]:
    """The parameters by step, for a select."""
    groups: dict[str, list[Target]] = {}
    for target in targets.values():
        groups.setdefault(target.group, []).append(target)
    return groups


def meant(targets: Mapping[str, Target], target: Target, name: str, values: Mapping[str, str]) -> bool:
    """Whether the values of an axis were given for this parameter.

    Without JavaScript another one may be chosen and its values given in the field that is there: these count
    where both take the same, unless they are the first one's own.
    """
    first = targets.get(values.get(f"{name}-for", ""), target)
    if first.key == target.key:
        return True
    return first.widget == target.widget and (target.listed or values.get(f"{name}-values", "") != own(first))


def ticked(targets: Mapping[str, Target], target: Target, name: str, values: Mapping[str, str]) -> list[str]:
    """The choices whose boxes are ticked; the field's number says which."""
    if not meant(targets, target, name, values):
        return []
    return [choice for place, choice in enumerate(target.choices) if values.get(f"{name}-{place}") == choice]


def typed(targets: Mapping[str, Target], target: Target, name: str, values: Mapping[str, str]) -> str:
    """What stands in the field of an axis' values: what was typed for this parameter, else the version's own."""
    if f"{name}-values" in values and meant(targets, target, name, values):
        return values[f"{name}-values"]
    return own(target)


def own(target: Target) -> str:
    """The version's value as a field of values would have it, where it is text."""
    if target.widget not in ("prompt", "text") or not target.now:
        return ""
    text = str(target.now).strip()
    return f"{EACH}\n{text}" if "\n" in text else text


def hint(target: Target) -> str:
    """What to write, and the version's own number."""
    words = [HINTS[target.widget]]
    if target.widget == "number" and not target.whole:
        words.append(POINT)
    if target.widget == "number" and target.now not in (None, ""):
        words.append(f"The version has {target.shown(target.now)}.")
    return " ".join(words)


def varied(axis: Axis) -> str:
    """The values of an axis as they were read, on a line or two."""
    return _brief(", ".join(_brief(axis.shown(value), 40) for value in axis.values), 200)


def title(grid: GridPage) -> str:
    """What varies: "Guidance × Sampling steps"."""
    return " × ".join(grid.titles)


def headline(grid: GridPage) -> str:
    """The state of the whole in a few words."""
    total, done = len(grid.cells), grid.count("succeeded")
    if not grid.over:
        if any(cell.state == "running" or cell.done for cell in grid.shown):
            return f"Running, {grid.percent} %"
        return "Waiting"
    failed, stopped = grid.count("failed"), grid.count("cancelled")
    if done == total:
        return f"Done, {plural(total, 'cell')}"
    parts = [f"{number(done)} of {number(total)} done"]
    parts += [f"{number(count)} {word}" for count, word in ((failed, "failed"), (stopped, "stopped")) if count]
    return ", ".join(parts)


def label(grid: GridPage, cell: CellShown) -> str:
    """What a cell is called: its value on each axis."""
    across = grid.axes[0]
    places = (cell.cell % len(across.values), cell.cell // len(across.values))
    found = zip(grid.titles, grid.axes, places, strict=False)
    return ", ".join(_brief(axis.head(name, axis.values[place])) for name, axis, place in found)


def _brief(text: str, most: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def file_name(grid: GridPage) -> str:
    """A name for the downloaded sheet, without its ending."""
    stem = re.sub(r"[^a-z0-9]+", "-", f"{grid.pipeline_title} {title(grid)}".lower()).strip("-")[:60].strip("-")
    return f"{stem or 'offshoot'}-grid"


def sheet_title(grid: GridPage) -> str:
    """The line above a contact sheet."""
    varied = f"{title(grid)}, version {grid.version_number}"
    return f"{grid.pipeline_title}: {varied}" if grid.pipeline_title else varied


class Chart(Struct, frozen=True):
    """Times over a numeric parameter. Marks are in percent of the plot, y downward."""

    title: str
    x_title: str
    marks: list[tuple[float, float]]
    line: str
    xs: list[str]
    ys: list[str]
    table: list[tuple[str, int, str]]
    """(value, cells measured, mean time)."""
    finding: str


def chart(grid: GridPage) -> Chart | None:
    """How long the varied step took by steps or by size, as measured; None below two measured values."""
    axis = grid.timed
    if axis is None:
        return None
    by_size = axis.field in ("width", "height")
    points = [
        (float(cell.pixels or 0) / 1000 if by_size else float(axis.values[_place(grid, axis, cell)]), cell.seconds)
        for cell in grid.shown
        if cell.state == "succeeded" and cell.seconds is not None
    ]
    by_value: dict[float, list[float]] = {}
    for value, took in points:
        by_value.setdefault(value, []).append(took)
    if len(by_value) < 2:
        return None
    means = sorted((value, mean(times)) for value, times in by_value.items())
    (low, first), (high, last) = means[0], means[-1]
    top = max(took for _, took in points) or 1.0

    def at(value: float, took: float) -> tuple[float, float]:
        return round(100 * (value - low) / (high - low), 2), round(100 - 100 * took / top, 2)

    name = grid.titles[grid.axes.index(axis)].lower()
    x_title = "thousand pixels" if by_size else name
    return Chart(
        title=f"Time by {'size' if by_size else name}",
        x_title=x_title,
        marks=[at(value, took) for value, took in points],
        line="M" + "L".join("{} {}".format(*at(value, took)) for value, took in means),
        xs=[_plain(low), _plain((low + high) / 2), _plain(high)],
        ys=[seconds(top), seconds(top / 2), "0"],
        table=[(_plain(value), len(by_value[value]), f"{took:.2f} s") for value, took in means],
        finding=f"{first:.2f} seconds at {_plain(low)} {x_title}, {last:.2f} at {_plain(high)} {x_title}",
    )


def _place(grid: GridPage, axis: Axis, cell: CellShown) -> int:
    across = len(grid.axes[0].values)
    return cell.cell % across if axis is grid.axes[0] else cell.cell // across


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"
