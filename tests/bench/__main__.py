"""`make bench`: measure, print a table, write JSON to tests/bench/results/.

Only ratios within one run mean something across machines; seconds are given for the reader.
`python -m tests.bench pages` measures one part; `PARTS` names them all.
"""

import asyncio
import inspect
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import (
    gpu,
    gradio_peer,
    lines,
    neighbors,
    overhead,
    pages,
    pollers,
    search,
    sharing,
    starter,
    starts,
    workers,
)

RESULTS = Path(__file__).parent / "results"

AIMS = {
    "gallery at 10,000 / floor": (">=", 0.8),
    "gallery at 1,000,000 / floor": (">=", 0.8),
    "page after 500,000 / first page, time": ("<=", 1.2),
    "conditional GET at 10,000 / plain text": (">=", 0.6),
    "conditional GET at 1,000,000 / plain text": (">=", 0.6),
    "1,000 pollers, p99": ("<=", 0.050),
    "unchanged poll / plain text": (">=", 0.6),
    "first start": ("<=", 6.0),
    "later start": ("<=", 2.5),
    "wait a run adds": ("<=", 0.120),
    "model call in a run / bare call, 20 steps": ("<=", 1.05),
    "whole run / bare call, 4 of 256 px, 20 steps": ("<=", 1.05),
    "reused run, POST to result": ("<=", 0.050),
    "fork with its last step changed / that step": ("<=", 1.05),
    "32 alike runs / batches by hand": (">=", 0.95),
    "two workers / one": (">=", 1.9),
    "web, resident": ("<=", 150.0),
    "search p95, three words and a filter, match": ("<=", 0.050),
    "search p95, three words and a filter, newest": ("<=", 0.050),
    "search p95, three words and a filter, rating": ("<=", 0.050),
    "search p95, three words and a filter, offshoots": ("<=", 0.050),
    "suggestion p95": ("<=", 0.020),
    "more like this at 100,000, p95": ("<=", 0.020),
    "of the true nearest 6 at 100,000, found": (">=", 0.95),
    "lineage of 10,000 offshoots / of 13, time": ("<=", 2.0),
    "lineage of 500 generations, the last / of 13, time": ("<=", 1.2),
    "a vote among 1,000,000 / among none, time": ("<=", 1.3),
    "starter: ground right": (">=", 0.95),
    "starter: color right": (">=", 0.95),
    "starter: shape right": (">=", 0.9),
    "starter: relation right": (">=", 0.8),
    "starter: time of a picture, of what it may take": ("<=", 1),
    "starter: bytes of all weights here, of what they may take": ("<=", 1),
    "gpu: ours at best / diffusers by default": (">=", 3.0),
}

PARTS: dict[str, Callable[[Path], Any]] = {
    "pages": pages.measure,
    "pollers": pollers.measure,
    "starts": starts.measure,
    "overhead": overhead.measure,
    "sharing": sharing.measure,
    "workers": workers.measure,
    "gradio": gradio_peer.measure,
    "search": search.measure,
    "neighbors": neighbors.measure,
    "lines": lines.measure,
    "starter": starter.measure,
    "gpu": gpu.measure,
}
"""What each part is measured by, given a folder of its own."""


def main(parts: Sequence[str]) -> None:
    """Measure the named parts."""
    if unknown := sorted(set(parts) - PARTS.keys()):
        sys.exit(f"There is no part {', '.join(unknown)}. There are: {', '.join(PARTS)}.")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="offshoot-bench-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        for part in parts:
            found = PARTS[part](place / part)
            results |= asyncio.run(found) if inspect.iscoroutine(found) else found
    _print(results)
    _write(results)


UNITS = {"ratio": "×", "seconds": "s", "megabytes": "MB", "pictures": "/s"}


def _print(results: dict[str, Any]) -> None:
    print(f"\n{'':44} {'measured':>12}  {'aim':>10}")
    for name, found in results.items():
        key = next(unit for unit in UNITS if unit in found)
        print(f"{name:44} {found[key]:>9.3f} {UNITS[key]:2}  {_verdict(name, found[key])}")


def _verdict(name: str, value: float) -> str:
    if name not in AIMS:
        return ""
    sign, aim = AIMS[name]
    met = value >= aim if sign == ">=" else value <= aim
    return f"{sign} {aim:>7g} {'ok' if met else 'MISSED'}"


def _write(results: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    stamp = datetime.now(UTC)
    file = RESULTS / f"{stamp:%Y%m%dT%H%M%SZ}.json"
    about = {"at": stamp.isoformat(), "python": platform.python_version(), "machine": platform.machine()}
    file.write_text(json.dumps({"about": about, "results": results, "aims": AIMS}, indent=2) + "\n")
    print(f"\n{file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(PARTS))
