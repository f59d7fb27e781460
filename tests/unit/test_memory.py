"""Which errors say that memory ran out, and how much a process holds."""

import os

import pytest

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
    assert 1_000_000 < memory.held_by(os.getpid()) < memory.of_machine()
    assert memory.held_by(2**22 + 1) == 0
