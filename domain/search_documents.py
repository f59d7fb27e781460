"""What search reads: a row for every listed pipeline, kept in step with it, and the words that people may mean.

`cards.refresh` ends with `refresh`, in the same transaction. Votes, hiding and new names are followed by triggers of
the database. `catch_up` does what can wait: documents marked stale, and the counts of words.
"""

from collections.abc import Sequence
from uuid import UUID

from domain import db
from domain.lists import LISTED

WINDOW = 1_024
"""Neighbors in `number` that share a mark, so that the newest can be asked for alone; fewer than `search.MOST`."""
LEVELS = {"window": 1, "stretch": 8, "era": 64}
"""Marks and how many windows share one: hundreds of windows asked for one by one take longer than the search."""
WHEN = ", ".join(f"'{name}:' || number / {WINDOW * size}" for name, size in LEVELS.items())
"""SQL: the marks of a document's number."""
RUNS = 1_000
"""Published runs of a pipeline whose prompts and seeds are found: the newest, those of grids behind all others."""
MAX_TEXT = 20_000
"""Characters of each part of a document."""
BATCH = 200
FOLD = 1_000

_LOCK = "SELECT FROM pipelines WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"

OF_RECIPE = """
CROSS JOIN LATERAL (
    SELECT array(SELECT DISTINCT lower(name) FROM jsonb_array_elements(p.recipe -> 'steps') one
            CROSS JOIN LATERAL (
                SELECT one ->> 'model' UNION ALL SELECT one ->> 'vae' UNION ALL
                SELECT found[1] FROM regexp_matches(one ->> 'prompt', '<lora:([\\w.-]+)', 'gi') found
            ) named (name) WHERE name <> '') AS models,
        coalesce(array_agg(DISTINCT step ->> 'kind') FILTER (WHERE step ->> 'kind' <> ''), '{}') AS kinds,
        coalesce(array_agg(DISTINCT step ->> 'num_inference_steps')
            FILTER (WHERE step ->> 'num_inference_steps' <> ''), '{}') AS passes,
        coalesce(array_agg(DISTINCT step ->> 'seed') FILTER (WHERE step ->> 'seed' <> ''), '{}') AS seeds,
        string_agg(concat_ws(' ', step ->> 'prompt', step ->> 'template'), E'\\n' ORDER BY place) AS prompts,
        string_agg(nullif(step ->> 'negative_prompt', ''), E'\\n' ORDER BY place) AS negatives,
        string_agg(concat_ws(' ', nullif(step ->> 'title', ''), step ->> 'model', step ->> 'scheduler',
            (step ->> 'width') || 'x' || (step ->> 'height'),
            'guidance ' || trim_scale(CASE jsonb_typeof(step -> 'guidance_scale') WHEN 'number'
                THEN (step -> 'guidance_scale')::numeric END),
            'strength ' || trim_scale(CASE jsonb_typeof(step -> 'strength') WHEN 'number'
                THEN (step -> 'strength')::numeric END)), ', ' ORDER BY place) AS words,
        (SELECT string_agg(choice, ', ') FROM jsonb_each(p.recipe -> 'lists') AS named (name, choices),
            jsonb_array_elements_text(choices) choice) AS choices
    FROM jsonb_array_elements(p.recipe -> 'steps') WITH ORDINALITY AS steps (step, place)
) used
"""
"""What the `recipe` of `p` says: `models` are its steps', their VAEs and LoRAs, `choices` the entries of its lists."""


