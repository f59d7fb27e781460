"""Faults on real processes: each row of the fault matrix, and a soak of all of them."""
