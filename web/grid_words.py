"""How a grid reads: headline, heads of rows and columns, and the chart of its times."""

import re
from collections.abc import Mapping
from statistics import mean

from msgspec import Struct

from domain.grid_axes import Axis, Target, shown
from domain.grid_pages import CellShown, GridPage
from web.filters import number, plural, seconds

__all__ = ["shown"]

STARTERS = ("guidance_scale", "prompt", "num_inference_steps")
"""What a form offers to vary first."""
HINTS = {
    "number": "Numbers such as 20, 30, 40, or a range such as 10..50 by 10.",
    "prompt": "One prompt a line.",
    "text": "One value a line.",
}


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


def ticked(target: Target, name: str, values: Mapping[str, str]) -> list[str]:
    """The choices whose boxes are ticked; the field's number says which."""
    if values.get(f"{name}-for", target.key) != target.key:
        return []
    return [choice for place, choice in enumerate(target.choices) if values.get(f"{name}-{place}") == choice]


def typed(target: Target, name: str, values: Mapping[str, str]) -> str:
    """What stands in the field of an axis' values: what was typed for this parameter, else the version's own."""
    if f"{name}-values" in values and values.get(f"{name}-for", target.key) == target.key:
        return values[f"{name}-values"]
    return " ".join(str(target.now).split()) if target.widget in ("prompt", "text") and target.now else ""


def now(target: Target) -> str:
    """The version's own value, for the hint."""
    if target.widget == "prompt" or target.now in (None, ""):
        return ""
    return f"The version has {shown(target.now)}."


def title(grid: GridPage) -> str:
    """What varies: "Guidance × Sampling steps"."""
    return " × ".join(axis.title for axis in grid.axes)


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
    return ", ".join(
        f"{axis.title} {_brief(shown(axis.values[place]))}" for axis, place in zip(grid.axes, places, strict=False)
    )


def _brief(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"


def file_name(grid: GridPage) -> str:
    """A name for the downloaded sheet, without its ending."""
    stem = re.sub(r"[^a-z0-9]+", "-", f"{grid.pipeline_title} {title(grid)}".lower()).strip("-")[:60].strip("-")
    return f"{stem or 'offshoot'}-grid"


def sheet_title(grid: GridPage) -> str:
    """The line above a contact sheet."""
    varied = f"{title(grid)}, version {grid.version_number}"
    return f"{grid.pipeline_title}: {varied}" if grid.pipeline_title else varied


class Chart(Struct, frozen=True):
    """Times over a numeric parameter. Marks are in per cent of the plot, y downwards."""

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

    x_title = "thousand pixels" if by_size else axis.title.lower()
    return Chart(
        title=f"Time by {'size' if by_size else axis.title.lower()}",
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
