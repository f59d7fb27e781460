"""The licenses an owner can choose from, by SPDX id, and what they let others do (pure)."""

from msgspec import Struct

ALL_RIGHTS = "LicenseRef-All-Rights-Reserved"


class License(Struct, frozen=True):
    """`derivatives` tells whether others may make an offshoot, `share_alike` whether the
    offshoot must keep the license."""

    id: str
    name: str
    url: str
    derivatives: bool = True
    share_alike: bool = False


def _creative_commons(code: str, version: str = "4.0") -> License:
    return License(
        id=f"CC-{code}-{version}",
        name=f"CC {code} {version}",
        url=f"https://creativecommons.org/licenses/{code.lower()}/{version}/",
        derivatives="ND" not in code,
        share_alike="SA" in code,
    )


DEFAULT = "CC-BY-4.0"

_ALL = (
    _creative_commons("BY"),
    _creative_commons("BY-SA"),
    License("CC0-1.0", "CC0 1.0, no rights reserved", "https://creativecommons.org/publicdomain/zero/1.0/"),
    _creative_commons("BY-NC"),
    _creative_commons("BY-NC-SA"),
    _creative_commons("BY-ND"),
    _creative_commons("BY-NC-ND"),
    License("MIT", "MIT", "https://spdx.org/licenses/MIT.html"),
    License("Apache-2.0", "Apache 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    License("BSD-3-Clause", "BSD 3-Clause", "https://spdx.org/licenses/BSD-3-Clause.html"),
    License("Unlicense", "Unlicense", "https://unlicense.org/"),
    License("MPL-2.0", "MPL 2.0", "https://www.mozilla.org/MPL/2.0/", share_alike=True),
    License("GPL-3.0-or-later", "GPL 3.0 or later", "https://www.gnu.org/licenses/gpl-3.0.html", share_alike=True),
    License("AGPL-3.0-or-later", "AGPL 3.0 or later", "https://www.gnu.org/licenses/agpl-3.0.html", share_alike=True),
    License(ALL_RIGHTS, "All rights reserved", "", derivatives=False),
)
LICENSES: dict[str, License] = {entry.id: entry for entry in _ALL}


def of(license_id: str) -> License:
    """The license, or, for an id that left the list, one that allows nothing."""
    return LICENSES.get(license_id) or License(license_id, license_id, "", derivatives=False)
