"""Are PostgreSQL, Redis and the S3 bucket reachable?"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from litestar import Request, Response, get
from msgspec import json

from domain import db

PATIENCE = 2.0
"""Seconds a part may take to answer."""


@get("/health", include_in_schema=False)
async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
    """200 when every part answers, 503 when one does not; says which, and nothing else."""
    state = request.app.state
    names = ("postgresql", "redis", "s3")
    answers = await asyncio.gather(
        _reached(db.fetchval("SELECT 1")),
        _reached(_ping(state.config.redis_url)),
        _reached(state.storage.require_bucket()),
    )
    good = all(answers)
    body = {"status": "ok" if good else "unavailable"}
    body |= {name: "ok" if answer else "unreachable" for name, answer in zip(names, answers, strict=True)}
    return Response(
        content=json.encode(body),
        status_code=200 if good else 503,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def _ping(url: str) -> None:
    import redis.asyncio as redis  # here, because nothing else of the web needs it and every start would wait for it

    async with redis.from_url(url, socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE) as client:
        await client.ping()


async def _reached(answer: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await answer
    except Exception:
        return False
    return True
