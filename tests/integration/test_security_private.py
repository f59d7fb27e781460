"""SECURITY.md 17: what is private answers like what never was, to whoever may not see it."""

import re
import uuid
from typing import Any

import httpx
import pytest

from domain import db
from tests.make import Make

ASKED: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/pipelines/{pipeline}", {}),
    ("GET", "/pipelines/{pipeline}/edit", {}),
    ("GET", "/pipelines/{pipeline}/lineage", {}),
    ("GET", "/pipelines/{pipeline}/lineage?after=WzAsIjAiXQ", {}),
    ("GET", "/pipelines/{pipeline}/reviews", {}),
    ("GET", "/pipelines/{pipeline}/reviews.atom", {}),
    ("POST", "/pipelines/{pipeline}/reviews", {"stars": "5", "review": "Calm"}),
    ("GET", "/pipelines/{pipeline}/versions/1", {}),
    ("GET", "/pipelines/{pipeline}/versions/1/recipe.json", {}),
    ("GET", "/pipelines/{pipeline}/versions/1/runs", {}),
    ("GET", "/pipelines/{pipeline}/results.rss", {}),
    ("GET", "/pipelines/{pipeline}/lineage.json", {}),
    ("POST", "/pipelines/{pipeline}/versions", {"do": "save"}),
    ("POST", "/pipelines/{pipeline}/versions/1/runs", {"seed": "1"}),
    ("POST", "/pipelines/{pipeline}/draft", {"title": "Mine"}),
    ("POST", "/pipelines/{pipeline}/forks", {}),
    ("POST", "/pipelines/{pipeline}/rating", {"stars": "5"}),
    ("POST", "/pipelines/{pipeline}/deletion", {}),
    ("POST", "/pipelines/{pipeline}/bookmark", {"bookmarked": "1"}),
    ("POST", "/pipelines/{pipeline}/bookmark", {"bookmarked": "0"}),
    ("POST", "/pipelines/{pipeline}/follow", {"followed": "1"}),
    ("POST", "/pipelines/{pipeline}/follow", {"followed": "0"}),
    ("GET", "/pipelines/{pipeline}/collections", {}),
    ("POST", "/pipelines/{pipeline}/collections", {"collection": "new", "title": "Mine"}),
    ("GET", "/runs/{run}/collections", {}),
    ("POST", "/runs/{run}/collections", {"collection": "new", "title": "Mine"}),
    ("GET", "/runs/{run}", {}),
    ("GET", "/runs/{run}/progress", {}),
    ("GET", "/runs/{run}/texts/1", {}),
    ("GET", "/runs/{run}/texts/1/receipt", {}),
    ("GET", "/runs/{run}/cancellation", {}),
    ("POST", "/runs/{run}/cancellation", {}),
    ("POST", "/runs/{run}/choices/1", {"picture": "1"}),
    ("POST", "/runs/{run}/publication", {"published": "1"}),
    ("POST", "/runs/{run}/retry", {}),
    ("GET", "/artifacts/{sha256}", {}),
    ("GET", "/artifacts/{sha256}/320", {}),
]
HEADERS: list[dict[str, str]] = [
    {},
    {"If-None-Match": "*"},
    {"If-None-Match": '"{sha256}"'},
    {"Range": "bytes=0-3"},
    {"Accept": "application/json"},
    {"HX-Request": "true", "HX-Request-Type": "partial"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=str)
async def test_17_private_things_answer_like_what_never_was(
    client: httpx.AsyncClient, make: Make, log_in: Any, headers: dict[str, str]
) -> None:
    pipeline = await make.pipeline(visibility="private", title="Hidden garden", color=77)
    run = await make.run(pipeline, state="succeeded", color=77)
    sha256 = await db.fetchval("SELECT sha256 FROM outputs LIMIT 1")
    real = {"pipeline": pipeline.id, "run": run.id, "sha256": sha256}
    fake = {"pipeline": uuid.uuid4(), "run": uuid.uuid4(), "sha256": "0" * 64}
    await log_in(client, await make.person("eve"))
    for method, path, form in ASKED:
        answers = []
        for ids in (real, fake):
            sent = {name: value.format(**ids) for name, value in headers.items()}
            answer = await client.request(method, path.format(**ids), data=form or None, headers=sent)
            answers.append((answer.status_code, sorted(answer.headers), _without(answer.text, *ids.values())))
            assert "Hidden garden" not in answer.text
        assert answers[0] == answers[1], path
        assert answers[0][0] == 404, path


def _without(text: str, *ids: object) -> str:
    """The page without the ids asked for and the request's own number."""
    for one in ids:
        text = text.replace(str(one), "ID")
    return re.sub(r"\b[0-9a-f]{8}\b", "NUMBER", text)


async def test_17_what_was_public_is_closed_with_its_pipeline(
    client: httpx.AsyncClient, clients: Any, make: Make, log_in: Any
) -> None:
    ada, bo = await make.person("ada"), await make.person("bo")
    pipeline = await make.pipeline(ada, published=True, color=78, title="Open garden")
    sha256 = await db.fetchval("SELECT sha256 FROM outputs LIMIT 1")
    await log_in(client, bo)
    forked = await client.post(f"/pipelines/{pipeline.id}/forks")
    await db.execute("UPDATE pipelines SET visibility = 'private', title = 'Closed' WHERE id = $1", pipeline.id)
    for path in (f"/runs/{pipeline.run_id}", f"/artifacts/{sha256}", f"/pipelines/{pipeline.id}/results.atom"):
        assert (await client.get(path)).status_code == 404, path
    for path in (forked.headers["location"], forked.headers["location"].removesuffix("/edit") + "/lineage"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "Closed" not in answer.text, path
        assert sha256 not in answer.text, path
