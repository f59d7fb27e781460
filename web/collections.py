"""Collections: their pages, their forms, and putting something into one."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from litestar import Request, Response, get, post

from domain import collections, feed_keys, things
from domain.collections import Collection, Details, Way
from domain.errors import Conflict, Invalid, NotFound, TooMany
from domain.things import Thing
from web import private_feeds
from web.auth import Viewer
from web.forms import read_form, read_typed
from web.gallery import address
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]
DETAILS = ("title", "about", "visibility")
BLANK = {"title": "", "about": "", "visibility": "private"}
CHOOSING = ("collection", "title", "visibility", "note")
NEW = "new"
"""The choice that makes another collection."""


@get("/collections/new", include_in_schema=False)
async def new(request: _Request, me: Viewer) -> Response[bytes]:
    """The form for an empty collection."""
    return _form(request, None, BLANK, {})


@post("/collections", include_in_schema=False)
async def create(request: _Request, me: Viewer) -> Response[bytes]:
    """Make it and show it."""
    sent, errors = await read_typed(request, DETAILS)
    form = BLANK | sent
    try:
        collections.clean(Details(**form))
        if not errors:
            return see_other(f"/collections/{await collections.create(me.id, Details(**form))}")
    except Invalid as invalid:
        errors = invalid.fields | errors
    except TooMany as error:
        return _form(request, None, form, {"title": error.message}, error.status)
    return _form(request, None, form, errors, 422)


@get("/collections/{collection_id:uuid}", include_in_schema=False)
async def show(
    request: _Request, collection_id: UUID, viewer: Viewer | None, after: UUID | None = None
) -> Response[bytes]:
    """A collection's entries in their order, from the one after `?after=` on."""
    return await _show(request, collection_id, viewer, after)


async def _show(
    request: _Request, collection_id: UUID, viewer: Viewer | None, after: UUID | None, focus: str = ""
) -> Response[bytes]:
    found = await collections.read(collection_id, viewer.id if viewer else None)
    base = f"/collections/{collection_id}"
    feed = None
    if viewer is not None and found.mine and found.visibility == "private":
        feed = await private_feeds.of(request, viewer, "collection", collection_id)
    return page(
        request,
        "collections/show.html",
        block="items",
        c=found,
        list=await collections.items(collection_id, viewer.id if viewer else None, found.mine, after),
        base=base,
        after=after,
        feed=feed,
        focus=focus,
    )


@get("/collections/{collection_id:uuid}/edit", include_in_schema=False)
async def edit(request: _Request, collection_id: UUID, me: Viewer) -> Response[bytes]:
    """The form with title, about text and who sees it."""
    found = await _own(collection_id, me)
    form = {"title": found.title, "about": found.about, "visibility": found.visibility}
    return await _edit(request, me, found, form, {})


@post("/collections/{collection_id:uuid}/edit", include_in_schema=False)
async def save(request: _Request, collection_id: UUID, me: Viewer) -> Response[bytes]:
    """Keep them and show the collection."""
    found = await _own(collection_id, me)
    sent, errors = await read_typed(request, DETAILS)
    form = BLANK | sent
    try:
        collections.clean(Details(**form))
        if not errors:
            await collections.edit(collection_id, me.id, Details(**form))
            return see_other(f"/collections/{collection_id}")
    except Invalid as invalid:
        errors = invalid.fields | errors
    return await _edit(request, me, found, form, errors, 422)


async def _edit(
    request: _Request,
    me: Viewer,
    found: Collection,
    form: Mapping[str, str],
    errors: Mapping[str, str],
    status: int = 200,
) -> Response[bytes]:
    """The form of a collection that exists; it says so where a private feed would be closed."""
    followed = await feed_keys.read(me.id, "collection", found.id) is not None
    return _form(request, found, form, errors, status, followed=followed)


@get("/collections/{collection_id:uuid}/deletion", include_in_schema=False)
async def confirm_deletion(request: _Request, collection_id: UUID, me: Viewer) -> Response[bytes]:
    """The question whether to delete it."""
    return page(request, "collections/deletion.html", c=await _own(collection_id, me))