def of_runs(most: int) -> str:
    """SQL: what the newest `most` published runs of `p` say, each prompt and seed once."""
    return f"""
CROSS JOIN LATERAL (
    WITH shown AS MATERIALIZED (
        SELECT id, seed, row_number() OVER (ORDER BY apart, published_at DESC, id DESC) AS place FROM (
            SELECT id, seed, apart, published_at FROM runs WHERE pipeline_id = p.id AND visibility = 'published'
            ORDER BY apart, published_at DESC, id DESC LIMIT {most}) newest
    ), drawn AS MATERIALIZED (
        SELECT s.resolved ->> 'prompt' AS prompt, s.resolved ->> 'negative_prompt' AS negative, min(r.place) AS place
        FROM shown r JOIN step_runs s ON s.run_id = r.id WHERE s.resolved ->> 'prompt' <> '' GROUP BY 1, 2
    )
    SELECT (SELECT coalesce(array_agg(DISTINCT seed::text), '{{}}') FROM shown) AS seeds,
        (SELECT string_agg(prompt, E'\\n' ORDER BY place, prompt)
            FROM (SELECT prompt, min(place) AS place FROM drawn GROUP BY prompt) once) AS prompts,
        (SELECT string_agg(negative, E'\\n' ORDER BY place, negative)
            FROM (SELECT negative, min(place) AS place FROM drawn WHERE negative <> '' GROUP BY negative) once)
            AS negatives
) told
"""  # noqa: S608 - a number


_REFRESH = f"""
WITH listed AS (
    SELECT p.*, o.handle, o.name, coalesce(v.recipe, '{{}}') AS recipe
    FROM pipelines p JOIN people o ON o.id = p.owner_id
    LEFT JOIN versions v ON v.pipeline_id = p.id AND v.number = p.latest_version
    WHERE p.id = ANY($1::uuid[]) AND {LISTED}
), made AS MATERIALIZED (
    SELECT p.id, p.title, p.published_at, p.rating_score, p.offshoot_weight,
        p.rating_sum::float8 / nullif(p.rating_count, 0) AS rating,
        coalesce(known.number, nextval('search_documents_number_seq')) AS number,
        left(concat_ws(E'\\n', p.prompt, used.prompts, told.prompts), {MAX_TEXT}) AS prompts,
        array_remove(used.models || lower(p.model), '') AS models, used.kinds, used.passes,
        told.seeds || used.seeds AS seeds, p.medium, lower(p.license) AS license, p.tags, lower(p.handle) AS handle,
        left(concat_ws(' ', p.description, array_to_string(p.tags, ' '), p.handle, p.name, p.model, used.words,
            p.license), {MAX_TEXT}) AS rest,
        left(concat_ws(E'\\n', used.negatives, told.negatives, used.choices), {MAX_TEXT}) AS aside
    FROM listed p
    LEFT JOIN search_documents known ON known.pipeline_id = p.id
    {OF_RECIPE} {of_runs(RUNS)}
), documents AS (
    INSERT INTO search_documents AS d
        (pipeline_id, number, published_at, score, rating, offshoots, facets, marks, document)
    SELECT id, number, published_at, rating_score, rating, offshoot_weight,
        array(SELECT DISTINCT facet FROM unnest(
            ARRAY['kind:' || medium, 'license:' || license]
            || array(SELECT 'model:' || model FROM unnest(models) model)
            || array(SELECT 'tag:' || tag FROM unnest(tags) tag)) facet ORDER BY facet),
        array(SELECT DISTINCT mark FROM unnest(
            ARRAY['by:' || handle, {WHEN},
                'made:' || to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM')]
            || search_rating_mark(rating)
            || array(SELECT 'does:' || kind FROM unnest(kinds) kind)
            || array(SELECT 'steps:' || pass FROM unnest(passes) pass)
            || array(SELECT 'seed:' || seed FROM unnest(seeds) seed)) mark ORDER BY mark),
        setweight(search_vector(title), 'A') || setweight(search_vector(prompts), 'B')
            || setweight(search_vector(rest), 'C') || setweight(search_vector(aside), 'D')
    FROM made
    ON CONFLICT (pipeline_id) DO UPDATE SET published_at = excluded.published_at, score = excluded.score,
        rating = excluded.rating, offshoots = excluded.offshoots, facets = excluded.facets, marks = excluded.marks,
        document = excluded.document
    WHERE (d.published_at, d.score, d.rating, d.offshoots, d.facets, d.marks, d.document) IS DISTINCT FROM
        (excluded.published_at, excluded.score, excluded.rating, excluded.offshoots, excluded.facets, excluded.marks,
         excluded.document)
)
INSERT INTO search_texts AS t (pipeline_id, title, folded, words)
SELECT id, title, btrim(search_fold(title)),
    array(SELECT DISTINCT entry FROM unnest(
        array(SELECT 'word:' || word FROM unnest(tsvector_to_array(
            to_tsvector('simple', search_fold(concat_ws(' ', title, prompts, rest, aside))))) word
            WHERE length(word) BETWEEN 3 AND 40 AND word ~ '^[^0-9].*[^0-9]$')
        || array(SELECT 'tag:' || tag FROM unnest(tags) tag)
        || array(SELECT 'model:' || model FROM unnest(models) model) || ARRAY['by:' || handle]) entry ORDER BY entry)
FROM made
ON CONFLICT (pipeline_id) DO UPDATE SET title = excluded.title, folded = excluded.folded, words = excluded.words
WHERE (t.title, t.words) IS DISTINCT FROM (excluded.title, excluded.words)
"""  # noqa: S608 - constants only

