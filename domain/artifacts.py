"""Artifacts: what steps make and people upload, stored once under the SHA-256 of their bytes."""

import asyncio
import hashlib
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from domain import db
from domain.errors import NotFound, Unavailable
from domain.storage import Storage, key_of

WIDTHS = (320, 640, 1280)
"""Widths of the WebP renditions. The first exists for every picture, at its own size if smaller."""

IN_RECIPE = """jsonb_path_query_array(v.recipe, '$.steps[*].keyvalue()?(@.key == "upload" || @.key == "mask").value')"""
"""SQL: the files that people gave to the version `v`, as its index has them; `domain.steps.FILES` name the fields."""
_IN_DRAFT = """jsonb_path_query_array(form, '$.keyvalue()?(@.key like_regex "-(upload|mask)$").value')"""

_VISIBLE = f"""
WITH asked AS (
    SELECT $1::text AS sha256 UNION SELECT source FROM renditions WHERE sha256 = $1
    UNION SELECT source FROM forms WHERE sha256 = $1
), public AS (
    SELECT EXISTS (
        SELECT FROM asked JOIN outputs o USING (sha256) JOIN step_runs s ON s.id = o.step_run_id
        JOIN runs r ON r.id = s.run_id JOIN pipelines p ON p.id = r.pipeline_id
        WHERE r.visibility = 'published' AND p.deleted_at IS NULL AND p.visibility <> 'private'
    ) OR EXISTS (
        SELECT FROM asked JOIN versions v ON {IN_RECIPE} @> to_jsonb(asked.sha256)
        JOIN pipelines p ON p.id = v.pipeline_id
        WHERE p.deleted_at IS NULL AND p.visibility <> 'private'
    ) AS yes
)
SELECT a.sha256, a.media_type, a.bytes, a.width, a.height, coalesce(a.peaks, '') AS peaks, public.yes AS public
FROM artifacts a, public
WHERE a.sha256 = CASE WHEN $5::text IS NOT NULL THEN (
    SELECT sha256 FROM forms WHERE source = $1 AND form = $5
) ELSE coalesce((
    SELECT sha256 FROM renditions WHERE source = $1 AND $3::int IS NOT NULL
    ORDER BY width >= $3 DESC, CASE WHEN width >= $3 THEN width ELSE -width END LIMIT 1
), $1) END AND a.state = 'stored' AND (
    $4 OR public.yes
    OR EXISTS (
        SELECT FROM asked JOIN outputs o USING (sha256) JOIN step_runs s ON s.id = o.step_run_id
        JOIN runs r ON r.id = s.run_id JOIN pipelines p ON p.id = r.pipeline_id
        WHERE r.owner_id = $2 OR r.visibility = 'published' AND p.deleted_at IS NULL AND p.owner_id = $2
    )
    OR EXISTS (SELECT FROM asked JOIN uploads u USING (sha256) WHERE u.person_id = $2)
    OR EXISTS (
        SELECT FROM asked JOIN versions v ON {IN_RECIPE} @> to_jsonb(asked.sha256)
        JOIN pipelines p ON p.id = v.pipeline_id
        WHERE p.deleted_at IS NULL AND p.owner_id = $2
    )
)
"""  # noqa: S608 - the path of a constant


_TOUCH = """
INSERT INTO artifacts AS a (sha256, media_type, bytes, width, height, state) VALUES ($1, $2, $3, $4, $5, 'writing')
ON CONFLICT (sha256) DO UPDATE SET touched_at = clock_timestamp(),
    state = CASE a.state WHEN 'stored' THEN 'stored' ELSE 'writing' END,
    media_type = CASE a.state WHEN 'stored' THEN a.media_type ELSE excluded.media_type END,
    bytes = excluded.bytes,
    width = CASE a.state WHEN 'stored' THEN a.width ELSE excluded.width END,
    height = CASE a.state WHEN 'stored' THEN a.height ELSE excluded.height END
WHERE a.state <> 'deleting' OR a.touched_at < clock_timestamp() - $6::interval
RETURNING true
"""

_STORED = """
UPDATE artifacts SET state = 'stored', touched_at = clock_timestamp() WHERE sha256 = $1 AND state <> 'deleting'
"""

REMOVAL = timedelta(minutes=2)
"""How long after a sweep began to remove an object its request may still arrive at the file store. A row that is
`deleting` and was touched within that time must not be written; one touched before is only marked."""
_PATIENCE = 30

SWEEPING = "hashtextextended('sweep', 0)"
"""The advisory lock that marking takes for itself, and backups share so that nothing they list goes meanwhile."""

