"""How much memory there is, how much a process holds, and which errors say that there was too little."""

from pathlib import Path

import psutil

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""What torch says: of CUDA and MPS, of the CPU on two systems, and of cuBLAS and cuDNN."""


def of_machine() -> int:
    """Bytes of memory that this machine has, or that its control group leaves it."""
    total: int = psutil.virtual_memory().total
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total


def held_by(pid: int) -> int:
    """Bytes that the process holds, 0 when it is gone. Files that it only maps do not count: they can be read again."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))


def is_short(error: BaseException) -> bool:
    """Whether the error says that memory ran out, on the machine or on the device."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in words for word in _WORDS))
