#!/usr/bin/env bash
# Every test, in three lanes side by side: those of the second and third mostly wait, for leases to run out, servers to
# start and a browser. PYTHON is the interpreter; arguments go to every lane's pytest.
set -uo pipefail
export OMP_NUM_THREADS=1 # torch's threads of several processes would only wait for each other
IT=tests/integration
SITES=(tests/faults $IT/test_cancel_machine.py $IT/test_embedded.py $IT/test_sweep.py)
WORKERS=(tests/browser $IT/test_backup.py $IT/test_filling.py $IT/test_loading.py
    $IT/test_grids.py $IT/test_worker.py $IT/test_worker_models.py)
said=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$said"' EXIT
rm -f .coverage .coverage.*

lane() { # its name, then what pytest takes
    COVERAGE_FILE=.coverage.$1 "$PYTHON" -m pytest -p no:cacheprovider --cov --cov-report= "${@:2}"
}
lane sites "${SITES[@]}" "$@" >"$said/sites" 2>&1 &
sites=$!
lane workers "${WORKERS[@]}" "$@" >"$said/workers" 2>&1 &
workers=$!
apart=("${SITES[@]}" "${WORKERS[@]}")
lane rest "${apart[@]/#/--ignore=}" "$@"
status=$?
for name in sites workers; do
    wait "${!name}" || status=$?
    cat "$said/$name"
done
"$PYTHON" -m coverage combine --quiet
"$PYTHON" -m coverage report
exit "$status"
