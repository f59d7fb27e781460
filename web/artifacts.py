"""Files that steps made: whole, in part, or as a smaller picture, to those who may see them."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from litestar import Request, Response, get
from litestar.response import Stream

from domain import artifacts
from domain.artifacts import Artifact
from domain.errors import NotFound
from domain.storage import Storage, key_of
from web.auth import Viewer, config_of
from web.headers import FILE_POLICY
from web.signatures import signed

PUBLIC = "public, max-age=31536000, immutable"
PRIVATE = "private, max-age=3600"
"""Private files are asked for again after an hour, so that a lost right shows; never in shared caches."""
MAX_WIDTH = 100_000
ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "opus",
    "text/plain": "txt",
    "model/gltf-binary": "glb",
    "application/x-ply": "ply",
    "model/stl": "stl",
}
INERT = ("image/png", "image/jpeg", "image/webp", "image/gif", "video/", "audio/")
"""What a browser may show by itself; the rest is offered for saving."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_Request = Request[Any, Any, Any]


@get("/artifacts/{sha256:str}")
async def show(request: _Request, sha256: str, viewer: Viewer | None) -> Response[Any]:
    """The file itself. `?download=name` saves it under that name, `?form=stl` gives another of its forms."""
    return await _answer(request, sha256, None, viewer)


@get("/artifacts/{sha256:str}/{width:int}")
async def show_rendition(request: _Request, sha256: str, width: int, viewer: Viewer | None) -> Response[Any]:
    """The picture about `width` pixels wide: the next larger rendition, else the largest there is."""
    if not 0 < width <= MAX_WIDTH:
        raise NotFound
    return await _answer(request, sha256, width, viewer)


@get("/signed/{token:str}/{sha256:str}")
async def show_signed(request: _Request, token: str, sha256: str) -> Response[Any]:
    """The file itself, on an origin without sessions (see `web/signatures.py`)."""
    return await _answer(request, sha256, None, token=token)


@get("/signed/{token:str}/{sha256:str}/{width:int}")
async def show_signed_rendition(request: _Request, token: str, sha256: str, width: int) -> Response[Any]:
    """The picture about `width` pixels wide, on an origin without sessions."""
    if not 0 < width <= MAX_WIDTH:
        raise NotFound
    return await _answer(request, sha256, width, token=token)


async def _answer(
    request: _Request, sha256: str, width: int | None, viewer: Viewer | None = None, token: str = ""
) -> Response[Any]:
    if not _SHA256.fullmatch(sha256):
        raise NotFound("There is no such file, or it is private.")
    allowed = bool(token) and signed(config_of(request.scope).secret_key, sha256, token)
    form = request.query_params.get("form")
    found = await artifacts.visible(sha256, viewer.id if viewer else None, width, form, allowed=allowed)
    headers = _headers(request, found)
    if allowed:
        # the address is the right: pages of another site show it, and the painter of masks reads the pixels
        headers |= {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    if _matches(request.headers.get("if-none-match"), found.sha256):
        return _empty(304, headers, found)
    start, end, status = 0, found.bytes, 200
    wanted = request.headers.get("range")
    if wanted is not None and _matches(request.headers.get("if-range"), found.sha256, absent=True):
        part = byte_range(wanted, found.bytes)
        if part is not None and part[0] >= part[1]:
            return _empty(416, {**headers, "Content-Range": f"bytes */{found.bytes}"}, found)
        if part is not None:
            start, end, status = *part, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.bytes}"
    headers["Content-Length"] = str(end - start)
    if request.scope["state"].get("head"):
        return _empty(status, headers, found)
    storage: Storage = request.app.state.storage
    body = await storage.open(key_of(found.sha256), start, None if end == found.bytes else end)
    return Stream(await _begun(body), status_code=status, media_type=found.media_type, headers=headers)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The part that a Range header asks for, as start and end (exclusive).

    None: ignore the header, as RFC 9110 wants for other units and lets one do for several
    parts. Start at or behind end: nothing there is (416).
    """
    if not header.startswith("bytes=") or "," in header:
        return None
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or found[1] == found[2] == "":
        return (0, 0)
    first, last = found[1], found[2]
    if first == "":
        return (max(size - int(last), 0), size) if int(last) else (0, 0)
    if last and int(last) < int(first):
        return (0, 0)
    return (int(first), min(int(last) + 1, size) if last else size)


def _headers(request: _Request, found: Artifact) -> dict[str, str]:
    headers = {
        "ETag": f'"{found.sha256}"',
        "Cache-Control": PUBLIC if found.public else PRIVATE,
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": FILE_POLICY,
        "Cross-Origin-Resource-Policy": "cross-origin" if found.public else "same-site",
    }
    if not found.public:
        headers["Vary"] = "Cookie"
    name = request.query_params.get("download")
    if name is not None or not found.media_type.startswith(INERT):
        headers["Content-Disposition"] = f'attachment; filename="{_file_name(name or "", found)}"'
    return headers


def _file_name(wanted: str, found: Artifact) -> str:
    """A name that every system takes: letters, digits and dashes, the ending by the file's type."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", wanted).strip("-")[:80] or f"offshoot-{found.sha256[:8]}"
    return f"{stem}.{ENDINGS.get(found.media_type, 'bin')}"


def _matches(header: str | None, sha256: str, *, absent: bool = False) -> bool:
    """Whether an If-None-Match or If-Range header names this file; `absent` when there is no header."""
    if header is None:
        return absent
    return header.strip() == "*" or sha256 in [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]


def _empty(status: int, headers: Mapping[str, str], found: Artifact) -> Response[bytes]:
    return Response(content=b"", status_code=status, headers=dict(headers), media_type=found.media_type)


async def _begun(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, the first of them fetched already: a store that is away answers 503, not half a file."""
    first = await anext(body, b"")

    async def all_of() -> AsyncIterator[bytes]:
        yield first
        async for chunk in body:
            yield chunk

    return all_of()
