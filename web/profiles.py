"""A person's page: who they are, what they made, how to follow it."""

from typing import Any, Literal

from litestar import Request, Response, get

from domain import gallery, people, profiles, runs
from domain.errors import NotFound
from web import auth
from web.render import page

Tab = Literal["pipelines", "runs", "offshoots"]


@get("/{handle:str}", include_in_schema=False)
async def show(
    request: Request[Any, Any, Any],
    handle: str,
    viewer: auth.Viewer | None,
    tab: Tab = "pipelines",
    after: str | None = None,
    unlisted: str | None = None,
) -> Response[bytes]:
    """`/@handle`: pipelines, with `?tab=runs` published runs, with `?tab=offshoots` what others grew from them.

    The owner also sees their latest runs and what no list shows, from `?unlisted=` on.
    """
    if not handle.startswith("@"):
        raise NotFound
    person = await people.by_handle(handle[1:])
    own = viewer is not None and viewer.id == person.id
    context: dict[str, Any] = {
        "person": person,
        "own": own,
        "tab": tab,
        "figures": await profiles.figures(person.id, own),
        "base": f"/@{person.handle}",
        "later": bool(after),
        "unlisted_from": unlisted,
        "results": [],
        "cards": [],
    }
    if tab == "runs":
        shown = await profiles.published(person.id, after)
        context |= {"results": shown.results, "next": shown.next}
    else:
        owner_id, forked_from = (None, person.id) if tab == "offshoots" else (person.id, None)
        made = await gallery.cards(owner_id=owner_id, after=after, forked_from=forked_from)
        context |= {"cards": made.cards, "next": made.next, "first": made.first}
    mine = own and not after
    context["latest"] = (await runs.mine(person.id, limit=5)).runs if mine else []
    context["unlisted"] = await profiles.unlisted(person.id, unlisted) if mine and tab == "pipelines" else None
    return page(request, "profiles/show.html", **context)
