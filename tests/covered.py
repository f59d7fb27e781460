"""`python -m tests.covered domain 95` ends with 1 when the suite covered less of a folder than that many percent."""

import json
import sys
from pathlib import Path

REPORT = Path("coverage.json")
"""What `tests/all.sh` leaves: lines and branches of every file, of all lanes together."""


def percent(folder: str) -> float:
    """How many percent of a folder's lines and branches were covered."""
    files = json.loads(REPORT.read_text())["files"]
    found = [told["summary"] for name, told in files.items() if name.startswith(f"{folder}/")]
    covered = sum(each["covered_lines"] + each["covered_branches"] for each in found)
    missing = sum(each["missing_lines"] + each["missing_branches"] for each in found)
    return 100 * covered / (covered + missing)


if __name__ == "__main__":
    folder, least = sys.argv[1], float(sys.argv[2])
    found = percent(folder)
    print(f"{folder}/: {found:.1f} % covered, at least {least:g} % are asked for")
    sys.exit(found < least)
