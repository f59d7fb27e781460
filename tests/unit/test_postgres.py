"""What the embedded PostgreSQL is given of a machine."""

import pytest

from deploy.postgres import shared_buffers

GIB = 1 << 30


@pytest.mark.parametrize(
    ("machine", "given"),
    [(GIB, "128MB"), (2 * GIB, "128MB"), (8 * GIB, "512MB"), (16 * GIB, "1024MB"), (256 * GIB, "1024MB")],
)
def test_it_caches_a_sixteenth_of_the_memory_within_bounds(machine: int, given: str) -> None:
    assert shared_buffers(machine) == given
