"""PostgreSQL, Valkey and an S3 server on this machine, with all data in one folder.

>>> with Services(Path("var")) as services:
...     services.urls.database
"""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from deploy.folder import Folder
from deploy.objects import Objects
from deploy.postgres import Postgres
from deploy.problems import about
from deploy.processes import Child, Guard
from deploy.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Urls:
    """Where the three parts answer, as the settings DATABASE_URL, REDIS_URL and S3_URL spell it."""

    database: str
    redis: str
    s3: str


class Part(Protocol):
    """What the three servers have in common."""

    child: Child

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def wait(self) -> None: ...
    def stop(self) -> None: ...


class Services:
    """Starts the parts that have no external address, and stops them in order.

    `durable=False` trades the data's safety for speed: for tests alone.
    """

    def __init__(self, data_dir: Path, external: Urls | None = None, *, durable: bool = True) -> None:
        self.folder = Folder(data_dir)
        self.external = external or Urls("", "", "")
        self.durable = durable
        self.guard: Guard | None = None
        self.database: Part | None = None
        self.redis: Part | None = None
        self.s3: Part | None = None

    def start(self) -> Urls:
        """Take the folder, start what is needed, and return when all of it answers. Raises Problem."""
        self.begin()
        return self.finish()

    def begin(self) -> None:
        """Start the servers side by side; `finish()` waits for them. Raises Problem."""
        self.folder.open()
        try:
            self.guard = Guard(self.folder.lock)
            if not self.external.redis:
                self.redis = Valkey(self.folder, self.guard, durable=self.durable)
                self.redis.start()
            if not self.external.s3:
                self.s3 = Objects(self.folder, self.guard)
                self.s3.start()
            if not self.external.database:
                self.database = Postgres(self.folder, self.guard, durable=self.durable)
                self.database.start()
        except OSError as error:
            self.stop()
            raise about(error, self.folder.path) from error
        except BaseException:
            self.stop()
            raise

    def finish(self) -> Urls:
        """Wait until every started server answers. Raises Problem."""
        try:
            for part in self.parts:
                part.wait()
        except BaseException:
            self.stop()
            raise
        return self.urls

    @property
    def parts(self) -> list[Part]:
        """The started servers, in the order in which they stop."""
        return [part for part in (self.s3, self.redis, self.database) if part is not None]

    @property
    def urls(self) -> Urls:
        return Urls(
            self.database.url if self.database else self.external.database,
            self.redis.url if self.redis else self.external.redis,
            self.s3.url if self.s3 else self.external.s3,
        )

    def stop(self) -> None:
        """Stop S3, Valkey and PostgreSQL, in this order, and let go of the folder. Safe to call twice."""
        for part in self.parts:
            part.stop()
        self.s3 = self.redis = self.database = None
        if self.guard is not None:
            self.guard.dismiss()
            self.guard = None
        self.folder.close()

    def __enter__(self) -> "Services":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
