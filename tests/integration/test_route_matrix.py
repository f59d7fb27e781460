"""SECURITY.md 16, 17: every route × who asks.

The rows come from the app's own route table: a route that is missing here fails, and so does a
row without a route. Each row gives the status for nobody, another person, a moderator, an admin
and the owner: first about a public pipeline with a published run, then about a private one.
Nobody but its owner ever learns that a private thing exists: 404, in fragments, feeds and files too.
"""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute
from msgspec import Struct

from domain import collections, tables
from domain import db as database
from domain.people import Person
from domain.steps import TextToImage
from tests.make import Make
from tests.sessions import log_in, with_csrf

ROLES = ("nobody", "another", "moderator", "admin", "owner")

ALL = "200 200 200 200 200"
SEEN = "200 200 200 200 200 | 404 404 404 404 200"
LISTED = "200 200 200 200 200 | 404 404 404 404 404"
MEMBERS = "303 200 200 200 200"
ADMINS = "303 404 404 200 404"
OWN = "303 404 404 404 200 | 303 404 404 404 200"

MATRIX = {
    # lists and feeds
    "GET /": ALL,
    "GET /tags/{tag:str}": ALL,
    "GET /search": ALL,
    "GET /search/suggestions": ALL,
    "GET /search/feed.rss": ALL,
    "GET /search/feed.atom": ALL,
    "GET /search/feed.json": ALL,
    "GET /gallery/feed.rss": ALL,
    "GET /gallery/feed.atom": ALL,
    "GET /gallery/feed.json": ALL,
    "GET /tags/{tag:str}/feed.rss": ALL,
    "GET /tags/{tag:str}/feed.atom": ALL,
    "GET /tags/{tag:str}/feed.json": ALL,
    "GET /{handle:str}/feed.rss": ALL,
    "GET /{handle:str}/feed.atom": ALL,
    "GET /{handle:str}/feed.json": ALL,
    "GET /{handle:str}/runs.rss": ALL,
    "GET /{handle:str}/runs.atom": ALL,
    "GET /{handle:str}/runs.json": ALL,
    "GET /{handle:str}/offshoots.rss": ALL,
    "GET /{handle:str}/offshoots.atom": ALL,
    "GET /{handle:str}/offshoots.json": ALL,
    "GET /{handle:str}/collections.rss": ALL,
    "GET /{handle:str}/collections.atom": ALL,
    "GET /{handle:str}/collections.json": ALL,
    "GET /pipelines/{pipeline_id:uuid}/results.rss": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/results.atom": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/results.json": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/lineage.rss": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/lineage.atom": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/lineage.json": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/similar.rss": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/similar.atom": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/similar.json": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/comments.rss": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/comments.atom": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/comments.json": LISTED,
    "GET /runs/{run_id:uuid}/comments.rss": LISTED,
    "GET /runs/{run_id:uuid}/comments.atom": LISTED,
    "GET /runs/{run_id:uuid}/comments.json": LISTED,
    # comments; a private run has none, a private pipeline its owner's
    "GET /pipelines/{pipeline_id:uuid}/comments": SEEN,
    "POST /pipelines/{pipeline_id:uuid}/comments": "303 303 303 303 303 | 303 404 404 404 303",
    "GET /runs/{run_id:uuid}/comments": LISTED,
    "POST /runs/{run_id:uuid}/comments": "303 303 303 303 303 | 303 404 404 404 404",
    "GET /comments/{comment_id:uuid}": "303 303 303 303 303 | 404 404 404 404 303",
    "GET /comments/{comment_id:uuid}/replies": "303 200 200 200 200 | 303 404 404 404 200",
    "POST /comments/{comment_id:uuid}/replies": "303 303 303 303 303 | 303 404 404 404 303",
    "GET /comments/{comment_id:uuid}/edit": "303 403 403 403 200 | 303 404 404 404 200",
    "POST /comments/{comment_id:uuid}/edit": "303 403 403 403 303 | 303 404 404 404 303",
    "GET /comments/{comment_id:uuid}/deletion": "303 403 200 200 200 | 303 404 404 404 200",
    "POST /comments/{comment_id:uuid}/deletion": "303 403 303 303 303 | 303 404 404 404 303",
    # notifications: the one named is the owner's
    "GET /notifications": MEMBERS,
    "POST /notifications/reading": "303 303 303 303 303",
    "POST /notifications/{notification_id:uuid}/reading": "303 404 404 404 303 | 303 404 404 404 404",
    "GET /pipelines/{pipeline_id:uuid}/reviews.rss": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/reviews.atom": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/reviews.json": LISTED,
    # pipelines
    "GET /pipelines/{pipeline_id:uuid}": SEEN,
    "GET /pipelines/{pipeline_id:uuid}/lineage": SEEN,
    "GET /pipelines/{pipeline_id:uuid}/similar": SEEN,
    "GET /pipelines/new": MEMBERS,
    "GET /pipelines/{pipeline_id:uuid}/edit": OWN,
    "POST /pipelines": "303 303 303 303 303",
    "GET /pipelines/{pipeline_id:uuid}/deletion": OWN,
    "POST /pipelines/{pipeline_id:uuid}/deletion": "303 404 404 404 303 | 303 404 404 404 303",
    "GET /pipelines/{pipeline_id:uuid}/versions/{number:int}": SEEN,
    "GET /pipelines/{pipeline_id:uuid}/versions/{number:int}/recipe.json": SEEN,
    "POST /pipelines/{pipeline_id:uuid}/versions": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /drafts": "303 303 303 303 303",
    "POST /pipelines/{pipeline_id:uuid}/draft": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /pipelines/{pipeline_id:uuid}/forks": "303 303 303 303 303 | 303 404 404 404 303",
    "POST /pipelines/{pipeline_id:uuid}/rating": "303 303 303 303 403 | 303 404 404 404 403",
    "GET /pipelines/{pipeline_id:uuid}/reviews": SEEN,
    "POST /pipelines/{pipeline_id:uuid}/reviews": "303 303 303 303 403 | 303 404 404 404 403",
    "POST /uploads": "303 422 422 422 422",
    # collections, bookmarks, follows, private feeds
    "POST /pipelines/{pipeline_id:uuid}/bookmark": "303 303 303 303 303 | 303 404 404 404 303",
    "POST /pipelines/{pipeline_id:uuid}/follow": "303 303 303 303 303 | 303 404 404 404 303",
    "POST /tags/{tag:str}/follow": "303 303 303 303 303",
    "POST /{handle:str}/follow": "303 303 303 303 403",
    "GET /following": MEMBERS,
    "GET /follows": MEMBERS,
    "GET /collections/new": MEMBERS,
    "POST /collections": "303 422 422 422 422",
    "GET /collections/{collection_id:uuid}": SEEN,
    "GET /collections/{collection_id:uuid}/feed.rss": LISTED,
    "GET /collections/{collection_id:uuid}/feed.atom": LISTED,
    "GET /collections/{collection_id:uuid}/feed.json": LISTED,
    "GET /collections/{collection_id:uuid}/edit": OWN,
    "POST /collections/{collection_id:uuid}/edit": "303 404 404 404 303 | 303 404 404 404 303",
    "GET /collections/{collection_id:uuid}/deletion": OWN,
    "POST /collections/{collection_id:uuid}/deletion": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /collections/{collection_id:uuid}/items/{item_id:uuid}/position": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /collections/{collection_id:uuid}/items/{item_id:uuid}/removal": "303 404 404 404 303 | 303 404 404 404 303",
    "GET /collections/{collection_id:uuid}/items/{item_id:uuid}/note": OWN,
    "POST /collections/{collection_id:uuid}/items/{item_id:uuid}/note": "303 404 404 404 303 | 303 404 404 404 303",
    "GET /pipelines/{pipeline_id:uuid}/collections": "303 200 200 200 200 | 303 404 404 404 200",
    "POST /pipelines/{pipeline_id:uuid}/collections": "303 422 422 422 422 | 303 404 404 404 422",
    "GET /runs/{run_id:uuid}/collections": "303 200 200 200 200 | 303 404 404 404 404",
    "POST /runs/{run_id:uuid}/collections": "303 422 422 422 422 | 303 404 404 404 404",
    "GET /feeds/{token:str}/feed.rss": "404 404 404 404 404",  # with a forged address
    "GET /feeds/{token:str}/feed.atom": "404 404 404 404 404",
    "GET /feeds/{token:str}/feed.json": "404 404 404 404 404",
    "POST /feeds": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /feeds/withdrawal": "303 404 404 404 303 | 303 404 404 404 303",
    # consents: the one named is the owner's
    "GET /consents": MEMBERS,
    "POST /consents/{consent_id:uuid}/withdrawal": "303 404 404 404 303 | 303 404 404 404 303",
    # comparisons
    "GET /comparisons": SEEN,
    "GET /comparisons/runs": SEEN,
    "POST /comparisons/runs": "303 303 303 303 303 | 303 404 404 404 303",
    # runs
    "GET /pipelines/{pipeline_id:uuid}/versions/{number:int}/runs": "303 200 200 200 200 | 303 404 404 404 200",
    "POST /pipelines/{pipeline_id:uuid}/versions/{number:int}/runs": "303 303 303 303 303 | 303 404 404 404 303",
    "GET /runs": MEMBERS,
    "GET /runs/{run_id:uuid}": SEEN,
    "GET /runs/{run_id:uuid}/progress": SEEN,
    "GET /runs/{run_id:uuid}/previews/{step_run_id:uuid}": SEEN,
    "GET /runs/{run_id:uuid}/comparison": SEEN,
    "GET /runs/{run_id:uuid}/texts/{ordinal:int}": SEEN,
    "GET /runs/{run_id:uuid}/texts/{ordinal:int}/receipt": SEEN,
    "GET /runs/{run_id:uuid}/cancellation": "303 303 303 303 303 | 303 404 404 404 303",
    "POST /runs/{run_id:uuid}/cancellation": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /runs/{run_id:uuid}/choices/{ordinal:int}": "303 404 404 404 409 | 303 404 404 404 409",
    "POST /runs/{run_id:uuid}/publication": "303 404 404 404 303 | 303 404 404 404 409",
    "POST /runs/{run_id:uuid}/retry": "303 404 404 404 409 | 303 404 404 404 409",
    # grids
    "GET /pipelines/{pipeline_id:uuid}/versions/{number:int}/grids": "303 200 200 200 200 | 303 404 404 404 200",
    "POST /pipelines/{pipeline_id:uuid}/versions/{number:int}/grids": "303 422 422 422 422 | 303 404 404 404 422",
    "GET /pipelines/{pipeline_id:uuid}/grids": SEEN,
    "GET /pipelines/{pipeline_id:uuid}/grids.rss": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/grids.atom": LISTED,
    "GET /pipelines/{pipeline_id:uuid}/grids.json": LISTED,
    "GET /grids": MEMBERS,
    "GET /grids/{grid_id:uuid}": SEEN,
    "GET /grids/{grid_id:uuid}/progress": SEEN,
    "GET /grids/{grid_id:uuid}/sheet.png": SEEN,
    "GET /grids/{grid_id:uuid}/cancellation": "303 303 303 303 303 | 303 404 404 404 303",
    "POST /grids/{grid_id:uuid}/cancellation": "303 404 404 404 303 | 303 404 404 404 303",
    "POST /grids/{grid_id:uuid}/publication": "303 404 404 404 303 | 303 404 404 404 409",
    "POST /grids/{grid_id:uuid}/retry": "303 404 404 404 303 | 303 404 404 404 303",
    "GET /grids/{grid_id:uuid}/feed.rss": LISTED,
    "GET /grids/{grid_id:uuid}/feed.atom": LISTED,
    "GET /grids/{grid_id:uuid}/feed.json": LISTED,
    # files
    "GET /artifacts/{sha256:str}": SEEN,
    "GET /artifacts/{sha256:str}/{width:int}": SEEN,
    "GET /signed/{token:str}/{sha256:str}": LISTED,  # with a forged signature
    "GET /signed/{token:str}/{sha256:str}/{width:int}": LISTED,
    # people
    "GET /signup": "200 303 303 303 303",
    "POST /signup": "422 422 422 422 422",
    "GET /login": "200 303 303 303 303",
    "POST /login": "422 422 422 422 422",
    "POST /logout": "303 303 303 303 303",
    "GET /{handle:str}": ALL,
    "GET /settings/profile": MEMBERS,
    "POST /settings/profile": "303 303 303 303 303",
    "POST /settings/theme": "303 303 303 303 303",
    # the site itself
    "GET /help/ranking": ALL,
    "GET /models": ALL,
    "GET /models/{name:str}": ALL,
    "GET /models/{name:str}/model.json": ALL,
    "GET /admin/models": ADMINS,
    "GET /admin/models/new": ADMINS,
    "POST /admin/models": "303 404 404 422 404",
    "GET /models/{name:str}/edit": ADMINS,
    "POST /models/{name:str}/edit": "303 404 404 303 404",
    "POST /models/{name:str}/verification": "303 404 404 303 404",
    "GET /models/{name:str}/removal": ADMINS,
    "POST /models/{name:str}/removal": "303 404 404 303 404",
    "GET /static/{path:path}": ALL,
    "GET /favicon.ico": ALL,
    "GET /health": ALL,
}

