#!/usr/bin/env bash
# Every test, in four lanes side by side: all but the last mostly wait, for leases to run out, servers to start and a
# browser. PYTHON is the interpreter; arguments go to every lane's pytest.
set -uo pipefail
export OMP_NUM_THREADS=1 # torch's threads of several processes would only wait for each other
IT=tests/integration
declare -A LANES=(
    [sites]="tests/faults $IT/test_embedded.py"
    [browser]="tests/browser $IT/test_commands.py $IT/test_endpoints.py $IT/test_growers.py $IT/test_sweep.py"
    [workers]="$IT/working $IT/test_backup.py $IT/test_cancel_machine.py $IT/test_filling.py
        $IT/test_grids.py $IT/test_loading.py $IT/test_worker_models.py"
)
said=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$said"' EXIT

lane() { # its name, then what pytest takes; slipcover cannot see into the tests themselves, and need not
    "$PYTHON" -W ignore::RuntimeWarning:slipcover.importer -m slipcover --json --out "$said/$1.json" \
        -m pytest -p no:cacheprovider "${@:2}"
}
declare -A running
for name in "${!LANES[@]}"; do
    lane "$name" ${LANES[$name]} "$@" >"$said/$name" 2>&1 &
    running[$name]=$!
done
apart=(${LANES[@]})
lane rest "${apart[@]/#/--ignore=}" "$@"
status=$?
for name in "${!LANES[@]}"; do
    wait "${running[$name]}" || status=$?
    cat "$said/$name"
done
"$PYTHON" -m slipcover --merge "$said"/*.json --out coverage.json || status=$?
exit "$status"
