"""The database and the file store together, for commands: those of the environment, of a running Offshoot, or
started for a moment."""

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.commands import NOT_NEEDED, _running
from deploy.embedded import Services, Urls
from deploy.problems import Problem
from deploy.surroundings import Surroundings


@contextmanager
def reach(surroundings: Surroundings, *, fresh: bool = False) -> Iterator[Urls]:
    """Where PostgreSQL and S3 answer. Raises Problem, and where DATA_DIR has no site unless `fresh` makes one.

    A site that runs is used as it is; with `fresh` it is refused.
    """
    external = surroundings.external
    folder = surroundings.config.data_dir
    if external.database and external.s3:
        yield external
        return
    if not fresh and not _holds_a_site(surroundings):
        raise Problem(f"There is no site in {folder}. Name its folder: DATA_DIR=…")
    services = Services(folder, Urls(external.database, NOT_NEEDED, external.s3))
    try:
        urls = services.start()
    except Problem:
        running = None if fresh else _running(folder)
        if running is None:
            raise
        yield Urls(external.database or running.database, NOT_NEEDED, external.s3 or running.s3)
        return
    try:
        yield urls
    finally:
        services.stop()


def _holds_a_site(surroundings: Surroundings) -> bool:
    """Whether DATA_DIR has the parts that are not given from outside."""
    external, folder = surroundings.external, surroundings.config.data_dir
    return (bool(external.database) or (folder / "postgres").exists()) and (
        bool(external.s3) or (folder / "s3").exists()
    )