FORMS: Mapping[str, dict[str, str]] = {
    "POST /pipelines/{pipeline_id:uuid}/rating": {"stars": "4"},
    "POST /pipelines/{pipeline_id:uuid}/reviews": {"stars": "4", "review": "Calm"},
    "POST /runs/{run_id:uuid}/publication": {"published": "1"},
    "POST /grids/{grid_id:uuid}/publication": {"published": "1"},
    "POST /settings/theme": {"theme": "dark"},
    "POST /pipelines/{pipeline_id:uuid}/bookmark": {"bookmarked": "1"},
    "POST /pipelines/{pipeline_id:uuid}/follow": {"followed": "1"},
    "POST /tags/{tag:str}/follow": {"followed": "1"},
    "POST /{handle:str}/follow": {"followed": "1"},
    "POST /collections/{collection_id:uuid}/edit": {"title": "Harbors"},
    "POST /collections/{collection_id:uuid}/items/{item_id:uuid}/position": {"to": "up"},
    "POST /feeds": {"list": "collection"},
    "POST /feeds/withdrawal": {"list": "collection"},
    "POST /pipelines/{pipeline_id:uuid}/comments": {"body": "Calm"},
    "POST /runs/{run_id:uuid}/comments": {"body": "Calm"},
    "POST /comments/{comment_id:uuid}/replies": {"body": "Calm"},
    "POST /comments/{comment_id:uuid}/edit": {"body": "Calmer"},
    "POST /notifications/reading": {"until": "0198f2a0-0000-7000-8000-000000000000"},
}
QUERIES: Mapping[str, str] = {
    "GET /comparisons": "?left={version_id}&right={second_id}",
    "GET /comparisons/runs": "?left={version_id}&right={second_id}&seeds=5",
}
SECRET = "Secret harbor"


