"""Static files: read once, compressed once, cached by browsers for a year under their hash."""

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from msgspec import Struct

from domain.errors import NotFound

STATIC = Path(__file__).resolve().parent.parent / "static"
YEAR = "public, max-age=31536000, immutable"
TYPES = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}


class Asset(Struct, frozen=True):
    """One file, as sent."""

    body: bytes
    packed: bytes
    """The body gzipped, or b"" where that saves nothing."""
    media_type: str
    digest: str


class Assets:
    """Every file under static/, by its path there."""

    def __init__(self, root: Path = STATIC, reload: bool = False) -> None:
        self.root = root
        self.reload = reload
        self.files = {
            str(path.relative_to(root)): _read(path)
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        self.urls = {name: f"/static/{name}?v={asset.digest}" for name, asset in self.files.items()}

    def url(self, name: str) -> str:
        """The address of a static file, with its hash. Raises KeyError for a file that does not exist."""
        return f"/static/{name}" if self.reload else self.urls[name]

    def find(self, name: str) -> Asset:
        """The file. Raises NotFound."""
        if name not in self.files:
            raise NotFound
        return _read(self.root / name) if self.reload else self.files[name]


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    packed = gzip.compress(body, 9, mtime=0)
    media_type = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    keep = media_type.startswith(("text/", "image/svg")) and len(packed) < len(body) * 0.9
    return Asset(body, packed if keep else b"", media_type, hashlib.sha256(body).hexdigest()[:12])


@get("/static/{path:path}", include_in_schema=False)
async def show(request: Request[Any, Any, Any], path: str) -> Response[bytes]:
    """A style sheet, script or drawing: immutable under its hash, revalidated without."""
    asset: Asset = request.app.state.assets.find(path.lstrip("/"))
    current = request.query_params.get("v") == asset.digest
    headers = {
        "ETag": f'"{asset.digest}"',
        "Cache-Control": YEAR if current else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if asset.digest in request.headers.get("if-none-match", ""):
        return Response(content=b"", status_code=304, headers=headers, media_type=asset.media_type)
    body = asset.body
    if asset.packed and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = asset.packed
    return Response(content=body, headers=headers, media_type=asset.media_type)


@get("/favicon.ico", include_in_schema=False)
async def favicon(request: Request[Any, Any, Any]) -> Response[bytes]:
    """For readers that look only here: the same drawing."""
    asset: Asset = request.app.state.assets.find("favicon.svg")
    return Response(content=asset.body, headers={"Cache-Control": "public, max-age=86400"}, media_type=asset.media_type)
