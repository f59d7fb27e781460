"""The registry of models as admins see it: disk use, adding, what is said of a model, verifying, removing.

Files are read on the machine of this process, as the command `offshoot models` reads them where it is called.
"""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import State
from msgspec import Struct
from msgspec.structs import replace

from domain import defaults, disks, means, models, readings, services, told
from domain.config import Config
from domain.disks import Disk
from domain.errors import Conflict, Invalid, NotFound
from domain.models import Model
from domain.readings import Reading
from domain.services import Worker
from domain.told import Said
from domain.weights import Say
from web.auth import Viewer, config_of, require_admin
from web.forms import read_form, read_typed
from web.readings import Readings
from web.render import page, see_other

_Request = Request[Any, Any, Any]
LIST = "/admin/models"
SAID = ("license", "trigger", "defaults")
NEW = ("name", "path", "means", *SAID)


class Kept(Struct, frozen=True):
    """A model as its host sees it: whether its files are on this machine, who has it, and when it was read last."""

    model: Model
    here: bool
    returns: bool
    """Whether it is offered again at the next start, for it comes with the site or stands in a setting."""
    workers: list[Worker]
    reading: Reading | None


@get(LIST, include_in_schema=False)
async def index(request: _Request, me: Viewer) -> Response[bytes]:
    """Every model with what it takes, and what can be done with it; htmx gets the list alone."""
    require_admin(me)
    config = config_of(request.scope)
    read = await readings.latest()  # first: one that ends meanwhile shows as going on, never as neither
    every, there = await models.everything(), await services.workers()
    here, found = await asyncio.to_thread(_look, every, config.models, config.endpoints)
    settled = _settled(config)
    kept = [
        Kept(one, one.name in here, one.name in settled, [w for w in there if w.has(one)], read.get(one.name))
        for one in every
    ]
    names = {one.name for one in every}
    return page(
        request,
        "models/admin.html",
        block="list",
        kept=kept,
        adding=[one for one in read.values() if one.adds and one.name not in names and (one.fault or not one.ended_at)],
        alive=any(one.alive for one in read.values()),
        disks=found,
        bytes=disks.bytes_of(every),
        machine=socket.gethostname(),
    )


def _settled(config: Config) -> set[str]:
    """The names of models that are offered again at every start."""
    return {*models.SHIPPED, *config.models, *config.endpoints}


def _look(every: list[Model], own: Mapping[str, Path], endpoints: Mapping[str, str]) -> tuple[set[str], list[Disk]]:
    """The names of the models that this machine has, and its disks."""
    return {one.name for one in every if models.here(one, own, endpoints)}, disks.of(every, own)


@get(f"{LIST}/new", include_in_schema=False)
async def new(request: _Request, me: Viewer) -> Response[bytes]:
    """The form that adds a model."""
    require_admin(me)
    return _new(request, dict.fromkeys(NEW, ""), {})


@post(LIST, include_in_schema=False)
async def add(request: _Request, me: Viewer, state: State) -> Response[bytes]:
    """Begin to read a model's files; once they are read it is registered, and the list says so."""
    require_admin(me)
    sent, errors = await read_typed(request, NEW)
    form = dict.fromkeys(NEW, "") | sent
    try:
        total = await _checked(form, errors)
    except Invalid as error:
        return _new(request, form, error.fields, 422)
    said, chosen = _said(form), means.parse(form["means"])
    name, path = form["name"].strip(), Path(form["path"].strip())

    async def work(say: Say) -> str:
        await models.register(name, path, means=chosen, said=said, say=say)
        return ""

    try:
        await _readings(state).start(name, total, work, adds=True)
    except Conflict:
        return _new(request, form, {"name": "A model of this name is being read already"}, 422)
    return see_other(LIST)


