"""What a worker carries out, asked for through the queue."""

from collections.abc import Iterator

import pytest

from domain.config import Config
from tests import worker as w


@pytest.fixture(scope="package")
def site(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[w.Process]:
    """A dispatcher and a worker for every module here: to start one takes six seconds of a processor."""
    folder = tmp_path_factory.mktemp("worker")
    with w.dispatcher(config, folder), w.worker(config, folder) as process:
        yield process
