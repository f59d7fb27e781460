"""Offshoots: making one's own from somebody's version."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, post

from domain import forks, pipelines, versions
from domain.errors import NotFound
from web.auth import Viewer
from web.forms import read_form
from web.pipelines import number_or_404
from web.render import see_other
from web.runs import run_with_changes


@post("/pipelines/{pipeline_id:uuid}/forks")
async def create(request: Request[Any, Any, Any], pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Fork the version with the number in the field `version` (the latest without one), then edit it.

    With `run`, a run of that version, the offshoot takes over what the run changed and what went into it. The form
    sent again, with the same `key`, leads to the same offshoot."""
    sent = await read_form(request, {"version", "run", "key"})
    number, run_id, key = (sent.get(name, "") for name in ("version", "run", "key"))
    once = f"{key[:100]} {pipeline_id} {number[:10]} {run_id[:36]}" if key else ""
    if once and (before := await pipelines.made(me.id, once)) is not None:
        return see_other(f"/pipelines/{before.id}/edit")  # though what it grew from may be closed by now
    if number and not (number.isdecimal() and number.isascii() and len(number) < 11):
        raise NotFound("There is no such version.")
    version = await versions.read(pipeline_id, me.id, number_or_404(int(number)) if number else None)
    run = await run_with_changes(run_id, version.id, me.id) if run_id else None
    changes, inputs = (run.changes, run.inputs) if run else (None, None)
    made = await forks.fork(version.id, me.id, changes, inputs, once=once)
    return see_other(f"/pipelines/{made.id}/edit")