async def _checked(form: Mapping[str, str], faults: Mapping[str, str]) -> int:
    """The bytes of a model that may be read to be added. Raises Invalid with everything that is wrong by field."""
    errors, path = dict(faults), Path(form["path"].strip())
    name, look = form["name"].strip(), None
    if name in {one.name for one in await models.everything()}:
        errors["name"] = "Another model has this name. Remove it first, or choose another name"
    if not path.is_absolute():
        errors["path"] = f"The whole path on {socket.gethostname()}, such as /srv/models/sdxl"
    try:
        models.check_name(name)
    except Invalid as error:
        errors = error.fields | errors
    chosen = means.PLAIN
    try:
        chosen = means.parse(form["means"])
    except Invalid as error:
        errors = error.fields | errors
    try:
        look = await asyncio.to_thread(models.check, path, chosen) if path.is_absolute() else None
    except Invalid as error:
        errors = error.fields | errors
    except OSError as error:
        errors = {"path": f"It cannot be read: {error.strerror or error}"} | errors
    said = _said(form)
    try:
        told.read(said if look else replace(said, defaults=""), look.kinds if look else ())
    except Invalid as error:
        errors = error.fields | errors
    if errors or look is None:
        raise Invalid(errors)
    return look.bytes


@get("/models/{name:str}/edit", include_in_schema=False)
async def edit(request: _Request, name: str, me: Viewer) -> Response[bytes]:
    """The form with what is said of a model."""
    require_admin(me)
    found = await models.read(name)
    said = {"license": found.license, "trigger": ", ".join(found.trigger), "defaults": defaults.spell(found.defaults)}
    return _edit(request, found, said, {})


@post("/models/{name:str}/edit", include_in_schema=False)
async def save(request: _Request, name: str, me: Viewer) -> Response[bytes]:
    """Keep it and show the model."""
    require_admin(me)
    found = await models.read(name)
    sent, errors = await read_typed(request, SAID)
    form = dict.fromkeys(SAID, "") | sent
    try:
        if not errors:
            await models.tell(name, _said(form))
            return see_other(f"/models/{name}")
        told.read(_said(form), found.kinds)
    except Invalid as error:
        errors = error.fields | errors
    return _edit(request, found, form, errors, 422)


@post("/models/{name:str}/verification", include_in_schema=False)
async def verify(request: _Request, name: str, me: Viewer, state: State) -> Response[bytes]:
    """Begin to hash a model's files again; the list says what comes of it."""
    require_admin(me)
    await read_form(request, ())
    found, own = await models.read(name), config_of(request.scope).models
    if found.remote:
        raise NotFound("It runs elsewhere: there are no files to read.")

    async def work(say: Say) -> str:
        return await asyncio.to_thread(models.fault, found, own, say)

    await _readings(state).start(name, found.bytes, work, adds=False)
    return see_other(LIST)


@get("/models/{name:str}/removal", include_in_schema=False)
async def confirm_removal(request: _Request, name: str, me: Viewer) -> Response[bytes]:
    """The question whether to remove a model."""
    require_admin(me)
    returns = name in _settled(config_of(request.scope))
    return page(request, "models/removal.html", m=await models.read(name), returns=returns)


@post("/models/{name:str}/removal", include_in_schema=False)
async def remove(request: _Request, name: str, me: Viewer) -> Response[bytes]:
    """Offer a model no longer, and show the others."""
    require_admin(me)
    await read_form(request, ())
    await models.remove(name)
    await readings.forget(name)
    return see_other(LIST)


def _readings(state: State) -> Readings:
    found = state.readings
    assert isinstance(found, Readings)
    return found


def _said(form: Mapping[str, str]) -> Said:
    return Said(form["license"], form["trigger"], form["defaults"])


def _new(request: _Request, form: Mapping[str, str], errors: Mapping[str, str], status: int = 200) -> Response[bytes]:
    machine = socket.gethostname()
    return page(request, "models/new.html", status=status, form=form, errors=errors, machine=machine)


def _edit(
    request: _Request, found: Model, form: Mapping[str, str], errors: Mapping[str, str], status: int = 200
) -> Response[bytes]:
    names = defaults.names(found.kinds)
    return page(request, "models/edit.html", status=status, m=found, form=form, errors=errors, names=names)
