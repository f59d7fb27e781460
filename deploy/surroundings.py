"""The settings as a person gave them, and the environment that every part of Offshoot gets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.embedded import Urls
from domain.config import KEYS, Config

EMBEDDED = {
    "DATABASE_URL": "postgresql://embedded/offshoot",
    "REDIS_URL": "redis://embedded",
    "S3_URL": "http://embedded:embedded@embedded/offshoot",
    "SECRET_KEY": "made on the first start and kept in DATA_DIR",
}
"""Stand in while the settings are checked: what is not set is started or made by ourselves."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment as it was given, checked."""

    env: Mapping[str, str]
    config: Config

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "Surroundings":
        """Check every setting. Raises ConfigError naming the first that is malformed."""
        filled = {**env, **{name: value for name, value in EMBEDDED.items() if not env.get(name, "").strip()}}
        return cls(env, Config.from_env(filled))

    @classmethod
    def of_process(cls) -> "Surroundings":
        """The environment of this process. Raises ConfigError."""
        return cls.read(os.environ)

    def given(self, name: str) -> str:
        """The setting's value, or "" when it is not set."""
        return self.env.get(name, "").strip()

    @property
    def external(self) -> Urls:
        """The parts that somebody else runs; "" for those that we start."""
        return Urls(self.given("DATABASE_URL"), self.given("REDIS_URL"), self.given("S3_URL"))

    @property
    def door(self) -> tuple[str, int]:
        """Where this machine reaches the web server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.config.host, self.config.host)  # noqa: S104
        return host, self.config.port

    @property
    def site_url(self) -> str:
        """SITE_URL, or the address that follows from HOST and PORT."""
        if self.given("SITE_URL"):
            return self.config.site_url
        host, port = self.door
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def of_children(self, urls: Urls, secret: str) -> dict[str, str]:
        """The environment of web and dispatcher: plain URLs, whoever runs the parts."""
        config = self.config
        return {
            **{name: value for name, value in self.env.items() if name != KEYS},
            "DATABASE_URL": urls.database,
            "REDIS_URL": urls.redis,
            "S3_URL": urls.s3,
            "SECRET_KEY": self.given("SECRET_KEY") or secret,
            "SITE_URL": self.site_url,
            "DATA_DIR": str(config.data_dir),
            "MODELS": config.models_setting,
            "ENCODER": config.encoder,
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
        }

    def of_worker(self, urls: Urls, secret: str) -> dict[str, str]:
        """The environment of a worker, who alone gets the keys of endpoints."""
        return {**self.of_children(urls, secret), KEYS: self.given(KEYS)}