@post("/collections/{collection_id:uuid}/deletion", include_in_schema=False)
async def delete(request: _Request, collection_id: UUID, me: Viewer) -> Response[bytes]:
    """Take it away, then show the others."""
    await read_form(request, ())
    await collections.delete(collection_id, me.id)
    return see_other(f"/@{me.handle}?tab=collections")


# -- entries ------------------------------------------------------------------------------------


@post("/collections/{collection_id:uuid}/items/{item_id:uuid}/position", status_code=200, include_in_schema=False)
async def move(request: _Request, collection_id: UUID, item_id: UUID, me: Viewer) -> Response[bytes]:
    """Form field `to`: up, down, first, last. `after` is the page that was open."""
    form = await read_form(request, {"to", "after"})
    if form.get("to") not in collections.WAYS:
        raise Invalid({"to": "Up, down, first or last"})
    await collections.move(collection_id, me.id, item_id, cast("Way", form["to"]))
    return await _back(request, collection_id, me, form, f"{form['to']}-{item_id}")


@post("/collections/{collection_id:uuid}/items/{item_id:uuid}/removal", status_code=200, include_in_schema=False)
async def remove(request: _Request, collection_id: UUID, item_id: UUID, me: Viewer) -> Response[bytes]:
    """Take an entry out of the collection."""
    form = await read_form(request, {"after"})
    await collections.remove(collection_id, me.id, item_id)
    return await _back(request, collection_id, me, form, "items")


@get("/collections/{collection_id:uuid}/items/{item_id:uuid}/note", include_in_schema=False)
async def edit_note(
    request: _Request, collection_id: UUID, item_id: UUID, me: Viewer, after: UUID | None = None
) -> Response[bytes]:
    """The form with an entry's note; `?after=` is the page to go back to."""
    found = await collections.item(collection_id, me.id, item_id)
    form = {"note": found.note, "after": str(after or "")}
    return _note(request, await _own(collection_id, me), item_id, form, {})


@post("/collections/{collection_id:uuid}/items/{item_id:uuid}/note", include_in_schema=False)
async def save_note(request: _Request, collection_id: UUID, item_id: UUID, me: Viewer) -> Response[bytes]:
    """Keep the note and show the collection."""
    await collections.item(collection_id, me.id, item_id)
    sent, errors = await read_typed(request, ("note", "after"))
    form = {"note": "", "after": ""} | sent
    if not errors:
        try:
            await collections.annotate(collection_id, me.id, item_id, form["note"])
        except Invalid as invalid:
            errors = invalid.fields
        else:
            base = f"/collections/{collection_id}"
            return see_other(f"{address(base, {'after': str(_place(form) or '')})}#item-{item_id}")
    return _note(request, await _own(collection_id, me), item_id, form, errors, 422)


# -- putting something in ------------------------------------------------------------------------


