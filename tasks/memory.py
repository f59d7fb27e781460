"""How much memory there is, how much a process holds and keeps, and which errors say that there was too little."""

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""What torch says: of CUDA and MPS, of the CPU on two systems, and of cuBLAS and cuDNN."""


def held_by(pid: int) -> int:
    """Bytes that the process holds, 0 when it is gone. Files that it only maps do not count: they can be read again."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - getattr(memory, "shared", 0))


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's `malloc.h`."""


def keep_freed() -> None:
    """Let this process keep what it frees for what it allocates next. Nothing happens where malloc is not glibc's.

    By default glibc hands large blocks back to Linux at once, and Linux clears new ones page by page: with tensors of
    some megabytes, made and dropped all the time, that took a sixth of a call for four pictures of 256 pixels.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Hand what this process kept and does not use to the machine."""
    trim = _of_glibc("malloc_trim")
    if trim:
        trim(0)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for no garbage meanwhile: it looks through all objects again for every so many new ones."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _of_glibc(name: str) -> Callable[..., int] | None:
    library = ctypes.CDLL(None)
    return getattr(library, name) if hasattr(library, "gnu_get_libc_version") else None


def is_short(error: BaseException) -> bool:
    """Whether the error says that memory ran out, on the machine or on the device."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in words for word in _WORDS))
