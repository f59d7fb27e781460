"""`python -m deploy.seeds`: registers the models, plants the examples, and publishes them as they arrive."""

import asyncio
import sys

from deploy import examples
from domain import db, models
from domain.config import Config
from domain.errors import DomainError

SAID = 2
"""Exit status: a person has to mend the settings, so trying again helps nobody."""


async def seed(config: Config) -> None:
    """Register the starter model and those of MODELS; with SEED_EXAMPLES=1 fill an empty gallery.

    Raises DomainError for a model that cannot be registered, after everything else is done.
    """
    await db.bind(config.database_url, max_size=2)
    try:
        problem = None
        try:
            await models.register_all(config.models, config.means, config.endpoints)
        except DomainError as error:
            problem = error
        if config.seed_examples:
            await examples.plant()
            await examples.publish_as_they_arrive()
        if problem is not None:
            raise problem
    finally:
        await db.unbind()


if __name__ == "__main__":
    try:
        asyncio.run(seed(Config.from_env()))
    except DomainError as error:
        print(error.message, flush=True)
        sys.exit(SAID)