class Thing(Struct):
    """What the addresses name."""

    pipeline_id: UUID
    run_id: UUID
    step_run_id: UUID
    sha256: str
    collection_id: UUID
    item_id: UUID
    comment_id: UUID
    notification_id: UUID
    consent_id: UUID
    grid_id: UUID
    version_id: UUID
    second_id: UUID


async def thing(make: Make, storage: Any, owner: Person, public: bool) -> Thing:
    """A pipeline with a run that is done, its picture in the store, a preview left over, and a collection of it."""
    visibility = "public" if public else "private"
    title = "Harbor" if public else SECRET
    pipeline = await make.pipeline(owner, visibility=visibility, title=title, tags=["sea"])
    run = await make.run(pipeline, owner, state="succeeded", published=public)
    sha256: str = await database.fetchval("SELECT sha256 FROM outputs WHERE step_run_id = $1", run.step_runs[0])
    await storage.put(f"{sha256[:2]}/{sha256}", b"picture", "image/png")
    await database.execute("UPDATE artifacts SET bytes = 7 WHERE sha256 = $1", sha256)
    await database.execute(
        """UPDATE step_runs SET output_text = 'words', receipt = '{"seed": 5}' WHERE id = $1""", run.step_runs[0]
    )
    await database.execute("INSERT INTO previews VALUES ($1, 1, 'image/webp', $2)", run.step_runs[0], b"rough")
    grid_id = await make.grid([run], published=public)
    await database.execute(
        """INSERT INTO models (name, family, path, revision, kinds, bytes)
           VALUES ('sketch', 'LoRA', '/nowhere', '', '{lora}', 1) ON CONFLICT DO NOTHING"""
    )
    second = await make.version(pipeline, steps=[TextToImage(prompt="a blue circle")])
    collection_id = await collections.create(owner.id, collections.Details(title, "", visibility))
    item_id = await collections.add(collection_id, owner.id, pipeline.id)
    comment_id = await make.comment(pipeline, owner, title)
    notification_id: UUID = await database.fetchval(
        """INSERT INTO notifications (person_id, kind, actor_id, comment_id) VALUES ($1, 'reply', $2, $3)
           RETURNING id""",
        owner.id,
        (await make.person()).id,
        comment_id if public else await _gone(make, owner),
    )
    consent_id: UUID = await database.fetchval(
        "INSERT INTO consents (person_id, sha256, words) VALUES ($1, $2, $3) RETURNING id", owner.id, sha256, title
    )
    return Thing(
        pipeline_id=pipeline.id,
        run_id=run.id,
        step_run_id=run.step_runs[0],
        sha256=sha256,
        collection_id=collection_id,
        item_id=item_id,
        comment_id=comment_id,
        notification_id=notification_id,
        consent_id=consent_id,
        grid_id=grid_id,
        version_id=pipeline.version_id,
        second_id=second.id,
    )


