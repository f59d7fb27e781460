#!/usr/bin/env bash
# Every test, in two lanes side by side: those of the second mostly wait, for leases to run out and servers to start.
# PYTHON is the interpreter; arguments go to the first lane's pytest.
set -uo pipefail
WAITING=(tests/faults tests/integration/test_backup.py tests/integration/test_embedded.py
    tests/integration/test_worker.py tests/integration/test_worker_models.py)
said=$(mktemp)
trap 'kill "$beside" 2>/dev/null; rm -f "$said"' EXIT

"$PYTHON" -m pytest -p no:cacheprovider "${WAITING[@]}" >"$said" 2>&1 &
beside=$!
"$PYTHON" -m pytest "${WAITING[@]/#/--ignore=}" --cov --cov-report=term "$@"
status=$?
wait "$beside"
other=$?
cat "$said"
exit $((status ? status : other))
