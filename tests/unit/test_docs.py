"""What exists is documented."""

from pathlib import Path

from domain.config import SETTINGS
from domain.steps import KINDS, fields_of

ROOT = Path(__file__).parents[2]


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    readme = (ROOT / "README.md").read_text()
    for setting in SETTINGS:
        assert f"| `{setting.name}` |" in readme, f"{setting.name} is missing from the configuration table"


def test_every_step_kind_has_a_section() -> None:
    page = (ROOT / "docs/steps.md").read_text()
    for kind in KINDS:
        assert f"## `{kind}`" in page, f"{kind} has no section in docs/steps.md"


def test_every_parameter_of_every_kind_is_named() -> None:
    page = (ROOT / "docs/steps.md").read_text()
    for kind in KINDS:
        for field in fields_of(kind):
            if field.name not in ("title", "source"):
                assert f"`{field.name}`" in page, f"{kind}.{field.name} is undocumented"