async def _gone(make: Make, owner: Person) -> UUID:
    """A comment that nobody can see any more."""
    pipeline = await make.pipeline()
    comment_id = await make.comment(pipeline, owner)
    await database.execute("UPDATE pipelines SET deleted_at = now() WHERE id = $1", pipeline.id)
    return comment_id


def table(app: Litestar) -> list[str]:
    """Every route of the app as "METHOD path"."""
    rows = [
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods - {"OPTIONS"}
    ]
    return sorted(set(rows))


async def test_16_every_route_is_in_the_matrix(app: Litestar) -> None:
    assert sorted(MATRIX) == table(app)


@pytest.mark.parametrize("row", MATRIX)
async def test_16_who_may(row: str, clients: Any, make: Make, storage: Any) -> None:
    owner = await make.person("olga")
    browsers: dict[str, httpx.AsyncClient] = {}
    for role in ROLES:
        if role == "nobody":
            browsers[role] = await with_csrf(clients())
            continue
        person = owner if role == "owner" else await make.person(role[:3] + "1", role=_ROLE.get(role, "member"))
        browsers[role] = await log_in(clients(), person)
    for expected, public in zip(MATRIX[row].split(" | "), (True, False), strict=False):
        about = await thing(make, storage, owner, public)
        got = [str(await ask(browsers[role], row, about, public and role != "nobody")) for role in ROLES]
        assert " ".join(got) == expected, f"{row} about a {'public' if public else 'private'} thing, {ROLES}"


