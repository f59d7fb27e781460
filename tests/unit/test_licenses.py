"""Licenses and tags: what may be chosen, and how it is kept."""

import pytest
from packaging.licenses import canonicalize_license_expression

from domain import licenses, tags
from domain.errors import Invalid


def test_every_license_has_its_id_of_the_spdx_list():
    """https://spdx.org/licenses: as packaging knows the list, and pinned, since pipelines keep the ids."""
    assert list(licenses.LICENSES) == [
        "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0",
        "MIT", "Apache-2.0", "BSD-3-Clause", "Unlicense", "MPL-2.0", "GPL-3.0-or-later", "AGPL-3.0-or-later",
        "LicenseRef-All-Rights-Reserved",
    ]  # fmt: skip
    assert [canonicalize_license_expression(known) for known in licenses.LICENSES] == list(licenses.LICENSES)


@pytest.mark.parametrize("code", ["by", "by-sa", "by-nc", "by-nc-sa", "by-nd", "by-nc-nd"])
def test_a_creative_commons_license_links_to_its_deed(code: str):
    found = licenses.LICENSES[f"CC-{code.upper()}-4.0"]
    assert found.url == f"https://creativecommons.org/licenses/{code}/4.0/"
    assert (found.derivatives, found.share_alike) == ("nd" not in code.split("-"), "sa" in code.split("-"))


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
