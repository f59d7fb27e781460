"""A million listed pipelines that search can find: documents, words, and a step of the published run of each.

Words follow Zipf's law, as those of people do: the commonest stand in every fifth document, most in a few.
"""

import random

from domain import db
from domain.search_documents import WHEN
from tests.bench import bulk

WORDS = 60_000
PHRASES = 200_000

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
    SELECT p.id, p.cover_run_id, row_number() OVER (ORDER BY p.published_at, p.id) AS number, p.published_at,
        p.rating_score,
        p.rating_sum::float8 / nullif(p.rating_count, 0) AS rating, p.offshoot_weight, p.medium, o.handle,
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
SELECT id, number, published_at, rating_score, rating, offshoot_weight,
    ARRAY['kind:' || medium, 'license:' || license, 'model:' || model, 'tag:' || words[1], 'tag:' || words[11]],
    ARRAY['by:' || handle, {WHEN},
        'steps:' || passes, 'seed:' || seed, 'does:text_to_image', 'made:' || to_char(published_at, 'YYYY-MM')]
        || search_rating_mark(rating),
    setweight(to_tsvector('search', title), 'A') || setweight(to_tsvector('search', prompt), 'B')
        || setweight(to_tsvector('search', concat_ws(' ', handle, model, license)), 'C')
FROM bench_texts ORDER BY number
"""

_SHOWN = """
UPDATE pipelines p SET title = b.title, prompt = b.prompt, model = b.model FROM bench_texts b WHERE b.id = p.id
"""
_STEP_RUNS = """
INSERT INTO step_runs (run_id, ordinal, kind, queue, model, step, resolved, state, attempt, queued_at, started_at,
    finished_at)
SELECT cover_run_id, 1, 'text_to_image', 'image', model, made.step, made.step, 'succeeded', 1, published_at,
    published_at, published_at
FROM bench_texts CROSS JOIN LATERAL (SELECT jsonb_build_object('kind', 'text_to_image', 'prompt', prompt,
    'model', model, 'num_inference_steps', passes, 'guidance_scale', 7.5, 'seed', seed) AS step) made
ORDER BY number
"""

_REST = (
    "INSERT INTO search_texts SELECT id, title, title, '{}' FROM bench_texts",
    "INSERT INTO search_words SELECT 'word', word, 1 + 1000000 / n FROM bench_words WHERE length(word) > 2",
    "INSERT INTO search_words SELECT 'model', model, count(*) FROM bench_texts GROUP BY model",
    "INSERT INTO search_words SELECT 'tag', words[1], count(*) FROM bench_texts GROUP BY words[1]",
    "INSERT INTO search_words SELECT 'by', handle, count(*) FROM bench_texts GROUP BY handle",
)

_INDEXES = """
SELECT indexname AS name, indexdef AS sql FROM pg_indexes
WHERE indexname IN ('search_documents_found', 'search_texts_folded', 'search_words_alike')
    OR tablename IN ('pipelines', 'step_runs') AND indexdef NOT LIKE '% UNIQUE %'
"""


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
        indexes = await db.fetch(_INDEXES)
        for index in indexes:
            await db.execute(f"DROP INDEX {index['name']}")
        await db.execute("SELECT setseed(0.5)")
        await db.execute(_VOCABULARY, vocabulary(chance))
        phrases = min(PHRASES, size)
        await db.execute(_PHRASES, phrases, WORDS)
        await db.execute(_TEXTS.replace("$1", str(phrases)))
        await db.execute(_SHOWN)
        await db.execute(_DOCUMENTS)
        await db.execute(_STEP_RUNS)
        for statement in _REST:
            await db.execute(statement)
        await db.execute("SELECT setval('search_documents_number_seq', $1)", size)
        for index in indexes:
            await db.execute(index["sql"])
        await db.execute("DELETE FROM search_stale")
        await db.execute("DELETE FROM search_changes")
    for table in ("search_documents", "search_texts", "search_words", "pipelines", "step_runs"):
        await db.execute(f"VACUUM (ANALYZE) {table}")
