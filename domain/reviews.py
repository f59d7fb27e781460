"""Reviews: what people write beside the stars they give, newest first.

They are written, changed and withdrawn with the rating (`domain.ratings`).
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain import db, lists, ranking
from domain.errors import NotFound

PAGE = 20
NEWEST = 3
"""Reviews that a pipeline's own page shows."""


class Review(Struct, frozen=True):
    """One review. `text` is Markdown as it was typed."""

    handle: str
    name: str
    stars: int
    text: str
    at: datetime
    updated_at: datetime
    """Of the words or the stars."""

    @property
    def shown(self) -> str:
        return self.name or self.handle


class Subject(Struct, frozen=True):
    """The pipeline that is reviewed, and the reader's own part in it."""

    id: UUID
    title: str
    mine: bool
    followed: bool
    """Whether it has feeds: not a private one."""
    tally: ranking.Tally
    my_stars: int | None
    my_review: str


class ReviewPage(Struct, frozen=True):
    """Some reviews. `next` is the cursor of the following page, None on the last; `first` counts from 1."""

    reviews: list[Review]
    next: str | None
    first: int


_SUBJECT = """
SELECT p.id, p.title, p.owner_id IS NOT DISTINCT FROM $2, p.visibility <> 'private', p.rating_tally,
    mine.stars, coalesce(mine.review, '')
FROM pipelines p LEFT JOIN ratings mine ON mine.pipeline_id = p.id AND mine.person_id = $2
WHERE p.id = $1 AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
"""

_PAGE = """
SELECT r.reviewed_at, r.person_id, o.handle, o.name, r.stars, r.review, r.reviewed_at, r.updated_at
FROM ratings r JOIN people o ON o.id = r.person_id
WHERE r.pipeline_id = $1 AND r.review <> ''{later}
ORDER BY r.reviewed_at DESC, r.person_id DESC LIMIT {limit}
"""
_LATER = " AND (r.reviewed_at, r.person_id) < ($2, $3)"


async def subject(pipeline_id: UUID, viewer_id: UUID | None) -> Subject:
    """The pipeline as this reader sees it. Raises NotFound for one they may not see."""
    row = await db.fetchrow(_SUBJECT, pipeline_id, viewer_id)
    if row is None:
        raise NotFound("There is no such pipeline, or it is private.")
    return Subject(*row)


async def newest(pipeline_id: UUID, limit: int = NEWEST) -> list[Review]:
    """The newest reviews of a pipeline whose visibility the caller has checked."""
    rows = await db.fetch(_PAGE.format(later="", limit=limit), pipeline_id)
    return [Review(*row[2:]) for row in rows]


async def page(pipeline_id: UUID, after: str | None = None, limit: int = PAGE) -> ReviewPage:
    """A page of reviews; visibility is the caller's to check. Raises NotFound for a cursor that does not exist."""
    place = lists.decode(after, "newest") if after else None
    later, args = (_LATER, (place.value, place.id)) if place else ("", ())
    rows = await db.fetch(_PAGE.format(later=later, limit=limit + 1), pipeline_id, *args)
    shown = [Review(*row[2:]) for row in rows[:limit]]
    return ReviewPage(shown, lists.next_of("newest", rows, limit, place), place.before + 1 if place else 1)
