"""Giving a pipeline stars, and taking them back."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, post

from domain import ratings
from domain.errors import Invalid
from web.auth import Viewer
from web.forms import read_form
from web.render import page, see_other, wants_part


@post("/pipelines/{pipeline_id:uuid}/rating", status_code=200, include_in_schema=False)
async def save(request: Request[Any, Any, Any], pipeline_id: UUID, me: Viewer) -> Response[bytes]:
    """Form field `stars`: 1 to 5 rates, 0 withdraws. Answers htmx with the form, others with the pipeline's page.

    `run` is the result beside which the form stands, whose page it then is.
    """
    form = await read_form(request, {"stars", "run"})
    stars = form.get("stars", "")
    run_id = _run(form.get("run", ""))
    if stars not in ("0", "1", "2", "3", "4", "5"):
        raise Invalid({"stars": "Choose one to five stars"})
    if stars == "0":
        score = await ratings.withdraw(pipeline_id, me.id)
        saved = "Withdrawn"
    else:
        score = await ratings.rate(pipeline_id, me.id, int(stars))
        saved = f"{stars} of 5, saved"
    if not wants_part(request):
        return see_other(f"/runs/{run_id}#rating" if run_id else f"/pipelines/{pipeline_id}#rating")
    about: dict[str, Any] = {
        "pipeline_id": pipeline_id,
        "score": score,
        "own": False,
        "saved": saved,
        "beside_run": run_id,
    }
    return page(request, "ratings/form.html", block="form", **about)


def _run(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Invalid({"run": "There is no such result"}) from None