REFERENCED = f"""(
    EXISTS (SELECT FROM outputs WHERE outputs.sha256 = a.sha256)
    OR EXISTS (SELECT FROM uploads WHERE uploads.sha256 = a.sha256)
    OR EXISTS (SELECT FROM pipelines WHERE cover_sha256 = a.sha256)
    OR EXISTS (SELECT FROM renditions WHERE renditions.sha256 = a.sha256 AND source <> a.sha256)
    OR EXISTS (SELECT FROM forms WHERE forms.sha256 = a.sha256 AND source <> a.sha256)
    OR (SELECT count(*) FROM versions v WHERE {IN_RECIPE} @> to_jsonb(a.sha256)) > 0
    OR (SELECT count(*) FROM drafts WHERE {_IN_DRAFT} @> to_jsonb(a.sha256)) > 0
)"""  # noqa: S608 - paths of constants
"""Whether anything needs the artifact `a`. A rendition or another form is needed while its source has a row, which is
one sweep longer than the source itself. Counting makes the planner take the index where EXISTS hopes for an early
match."""


class Artifact(Struct, frozen=True):
    """A stored file. Width and height are pixels, None for what has none."""

    sha256: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    peaks: str
    """How loud an uploaded sound is from beginning to end, as receipts tell it of others; "" where nobody knows."""
    public: bool
    """Whether anybody may see it, so that shared caches may keep it."""


async def record(
    storage: Storage, data: bytes, media_type: str, width: int | None = None, height: int | None = None
) -> str:
    """Store bytes and return their SHA-256.

    Bytes that are known are put again: an object that was lost comes back with them, and nobody learns from
    the time it takes whether somebody else has the same. The row is touched first, then the object put; for a
    day after that no sweep takes it, and within that time the caller refers to it. Raises Unavailable when the
    file store cannot be reached, or while a sweep may still be removing the same bytes; the call may then be
    repeated.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    await _touch(sha256, media_type, len(data), width, height)
    await storage.put(key_of(sha256), data, media_type)
    if not await db.execute(_STORED, sha256):
        raise Unavailable("Saving the file took too long. Try again.")
    return sha256


async def _touch(sha256: str, *columns: object) -> None:
    """Claim the row for writing. Waits for a sweep at work."""
    for _ in range(_PATIENCE):
        if await db.fetchval(_TOUCH, sha256, *columns, REMOVAL):
            return
        await asyncio.sleep(0.1)
    raise Unavailable("An old copy of the file is being removed just now. Try again in two minutes.")


async def visible(
    sha256: str, viewer_id: UUID | None, width: int | None = None, form: str | None = None, *, allowed: bool = False
) -> Artifact:
    """The artifact, if the viewer may see it: through a run, a rendition, an upload or a version.

    With `width` (pixels) its rendition instead: the smallest that is wide enough, else the widest,
    else the artifact itself. With `form` the same in another form, such as `stl`. `allowed`: somebody
    already decided that this viewer may see it. Raises NotFound, the same for what is private, what
    never was and a form that is not there. One query.
    """
    row = await db.fetchrow(_VISIBLE, sha256, viewer_id, width, allowed, form)
    if row is None:
        raise NotFound("There is no such file, or it is private.")
    return Artifact(**row)


async def add_rendition(source: str, width: int, sha256: str) -> None:
    """Say that `sha256` is `source` at `width` pixels."""
    await db.execute(
        """INSERT INTO renditions (source, width, sha256) VALUES ($1, $2, $3)
           ON CONFLICT (source, width) DO UPDATE SET sha256 = excluded.sha256""",
        source,
        width,
        sha256,
    )


async def add_form(source: str, form: str, sha256: str) -> None:
    """Say that `sha256` is `source` in another form, such as `stl`."""
    await db.execute(
        """INSERT INTO forms (source, form, sha256) VALUES ($1, $2, $3)
           ON CONFLICT (source, form) DO UPDATE SET sha256 = excluded.sha256""",
        source,
        form,
        sha256,
    )


async def tell_sound(sha256: str, seconds: float, peaks: str) -> None:
    """Say how long a sound is, and how loud from beginning to end."""
    await db.execute("UPDATE artifacts SET duration = $2, peaks = $3 WHERE sha256 = $1", sha256, seconds, peaks)


async def peaks(sounds: Collection[str]) -> dict[str, str]:
    """The peaks of those uploaded sounds of which they are known. One query, none for no sounds."""
    if not sounds:
        return {}
    rows = await db.fetch("SELECT sha256, peaks FROM artifacts WHERE sha256 = ANY($1) AND peaks <> ''", list(sounds))
    return {row["sha256"]: row["peaks"] for row in rows}


async def seconds(sounds: Collection[str]) -> dict[str, float]:
    """How long those uploaded sounds are of which that is known. One query, none for no sounds."""
    if not sounds:
        return {}
    rows = await db.fetch(
        "SELECT sha256, duration FROM artifacts WHERE sha256 = ANY($1) AND duration > 0", list(sounds)
    )
    return {row["sha256"]: row["duration"] for row in rows}


async def renditions(sha256: str) -> dict[int, str]:
    """The SHA-256 of each rendition by width."""
    rows = await db.fetch("SELECT width, sha256 FROM renditions WHERE source = $1 ORDER BY width", sha256)
    return {row["width"]: row["sha256"] for row in rows}
