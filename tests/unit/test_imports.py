"""Who may import whom: the contracts of pyproject.toml hold, and importing does no I/O."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["web.app", "domain.runs", "domain.storage", "deploy.supervisor"])
def test_what_serves_pages_never_loads_a_model(module: str) -> None:
    """The linter reads import statements; this looks at what really was loaded."""
    code = f"import sys, {module}; sys.exit(', '.join({{'torch', 'diffusers', 'tasks'}} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_keeps_torch_out_of_the_site_and_cuda_out_of_all() -> None:
    locks = {file.stem: file.read_text() for file in (ROOT / "deploy" / "requirements").glob("*.txt")}
    assert set(locks) == {"site", "worker", "dev"}
    assert "\ntorch==2.13.0\n" in locks["worker"]
    for name in ("torch", "diffusers", "transformers"):
        assert f"\n{name}==" not in locks["site"] + locks["dev"]
    for text in locks.values():
        assert not [word for word in ("nvidia", "triton", "cuda-", "://", "+cpu", "--") if word in text]
        assert all("==" in line for line in text.splitlines() if line and not line.startswith("#"))
