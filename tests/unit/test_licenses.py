"""Licenses and tags: what may be chosen, and how it is kept."""

import pytest

from domain import licenses, tags
from domain.errors import Invalid


def test_no_derivatives_means_no_offshoots():
    refusing = {entry.id for entry in licenses.LICENSES.values() if not entry.derivatives}
    assert refusing == {"CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "LicenseRef-All-Rights-Reserved"}


def test_share_alike_is_known():
    assert licenses.of("CC-BY-SA-4.0").share_alike
    assert licenses.of("GPL-3.0-or-later").share_alike
    assert not licenses.of("CC-BY-4.0").share_alike


def test_a_license_that_left_the_list_allows_nothing():
    assert not licenses.of("Gone-1.0").derivatives
    assert licenses.of("Gone-1.0").name == "Gone-1.0"


def test_the_default_is_one_of_the_list():
    assert licenses.DEFAULT in licenses.LICENSES


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Harbor, #Night ,  flat   gouache", ["harbor", "night", "flat gouache"]),
        ("ЇЖА; Київ", ["їжа", "київ"]),
        ("cat, Cat, ＣＡＴ", ["cat"]),
        ("ميناء، 猫\nneko", ["ميناء", "猫", "neko"]),
        (" , ,", []),
        ("c++, r&b", ["c++", "r&b"]),
    ],
)
def test_tags_are_kept_plain(typed: str, kept: list[str]):
    assert tags.normalize(tags.split(typed)) == kept


@pytest.mark.parametrize("bad", ["x" * 33, "<script>", "a/b", "--", "a\u202eb", "a\x07b"])
def test_a_bad_tag_is_named(bad: str):
    with pytest.raises(Invalid) as error:
        tags.normalize([bad])
    assert "tags" in error.value.fields


def test_at_most_twelve_tags():
    with pytest.raises(Invalid, match="12"):
        tags.normalize([f"tag{n}" for n in range(13)])
