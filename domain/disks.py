"""What models take on this machine's disks, and what is free there."""

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from domain.models import Model, place_of


class Disk(Struct, frozen=True):
    """A disk of this machine that models lie on: a folder on it, and bytes."""

    place: str
    used: int
    """By the models."""
    free: int
    total: int


def bytes_of(models: Iterable[Model]) -> int:
    """Bytes of all models together, those that several names stand for once."""
    return sum({model.path: model.bytes for model in models}.values())


def of(models: Iterable[Model], own: Mapping[str, Path]) -> list[Disk]:
    """The disks that models lie on here. What is not on this machine is left out."""
    found: dict[int, tuple[Path, dict[str, int]]] = {}
    for model in models:
        place = Path(place_of(model, own))
        if model.remote:
            continue
        with contextlib.suppress(OSError):  # it is not here, or not for this process to see
            on = found.setdefault(place.stat().st_dev, (place.parent, {}))
            on[1][str(place)] = model.bytes
    return [Disk(str(folder), sum(sizes.values()), *_room(folder)) for folder, sizes in found.values()]


def _room(folder: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total
