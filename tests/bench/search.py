"""How long a search and a suggestion take over HTTP at a million documents, and how PostgreSQL answers them."""

import asyncio
import random
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from deploy.embedded import Services, Urls
from deploy.migrations import migrate
from domain import (
    db,
    search,
    search_candidates,
    search_conditions,
    search_corrections,
    search_lines,
    search_query,
    search_suggestions,
)
from domain.search_candidates import Look, Page
from tests.bench import documents
from tests.bench.load import Target, ask
from tests.bench.processes import ROOT, free_port, running

SIZE = 1_000_000
ASKED = 400
TIMES = 3
"""How often each question is asked in each order: the median of these counts, so that what else the machine does
at a moment does not."""
SLOWEST = 2
COMMON = 20
PLANS = ROOT / "docs" / "search-plans.md"
ABOUT = """# How PostgreSQL answers a search

`make bench ARGS=search` writes this at {size:,} published runs: `EXPLAIN (ANALYZE, BUFFERS)` of usual questions and of
the slowest of {asked}. Documents are found through `search_documents_found` alone; an order over more matches than are
counted sorts all of them, or reads the gallery's index in that order; everything else is read by key. Nothing is
scanned but a table of a few hundred people.
"""
DETAIL = (
    "Storage:",
    "Sort Method:",
    "Batches:",
    "Buckets:",
    "Planning:",
    "Index Searches:",
    "Cache ",
    "Window:",
    "Hits:",
)
"""Lines of a plan that say nothing of how rows are found."""


async def questions(chance: random.Random, size: int) -> list[str]:
    """Three words of a document, as people remember them, and one filter that it has."""
    rows = await db.fetch(
        """SELECT words, model, medium, license, passes, published_at FROM bench_texts
           WHERE number = ANY($1::bigint[])""",
        [chance.randrange(1, size) for _ in range(ASKED)],
    )
    made = []
    for row in rows:
        words = " ".join(chance.sample(row["words"], 3))
        narrowed = chance.choice(
            [f"model:{row['model']}", f"kind:{row['medium']}", f"license:{row['license']}",
             f"tag:{row['words'][0]}", f"steps:{row['passes']}", "rating:>=3", f"made:{row['published_at']:%Y-%m}"]
        )  # fmt: skip
        made.append(f"{words} {narrowed}")
    return made


