"""A person's page: who they are, what they made, how to follow it."""

from typing import Any, Literal

from litestar import Request, Response, get

from domain import gallery, people, profiles, runs
from domain.errors import NotFound
from web import auth
from web.render import page

Tab = Literal["pipelines", "runs"]


@get("/{handle:str}", include_in_schema=False)
async def show(
    request: Request[Any, Any, Any],
    handle: str,
    viewer: auth.Viewer | None,
    tab: Tab = "pipelines",
    after: str | None = None,
) -> Response[bytes]:
    """`/@handle`: pipelines, or published runs with `?tab=runs`; the owner also sees their latest runs."""
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
    }
    if tab == "runs":
        shown = await profiles.published(person.id, after)
        context |= {"results": shown.results, "next": shown.next, "cards": [], "first": 1}
    else:
        made = await gallery.cards(owner_id=person.id, after=after)
        context |= {"cards": made.cards, "next": made.next, "first": made.first, "results": []}
    mine = own and not after
    context["latest"] = (await runs.mine(person.id, limit=5)).runs if mine else []
    context["unlisted"] = await profiles.unlisted(person.id) if mine and tab == "pipelines" else []
    return page(request, "profiles/show.html", block="items", **context)
