"""Many listed pipelines with one published run each, made by SQL in seconds.

`python -m tests.bench.bulk 1000000` fills the database of DATABASE_URL, which must be empty of
people called `bulk…`. Foreign keys are not checked and indexes are built at the end, so it needs
a superuser and a database of its own.
"""

import asyncio
import sys
import time
from pathlib import Path

from domain import db, ranking
from domain.config import Config

PEOPLE = 500
COVERS = 64
DAYS = 365

_PEOPLE = """
INSERT INTO people (email, handle, name, password_hash)
SELECT format('bulk%s@example.org', n), format('bulk%s', n), format('Bulk %s', n), '-'
FROM generate_series(1, $1::int) n
"""

_COVERS = """
INSERT INTO artifacts (sha256, media_type, bytes, width, height)
SELECT encode(sha256(format('cover %s', n)::bytea), 'hex'), 'image/png', 40000,
    (ARRAY[128, 192, 128, 256])[1 + n % 4], (ARRAY[128, 128, 192, 144])[1 + n % 4]
FROM generate_series(1, $1::int) n
"""

_PIPELINES = """
CREATE TEMP TABLE bulk AS
SELECT uuidv7() AS pipeline_id, uuidv7() AS version_id, uuidv7() AS run_id, n,
    CASE WHEN n % 4 = 0 THEN 1 + n / 40 END AS parent, n <= $1 / 40 AS grown,
    (SELECT array_agg(id ORDER BY id) FROM people WHERE handle LIKE 'bulk%') [1 + abs(hashint4(n) % $2)] AS owner_id,
    1 + n % $3 AS cover, abs(hashint4(n + 1) % 40) AS votes, 2 + abs(hashint4(n + 2) % 4) AS stars,
    abs(hashint4(n + 3) % 20000) AS luck, now() - make_interval(secs => ($1 - n) * 86400.0 * $4 / $1) AS published_at
FROM generate_series(1, $1::int) n
"""

_INSERTS = (
    """
INSERT INTO pipelines (id, owner_id, title, tags, visibility, parent_id, root_id, generation, latest_version,
    run_count, offshoot_count, offshoot_tally, offshoot_weight, grown_count, grown_tally, grown_weight,
    rating_count, rating_sum, rating_tally, rating_score, trend, prompt, model, medium, cover_run_id, cover_sha256,
    cover_width, cover_height, created_at, updated_at, published_at)
SELECT b.pipeline_id, b.owner_id, format('Harbor %s at dusk', b.n),
    ARRAY[(ARRAY['harbor', 'night', 'portrait', 'city', 'forest'])[1 + b.luck % 5], format('rare%s', b.luck)],
    'public', p.pipeline_id, coalesce(p.pipeline_id, b.pipeline_id), CASE WHEN b.parent IS NULL THEN 1 ELSE 2 END, 1, 1,
    f.people, ARRAY[0, 0, 0, f.people], 1000 * f.people, f.people, ARRAY[0, 0, 0, f.people], 1000 * f.people,
    b.votes, b.votes * b.stars,
    array_fill(0, ARRAY[14 + b.stars]) || b.votes || array_fill(0, ARRAY[5 - b.stars]),
    ($1::float8 * $2::float8 + b.votes * b.stars) / ($1::float8 + b.votes),
    extract(epoch FROM b.published_at - $3::timestamptz) / $4::float8
        + sign(b.votes * (b.stars - 3)) * ln(1 + abs(b.votes * (b.stars - 3))) / ln(2),
    format('A small fishing harbor number %s, paper lanterns between the houses, gouache, muted colors', b.n),
    'starter', CASE WHEN b.luck % 50 = 0 THEN 'animation' WHEN b.luck % 20 = 1 THEN 'text' ELSE 'image' END,
    b.run_id, a.sha256, a.width, a.height, b.published_at, b.published_at, b.published_at
FROM bulk b LEFT JOIN bulk p ON p.n = b.parent
CROSS JOIN LATERAL (SELECT CASE WHEN b.grown THEN 10 ELSE 0 END AS people) f
JOIN (SELECT row_number() OVER (ORDER BY sha256) AS cover, * FROM artifacts LIMIT $5) a ON a.cover = b.cover
ORDER BY b.n
""",
    """
INSERT INTO versions (id, pipeline_id, number, digest, recipe, created_at)
SELECT version_id, pipeline_id, 1, md5(n::text),
    jsonb_build_object('steps', jsonb_build_array(jsonb_build_object('kind', 'text_to_image', 'prompt', 'A harbor'))),
    published_at
FROM bulk ORDER BY bulk.n
""",
    """
INSERT INTO runs (id, pipeline_id, version_id, owner_id, number, idempotency_key, request_sha256, seed, state,
    visibility, created_at, started_at, finished_at, published_at)
SELECT run_id, pipeline_id, version_id, owner_id, 1, n::text, '-', n, 'succeeded', 'published',
    published_at, published_at, published_at, published_at
FROM bulk ORDER BY bulk.n
""",
)

_INDEXES = """
SELECT format('%I', c.relname) AS name, pg_get_indexdef(i.indexrelid) AS sql
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relname IN ('pipelines', 'versions', 'runs') AND NOT i.indisunique
ORDER BY c.relname
"""


async def fill(n: int) -> float:
    """Add `n` listed pipelines, each with a version and a published run. Returns the seconds it took."""
    began = time.perf_counter()
    async with db.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        await connection.execute("SET LOCAL synchronous_commit = off")
        indexes = await db.fetch(_INDEXES)
        for index in indexes:
            await db.execute(f"DROP INDEX {index['name']}")
        await db.execute(_PEOPLE, PEOPLE)
        await db.execute(_COVERS, COVERS)
        await db.execute(_PIPELINES, n, PEOPLE, COVERS, DAYS)
        prior = (ranking.PRIOR_WEIGHT, ranking.PRIOR_MEAN, ranking.EPOCH, ranking.HALF_LIFE, COVERS)
        await db.execute(_INSERTS[0], *prior)
        await db.execute(_INSERTS[1])
        await db.execute(_INSERTS[2])
        await db.execute("DROP TABLE bulk")
        for index in indexes:
            await db.execute(index["sql"])
    for table in ("people", "pipelines", "versions", "runs"):
        await db.execute(f"VACUUM (ANALYZE) {table}")
    return time.perf_counter() - began


async def _main(n: int) -> None:
    await db.bind(Config.from_env().database_url)
    print(f"{n} pipelines in {await fill(n):.1f} s")
    await db.unbind()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m tests.bench.{Path(__file__).stem} COUNT")
    asyncio.run(_main(int(sys.argv[1])))
