"""How long the one command takes to its first page, and what each process holds in memory."""

import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.bench.processes import free_port, resident, running

LATER = 3


def measure(data_dir: Path) -> dict[str, Any]:
    """Seconds from the command to the first page: on an empty folder, then on a filled one."""
    port = free_port()
    env = {"DATA_DIR": str(data_dir), "PORT": str(port), "SITE_URL": f"http://127.0.0.1:{port}", "SEED_EXAMPLES": "0"}
    url = f"http://127.0.0.1:{port}/"
    with running(["-m", "deploy.cli", "run"], env, url) as (_, first):
        time.sleep(5)
    later: list[float] = []
    memory: dict[str, float] = {}
    for _ in range(LATER):
        with running(["-m", "deploy.cli", "run"], env, url) as (process, seconds):
            later.append(seconds)
            for _ in range(100):
                urllib.request.urlopen(url).read()
            time.sleep(10)
            memory = resident(process)
    results: dict[str, Any] = {"first start": {"seconds": first}, "later start": {"seconds": sorted(later)[LATER // 2]}}
    for name, megabytes in sorted(memory.items()):
        results[f"{name}, resident"] = {"megabytes": megabytes}
    return results
