"""Which errors say that memory ran out, how much a process holds, and what it keeps."""

import ctypes
import os
import subprocess
import sys

import pytest

from domain import machine
from tasks import memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_ran_out_is_known_by_its_words(error: Exception) -> None:
    assert memory.is_short(error)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory")])
def test_other_errors_are_other_errors(error: Exception) -> None:
    assert not memory.is_short(error)


def test_what_torch_says_when_it_cannot_allocate_is_among_them() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.is_short(caught.value)


def test_a_process_holds_some_of_the_machine_and_one_that_is_gone_nothing() -> None:
    assert 1_000_000 < memory.held_by(os.getpid()) < machine.memory()
    assert memory.held_by(2**22 + 1) == 0


_TENSORS = """
import os, resource
from tasks import memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def tensor():
    return bytes(b"x") * (48 << 20)

{first}
tensor()
before = faults()
for _ in range(5):
    tensor()
print(faults() - before, memory.held_by(os.getpid()))
memory.give_back()
print(memory.held_by(os.getpid()))
"""


def _said(first: str) -> tuple[int, int, int]:
    """Page faults of five tensors in a process of their own, and the bytes held before and after giving back."""
    code = _TENSORS.format(first=first)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    faults, held, left = map(int, said)
    return faults, held, left


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="malloc is not glibc's")
def test_what_is_freed_is_kept_for_the_next_until_it_is_given_back() -> None:
    pages = 48 * 256
    assert _said("")[0] > 5 * pages * 0.9
    faults, held, left = _said("memory.keep_freed()")
    assert faults < pages / 2
    assert held - left > 40 << 20
