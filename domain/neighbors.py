"""More like this: pipelines whose words mean nearly the same, by sentence vectors in pgvector.

Whatever changes a listed pipeline's words leaves a row here without a vector (`note`); workers fill it in
when they have time. Nothing else waits for that, and a pipeline without a vector has no neighbors yet.
"""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.errors import NotFound
from domain.gallery import COLUMNS, Card
from domain.lists import LISTED

SIZE = 384
"""Numbers in a vector."""
FEW = 6
"""Cards on a pipeline's page."""
MANY = 48
"""Cards on the page of all."""
FAR = 0.7
"""The cosine distance from which prompts have nothing to do with each other. With the default encoder, cats are 0.49
from kittens and a dragon 0.59 from a knight; of pairs of unlike prompts nineteen in twenty are farther than 0.7."""
PAGE = 1000
"""Pipelines that `missing` looks through at once."""

TEXT = "concat_ws(E'\\n', nullif(p.title, ''), nullif(p.prompt, ''), nullif(array_to_string(p.tags, ', '), ''))"
"""What a vector is made of; its MD5 tells whether it still is."""

_UPSERT = """
ON CONFLICT (pipeline_id) DO UPDATE SET digest = excluded.digest, encoder = '', vector = NULL
WHERE e.digest <> excluded.digest
"""

_NOTE = f"""
WITH hidden AS (
    DELETE FROM embeddings e USING pipelines p WHERE e.pipeline_id = $1 AND p.id = $1 AND NOT ({LISTED})
)
INSERT INTO embeddings AS e (pipeline_id, digest)
SELECT p.id, md5({TEXT}) FROM pipelines p WHERE p.id = $1 AND {LISTED} {_UPSERT}
"""  # noqa: S608 - constants only

_MISSING = f"""
WITH page AS MATERIALIZED (SELECT id FROM pipelines WHERE id > $1 ORDER BY id LIMIT {PAGE}), added AS (
    INSERT INTO embeddings AS e (pipeline_id, digest)
    SELECT p.id, md5({TEXT}) FROM page JOIN pipelines p ON p.id = page.id WHERE {LISTED} ORDER BY p.id {_UPSERT}
)
SELECT id FROM page ORDER BY id DESC LIMIT 1
"""  # noqa: S608 - constants only

_DUE = f"""
WITH due AS (
    (SELECT pipeline_id, digest, encoder FROM embeddings WHERE encoder < $1 ORDER BY encoder LIMIT $2)
    UNION ALL
    (SELECT pipeline_id, digest, encoder FROM embeddings WHERE encoder > $1 ORDER BY encoder LIMIT $2)
)
SELECT p.id AS pipeline_id, due.digest, {TEXT} AS text FROM due JOIN pipelines p ON p.id = due.pipeline_id
ORDER BY due.encoder LIMIT $2
"""  # noqa: S608 - constants only

_FILL = "UPDATE embeddings SET encoder = $3, vector = $4 WHERE pipeline_id = $1 AND digest = $2"

_NEAR = f"""
WITH mine AS MATERIALIZED (
    SELECT e.vector, e.encoder, coalesce(p.root_id, p.id) AS line
    FROM embeddings e JOIN pipelines p ON p.id = e.pipeline_id WHERE e.pipeline_id = $1 AND e.vector IS NOT NULL
), near AS MATERIALIZED (
    SELECT p.id, coalesce(p.root_id, p.id) AS line, e.vector <=> (SELECT vector FROM mine) AS distance
    FROM embeddings e JOIN pipelines p ON p.id = e.pipeline_id
    WHERE EXISTS (SELECT FROM mine) AND e.encoder || '' = (SELECT encoder FROM mine) AND {LISTED}
      AND coalesce(p.root_id, p.id) <> (SELECT line FROM mine)
    ORDER BY e.vector <=> (SELECT vector FROM mine) LIMIT %d
), nearest AS (
    SELECT DISTINCT ON (line) id, distance FROM near WHERE distance < {FAR} ORDER BY line, distance, id
)
SELECT %s FROM nearest n JOIN pipelines p ON p.id = n.id %s ORDER BY n.distance, p.id LIMIT %d
"""  # noqa: S608 - constants only
"""The nearest of each other line. `|| ''` hides the encoder, which nearly all rows share, from the planner."""


class Due(Struct, frozen=True):
    """A listed pipeline whose vector is missing, or of another encoder; the digest of its words when noted."""

    pipeline_id: UUID
    digest: str
    text: str


class Subject(Struct, frozen=True):
    """The pipeline whose neighbors are asked for."""

    id: UUID
    title: str
    visibility: str
    compared: bool
    """Whether it has a vector."""


async def subject(pipeline_id: UUID, viewer_id: UUID | None) -> Subject:
    """The pipeline, if the viewer may see it. Raises NotFound."""
    row = await db.fetchrow(
        """
        SELECT p.id, p.title, p.visibility, e.vector IS NOT NULL AS compared
        FROM pipelines p LEFT JOIN embeddings e ON e.pipeline_id = p.id
        WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
        """,
        pipeline_id,
        viewer_id,
    )
    if row is None:
        raise NotFound("There is no such pipeline, or it is private.")
    return Subject(**row)


async def note(pipeline_id: UUID) -> None:
    """Say that a pipeline may have changed. Call it in the transaction that changed it."""
    await db.execute(_NOTE, pipeline_id)


async def missing(after: UUID) -> UUID | None:
    """Note every listed pipeline among the thousand after an id. Returns the last one's, None at the end."""
    last: UUID | None = await db.fetchval(_MISSING, after)
    return last


async def due(encoder: str, limit: int) -> list[Due]:
    """Pipelines that have no vector of this encoder, at most `limit`, those without any first."""
    return [Due(**row) for row in await db.fetch(_DUE, encoder, limit)]


async def fill(encoder: str, filled: Sequence[tuple[Due, list[float] | None]]) -> None:
    """Keep vectors; None for words that the encoder cannot read. What changed meanwhile stays due."""
    ordered = sorted(filled, key=lambda one: one[0].pipeline_id)
    await db.executemany(_FILL, [(one.pipeline_id, one.digest, encoder, vector) for one, vector in ordered])


def sql(columns: str, joins: str, limit: int) -> str:
    """The query for `columns` of the neighbors `p` of $1, nearest first: one of each line but its own."""
    return _NEAR % (limit * 4, columns, joins, limit)


_CARDS = {limit: sql(COLUMNS, "JOIN people o ON o.id = p.owner_id", limit) for limit in (FEW, MANY)}


async def around(pipeline_id: UUID, limit: int = FEW) -> list[Card]:
    """The listed pipelines nearest in meaning, `FEW` or `MANY` of them; none while there is no vector. One query.

    Its own line (what it grew from and what grew of it) is left out: the page has that as its lineage.
    Of every other line the nearest stands for all.
    """
    return [Card(*row) for row in await db.fetch(_CARDS[limit], pipeline_id)]
