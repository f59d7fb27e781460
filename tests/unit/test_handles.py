"""Which handles the site takes."""

import pytest

from domain.handles import MAX, RESERVED, fault, look, skeleton


@pytest.mark.parametrize("handle", ["ada", "a1", "ines_k", "bo.lindqvist", "Marlow", "x-1", "a" * MAX, "100hands"])
def test_plain_handles_are_fine(handle: str) -> None:
    assert fault(handle) is None


@pytest.mark.parametrize(
    "handle", ["", "a", "a" * (MAX + 1), ".a", "a.", "a..b", "a b", "a/b", "@ada", "a\n", "ada\x00"]
)
def test_shapes_that_are_not_handles(handle: str) -> None:
    assert fault(handle)


@pytest.mark.parametrize("handle", ["admin", "ADMIN", "root", "login", "settings", "offshoot", "support", "static"])
def test_names_kept_for_the_site(handle: str) -> None:
    assert "kept for the site" in (fault(handle) or "")


@pytest.mark.parametrize(
    "handle", ["adm1n", "a-d-m-i-n", "0ffshoot", "rnoderator", "admin-team", "real.admin", "l0gin", "supp0rt"]
)
def test_names_that_look_like_those(handle: str) -> None:
    assert "looks like" in (fault(handle) or "")


@pytest.mark.parametrize("handle", ["аdmin", "mаrlow", "αda", "ԁave"])
def test_letters_that_look_latin_are_named(handle: str) -> None:
    assert "only looks like a Latin letter" in (fault(handle) or "")


def test_other_scripts_belong_in_the_name() -> None:
    assert "Any script is welcome in the name" in (fault("زينب") or "")


def test_no_reserved_name_is_free() -> None:
    assert [name for name in RESERVED if len(name) > 1 and fault(name) is None] == []


def test_skeletons_of_look_alikes_are_equal() -> None:
    assert skeleton("mаr1ow") == skeleton("MARLOW") == skeleton("m.a.r_l-o-w")
    assert skeleton("ada") != skeleton("adam")


@pytest.mark.parametrize(
    ("one", "other"),
    [("marlow", "mar1ow"), ("marlow", "MARL0W"), ("lia", "1ia"), ("corn", "com"), ("vvim", "w1m"), ("a.b-c", "ab_c")],
)
def test_what_looks_the_same_at_a_glance(one: str, other: str) -> None:
    assert look(one) == look(other)


def test_numbers_stay_apart() -> None:
    assert len({look(f"person{number}") for number in range(2_000)}) == 2_000
