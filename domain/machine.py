"""What this machine has."""

from pathlib import Path

import psutil


def memory() -> int:
    """Bytes of memory that this machine has, or that its control group leaves it."""
    total: int = psutil.virtual_memory().total
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total