_FORGET = f"""
WITH hidden AS (SELECT p.id FROM pipelines p WHERE p.id = ANY($1::uuid[]) AND NOT ({LISTED})),
documents AS (DELETE FROM search_documents USING hidden WHERE pipeline_id = hidden.id)
DELETE FROM search_texts USING hidden WHERE pipeline_id = hidden.id
"""  # noqa: S608

_FOLD = """
WITH taken AS (
    DELETE FROM search_changes WHERE id IN (SELECT id FROM search_changes ORDER BY id LIMIT $1) RETURNING gone, come
), sums AS (
    SELECT entry, sum(change)::int AS change FROM (
        SELECT unnest(come) AS entry, 1 AS change FROM taken UNION ALL SELECT unnest(gone), -1 FROM taken
    ) each_one GROUP BY entry HAVING sum(change) <> 0
), kept AS (
    INSERT INTO search_words AS w (kind, word, documents)
    SELECT split_part(entry, ':', 1), substr(entry, strpos(entry, ':') + 1), change FROM sums ORDER BY entry
    ON CONFLICT (kind, word) DO UPDATE SET documents = w.documents + excluded.documents
)
SELECT count(*) FROM taken
"""

_STALE = """
DELETE FROM search_stale WHERE pipeline_id IN (
    SELECT s.pipeline_id FROM search_stale s JOIN pipelines p ON p.id = s.pipeline_id
    LIMIT $1 FOR NO KEY UPDATE OF s, p SKIP LOCKED
) RETURNING pipeline_id
"""
"""Skips what others write just now: waiting for several rows in one's own order could lock them out for ever."""


async def refresh(pipeline_ids: Sequence[UUID]) -> None:
    """Bring the documents of these pipelines up to date, and remove those that are listed no longer.

    Call it inside the transaction that changed a pipeline, its versions or its runs. Unknown ids do nothing.
    """
    async with db.transaction():
        ids = list(pipeline_ids)
        await db.execute(_LOCK, ids)
        await db.execute(_FORGET, ids)
        await db.execute(_REFRESH, ids)


async def catch_up(limit: int = BATCH) -> int:
    """Refresh some documents marked stale and count the words of some changes; how many there were.

    Any number may be at it: each takes documents of its own, and one at a time counts.
    """
    async with db.transaction():
        stale = [row["pipeline_id"] for row in await db.fetch(_STALE, limit)]
        if stale:
            await refresh(stale)
    return len(stale) + await _fold()


async def _fold() -> int:
    """Add the changes that lie ready to the counts of words."""
    async with db.transaction():
        if not await db.fetchval("SELECT EXISTS (SELECT FROM search_changes)"):
            return 0
        if not await db.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('search_words'))"):
            return 0
        changes: int = await db.fetchval(_FOLD, FOLD)
        await db.execute("DELETE FROM search_words WHERE documents <= 0")
    return changes


async def rebuild() -> int:
    """Mark every listed pipeline stale and catch up; how many there are. The site may run meanwhile."""
    marked = await db.execute(
        f"INSERT INTO search_stale SELECT p.id FROM pipelines p WHERE {LISTED} ON CONFLICT DO NOTHING"  # noqa: S608
    )
    while await catch_up():
        pass
    return marked
