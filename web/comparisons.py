"""Comparing two versions: the difference, results of equal seeds, and both versions run over a few seeds."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response, get, post

from domain import comparisons, services, steps, versions
from domain.comparisons import MAX_SEEDS, Sides, Table
from domain.errors import Invalid, NotFound, TooMany
from domain.services import Missing
from web import conditional, run_words, unchanged
from web.auth import Viewer, config_of
from web.forms import new_key, read_form, sent_key
from web.pipelines import number_or_404
from web.render import page, see_other, wants_part

_Request = Request[Any, Any, Any]
NO_ADDRESS = "Paste the address of a pipeline or of one of its versions"
NO_SEEDS = f"One to {MAX_SEEDS} seeds from 0 to {steps.MAX_SEED:,}, with spaces between them"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ADDRESS = re.compile(rf"/pipelines/({_UUID})(?:/versions/(\d{{1,10}}))?(?![\w-])")
MAX_LINK = 2_000


@get("/comparisons")
async def show(
    request: _Request,
    viewer: Viewer | None,
    left: str = "",
    right: str = "",
    left_link: str = "",
    right_link: str = "",
    seed: str = "",
    output: int = 1,
) -> Response[bytes]:
    """What changed from version `left` to version `right`; without `left` against what it grew from.

    `left_link` and `right_link` take the address of a pipeline or a version instead, as a person
    pastes it. `seed` and `output` choose the results shown. Without anything: a form that asks.
    """
    viewer_id = viewer.id if viewer else None
    typed = {"left_link": left_link[:MAX_LINK].strip(), "right_link": right_link[:MAX_LINK].strip()}
    found, errors = await _pasted(typed, viewer_id)
    sides = [id_or_404(given) if given else None for given in (left, right)]
    if found and not errors:
        return _to(found.get("left_link", sides[0]), found.get("right_link", sides[1]))
    if sides[1] is None or (sides[0] is None and not errors):
        return await _ask(request, viewer_id, sides[1], typed, errors)
    return await _show(request, sides[0] or sides[1], sides[1], viewer, seed, output, typed, errors)


def _to(left: UUID | None, right: UUID | None) -> Response[bytes]:
    """The address that stays: the ids of both versions."""
    given = {"left": left, "right": right}
    return see_other("/comparisons?" + urlencode({name: value for name, value in given.items() if value}))


async def _ask(
    request: _Request, viewer_id: UUID | None, right: UUID | None, typed: Mapping[str, str], errors: Mapping[str, str]
) -> Response[bytes]:
    """One side is known at most: on to its comparison by default, or the form that asks for the other."""
    if right is not None:
        before = await comparisons.before(right, viewer_id)
        if before is not None and not errors:
            return _to(before, right)
    return page(
        request,
        "comparisons/new.html",
        status=422 if errors else 200,
        right=right,
        typed=typed,
        errors=errors,
    )


async def _show(
    request: _Request,
    left: UUID,
    right: UUID,
    viewer: Viewer | None,
    seed: str,
    output: int,
    typed: Mapping[str, str],
    errors: Mapping[str, str],
) -> Response[bytes]:
    """The page; with errors beside the fields that were typed."""
    chosen = int(seed) if seed.isdecimal() and seed.isascii() and len(seed) < 11 else None
    found = await comparisons.read(left, right, viewer.id if viewer else None, seed=chosen)
    response = page(
        request,
        "comparisons/show.html",
        status=422 if errors else 200,
        headers={"Cache-Control": "no-store"} if viewer else {},
        c=found,
        output=output,
        typed=typed,
        errors=errors,
        key=new_key(),
        missing=await _missing(found.sides) if viewer and found.sides.runnable else None,
        words=run_words,
        most_seeds=MAX_SEEDS,
    )
    return response if errors else conditional.tagged(request, response)


@get("/comparisons/runs")
async def table(
    request: _Request, viewer: Viewer | None, left: str = "", right: str = "", seeds: str = ""
) -> Response[bytes]:
    """Both versions over a few seeds, for pages and for polls: 304 when nothing changed.

    A page whose versions it may no longer see is loaded again.
    """
    wanted = read_seeds(seeds)
    try:
        found = await comparisons.table(id_or_404(left), id_or_404(right), viewer.id if viewer else None, wanted)
    except NotFound:
        if not wants_part(request):
            raise
        return Response(content=b"", status_code=404, headers={"HX-Refresh": "true"}, media_type="text/html")
    headers = unchanged.headers(found.tag)
    if unchanged.asked(request) == found.tag and found.alive:
        return Response(content=b"", status_code=304, headers=headers, media_type="text/html")
    return await _show_table(request, found, headers)


async def _missing(sides: Sides) -> Missing:
    return await services.missing(sides.left.recipe, sides.right.recipe)


async def _show_table(
    request: _Request, found: Table, headers: Mapping[str, str], error: str = "", status: int = 200
) -> Response[bytes]:
    sides, seeds = found.sides, [seed for seed, _, _ in found.rows]
    return page(
        request,
        "comparisons/runs.html",
        block="cells",
        status=status,
        headers=headers,
        t=found,
        seeds=seeds,
        url=table_url(sides.left.version_id, sides.right.version_id, seeds),
        missing=await _missing(sides) if found.cost else None,
        key=new_key(),
        error=error,
        words=run_words,
    )


@post("/comparisons/runs")
async def run(request: _Request, me: Viewer) -> Response[bytes]:
    """Run what is not known of both versions with the seeds of the form: all of it or nothing."""
    sent = await read_form(request, ("left", "right", "seeds", "key", "field"))
    left, right = id_or_404(sent.get("left", "")), id_or_404(sent.get("right", ""))
    key = sent_key(request, sent)
    limit = config_of(request.scope).run_limit
    try:
        seeds = read_seeds(sent.get("seeds", ""))
        await comparisons.run(left, right, me.id, seeds, key, limit=limit)
    except Invalid as error:
        # two forms of the page ask for seeds: the words stand beside the field that was sent
        field = "seed" if sent.get("field") == "seed" else "seeds"
        places = {"seeds": field, "key": "key"}
        known = {places[name]: words for name, words in error.fields.items() if name in places}
        typed = {field: sent.get("seeds", "")}
        return await _show(request, left, right, me, "", 1, typed, known or {"key": error.message})
    except TooMany as error:
        found = await comparisons.table(left, right, me.id, seeds)
        words = f"{error.message} None of these was started."
        return await _show_table(request, found, {"Cache-Control": "no-store"}, words, error.status)
    return see_other(table_url(left, right, seeds))


def table_url(left: UUID, right: UUID, seeds: Sequence[int]) -> str:
    """The address of the table, with the seeds as a person can read and change them."""
    return f"/comparisons/runs?left={left}&right={right}&seeds=" + "+".join(map(str, seeds))


def read_seeds(text: str) -> list[int]:
    """Seeds as typed: spaces, commas or semicolons between them, each once, in order. Raises Invalid."""
    parts = re.split(r"[\s,;]+", text.replace("\u202f", "").strip(" ,;")[:1_000])
    if not all(part.isdecimal() and part.isascii() and len(part) < 11 for part in parts):
        raise Invalid({"seeds": NO_SEEDS})
    found = list(dict.fromkeys(map(int, parts)))
    if not 1 <= len(found) <= MAX_SEEDS or max(found) > steps.MAX_SEED:
        raise Invalid({"seeds": NO_SEEDS})
    return found


async def _pasted(typed: Mapping[str, str], viewer_id: UUID | None) -> tuple[dict[str, UUID], dict[str, str]]:
    """The versions that pasted addresses name, and the words for those that name none."""
    found: dict[str, UUID] = {}
    errors: dict[str, str] = {}
    for name, link in typed.items():
        address = _ADDRESS.search(link) if link else None
        if address is not None:
            try:
                number = number_or_404(int(address[2])) if address[2] else None
                found[name] = (await versions.read(UUID(address[1]), viewer_id, number)).id
            except NotFound:
                errors[name] = comparisons.GONE
        elif link:
            errors[name] = NO_ADDRESS
    return found, errors


def id_or_404(text: str) -> UUID:
    """The id of a version or a run from an address. Raises NotFound for anything else."""
    if not re.fullmatch(_UUID, text):
        raise NotFound
    return UUID(text)
