"""Offshoots: a new pipeline whose first version has somebody's version as parent."""

from collections.abc import Mapping
from uuid import UUID

from domain import db, licenses, pipelines, steps
from domain.changes import Changes, as_run
from domain.errors import NotFound, Refused
from domain.pipelines import Details, PipelineRef


async def fork(
    version_id: UUID,
    person_id: UUID,
    changes: Changes | None = None,
    inputs: Mapping[str, str] | None = None,
    once: str = "",
) -> PipelineRef:
    """Make the person a private offshoot with the same title and recipe, a single one for each request `once`.

    `changes` and `inputs` are what a run of the version was run with, for an offshoot of just that run: what it
    was given becomes what the offshoot has. Its seed does not, because a seed is a run's and not a version's.
    Raises NotFound for a version they may not see, Refused where the license allows no derivatives.
    """
    async with db.transaction():
        row = await db.fetchrow(
            """
            SELECT p.owner_id, p.title, p.tags, p.license, v.recipe
            FROM versions v JOIN pipelines p ON p.id = v.pipeline_id
            WHERE v.id = $1 AND p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2)
            FOR NO KEY UPDATE OF p
            """,
            version_id,
            person_id,
        )
        if row is None:
            raise NotFound("There is no such version, or it is private.")
        license = licenses.of(row["license"])
        if not license.derivatives and row["owner_id"] != person_id:
            raise Refused(f"Its license, {license.name}, allows no offshoots. You can still run it as it is.")
        recipe = as_run(steps.convert(row["recipe"]), changes or {}, inputs or {})
        details = Details(row["title"], "", row["tags"], row["license"], "private")
        return await pipelines.create(person_id, details, recipe, version_id, once=once)
