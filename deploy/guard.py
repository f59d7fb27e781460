"""Outlives the supervisor by a moment, to end what it left behind.

Run as `python -I -S guard.py TOKEN`. Reads lines from standard input: `+ PROCESS SIGNAL` when the
supervisor started a program, `- PROCESS` when it ended, and `done` when the supervisor leaves in
order. If the input ends without `done`, the supervisor was killed: the guard signals every process
group it knows, then kills whatever is left of them and whatever carries OFFSHOOT_STACK=TOKEN.
"""

import os
import signal
import sys
import time

GRACE_S = 4.0


def marked(token: str) -> list[int]:
    """Processes whose environment names this stack, however far they moved away."""
    wanted = f"OFFSHOOT_STACK={token}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():  # noqa: PTH112, PTH208 - no imports
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def send(group: int, number: int) -> bool:
    """Signal a process group; whether there still is one."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


def end(groups: dict[int, int], token: str) -> None:
    for group, number in groups.items():
        send(group, number)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(send(group, 0) for group in groups):
        time.sleep(0.02)
    for group in groups:
        send(group, signal.SIGKILL)
    for process in marked(token):
        try:
            os.kill(process, signal.SIGKILL)
        except OSError:
            continue


def main() -> None:
    token = sys.argv[1]
    groups: dict[int, int] = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "+":
            groups[int(rest[0])] = int(rest[1])
        elif word == "-":
            groups.pop(int(rest[0]), None)
        elif word == "done":
            return
    end(groups, token)


main()