@get("/pipelines/{pipeline_id:uuid}/collections", include_in_schema=False)
async def choose(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Which collections hold a pipeline, and the form that puts it into another."""
    return await _choose(request, me, pipeline_id, None, {}, {})


@post("/pipelines/{pipeline_id:uuid}/collections", include_in_schema=False)
async def add(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Put a pipeline into the collection in the field `collection`, or with `new` into one called `title`."""
    return await _add(request, me, pipeline_id, None)


@get("/runs/{run_id:uuid}/collections", include_in_schema=False)
async def choose_for_run(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """The same for a published run."""
    return await _choose(request, me, await collections.pipeline_of(run_id), run_id, {}, {})


@post("/runs/{run_id:uuid}/collections", include_in_schema=False)
async def add_run(request: _Request, run_id: UUID, me: Viewer) -> Response[bytes]:
    """The same for a published run."""
    return await _add(request, me, await collections.pipeline_of(run_id), run_id)


async def _add(request: _Request, me: Viewer, pipeline_id: UUID, run_id: UUID | None) -> Response[bytes]:
    sent, errors = await read_typed(request, CHOOSING)
    form = {"collection": NEW, "title": "", "visibility": "private", "note": ""} | sent
    await collections.choices(me.id, pipeline_id, run_id)  # before a collection is made for what cannot be put in
    try:
        collections.clean_note(form["note"])
        if form["collection"] == NEW:
            collections.clean(Details(form["title"], "", form["visibility"]))
        if not errors:
            chosen = await _chosen(me, form)
            await collections.add(chosen, me.id, pipeline_id, run_id, form["note"])
            return see_other(f"/collections/{chosen}")
    except Invalid as invalid:
        errors = invalid.fields | errors
    except TooMany as error:
        return await _choose(request, me, pipeline_id, run_id, form, {"collection": error.message}, error.status)
    return await _choose(request, me, pipeline_id, run_id, form, errors, 422)


async def _chosen(me: Viewer, form: Mapping[str, str]) -> UUID:
    """The collection that was chosen, or a new one. Raises Invalid, TooMany, NotFound for somebody else's."""
    if form["collection"] == NEW:
        return await collections.create(me.id, Details(form["title"], "", form["visibility"]))
    try:
        chosen = UUID(form["collection"])
    except ValueError:
        raise Invalid({"collection": "Choose one of the list"}) from None
    await _own(chosen, me)
    return chosen


async def _choose(
    request: _Request,
    me: Viewer,
    pipeline_id: UUID,
    run_id: UUID | None,
    form: Mapping[str, str],
    errors: Mapping[str, str],
    status: int = 200,
) -> Response[bytes]:
    choices = await collections.choices(me.id, pipeline_id, run_id)
    free = next((str(one.id) for one in choices if one.item_id is None), NEW)
    return page(
        request,
        "collections/choose.html",
        block="form",
        status=status,
        part=wants_part(request),
        thing=await _thing(pipeline_id, run_id),
        choices=choices,
        form={"collection": free, "title": "", "visibility": "private", "note": "", **form},
        errors=errors,
        url=f"/runs/{run_id}" if run_id else f"/pipelines/{pipeline_id}",
        visibilities=collections.VISIBILITIES,
    )


async def _thing(pipeline_id: UUID, run_id: UUID | None) -> Thing:
    found = await things.read([] if run_id else [pipeline_id], [run_id] if run_id else [])
    if not found:
        raise Conflict
    return next(iter(found.values()))


async def _own(collection_id: UUID, me: Viewer) -> Collection:
    """One's own collection. Raises NotFound for everybody else's."""
    found = await collections.read(collection_id, me.id)
    if not found.mine:
        raise NotFound("There is no such collection, or it is private.")
    return found


def _place(form: Mapping[str, str]) -> UUID | None:
    """The entry that the open page comes after. Raises NotFound for what is no id."""
    try:
        return UUID(form["after"]) if form.get("after") else None
    except ValueError:
        raise NotFound from None


async def _back(
    request: _Request, collection_id: UUID, me: Viewer, form: Mapping[str, str], focus: str
) -> Response[bytes]:
    """The open page again: its entries alone for htmx, with the focus where it was."""
    after = _place(form)
    if wants_part(request):
        return await _show(request, collection_id, me, after, focus)
    item = "#" + (f"item-{focus.partition('-')[2]}" if "-" in focus else focus)
    return see_other(address(f"/collections/{collection_id}", {"after": str(after or "")}) + item)


def _form(
    request: _Request,
    found: Collection | None,
    form: Mapping[str, str],
    errors: Mapping[str, str],
    status: int = 200,
    *,
    followed: bool = False,
) -> Response[bytes]:
    return page(
        request,
        "collections/form.html",
        block="form",
        status=status,
        c=found,
        form=form,
        errors=errors,
        followed=followed,
        action=f"/collections/{found.id}/edit" if found else "/collections",
        visibilities=collections.VISIBILITIES,
    )


def _note(
    request: _Request,
    found: Collection,
    item_id: UUID,
    form: Mapping[str, str],
    errors: Mapping[str, str],
    status: int = 200,
) -> Response[bytes]:
    return page(
        request,
        "collections/note.html",
        block="form",
        status=status,
        c=found,
        item_id=item_id,
        form=form,
        errors=errors,
    )
