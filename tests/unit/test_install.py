"""What `make` decides before anything runs: which PyTorch, which checks, which browser. Nothing is downloaded."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASH = shutil.which("bash") or "/bin/bash"
PYTHON = r"""#!/bin/bash
case "$*" in
    *version.py*) [ -n "$HAS_TORCH" ] && echo "$HAS_TORCH" ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip --version") ;;
    "-m pip "*) echo "$*" >>"$ASKED"; case "$*" in *+cpu*) [ -z "$NO_CPU_BUILD" ] ;; esac ;;
    *) ;;
esac
"""
GPU = "#!/bin/bash\necho 'GPU 0: a card'\n"
NO_GPU = "#!/bin/bash\nexit 9\n"
STOPPED = 1

Install = Callable[..., tuple[int, str, str]]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def install(tmp_path: Path, programs: Path) -> Install:
    """Run deploy/install.sh with programs that only write down what they are asked for.

    Gives its exit status, the lines with torch that pip was asked for, and what it wrote to standard error.
    """

    def run(*sets: str, gpu: bool = False, **settings: str) -> tuple[int, str, str]:
        asked = tmp_path / "asked"
        asked.write_text("")
        program(programs / "python3", PYTHON)
        program(programs / "nvidia-smi", GPU if gpu else NO_GPU)
        env = {"PATH": f"{programs}:{os.defpath}", "VENV": str(tmp_path / "venv"), "ASKED": str(asked), **settings}
        ended = subprocess.run(
            [BASH, "deploy/install.sh", *(sets or ("worker",))], cwd=ROOT, env=env, capture_output=True, text=True
        )
        torch = [line for line in asked.read_text().splitlines() if "torch==" in line]
        return ended.returncode, "\n".join(torch), ended.stderr

    return run


def test_the_build_follows_the_machine(install: Install) -> None:
    assert install()[1].endswith(" torch==2.13.0+cpu")
    assert install(gpu=True)[1].endswith(" torch==2.13.0")


def test_the_build_that_is_named_is_taken(install: Install) -> None:
    assert install(gpu=True, TORCH="cpu")[1].endswith(" torch==2.13.0+cpu")
    assert install(TORCH="cuda")[1].endswith(" torch==2.13.0")


def test_cpu_that_cannot_be_had_never_becomes_cuda(install: Install) -> None:
    status, asked, said = install(TORCH="cpu", NO_CPU_BUILD="1", PYTORCH_CPU="https://mirror.example/cpu")
    assert status == STOPPED
    assert all("+cpu" in line for line in asked.splitlines())
    assert "--extra-index-url https://mirror.example/cpu torch==2.13.0+cpu" in asked
    assert said.startswith("offshoot: the CPU build of PyTorch is not to be had from https://mirror.example/cpu.")
    assert said.count("\n") == 1


def test_without_a_wish_the_default_build_will_do(install: Install) -> None:
    status, asked, _ = install(NO_CPU_BUILD="1")
    assert status == 0
    assert asked.splitlines()[-1].endswith(" torch==2.13.0")


@pytest.mark.parametrize(("wanted", "there"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_another_build_than_the_one_named_is_said(install: Install, wanted: str, there: str) -> None:
    status, asked, said = install("torch", TORCH=wanted, HAS_TORCH=f"2.13.0 {there}")
    assert (status, asked) == (STOPPED, "")
    assert f"the {there} build of PyTorch. To change it: make clean, then TORCH={wanted} make run\n" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_what_is_there_is_left_as_it_is(install: Install, wanted: str) -> None:
    assert install("torch", gpu=True, TORCH=wanted, HAS_TORCH="2.13.0 cpu") == (0, "", "")


def test_another_version_is_replaced(install: Install) -> None:
    assert install(HAS_TORCH="2.12.0 cpu")[1].endswith(" torch==2.13.0+cpu")


def test_a_build_that_does_not_exist(install: Install) -> None:
    assert install(TORCH="tpu") == (STOPPED, "", "offshoot: TORCH must be auto, cpu or cuda, not tpu\n")


def test_a_python_that_is_not_there(install: Install) -> None:
    status, _, said = install(PYTHON="python-of-tomorrow")
    assert status == STOPPED
    assert said.startswith("offshoot: Python 3.11 or newer is needed and python-of-tomorrow is not.")


def test_chromium_that_apt_does_not_have_is_one_line(programs: Path) -> None:
    program(programs / "id", f"#!{BASH}\necho 0\n")
    program(programs / "apt-get", f"#!{BASH}\necho 'E: Package chromium has no installation candidate' >&2\nexit 100\n")
    command = [BASH, str(ROOT / "deploy" / "chromium.sh")]
    ended = subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.strip()) == (STOPPED, "Installing Chromium")
    assert ended.stderr.startswith("apt cannot install Chromium")
    assert ended.stderr.endswith("make test BROWSER=0\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])
def test_a_chromium_of_any_name_will_do(programs: Path, name: str) -> None:
    program(programs / name, f"#!{BASH}\n")
    ended = subprocess.run(
        [BASH, str(ROOT / "deploy" / "chromium.sh")], env={"PATH": str(programs)}, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_some_of_the_tests_ask_for_no_coverage() -> None:
    some, every = would_run('ARGS=-k "gallery or feeds"'), would_run()
    assert some.endswith('-k "gallery or feeds"')
    assert "cover" not in some
    assert "-m tests.covered domain 95" in every


def would_run(*arguments: str) -> str:
    """What `make pytest` would do."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    command = ["make", "--dry-run", "pytest", "BROWSER=1", "DOMAIN_COVERAGE=95", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    return "\n".join(line.strip() for line in ended.stdout.splitlines() if "-m pytest" in line or "covered" in line)
