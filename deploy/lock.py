"""Writes `deploy/requirements/{site,worker,dev}.txt` from pyproject.toml: every package, one version each.

Run by `make lock` in the development environment. Each file holds only what the ones before do not. So does
`tests/bench/gradio.txt`, from `gradio.in`: what `make bench GRADIO=1` puts beside the environment, not into it.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "requirements"
GRADIO = ROOT / "tests" / "bench" / "gradio.in"
HEADS = {
    "site": "# What the site needs: pages, migrations, and the embedded PostgreSQL, Valkey and S3 server.",
    "worker": "# What a worker needs beside site.txt. No CUDA package is named: `make install` takes the build of\n"
    "# PyTorch that fits the machine (TORCH=cpu or TORCH=cuda chooses).",
    "dev": "# What tests and checks need beside site.txt and worker.txt.",
}
OLDER_PYTHON = ['async-timeout==5.0.1 ; python_full_version < "3.11.3"']
"""What only Pythons older than the one that resolves need: redis-py before 3.11.3 (Debian 12 has 3.11.2)."""
OLDER_THERE = "pillow=="
"""What Gradio wants older than the site does."""
CUDA = re.compile(r"^(nvidia-|triton|pytorch-triton|cuda-)")


def resolve(source: Path, extra: str, constraints: Path) -> list[str]:
    """Every pinned line for what the file asks for and one of its extras, within the constraints."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.txt"
        command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--strip-extras", "--no-annotate"]
        command += ["--no-header", "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"]
        command += ["--allow-unsafe", "--no-emit-options", "--constraint", str(constraints), "-o", str(out)]
        command += ["--extra", extra] if extra else []
        subprocess.run([*command, str(source)], check=True, cwd=ROOT)
        lines = [line.split(" @ ")[0].strip() for line in out.read_text().splitlines()]
    kept = [re.sub(r"\+cpu$|\+cu\d+$", "", line) for line in lines if line and not line.startswith(("#", "-"))]
    return [line for line in kept if not CUDA.match(line)]


def weights() -> list[str]:
    """The packages that a worker reads files of and imports nothing from: pinned by hand, without dependencies."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return list(extras["encoder"])


def main() -> None:
    """Resolve the three sets so that they agree, then Gradio beside them, and write all four."""
    constraints = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        limits = Path(folder) / "limits.txt"
        limits.write_text(constraints.read_text() if constraints else "")
        known: list[str] = []
        for name, head in HEADS.items():
            found = resolve(ROOT / "pyproject.toml", "" if name == "site" else name, limits)
            lines = [line for line in found if line not in known]
            besides = {"site": OLDER_PYTHON, "worker": weights()}.get(name, [])
            (FOLDER / f"{name}.txt").write_text("\n".join([head, *sorted([*lines, *besides]), ""]))
            known += lines
            limits.write_text("\n".join([limits.read_text(), *lines]))
        beside(known, limits)


def beside(known: Sequence[str], limits: Path) -> None:
    """Write what Gradio needs beside everything that is known, and the little that it wants otherwise."""
    limits.write_text("\n".join(line for line in known if not line.startswith(OLDER_THERE)))
    lines = [line for line in resolve(GRADIO, "", limits) if line not in known]
    head = "# What the bench beside a Gradio app needs, in a folder of its own: `make bench GRADIO=1`."
    GRADIO.with_suffix(".txt").write_text("\n".join([head, *sorted(lines), ""]))


if __name__ == "__main__":
    main()
