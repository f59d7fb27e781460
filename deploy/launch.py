"""Becomes another program that dies with its parent.

Run as `python -I -S launch.py SIGNAL PARENT NOBODY PROGRAM ARGUMENTS…` by `deploy/processes.py`:
a file of its own because it must start in milliseconds and run nothing between fork and exec.
SIGNAL is sent to the program when process PARENT ends. With NOBODY = 1 the program sees itself as
the user nobody (in a user namespace of its own), because PostgreSQL refuses to run as root.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534
NO_NAMESPACE = 98
NOT_FOUND = 127


def become_nobody(libc: ctypes.CDLL) -> None:
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit(NO_NAMESPACE)
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{NOBODY} {uid} 1"),
            ("gid_map", f"{NOBODY} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib costs 10 ms here
                file.write(text)
    except OSError:
        sys.exit(NO_NAMESPACE)


def main() -> None:
    death, parent, nobody, program, *arguments = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if nobody == "1":
        become_nobody(libc)
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, int(death))
    if os.getppid() != int(parent):
        sys.exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        print(f"{program}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_FOUND)


main()
