"""How long a search and a suggestion take at a million documents, and the plans of the slowest.

Words follow Zipf's law, as those of people do: the commonest stand in every fifth document, most in a few.
"""

import asyncio
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

from deploy.embedded import Services
from deploy.migrations import migrate
from domain import db, search, search_query
from domain.search_documents import ERA, WINDOW
from tests.bench import bulk

SIZE = 1_000_000
WORDS = 60_000
PHRASES = 200_000
ASKED = 400
SLOWEST = 3
RESULTS = Path(__file__).parent / "results"

_SYLLABLES = "ka lo mi ren ta sul vo pen dri sha ne gor bel ti um fa rys que zan wo".split()  # noqa: SIM905

_VOCABULARY = """
CREATE UNLOGGED TABLE bench_words AS SELECT n, word FROM unnest($1::text[]) WITH ORDINALITY AS given (word, n)
"""

_PHRASES = """
CREATE UNLOGGED TABLE bench_phrases AS
SELECT p AS phrase, array_agg(word ORDER BY place) AS words, string_agg(word, ' ' ORDER BY place) AS text
FROM (SELECT p, place, least(1 + floor(exp(random() * ln($2::float8 + 1)) - 1)::int, $2) AS n
      FROM generate_series(0, $1 - 1) p, generate_series(1, 10) place) drawn
JOIN bench_words USING (n) GROUP BY p
"""

_TEXTS = """
CREATE UNLOGGED TABLE bench_texts AS
SELECT made.*, a.words || b.words || c.words AS words, array_to_string(a.words[1:4], ' ') AS title,
    concat_ws(', ', a.text, b.text, c.text) AS prompt
FROM (
    SELECT p.id, row_number() OVER (ORDER BY p.published_at, p.id) AS number, p.published_at, p.rating_score,
        p.rating_sum::float8 / nullif(p.rating_count, 0) AS rating, p.offshoot_count, p.medium, o.handle,
        (ARRAY['starter', 'sdxl-1.0', 'flux-schnell', 'sd-1.5', 'dreamshaper', 'pixart', 'svd-xt', 'kandinsky'])
            [1 + floor(8 * power(random(), 2))::int] AS model,
        (ARRAY['cc-by-4.0', 'cc-by-sa-4.0', 'cc0-1.0', 'mit'])[1 + floor(4 * power(random(), 2))::int] AS license,
        (ARRAY[20, 28, 30, 40, 50, 4, 8])[1 + floor(7 * random())::int] AS passes,
        floor(random() * 4e9)::bigint AS seed,
        floor(random() * $1)::int AS a, floor(random() * $1)::int AS b, floor(random() * $1)::int AS c
    FROM pipelines p JOIN people o ON o.id = p.owner_id
) made
JOIN bench_phrases a ON a.phrase = made.a JOIN bench_phrases b ON b.phrase = made.b
JOIN bench_phrases c ON c.phrase = made.c
"""

_DOCUMENTS = f"""
INSERT INTO search_documents (pipeline_id, number, published_at, score, rating, offshoots, facets, marks, document)
SELECT id, number, published_at, rating_score, rating, offshoot_count,
    ARRAY['kind:' || medium, 'license:' || license, 'model:' || model, 'tag:' || words[1], 'tag:' || words[11]],
    ARRAY['by:' || handle, 'window:' || number / {WINDOW}, 'era:' || number / {WINDOW * ERA},
        'steps:' || passes, 'seed:' || seed, 'does:text_to_image']
        || search_rating_mark(rating),
    setweight(to_tsvector('search', title), 'A') || setweight(to_tsvector('search', prompt), 'B')
        || setweight(to_tsvector('search', concat_ws(' ', handle, model, license)), 'C')
FROM bench_texts ORDER BY number
"""

_REST = (
    "INSERT INTO search_texts SELECT id, title, title, '{}' FROM bench_texts",
    "INSERT INTO search_words SELECT 'word', word, 1 + 1000000 / n FROM bench_words WHERE length(word) > 2",
    "INSERT INTO search_words SELECT 'model', model, count(*) FROM bench_texts GROUP BY model",
    "INSERT INTO search_words SELECT 'tag', words[1], count(*) FROM bench_texts GROUP BY words[1]",
    "INSERT INTO search_words SELECT 'by', handle, count(*) FROM bench_texts GROUP BY handle",
)


def vocabulary(chance: random.Random) -> list[str]:
    """Made-up words, each once, commonest first."""
    made: dict[str, None] = {}
    while len(made) < WORDS:
        made["".join(chance.choices(_SYLLABLES, k=chance.choice((1, 2, 2, 3, 3, 4))))] = None
    return list(made)


