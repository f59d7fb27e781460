"""Reviews of a pipeline: the list, the form for one's own, and how stars become an order."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post

from domain import ranking, ratings, reviews
from domain.errors import Invalid, Refused
from web.auth import Viewer
from web.forms import read_typed
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]
CHOOSE = "Choose one to five stars"


@get("/pipelines/{pipeline_id:uuid}/reviews", include_in_schema=False)
async def index(
    request: _Request, pipeline_id: UUID, viewer: Viewer | None, after: str | None = None
) -> Response[bytes]:
    """What people wrote about a pipeline, newest first: ?after= the cursor of the page before."""
    subject = await reviews.subject(pipeline_id, viewer.id if viewer else None)
    form = {"stars": str(subject.my_stars or ""), "review": subject.my_review}
    return await _page(request, subject, form, {}, after)


@post("/pipelines/{pipeline_id:uuid}/reviews", include_in_schema=False)
async def save(request: _Request, pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Form fields `stars` (1 to 5) and `review`; an empty review takes the words back and leaves the stars."""
    sent, errors = await read_typed(request, {"stars", "review"})
    subject = await reviews.subject(pipeline_id, me.id)
    if subject.mine:
        raise Refused("This is yours. Others rate it.")
    form = {"stars": "", "review": ""} | sent
    if form["stars"] not in ("1", "2", "3", "4", "5"):
        errors["stars"] = CHOOSE
    if not errors:
        try:
            await ratings.rate(pipeline_id, me.id, int(form["stars"]), form["review"])
        except Invalid as error:
            errors = error.fields
    if errors:
        return await _page(request, subject, form, errors, None, status=422)
    return see_other(f"/pipelines/{pipeline_id}/reviews#yours")


async def _page(
    request: _Request,
    subject: reviews.Subject,
    form: dict[str, str],
    errors: dict[str, str],
    after: str | None,
    status: int = 200,
) -> Response[bytes]:
    return page(
        request,
        "reviews/index.html",
        block="more",
        status=status,
        part=wants_part(request),
        subject=subject,
        score=ratings.of_tally(subject.tally, subject.my_stars, subject.my_review),
        list=await reviews.page(subject.id, after),
        later=after is not None,
        base=f"/pipelines/{subject.id}/reviews",
        form=form,
        errors=errors,
        most=ratings.MAX_REVIEW,
    )


@get("/help/ranking", include_in_schema=False)
async def explain(request: _Request) -> Response[bytes]:
    """How stars become an order, with the numbers that are used."""
    weights = {of.name.lower(): ranking.WEIGHTS[of] for of in ranking.Standing}
    return page(request, "help/ranking.html", ranking=ranking, weights=weights)
