"""What `make bench` stands on: rows in bulk that pages can show, and names for the processes it weighs."""

import random
import re
from typing import Any

import httpx
import pytest

from domain import search, search_lines, search_marks, search_query
from tests.bench import bulk, documents, pages
from tests.bench import search as searching
from tests.bench.processes import label

SPAWN = ["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()", "--multiprocessing-fork"]
DRAMATIQ = ["python", "-m", "dramatiq", "tasks.actors", "-p", "1"]
SUPERVISOR = ["python", "-m", "deploy.cli", "run"]


async def test_rows_in_bulk_fill_a_gallery(client: httpx.AsyncClient, db: Any) -> None:
    before = await db.fetchval("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'")
    await bulk.fill(1_000)
    for table in ("pipelines", "versions", "runs"):
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == 1_000
    assert await db.fetchval("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'") == before
    orphans = "SELECT count(*) FROM runs r LEFT JOIN versions v ON v.id = r.version_id WHERE v.id IS NULL"
    assert await db.fetchval(orphans) == 0
    assert await db.fetchval("SELECT count(*) FROM pipelines WHERE parent_id IS NOT NULL") == 250
    first = await client.get("/?order=newest")
    deep = await client.get(f"/?order=newest&after={await pages._cursor(500)}")
    shown = [re.findall(r"Harbor (\d+) at dusk", page.text) for page in (first, deep)]
    assert (shown[0][0], shown[1][0]) == ("1000", "500")
    person = await client.get("/@bulk7")
    assert person.status_code == 200


async def test_documents_in_bulk_can_be_found(db: Any) -> None:
    chance = random.Random(5)
    try:
        await documents.fill(1_000, chance)
        for asked in (await searching.questions(chance, 1_000))[:5]:
            found = await search.find(search_query.parse(asked), exactly=True)
            assert found.total or "rating:" in asked, asked
            shown = await search_lines.lines(found)
            assert all(line.steps and (line.reason or search_marks.OPEN in line.marked_prompt) for line in shown), asked
    finally:
        await db.execute("DROP TABLE IF EXISTS bench_words, bench_phrases, bench_texts")


@pytest.mark.parametrize(
    ("command", "parent", "name"),
    [
        (["/pg/bin/postgres", "-D", "/data"], SUPERVISOR, "PostgreSQL, each backend with what all share"),
        (["postgres: offshoot offshoot [local] idle"], [], "PostgreSQL, each backend with what all share"),
        (["/bin/valkey-server 127.0.0.1:1"], SUPERVISOR, "Valkey"),
        (["rclone", "serve", "s3"], SUPERVISOR, "S3 server"),
        (["python", "-I", "-S", "/srv/deploy/guard.py", "abc"], SUPERVISOR, "guard"),
        (["python", "-m", "web"], SUPERVISOR, "web"),
        (["python", "-m", "tasks.dispatcher"], SUPERVISOR, "dispatcher"),
        (DRAMATIQ, SUPERVISOR, "worker's launcher"),
        (["python", "-c", "from multiprocessing.resource_tracker import main;main(5)"], DRAMATIQ, "worker's launcher"),
        (SPAWN, DRAMATIQ, "worker"),
        (SPAWN, SPAWN, "engine, with the models"),
        (SUPERVISOR, ["bash"], "supervisor"),
    ],
)
def test_every_process_is_weighed_under_its_own_name(command: list[str], parent: list[str], name: str) -> None:
    assert label(command, parent) == name
