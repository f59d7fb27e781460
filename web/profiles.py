"""A person's page: who they are, what they made, how to follow it."""

from typing import Any, Literal

from litestar import Request, Response, get

from domain import bookmarks, collections, gallery, people, profiles, runs
from domain.errors import NotFound
from web import auth, follows, private_feeds
from web.render import page

Tab = Literal["pipelines", "runs", "offshoots", "collections", "bookmarks"]
TITLES = {
    "pipelines": "Pipelines",
    "runs": "Published runs",
    "offshoots": "Offshoots by others",
    "collections": "Collections",
    "bookmarks": "Bookmarks",
}


@get("/{handle:str}", include_in_schema=False)
async def show(
    request: Request[Any, Any, Any],
    handle: str,
    viewer: auth.Viewer | None,
    tab: Tab = "pipelines",
    after: str | None = None,
    unlisted: str | None = None,
) -> Response[bytes]:
    """`/@handle`: pipelines, with `?tab=runs` published runs, with `?tab=offshoots` what others grew from them,
    with `?tab=collections` what they put together.

    The owner also sees their latest runs, what no list shows, from `?unlisted=` on, and `?tab=bookmarks`.
    """
    if not handle.startswith("@"):
        raise NotFound
    person = await people.by_handle(handle[1:])
    own = viewer is not None and viewer.id == person.id
    base = f"/@{person.handle}"
    context: dict[str, Any] = {
        "person": person,
        "own": own,
        "tab": tab,
        "titles": TITLES,
        "figures": await profiles.figures(person.id, own),
        "base": base,
        "feeds_at": "" if tab == "bookmarks" else f"{base}/{'feed' if tab == 'pipelines' else tab}",
        "later": bool(after),
        "unlisted_from": unlisted,
        "results": [],
        "cards": [],
        "feed": None,
        "follow": await follows.of_person(viewer, person),
    }
    if tab == "collections":
        listed = await collections.of_person(person.id, viewer.id if viewer else None, after)
        context |= {"lines": listed.collections, "next": listed.next}
    elif tab == "bookmarks":
        if viewer is None or not own:
            raise NotFound
        marked = await bookmarks.mine(person.id, after)
        context |= {"bookmarks": marked.bookmarks, "next": marked.next}
        context["feed"] = await private_feeds.of(request, viewer, "bookmarks")
    elif tab == "runs":
        shown = await profiles.published(person.id, after)
        context |= {"results": shown.results, "next": shown.next}
    else:
        owner_id, forked_from = (None, person.id) if tab == "offshoots" else (person.id, None)
        made = await gallery.cards(owner_id=owner_id, after=after, forked_from=forked_from)
        context |= {"cards": made.cards, "next": made.next, "first": made.first}
    mine = own and not after and tab in ("pipelines", "runs", "offshoots")
    context["latest"] = (await runs.mine(person.id, limit=5)).runs if mine else []
    context["unlisted"] = await profiles.unlisted(person.id, unlisted) if mine and tab == "pipelines" else None
    return page(request, "profiles/show.html", **context)