_ROLE = {"moderator": "moderator", "admin": "admin"}


async def ask(browser: httpx.AsyncClient, row: str, about: Thing, may_know: bool) -> int:
    """Send the row's request; on refusals also check that nothing private shows."""
    method, path = row.split(" ", 1)
    values = {
        "handle": "@olga", "tag": "sea", "number": 1, "ordinal": 1, "width": 320, "path": "css/base.css",
        "pipeline_id": about.pipeline_id, "run_id": about.run_id, "step_run_id": about.step_run_id,
        "sha256": about.sha256, "token": "forged", "name": "sketch",
        "collection_id": about.collection_id, "item_id": about.item_id, "comment_id": about.comment_id,
        "notification_id": about.notification_id, "consent_id": about.consent_id, "grid_id": about.grid_id,
        "version_id": about.version_id, "second_id": about.second_id,
    }  # fmt: skip
    url = re.sub(r"/?\{(\w+):\w+\}", lambda found: f"/{values[found[1]]}", path)
    url += QUERIES.get(row, "").format(**values)
    form = FORMS.get(row, {})
    if row.endswith("/runs") and method == "POST":
        form = {"key": f"{about.pipeline_id}{id(browser)}"}
    if form.get("list") == "collection":
        form = {**form, "collection": str(about.collection_id)}
    if row == "POST /comparisons/runs":
        form |= {"left": str(about.version_id), "right": str(about.second_id), "seeds": "5"}
    answer = await browser.request(method, url, data=form or None)
    if answer.status_code in (403, 404) and not may_know:
        assert SECRET not in answer.text
    return answer.status_code


