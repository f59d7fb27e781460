"""Buckets of a test's own: what other tests store are strays to a database that does not know them."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from domain.config import Config
from domain.errors import Unavailable
from domain.storage import Storage


def address(config: Config) -> str:
    """The URL of a bucket that is not there yet."""
    return urlsplit(config.s3_url)._replace(path=f"/test-{secrets.token_hex(6)}").geturl()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Storage]:
    """The bucket, made and afterwards removed with all that is in it."""
    store = Storage(url)
    await store.open_bucket()
    yield store
    while page := await store.listing(""):
        for each in page:
            await store.delete(each.key)
    with contextlib.suppress(Unavailable):  # the server may have left a folder in it
        await store._call("delete_bucket", Bucket=store.bucket)


def url_of(store: Storage) -> str:
    """The address that a store was made with."""
    scheme, _, rest = store._endpoint.partition("://")
    return f"{scheme}://{store._key}:{store._secret}@{rest}/{store.bucket}"
