"""`python -m web`: serve the site on HOST and PORT."""

import logging
import sys

import uvicorn

from domain.config import Config, ConfigError
from web.app import create_app
from web.protocol import Protocol
from web.signatures import without_token


class WithoutTokens(logging.Filter):
    """Keeps the addresses of private feeds out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every line pass, the secret part of an address left out."""
        if isinstance(record.args, tuple):
            record.args = tuple(without_token(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def main() -> None:
    """Read the settings and serve until a signal ends it."""
    try:
        config = Config.from_env()
    except ConfigError as error:
        sys.exit(str(error))
    level = config.log_level
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.access").addFilter(WithoutTokens())
    uvicorn.run(
        create_app(config),
        host=config.host,
        port=config.port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=level == "debug",
        log_level="info" if level == "debug" else level,
        log_config=None,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
