"""Reading forms: only the fields we asked for, only text that can be stored."""

import re
from collections.abc import Callable, Collection
from typing import Any, cast
from urllib.parse import parse_qsl

from litestar import Request
from litestar.datastructures import UploadFile
from litestar.exceptions import ValidationException

from domain.errors import Invalid

CSRF_FIELD = "_csrf"
MAX_FIELDS = 2_000
MAX_BODY = 4_000_000
"""Bytes of an ordinary form; a route that takes files says its own with `request_max_body_size`."""

type_or_predicate = Collection[str] | Callable[[str], bool]
_NO_TEXT = "The form cannot be read: it holds something that is not valid text."
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


async def read_form(
    request: Request[Any, Any, Any], allowed: type_or_predicate, files: Collection[str] = ()
) -> dict[str, str]:
    """The form's text fields, line ends as \\n; of a repeated field the last one counts.

    `allowed` is the names this form has, or a function that says whether a name belongs to it.
    `files` are the fields that may hold a file, which `read_files` reads.
    Raises Invalid for another field or file, NUL or a lone surrogate.
    """
    knows = allowed if callable(allowed) else allowed.__contains__
    form: dict[str, str] = {}
    for name, value in await form_items(request):
        if name == CSRF_FIELD:
            continue
        if not knows(name):
            raise Invalid({_shown(name): "This form has no such field"}, "The form holds a field we do not know.")
        if isinstance(value, UploadFile):
            if name not in files:
                raise Invalid({_shown(name): "This form takes no such file"}, "The form holds a file we do not know.")
        elif isinstance(value, str):
            form[name] = _text(name, value)
    return form


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


async def form_items(request: Request[Any, Any, Any]) -> list[tuple[str, str | UploadFile]]:
    """Every field in order, read once a request. Raises Invalid for what is not UTF-8."""
    state: dict[str, Any] = request.scope["state"]
    if "form_items" not in state:
        state["form_items"] = await _parse(request)
    return cast("list[tuple[str, str | UploadFile]]", state["form_items"])


async def _parse(request: Request[Any, Any, Any]) -> list[tuple[str, str | UploadFile]]:
    if request.content_type[0] == "multipart/form-data":
        try:
            return [(name, value) for name, value in (await request.form()).multi_items()]
        except (UnicodeError, LookupError, ValidationException):
            raise Invalid({}, _NO_TEXT) from None
    body = await request.body()
    if not body:
        return []
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MAX_FIELDS
        )
    except UnicodeDecodeError:
        raise Invalid({}, _NO_TEXT) from None
    except ValueError:
        raise Invalid({}, "The form holds too many fields.") from None
    return list(pairs)


def _text(name: str, value: str) -> str:
    if _UNSTORABLE.search(value):
        raise Invalid({name: "This holds a character that cannot be stored. Type it again"})
    return value.replace("\r\n", "\n").replace("\r", "\n")


def _shown(name: str) -> str:
    return _UNSTORABLE.sub("?", name)[:80]
