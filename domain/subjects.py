"""What people talk about: a pipeline, or a published run of one; and who may see it."""

from collections.abc import Collection
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.errors import NotFound

GONE = "There is no such pipeline or result, or it is private."


class Subject(Struct, frozen=True, kw_only=True):
    """A pipeline (`run_id` and `number` are None), or one of its published runs."""

    pipeline_id: UUID
    run_id: UUID | None
    number: int | None
    title: str
    private: bool
    """Only its owners see it: the pipeline's, and the run's."""
    owner_id: UUID
    """Whose it is: the run's owner, or the pipeline's."""
    pipeline_owner_id: UUID

    @property
    def id(self) -> UUID:
        """The run's id, or the pipeline's."""
        return self.run_id or self.pipeline_id

    @property
    def column(self) -> str:
        """The column of `comments` that holds the id."""
        return "run_id" if self.run_id else "pipeline_id"

    @property
    def owners(self) -> set[UUID]:
        """Whoever may take comments away, and sees it while it is private."""
        return {self.owner_id, self.pipeline_owner_id}

    def seen_by(self, people: Collection[UUID]) -> list[UUID]:
        """Those of the people who may see it."""
        return [person for person in people if not self.private or person in self.owners]


def seen(viewer: str) -> str:
    """SQL: whether `viewer` (an expression) may see pipeline `p`, and run `r` where there is one."""
    return f"""p.deleted_at IS NULL AND (r.id IS NULL OR r.visibility = 'published')
        AND (p.visibility <> 'private' OR p.owner_id = {viewer} OR r.owner_id = {viewer})"""


OF_COMMENT = """LEFT JOIN runs r ON r.id = c.run_id
    JOIN pipelines p ON p.id = coalesce(c.pipeline_id, r.pipeline_id)"""
"""SQL: joins the run `r` and the pipeline `p` that comment `c` is about."""

_SELECT = """
SELECT p.id AS pipeline_id, r.id AS run_id, r.number, p.title, p.visibility = 'private' AS private,
    coalesce(r.owner_id, p.owner_id) AS owner_id, p.owner_id AS pipeline_owner_id
"""
_PIPELINE = f"{_SELECT} FROM pipelines p LEFT JOIN runs r ON false WHERE p.id = $1 AND {seen('$2')}"
_RUN = f"{_SELECT} FROM runs r JOIN pipelines p ON p.id = r.pipeline_id WHERE r.id = $1 AND {seen('$2')}"
_COMMENT = f"{_SELECT} FROM comments c {OF_COMMENT} WHERE c.id = $1 AND {seen('$2')}"


async def pipeline(pipeline_id: UUID, viewer_id: UUID | None) -> Subject:
    """A pipeline as a subject. Raises NotFound, also for one that the viewer may not see."""
    return await _one(_PIPELINE, pipeline_id, viewer_id)


async def run(run_id: UUID, viewer_id: UUID | None) -> Subject:
    """A published run. Raises NotFound, also for one that is private, even the viewer's own."""
    return await _one(_RUN, run_id, viewer_id)


async def of_comment(comment_id: UUID, viewer_id: UUID | None) -> Subject:
    """What a comment is about. Raises NotFound where the viewer may not see it."""
    return await _one(_COMMENT, comment_id, viewer_id)


async def _one(sql: str, id_: UUID, viewer_id: UUID | None) -> Subject:
    row = await db.fetchrow(sql, id_, viewer_id)
    if row is None:
        raise NotFound(GONE)
    return Subject(**row)
