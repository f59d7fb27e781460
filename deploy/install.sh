#!/bin/bash
# Installs the sets of pinned packages named as arguments (site, worker, dev) into $VENV; torch alone is checked
# against TORCH, and installed where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
TORCH=${TORCH:-auto}
PYTORCH_CPU=${PYTORCH_CPU:-https://download.pytorch.org/whl/cpu}
LOCKS=deploy/requirements
export PIP_DISABLE_PIP_VERSION_CHECK=1

stop() {
    echo "offshoot: $*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if command -v "$name" >/dev/null && new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    stop "Python 3.11 or newer is needed${PYTHON:+ and $PYTHON is not}. Install it, or name it: make run PYTHON=/path/to/python3"
}

make_venv() {
    if [ -x "$VENV/bin/python" ] && new_enough "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    local python
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "$python lacks venv. On Debian and Ubuntu: apt-get install python3-venv"
    echo "Making a virtual environment in $VENV"
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || stop "the virtual environment in $VENV could not be made"
}

pip_install() {
    "$VENV/bin/python" -m pip install --quiet --no-deps --use-pep517 "$@"
}

wants_cuda() {
    case $TORCH in
        cuda) return 0 ;;
        cpu) return 1 ;;
        auto) command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU ;;
    esac
}

# "VERSION cpu" or "VERSION cuda" of the PyTorch that is installed, or nothing; without importing it
torch_build() {
    "$VENV/bin/python" -c '
import importlib.util, pathlib, runpy
found = runpy.run_path(str(pathlib.Path(importlib.util.find_spec("torch").origin).with_name("version.py")))
print(found["__version__"].split("+")[0], "cuda" if found["cuda"] else "cpu")' 2>/dev/null || true
}

# The lock pins the version; which build of it fits depends on the machine.
install_torch() {
    local pin found
    pin=$(grep '^torch==' "$LOCKS/worker.txt")
    found=$(torch_build)
    if [ "${found% *}" = "${pin#torch==}" ]; then
        [ "$TORCH" = auto ] || [ "${found#* }" = "$TORCH" ] || [ "$(uname -s)" != Linux ] ||
            stop "$VENV holds the ${found#* } build of PyTorch. To change it: make clean, then TORCH=$TORCH make run"
        return
    fi
    if wants_cuda; then
        echo "Installing PyTorch with CUDA (several GB)"
        "$VENV/bin/python" -m pip install --quiet "$pin" || stop "pip could not install PyTorch; its words are above"
    elif [ "$(uname -s)" != Linux ]; then
        pip_install "$pin" || stop "pip could not install PyTorch; its words are above"
    else
        echo "Installing PyTorch for the CPU"
        pip_install "$pin+cpu" 2>/dev/null ||
            pip_install --retries 1 --timeout 15 --extra-index-url "$PYTORCH_CPU" "$pin+cpu" 2>/dev/null ||
            without_cpu_build "$pin"
    fi
}

without_cpu_build() {
    [ "$TORCH" = auto ] ||
        stop "the CPU build of PyTorch is not to be had from $PYTORCH_CPU. Name another index (PYTORCH_CPU=https://…), or take the build with CUDA: TORCH=cuda make run"
    echo "The CPU build cannot be reached, so the default one is taken, with the CUDA libraries that it needs (several GB)"
    "$VENV/bin/python" -m pip install --quiet "$1" || stop "pip could not install PyTorch; its words are above"
}

case $TORCH in auto | cpu | cuda) ;; *) stop "TORCH must be auto, cpu or cuda, not $TORCH" ;; esac
make_venv
for set in "$@"; do
    if [ "$set" = worker ] || [ "$set" = torch ]; then
        install_torch
    fi
    [ "$set" = torch ] && continue
    echo "Installing what is pinned in $LOCKS/$set.txt"
    pip_install -r "$LOCKS/$set.txt" || stop "pip could not install $LOCKS/$set.txt; its words are above"
    if [ "$set" = site ]; then
        pip_install --no-build-isolation --editable . || stop "pip could not install Offshoot itself; its words are above"
    fi
done