async def fill(size: int, chance: random.Random) -> None:
    """`size` listed pipelines with documents whose words follow Zipf's law."""
    await bulk.fill(size)
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        await connection.execute("SET LOCAL work_mem = '64MB'")
        indexes = await db.fetch(
            """SELECT indexname AS name, indexdef AS sql FROM pg_indexes WHERE indexname = ANY($1)""",
            ["search_documents_found", "search_texts_folded", "search_words_alike"],
        )
        for index in indexes:
            await db.execute(f"DROP INDEX {index['name']}")
        await db.execute("SELECT setseed(0.5)")
        await db.execute(_VOCABULARY, vocabulary(chance))
        phrases = min(PHRASES, size)
        await db.execute(_PHRASES, phrases, WORDS)
        await db.execute(_TEXTS.replace("$1", str(phrases)))
        await db.execute(_DOCUMENTS)
        for statement in _REST:
            await db.execute(statement)
        await db.execute("SELECT setval('search_documents_number_seq', $1)", size)
        for index in indexes:
            await db.execute(index["sql"])
        await db.execute("DELETE FROM search_stale")
        await db.execute("DELETE FROM search_changes")
    for table in ("search_documents", "search_texts", "search_words"):
        await db.execute(f"VACUUM (ANALYZE) {table}")


async def questions(chance: random.Random, size: int) -> list[str]:
    """Three words of a document, as people remember them, and one filter that it has."""
    rows = await db.fetch(
        """SELECT words, model, medium, license, passes FROM bench_texts WHERE number = ANY($1::bigint[])""",
        [chance.randrange(1, size) for _ in range(ASKED)],
    )
    made = []
    for row in rows:
        words = " ".join(chance.sample(row["words"], 3))
        narrowed = chance.choice(
            [f"model:{row['model']}", f"kind:{row['medium']}", f"license:{row['license']}",
             f"tag:{row['words'][0]}", f"steps:{row['passes']}", "rating:>=3"]
        )  # fmt: skip
        made.append(f"{words} {narrowed}")
    return made


async def ask(text: str, order: str = "match") -> float:
    """Seconds from the typed text to lines ready for the page, facets included."""
    began = time.perf_counter()
    found = await search.find(search_query.parse(text), order)
    await search.lines(found)
    return time.perf_counter() - began


async def measure(data_dir: Path, size: int = SIZE) -> dict[str, Any]:
    """Server time without the template: three words and a filter, broad searches, slips, suggestions."""
    chance = random.Random(5)
    with Services(data_dir, durable=False) as services:
        await asyncio.to_thread(migrate, services.urls.database)
        await db.bind(services.urls.database, max_size=4)
        began = time.perf_counter()
        await fill(size, chance)
        results: dict[str, Any] = {f"fill {size:,} documents": {"seconds": time.perf_counter() - began}}
        results |= await _measured(chance, size)
        await db.unbind()
    return results


async def _measured(chance: random.Random, size: int) -> dict[str, Any]:
    asked = await questions(chance, size)
    for text in asked[:50]:
        await ask(text)
    times = {text: await ask(text) for text in asked}
    slow = sorted(times, key=lambda text: -times[text])[:SLOWEST]
    common = [row["word"] for row in await db.fetch("SELECT word FROM bench_words ORDER BY n LIMIT 20")]
    broad = [await ask(text, order) for text in ("", *common) for order in search.ORDERS]
    slips = [await ask(row["words"][3][::-1] + "x") for row in await db.fetch("SELECT words FROM bench_texts LIMIT 20")]
    typed = [text[: chance.randrange(2, 8)].strip() for text in asked]
    began = []
    for text in typed:
        start = time.perf_counter()
        await search.suggest(text)
        began.append(time.perf_counter() - start)
    await _explain([*slow, common[0], common[12]])
    return {
        "search p95, three words and a filter": _percentile(list(times.values())),
        "search p95, one of the commonest words": _percentile(broad),
        "search p95, a word that nothing has": _percentile(slips),
        "suggestion p95": _percentile(began),
    }


def _percentile(seconds: list[float]) -> dict[str, float]:
    cut = statistics.quantiles(seconds, n=20)
    return {"seconds": cut[18], "median": statistics.median(seconds), "worst": max(seconds)}


async def _explain(texts: list[str]) -> None:
    """Keep the plans of these searches beside the results."""
    RESULTS.mkdir(exist_ok=True)
    said = []
    for text in texts:
        compiled = await search.prepare(search_query.parse(text))
        async with db.transaction():
            newest: int = (await search._settings())[5]
            wide = await search._width(compiled, search._span(compiled, newest))
            sql, args = search._question(compiled, "match", None, 24, newest, wide)
            plan = await db.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", *args)
        said.append(f"{json.dumps(text)}, {wide} windows\n" + "\n".join(row[0] for row in plan))
    (RESULTS / "search-plans.txt").write_text("\n\n".join(said) + "\n")
