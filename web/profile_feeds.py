"""Feeds of what a person makes public: a profile's tabs."""

from typing import Any

from litestar import Request, Response

from domain import collections, feeds, people
from domain.errors import NotFound
from domain.lists import Filter
from domain.people import Person
from web.auth import config_of
from web.feeds import answer, at, parameters

_Request = Request[Any, Any, Any]


@at("/{handle:str}/feed")
async def of_pipelines(request: _Request, handle: str) -> Response[bytes]:
    """What a person has published, newest first: ?after=."""
    person, after = await _asked(request, handle)
    page = await feeds.of_list(Filter(owner_id=person.id), after)
    return _answer(request, person, page, "", "", f"Pipelines by {person.shown}.")


@at("/{handle:str}/runs")
async def of_runs(request: _Request, handle: str) -> Response[bytes]:
    """The runs that a person has published, of anybody's pipelines, newest first: ?after=."""
    person, after = await _asked(request, handle)
    page = await feeds.of_runs(person.id, after)
    return _answer(request, person, page, "runs", "Runs", f"Results that {person.shown} published.")


@at("/{handle:str}/offshoots")
async def of_offshoots(request: _Request, handle: str) -> Response[bytes]:
    """What others have grown from a person's pipelines, newest first: ?after=."""
    person, after = await _asked(request, handle)
    page = await feeds.of_list(Filter(forked_from=person.id), after)
    about = f"What others have grown from pipelines by {person.shown}."
    return _answer(request, person, page, "offshoots", "Offshoots by others", about)


@at("/{handle:str}/collections")
async def of_collections(request: _Request, handle: str) -> Response[bytes]:
    """A person's public collections, the latest made first: ?after=."""
    person, after = await _asked(request, handle)
    page = await collections.feed_of_person(person.id, after)
    return _answer(request, person, page, "collections", "Collections", f"Collections by {person.shown}.")


async def _asked(request: _Request, handle: str) -> tuple[Person, str | None]:
    """Whose feed, and the cursor. Raises NotFound."""
    asked = parameters(request, "after")
    if not handle.startswith("@"):
        raise NotFound
    return await people.by_handle(handle[1:]), asked.get("after")


def _answer(request: _Request, person: Person, page: feeds.Page, tab: str, what: str, about: str) -> Response[bytes]:
    title = " · ".join(filter(None, (config_of(request.scope).site_name, person.shown, what)))
    return answer(request, page, title, about, f"/@{person.handle}{f'?tab={tab}' if tab else ''}", {})
