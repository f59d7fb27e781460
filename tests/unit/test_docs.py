"""What exists is documented."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from domain.config import QUEUES, SETTINGS
from domain.steps import KINDS, Field, convert, fields_of

ROOT = Path(__file__).parents[2]


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of its tables by each name in their first cell: the cells after it."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        for name in re.findall(r"`(\w+)`", cells[0]) if line.startswith("|") else ():
            rows[name] = cells[1:]
    return rows


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    rows = rows_of((ROOT / "README.md").read_text())
    for setting in SETTINGS:
        assert setting.name in rows, f"{setting.name} is missing from the configuration table"
        default = rows[setting.name][0]
        if setting.default is None:
            assert default in ("embedded", "made once, kept in `DATA_DIR`"), setting.name
        elif setting.default:
            assert default.startswith(f"`{setting.default}`"), setting.name
        else:
            assert default == "", setting.name


def test_every_guide_is_to_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for guide in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{guide.name})" in readme, guide.name


def test_every_step_kind_has_a_section() -> None:
    page = (ROOT / "docs/steps.md").read_text()
    for kind in KINDS:
        assert f"## `{kind}`" in page, f"{kind} has no section in docs/steps.md"


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_of_a_kinds_section_are_steps_of_it(kind: str) -> None:
    section = (ROOT / "docs/steps.md").read_text().partition(f"## `{kind}`")[2].partition("\n## ")[0]
    found = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", section, re.DOTALL | re.MULTILINE)]
    pieces = [one for example in found for one in (example if isinstance(example, list) else [example])]
    examples = [one for one in pieces if "parameters" not in one]  # receipts are shown, too
    assert kind in {step["kind"] for step in examples}
    for step in examples:
        known = {"kind", *(field.name for field in fields_of(step["kind"]))}
        assert step.keys() <= known, step.keys() - known
        assert msgspec.to_builtins(convert({"steps": [step]}).steps[0]).items() >= step.items()


OF_EVERY_KIND = ("title", "source")
PARAMETERS = [(kind, field) for kind in KINDS for field in fields_of(kind) if field.name not in OF_EVERY_KIND]


@pytest.mark.parametrize(("kind", "field"), PARAMETERS, ids=[f"{kind}.{field.name}" for kind, field in PARAMETERS])
def test_every_parameter_has_its_bounds_and_default_in_its_kinds_section(kind: str, field: Field) -> None:
    page = (ROOT / "docs/steps.md").read_text()
    rows = rows_of(page.partition(f"## `{kind}`")[2].partition("\n## ")[0])
    assert field.name in rows
    bounds, default, _ = rows[field.name]
    told = {float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", bounds)}
    facts = {field.minimum, field.maximum, field.multiple_of, field.max_length} - {None}
    assert facts <= told, bounds
    for choice in field.choices:
        assert str(choice) in bounds or f"`{choice}`" in page.partition("## Schedulers")[2]
    if isinstance(field.default, float | int):
        assert default == f"{field.default:g}"
    elif field.default:
        assert default == f"`{field.default}`"


def test_what_every_kind_has_is_told_once() -> None:
    page = (ROOT / "docs/steps.md").read_text().partition("\n## ")[0]
    for name in OF_EVERY_KIND:
        assert f"`{name}`" in page


def test_a_worker_of_each_queue_is_told_with_its_command() -> None:
    page = (ROOT / "docs/hosting.md").read_text()
    unit = page.partition("[Unit]")[2].partition("```")[0]
    command = re.search(r"^ExecStart=.* QUEUES=%i .*/python -m (\S+)$", unit, re.MULTILINE)
    assert command is not None
    assert find_spec(command[1]) is not None
    for queue in QUEUES:
        assert re.search(rf"^QUEUES={queue} .*/python -m {re.escape(command[1])} ", page, re.MULTILINE), queue
        kinds = [name for name, kind in KINDS.items() if kind.queue == queue and not kind.asks]
        assert rows_of(page)[queue] == [", ".join(f"`{kind}`" for kind in kinds)], queue