LISTS = (
    "/",
    "/search",
    "/search?q=secret",
    "/search?q=secert",
    "/search/suggestions?q=secret",
    "/search/feed.json?q=secret",
    "/tags/sea",
    "/models",
    "/@olga",
    "/@olga?tab=runs",
    "/@olga?tab=offshoots",
    "/@olga?tab=collections",
    "/?order=grown",
    "/gallery/feed.json",
    "/@olga/feed.rss",
    "/@olga/runs.json",
    "/@olga/offshoots.rss",
    "/@olga/collections.atom",
    "/tags/sea/feed.atom",
    "/grids",
)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("role", ["nobody", "another", "moderator", "admin"])
async def test_17_no_list_tells_of_private_things(
    client: httpx.AsyncClient, make: Make, storage: Any, path: str, role: str
) -> None:
    owner = await make.person("olga")
    about = await thing(make, storage, owner, public=False)
    if role != "nobody":
        await log_in(client, await make.person("one", role=_ROLE.get(role, "member")))
    text = (await client.get(path)).text
    assert SECRET not in text
    assert str(about.pipeline_id) not in text
    assert str(about.collection_id) not in text
    assert about.sha256 not in text


async def test_17_private_and_unknown_look_the_same(client: httpx.AsyncClient, make: Make, storage: Any) -> None:
    about = await thing(make, storage, await make.person("olga"), public=False)
    for private, unknown in (
        (f"/pipelines/{about.pipeline_id}", "/pipelines/0198f2a0-0000-7000-8000-000000000000"),
        (f"/runs/{about.run_id}", "/runs/0198f2a0-0000-7000-8000-000000000000"),
        (f"/collections/{about.collection_id}", "/collections/0198f2a0-0000-7000-8000-000000000000"),
        (f"/grids/{about.grid_id}", "/grids/0198f2a0-0000-7000-8000-000000000000"),
        (f"/artifacts/{about.sha256}", f"/artifacts/{'0' * 64}"),
        (f"/comments/{about.comment_id}", "/comments/0198f2a0-0000-7000-8000-000000000000"),
        (f"/pipelines/{about.pipeline_id}/comments", "/pipelines/0198f2a0-0000-7000-8000-000000000000/comments"),
    ):
        answers = [await client.get(path) for path in (private, unknown)]
        bodies = [
            re.sub(r"request \w{8}", "", answer.text.replace(path, ""))
            for answer, path in zip(answers, (private, unknown), strict=True)
        ]
        assert bodies[0] == bodies[1]
        assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize("public", [True, False], ids=["public", "private"])
@pytest.mark.parametrize("role", ROLES)
async def test_11_no_get_changes_anything(
    client: httpx.AsyncClient, make: Make, storage: Any, role: str, public: bool
) -> None:
    owner = await make.person("olga")
    about = await thing(make, storage, owner, public)
    if role != "nobody":
        person = owner if role == "owner" else await make.person("one", role=_ROLE.get(role, "member"))
        await log_in(client, person)
    before = await _contents()
    for row in MATRIX:
        if row.startswith("GET "):
            await ask(client, row, about, public or role == "owner")
            assert await _contents() == before, row


async def _contents() -> dict[str, str]:
    """A digest of every table."""
    names = [table._meta.tablename for table in tables.TABLES]
    digest = "SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {} t"
    return {name: await database.fetchval(digest.format(name)) for name in names}
