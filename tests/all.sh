#!/usr/bin/env bash
# Every test, in three lanes side by side: those of the second and third mostly wait, for leases to run out, servers to
# start and a browser. PYTHON is the interpreter; arguments go to every lane's pytest.
set -uo pipefail
export OMP_NUM_THREADS=1 # torch's threads of several processes would only wait for each other
SITES=(tests/faults tests/integration/test_embedded.py)
WORKERS=(tests/browser tests/integration/test_backup.py tests/integration/test_worker.py
    tests/integration/test_worker_models.py)
said=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$said"' EXIT

"$PYTHON" -m pytest -p no:cacheprovider "${SITES[@]}" "$@" >"$said/sites" 2>&1 &
sites=$!
"$PYTHON" -m pytest -p no:cacheprovider "${WORKERS[@]}" "$@" >"$said/workers" 2>&1 &
workers=$!
apart=("${SITES[@]}" "${WORKERS[@]}")
"$PYTHON" -m pytest "${apart[@]/#/--ignore=}" --cov --cov-report=term "$@"
status=$?
for lane in sites workers; do
    wait "${!lane}" || status=$?
    cat "$said/$lane"
done
exit "$status"
