"""What stops Offshoot from starting, said in one line."""

import errno
from pathlib import Path


class Problem(Exception):
    """A reason a person can act on. The command prints its words alone and exits with 1."""


def about(error: OSError, folder: Path) -> Problem:
    """The words for an error of the file system under the data folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(f"The disk under {folder} is full. Free some space, or choose another folder: DATA_DIR=…")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Problem(f"Cannot write to {error.filename or folder}. Make it writable, or choose another: DATA_DIR=…")
    return Problem(f"{error.strerror or error}: {error.filename or folder}")
