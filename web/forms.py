"""Reading forms: only the fields we asked for, only text that can be stored."""

import re
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from litestar import Request
from litestar.datastructures import UploadFile
from litestar.exceptions import ValidationException
from msgspec import Struct

from domain.errors import Invalid

CSRF_FIELD = "_csrf"
MAX_FIELDS = 2_000
MAX_BODY = 4_000_000
"""Bytes of an ordinary form; a route that takes files says its own with `request_max_body_size`."""

type_or_predicate = Collection[str] | Callable[[str], bool]
_TAKEN_OUT = "A character that cannot be stored was taken out. Look it over, then send it again"
_NO_TEXT = "The form cannot be read: it holds something that is not valid text."
_LENIENT = "surrogateescape"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Kept(Struct, frozen=True):
    """What was sent, for a page that offers to send it again. Passwords and files are not in `fields`."""

    fields: list[tuple[str, str]]
    files: bool
    passwords: bool


class Unstorable(Invalid):
    """Text that cannot be stored: NUL, half a surrogate pair, bytes that are no UTF-8."""

    def __init__(self, fields: Mapping[str, str], kept: Kept) -> None:
        self.kept = kept
        names = ", ".join(f"“{name}”" for name in fields)
        super().__init__(fields, f"A character that cannot be stored was taken out of {names}.")


def new_key() -> str:
    """An idempotency key for a form: what it asks for happens once, however often it is sent."""
    return secrets.token_urlsafe(18)


def sent_key(request: Request[Any, Any, Any], sent: Mapping[str, str]) -> str:
    """The key that came with the request, by header or by field `key`; a new one where none came."""
    return request.headers.get("idempotency-key") or sent.get("key") or new_key()


async def read_form(
    request: Request[Any, Any, Any], allowed: type_or_predicate, files: Collection[str] = ()
) -> dict[str, str]:
    """The form's text fields, as `read_typed` does. Raises Unstorable where that finds fault."""
    form, errors = await read_typed(request, allowed, files)
    if errors:
        raise Unstorable(errors, await keep(request))
    return form


async def read_typed(
    request: Request[Any, Any, Any], allowed: type_or_predicate, files: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """The form's text fields, line ends as \\n, and the words for those with characters that cannot be stored.

    `allowed` is the names this form has, or a function that says whether a name belongs to it.
    `files` are the fields that may hold a file, which `read_files` reads. Of a repeated field the
    last one counts; what cannot be stored is left out of it. Raises Invalid for another field or file.
    """
    knows = allowed if callable(allowed) else allowed.__contains__
    form: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, value in await form_items(request):
        if name == CSRF_FIELD:
            continue
        if _UNSTORABLE.search(name) or not knows(name):
            raise Invalid({_shown(name): "This form has no such field"}, "The form holds a field we do not know.")
        if isinstance(value, UploadFile):
            if name not in files:
                raise Invalid({_shown(name): "This form takes no such file"}, "The form holds a file we do not know.")
        elif isinstance(value, str):
            form[name] = _text(value)
            if _UNSTORABLE.search(value):
                errors[name] = _TAKEN_OUT
    return form, errors


async def keep(request: Request[Any, Any, Any]) -> Kept:
    """What the form holds, whatever form it is."""
    items = await form_items(request)
    texts = {name: _text(value) for name, value in items if isinstance(value, str) and not _UNSTORABLE.search(name)}
    secret = [name for name in texts if "password" in name]
    fields = [(name, value) for name, value in texts.items() if name not in (*secret, CSRF_FIELD)]
    files = any(isinstance(value, UploadFile) and value.filename for _, value in items)
    return Kept(fields, files=files, passwords=bool(secret))


async def read_files(request: Request[Any, Any, Any], allowed: Collection[str]) -> dict[str, UploadFile]:
    """The form's uploaded files by field name. Empty file inputs are left out."""
    files: dict[str, UploadFile] = {}
    for name, value in await form_items(request):
        if not isinstance(value, UploadFile):
            continue
        if name not in allowed:
            raise Invalid({_shown(name): "This form takes no such file"}, "The form holds a file we do not know.")
        if value.filename:
            files[name] = value
    return files


async def close_files(request: Request[Any, Any, Any]) -> None:
    """Let go of the form's files, where no handler is going to."""
    for _, value in cast("list[tuple[str, str | UploadFile]]", request.scope["state"].get("form_items", [])):
        if isinstance(value, UploadFile):
            await value.close()


async def form_items(request: Request[Any, Any, Any]) -> list[tuple[str, str | UploadFile]]:
    """Every field in order, read once a request; bytes that are no UTF-8 come as lone surrogates."""
    state: dict[str, Any] = request.scope["state"]
    if "form_items" not in state:
        state["form_items"] = await _parse(request)
    return cast("list[tuple[str, str | UploadFile]]", state["form_items"])


async def _parse(request: Request[Any, Any, Any]) -> list[tuple[str, str | UploadFile]]:
    if request.content_type[0] == "multipart/form-data":
        try:
            return list((await request.form()).items())
        except (UnicodeError, LookupError, ValidationException):
            raise Invalid({}, _NO_TEXT) from None
    body = await request.body()
    if not body:
        return []
    try:
        pairs = parse_qsl(
            body.decode("utf-8", _LENIENT), keep_blank_values=True, errors=_LENIENT, max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise Invalid({}, "The form holds too many fields.") from None
    return list(pairs)


def _text(value: str) -> str:
    return _UNSTORABLE.sub("", value).replace("\r\n", "\n").replace("\r", "\n")


def _shown(name: str) -> str:
    return _UNSTORABLE.sub("?", name)[:80]