class Site:
    """The web process, asked over one connection."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> "Site":
        parts = urlsplit(self.url)
        self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    async def seconds(self, path: str, **query: str) -> float:
        """From sending the request to having read the answer."""
        target = Target(f"{self.url}{path}?{urlencode(query)}")
        began = time.perf_counter()
        status = await ask(self.reader, self.writer, target)
        if status != 200:
            raise RuntimeError(f"{target.url} answered {status}")
        return time.perf_counter() - began


async def measure(data_dir: Path, size: int = SIZE) -> dict[str, Any]:
    """Whole pages: three words and a filter, broad searches, each in every order; slips and suggestions."""
    chance = random.Random(5)
    with Services(data_dir, durable=False) as services:
        await asyncio.to_thread(migrate, services.urls.database)
        await db.bind(services.urls.database, max_size=2)
        began = time.perf_counter()
        await documents.fill(size, chance)
        results: dict[str, Any] = {f"fill {size:,} documents": {"seconds": time.perf_counter() - began}}
        asked = await questions(chance, size)
        url, env = _site(services.urls)
        with running(["-m", "web"], env, f"{url}/health"):
            async with Site(url) as site:
                found, slow = await _measured(site, asked)
        PLANS.write_text(await _plans(slow, size))
        await db.unbind()
    return results | found


def _site(urls: Urls) -> tuple[str, dict[str, str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return url, {
        "DATABASE_URL": urls.database, "REDIS_URL": urls.redis, "S3_URL": urls.s3, "PORT": str(port), "SITE_URL": url,
        "SECRET_KEY": "only for measuring, on this machine alone",
    }  # fmt: skip


async def _measured(site: Site, asked: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """By row: p95, median and worst of the questions; and the slowest of them. All were asked once before."""
    await db.execute("CHECKPOINT")  # what was just filled is not written while searches are timed
    for order in search.ORDERS:
        for text in asked:
            await site.seconds("/search", q=text, order=order)
    common = [row["word"] for row in await db.fetch("SELECT word FROM bench_words ORDER BY n LIMIT $1", COMMON)]
    rare = [row["words"][3][::-1] + "x" for row in await db.fetch("SELECT words FROM bench_texts LIMIT $1", COMMON)]
    results, times = {}, dict[str, float]()
    for order in search.ORDERS:
        rounds = [[await site.seconds("/search", q=text, order=order) for text in asked] for _ in range(TIMES)]
        taken = [statistics.median(times_of_one) for times_of_one in zip(*rounds, strict=True)]
        times = times or dict(zip(asked, taken, strict=True))
        results[f"search p95, three words and a filter, {order}"] = _percentile(taken)
        broad = [await site.seconds("/search", q=text, order=order) for text in common]
        results[f"search p95, one of the commonest words, {order}"] = _percentile(broad)
        every = [await site.seconds("/search", q="", order=order) for _ in range(COMMON)]
        results[f"search p95, everything, {order}"] = _percentile(every)
    results["search p95, a word that nothing has"] = _percentile([await site.seconds("/search", q=one) for one in rare])
    typed = [text[: 2 + place % 6].strip() for place, text in enumerate(asked)]
    results["suggestion p95"] = _percentile([await site.seconds("/search/suggestions", q=one) for one in typed])
    return results, [*sorted(times, key=lambda text: -times[text])[:SLOWEST], common[0], common[12]]


def _percentile(seconds: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(seconds, n=20)
    return {"seconds": cut[18], "median": statistics.median(seconds), "worst": max(seconds)}


# plans


async def _plans(texts: Sequence[str], size: int) -> str:
    """The plans of these searches, of every order over everything, and of what stands round a search, as a page."""
    said = [ABOUT.format(size=size, asked=ASKED)]
    for text in texts:
        said += [await _looked(text)]
    for order in ("newest", "rating", "offshoots"):
        for text in ("", texts[-1]):
            said += [await _walked(text, order)]
    ids = [row["id"] for row in await db.fetch("SELECT id FROM bench_texts ORDER BY number DESC LIMIT 24")]
    word = texts[-1]
    for title, sql, args in (
        ("The lines of a page", search_lines.LINES, (ids,)),
        ("Why they were found", search_lines.PARTS, (ids, search_lines.PART)),
        ("Suggestions", search_suggestions.SUGGEST, (word[:3], word[:3], word[:3])),
        ("Words near to an unknown one", search_corrections.NEAREST, (f"{word}x",)),
    ):
        said += [await _plan(title, sql, *args)]
    return "\n".join(said)


async def _looked(text: str) -> str:
    compiled = await search_conditions.prepare(search_query.parse(text))
    async with db.transaction():
        newest = await search_candidates.begin(search.PATIENCE)
        assert newest is not None
        expected = await search_candidates.expected(compiled, newest)
        span = search_candidates._span(compiled, newest)
        wide = search_candidates._width(newest, compiled.oldest, span, expected, search_candidates.MOST)
        sql, args = search_candidates.question(compiled, Look(Page("match", None, 24), newest, wide))
        return await _plan(f"`{text}`, best match, {wide} windows", sql, *args)


async def _walked(text: str, order: str) -> str:
    compiled = await search_conditions.prepare(search_query.parse(text))
    async with db.transaction():
        await search_candidates.begin(search.PATIENCE)
        await search_candidates.walk(compiled, Page(order, None, 24))
        sql, args = search_candidates.walking(compiled, Page(order, None, 24))
        return await _plan(f"{f'`{text}`' if text else 'Everything'}, {order}", sql, *args)


async def _plan(title: str, sql: str, *args: Any) -> str:
    rows = await db.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", *args)
    lines = [re.sub(r"\{[^}]{80,}\}", "{…}", row[0]) for row in rows]
    lines = [line for line in lines if not (line.lstrip().startswith(DETAIL) or re.match(" {3,}Buffers:", line))]
    return f"\n## {title}\n\n```\n" + "\n".join(lines) + "\n```\n"
