"""Objects in any S3 server, keyed by the SHA-256 of their bytes. The only user of boto3."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

from domain.errors import Full, NotFound, Unavailable

REGION = "us-east-1"
"""Where the bucket is unless the address says so; servers other than Amazon's mostly do not care."""
CHUNK = 256 * 1024
"""Bytes read at a time when an object is streamed."""
FULL = ("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage", "507")
"""How servers say that they have no room."""
NO_ROOM = "The file store is full, so nothing more can be kept. Tell the host of this site."
SPARE = 4 * 2**20
"""Bytes that must be free beyond what is written, where the server's own disk can be seen."""


def key_of(sha256: str) -> str:
    """Where an artifact lies in the bucket."""
    return f"{sha256[:2]}/{sha256}"


class Stored(Struct, frozen=True):
    """An object as the server lists it."""

    key: str
    bytes: int
    modified: datetime


class Unfinished(Struct, frozen=True):
    """An upload in parts that nobody completed."""

    key: str
    id: str
    begun: datetime


class Storage:
    """One bucket, from `http(s)://KEY:SECRET@HOST:PORT/BUCKET?region=REGION`. Nothing connects before first use.

    `disk` is the folder in which an embedded server keeps its files: it cannot say itself that it is full.
    Calls run in threads. Each raises Unavailable when the server cannot be reached, Full when it has no room.
    """

    def __init__(self, url: str, disk: Path | None = None) -> None:
        parts = urlsplit(url)
        self._disk = disk
        self.bucket = parts.path.strip("/")
        self.region = parse_qs(parts.query).get("region", [REGION])[0]
        self._endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._key = unquote(parts.username or "")
        self._secret = unquote(parts.password or "")

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self._endpoint,
            aws_access_key_id=self._key,
            aws_secret_access_key=self._secret,
            region_name=self.region,
            config=Config(
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=20,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=16,
            ),
        )

    async def open_bucket(self) -> None:
        """Make the bucket unless it is there, and warm the connection."""
        there = self.region == REGION
        place: dict[str, Any] = {} if there else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        await self._call("create_bucket", Bucket=self.bucket, exists_ok=True, **place)

    async def require_bucket(self) -> None:
        """Raise NotFound unless the bucket is there."""
        await self._call("head_bucket", Bucket=self.bucket)

    async def put(self, key: str, data: bytes | BinaryIO, media_type: str) -> None:
        """Write an object, replacing what was there. Makes the bucket where there is none yet."""
        content: dict[str, Any] = {"Bucket": self.bucket, "Key": key, "Body": data, "ContentType": media_type}
        try:
            await self._call("put_object", **content)
        except NotFound:
            await self.open_bucket()
            if not isinstance(data, bytes):
                data.seek(0)
            await self._call("put_object", **content)
        except Unavailable as error:
            if await asyncio.to_thread(self._has_no_room, len(data) if isinstance(data, bytes) else 0):
                raise Full(NO_ROOM) from error
            raise

    def _has_no_room(self, size: int) -> bool:
        if self._disk is None or not self._disk.is_dir():
            return False
        return shutil.disk_usage(self._disk).free < size + SPARE

    async def get(self, key: str) -> bytes:
        """The whole object. Raises NotFound."""
        answer = await self._call("get_object", Bucket=self.bucket, Key=key)
        data: bytes = await self._guard(answer["Body"].read)
        return data

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to but without `end`, in chunks. Raises NotFound at once.

        Servers that ignore ranges are read from the beginning; what was not asked for is dropped.
        """
        last = "" if end is None else str(end - 1)
        ranged: dict[str, Any] = {"Range": f"bytes={start}-{last}"} if start or end is not None else {}
        answer = await self._call("get_object", Bucket=self.bucket, Key=key, **ranged)
        skip = 0 if answer.get("ContentRange") else start
        return self._chunks(answer["Body"], skip, None if end is None else end - start)

    async def _chunks(self, body: Any, skip: int, count: int | None) -> AsyncIterator[bytes]:
        try:
            while count is None or count > 0:
                data: bytes = await self._guard(body.read, CHUNK)
                if not data:
                    return
                dropped = min(skip, len(data))
                skip -= dropped
                data = data[dropped:] if count is None else data[dropped : dropped + count]
                if count is not None:
                    count -= len(data)
                if data:
                    yield data
        finally:
            body.close()

    async def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            await self._call("head_object", Bucket=self.bucket, Key=key)
        except NotFound:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        await self._call("delete_object", Bucket=self.bucket, Key=key)

    async def listing(self, prefix: str, after: str = "") -> list[Stored]:
        """Up to a thousand objects whose keys begin with `prefix`, in order, from behind the key `after`."""
        answer = await self._call("list_objects_v2", Bucket=self.bucket, Prefix=prefix, StartAfter=after)
        return [Stored(each["Key"], each["Size"], each["LastModified"]) for each in answer.get("Contents", ())]

    async def unfinished(self) -> list[Unfinished]:
        """Uploads in parts that were begun and not completed; none from servers that cannot list them."""
        answer = await self._call("list_multipart_uploads", Bucket=self.bucket, lacking_ok=True)
        found = (answer or {}).get("Uploads", ())
        return [Unfinished(each["Key"], each["UploadId"], each["Initiated"]) for each in found]

    async def abort(self, upload: Unfinished) -> None:
        """Throw away the parts of an upload that was not completed; one that is gone is fine."""
        with contextlib.suppress(NotFound):
            await self._call("abort_multipart_upload", Bucket=self.bucket, Key=upload.key, UploadId=upload.id)

    def presigned(self, key: str, seconds: int = 3600) -> str:
        """An address that reads the object for a while, for external servers."""
        url: str = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )
        return url

    async def _call(
        self, operation: str, *, exists_ok: bool = False, lacking_ok: bool = False, **arguments: Any
    ) -> Any:
        def call() -> Any:
            return getattr(self._client, operation)(**arguments)

        return await self._guard(call, exists_ok=exists_ok, lacking_ok=lacking_ok)

    async def _guard(self, call: Any, *arguments: Any, exists_ok: bool = False, lacking_ok: bool = False) -> Any:
        """Run in a thread and turn boto's errors into ours."""
        try:
            return await asyncio.to_thread(call, *arguments)
        except Exception as error:
            code = _code(error)
            if exists_ok and code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists", "409"):
                return None
            if lacking_ok and code in ("NotImplemented", "MethodNotAllowed", "501", "405"):
                return None
            if code in ("NoSuchKey", "NoSuchBucket", "NoSuchUpload", "404", "NotFound"):
                raise NotFound("The file is not there.") from error
            if code in FULL:
                raise Full(NO_ROOM) from error
            if code is None:
                raise
            raise Unavailable("The file store cannot be reached just now.") from error


def _code(error: Exception) -> str | None:
    """S3's code for an error that its server or the way to it made; None for any other."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    module = type(error).__module__
    return "" if module.startswith(("botocore", "urllib3")) or isinstance(error, OSError) else None
