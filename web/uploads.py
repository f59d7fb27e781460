"""Uploading a picture or a sound for a step: htmx gets the step's field back, others JSON."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State

from domain.errors import Invalid, TooLarge, TooMany
from web import voice_help
from web.auth import Viewer
from web.composer import FILES, kept, medium_of, takes_sample
from web.forms import read_files
from web.pipelines import MAX_BODY, lay_out, read_composer, take_file, words_of
from web.render import page, wants_part


@post("/uploads", status_code=201, request_max_body_size=MAX_BODY)
async def create(request: Request[Any, Any, Any], me: Viewer, state: State, field: str = "") -> Response[bytes]:
    """Keep one file: a picture in the field `file`, or that of a composer form sent whole, such as `s2-mask-file`.

    The form's `s2-kind` says whether that is a picture or a sound."""
    sent, errors = await read_composer(request, ("file",))
    files = await read_files(request, {*FILES, "file"})
    wanted = field or "file"
    if wanted not in files:
        raise Invalid({wanted: "Choose a file first"})
    typed, key = kept(sent), FILES.get(wanted, wanted)
    medium, sample = medium_of(typed, key), takes_sample(typed, key)
    if not wants_part(request):
        made = await take_file(me, state, files[wanted], medium, sample)
        return Response(content=msgspec.json.encode(made), status_code=201, media_type="application/json")
    try:
        voice_help.chosen(typed, key, (await take_file(me, state, files[wanted], medium, sample)).sha256)
    except (Invalid, TooLarge, TooMany) as error:
        errors[key] = words_of(error)
    laid = await lay_out(None, typed, errors, me.id)
    found = [(control, row.tick) for row in laid.rows for control in row.files if control.key == key]
    if not found:
        raise Invalid({key: "This step takes no file"})
    (control, tick), *_ = found
    return page(request, "pipelines/file.html", control=control, tick=tick, status=422 if key in errors else 200)
