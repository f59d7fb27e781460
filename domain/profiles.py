"""What a person's page shows: numbers, published runs, and what only they see."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import db, lists

PAGE = 24


class Figures(Struct, frozen=True):
    """The numbers on a profile. `rating` is the mean of all stars received, None before the first;
    `followers` are counted up to 10,000."""

    pipelines: int
    runs: int
    offshoots: int
    rating: float | None
    followers: int


class Result(Struct, frozen=True):
    """A published run and the first thing it made: a picture, or words."""

    id: UUID
    number: int
    pipeline_id: UUID
    pipeline_title: str
    sha256: str | None
    width: int | None
    height: int | None
    text: str
    prompt: str
    published_at: datetime


class Own(Struct, frozen=True):
    """One's own pipeline that the gallery does not show."""

    id: UUID
    title: str
    visibility: str
    latest_version: int
    run_count: int
    updated_at: datetime


class OwnPage(Struct, frozen=True):
    """Some of one's own pipelines; `next` leads to older ones, None at the end."""

    pipelines: list[Own]
    next: str | None


class ResultPage(Struct, frozen=True):
    """Some results, newest first; `next` leads to older ones, None at the end."""

    results: list[Result]
    next: str | None


async def figures(person_id: UUID, own: bool) -> Figures:
    """The numbers on a profile: everything for the owner, what others may see for others."""
    row = await db.fetchrow(
        """
        WITH mine AS (
            SELECT id, rating_count, rating_sum, visibility = 'public' AND published_at IS NOT NULL AS listed
            FROM pipelines WHERE owner_id = $1 AND deleted_at IS NULL
        )
        SELECT count(*) FILTER (WHERE listed OR $2) AS pipelines,
               sum(rating_sum)::float8 / nullif(sum(rating_count), 0) AS rating,
               (SELECT count(*) FROM runs r JOIN mine m ON m.id = r.pipeline_id
                 WHERE r.owner_id = $1 AND r.visibility = 'published' AND NOT r.apart
                   AND (m.listed OR $2)) AS runs,
               (SELECT count(*) FROM pipelines p JOIN pipelines parent ON parent.id = p.parent_id
                 WHERE parent.owner_id = $1 AND p.owner_id <> $1
                   AND p.visibility = 'public' AND p.deleted_at IS NULL AND p.published_at IS NOT NULL) AS offshoots,
               (SELECT count(*) FROM (SELECT FROM follows WHERE person_id = $1 LIMIT 10000) f) AS followers
        FROM mine
        """,
        person_id,
        own,
    )
    assert row is not None  # an aggregate always answers
    return Figures(row["pipelines"], row["runs"], row["offshoots"], row["rating"], row["followers"])


async def unlisted(person_id: UUID, after: str | None = None, limit: int = PAGE) -> OwnPage:
    """One's own pipelines that lists leave out: private, unlisted, or without a published run. Newest first.

    Raises NotFound for a place that does not exist.
    """
    rows = await db.fetch(
        """
        SELECT id, title, visibility, latest_version, run_count, updated_at FROM pipelines
        WHERE owner_id = $1 AND deleted_at IS NULL AND (visibility <> 'public' OR published_at IS NULL)
          AND ($2::uuid IS NULL OR id < $2)
        ORDER BY id DESC LIMIT $3
        """,
        person_id,
        lists.id_after(after),
        limit + 1,
    )
    pipelines = [Own(**row) for row in rows[:limit]]
    return OwnPage(pipelines, str(pipelines[-1].id) if len(rows) > limit else None)


async def published(person_id: UUID, after: str | None = None, limit: int = PAGE) -> ResultPage:
    """A person's published runs of public pipelines, newest first, in one query.

    Raises NotFound for a place that does not exist.
    """
    rows = await db.fetch(_PUBLISHED, person_id, lists.id_after(after), limit + 1)
    results = [Result(**row) for row in rows[:limit]]
    return ResultPage(results, str(results[-1].id) if len(rows) > limit else None)


_PUBLISHED = """
SELECT r.id, r.number, r.pipeline_id, p.title AS pipeline_title, made.sha256, made.width, made.height,
       coalesce(said.output_text, '') AS text, coalesce(asked.prompt, p.prompt) AS prompt, r.published_at
FROM runs r
JOIN pipelines p ON p.id = r.pipeline_id
LEFT JOIN LATERAL (
    SELECT o.sha256, a.width, a.height
    FROM step_runs s JOIN outputs o ON o.step_run_id = s.id JOIN artifacts a ON a.sha256 = o.sha256
    WHERE s.run_id = r.id ORDER BY s.ordinal DESC, o.position LIMIT 1
) made ON true
LEFT JOIN LATERAL (
    SELECT left(s.output_text, 400) AS output_text FROM step_runs s
    WHERE s.run_id = r.id AND s.output_text IS NOT NULL ORDER BY s.ordinal DESC LIMIT 1
) said ON true
LEFT JOIN LATERAL (
    SELECT left(s.resolved ->> 'prompt', 400) AS prompt FROM step_runs s
    WHERE s.run_id = r.id AND s.resolved ? 'prompt' ORDER BY s.ordinal LIMIT 1
) asked ON true
WHERE r.owner_id = $1 AND r.visibility = 'published' AND NOT r.apart
  AND p.visibility = 'public' AND p.deleted_at IS NULL AND ($2::uuid IS NULL OR r.id < $2)
ORDER BY r.id DESC LIMIT $3
"""
