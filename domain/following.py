"""What is new for a person: by the people, under the tags and around the pipelines that they follow.

Each source is read through an index in the list's order, a page's worth for each that is followed, so a
page costs the same however much these have made. What comes by two ways is one entry with two reasons.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain import db, feeds, follows, lists, things
from domain.follows import Followed
from domain.lists import LISTED, PAGE
from domain.things import Thing

Kind = Literal["pipeline", "run", "version"]
Way = Literal["person", "tag", "offshoot", "version", "result"]


class Reason(Struct, frozen=True):
    """Why something is here: the way it came, and who or what is followed."""

    way: Way
    name: str
    handle: str = ""
    pipeline_id: UUID | None = None

    @property
    def before(self) -> str:
        """The words before the name."""
        words = {"person": "By", "tag": "Tagged", "offshoot": "An offshoot of", "version": "A new version of"}
        return words.get(self.way, "A result of")


class News(Struct, frozen=True):
    """One new pipeline, published run or version (`number` and `note` then)."""

    id: UUID
    kind: Kind
    at: datetime
    thing: Thing
    reasons: list[Reason]
    number: int | None = None
    note: str = ""

    @property
    def url(self) -> str:
        """The address of its own page."""
        return f"{self.thing.url}/versions/{self.number}" if self.kind == "version" else self.thing.url


class NewsPage(Struct, frozen=True):
    """A page of news, newest first; `next` leads to older ones. `followed` is how many are followed."""

    news: list[News]
    next: str | None
    followed: int


class _Found(Struct):
    """A row of the search: what, when, and by which ways it came."""

    at: datetime
    id: UUID
    kind: Kind
    pipeline_id: UUID
    number: int | None
    note: str
    ways: list[Way]
    subjects: list[str]


_EDGE = f"""
SELECT CASE WHEN count(*) = {{limit}} THEN min(at) ELSE '-infinity' END AS at FROM (
    SELECT at FROM (
        SELECT x.at FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
            SELECT p.published_at AS at FROM pipelines p WHERE p.owner_id = f.id AND {LISTED}{{p}}
            ORDER BY p.published_at DESC, p.id DESC LIMIT 1) x
        UNION ALL
        SELECT x.at FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
            SELECT r.published_at AS at FROM runs r
            WHERE r.pipeline_id = f.id AND r.visibility = 'published' AND r.owner_id <> $1{{r}}
            ORDER BY r.published_at DESC, r.id DESC LIMIT 1) x
    ) newest ORDER BY at DESC LIMIT {{limit}}
) page
"""  # noqa: S608 - constants only
"""A time that a page surely does not reach behind: as many entries as fit are known to be newer. With it each
of hundreds who are followed costs a look into an index, and not a page."""

_BY_PEOPLE = f"""
SELECT x.published_at AS at, x.id, 'pipeline' AS kind, x.id AS pipeline_id, NULL::int AS number, '' AS note,
    'person' AS way, f.id::text AS subject
FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT p.published_at, p.id FROM pipelines p
    WHERE p.owner_id = f.id AND {LISTED} AND p.published_at >= (SELECT at FROM edge){{p}}
    ORDER BY p.published_at DESC, p.id DESC LIMIT {{limit}}) x
UNION ALL
SELECT x.published_at, x.id, 'run', x.pipeline_id, NULL, '', 'person', f.id::text
FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT r.published_at, r.id, r.pipeline_id,
        p.owner_id = f.id AND p.published_at IS NOT DISTINCT FROM r.published_at AS first
    FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
    WHERE r.owner_id = f.id AND r.visibility = 'published' AND p.visibility = 'public' AND p.deleted_at IS NULL
        AND r.published_at >= (SELECT at FROM edge){{r}}
    ORDER BY r.published_at DESC, r.id DESC LIMIT {{limit}}) x
WHERE NOT x.first
"""  # noqa: S608 - constants only
"""The run that put its pipeline into the gallery is there as the pipeline: one for one, so the page stays full."""

_BY_TAGS = f"""
SELECT x.published_at AS at, x.id, 'pipeline' AS kind, x.id AS pipeline_id, NULL::int AS number, '' AS note,
    'tag' AS way, t.tag AS subject
FROM (
    SELECT p.published_at, p.id, p.tags FROM pipelines p
    WHERE p.tags && $3::text[] AND p.owner_id <> $1 AND {LISTED} AND p.published_at >= (SELECT at FROM edge){{p}}
    ORDER BY p.published_at DESC, p.id DESC LIMIT {{limit}}
) x JOIN LATERAL unnest(x.tags) t (tag) ON t.tag = ANY($3)
"""  # noqa: S608 - constants only

_BY_PIPELINES = f"""
SELECT x.published_at AS at, x.id, 'pipeline' AS kind, x.id AS pipeline_id, NULL::int AS number, '' AS note,
    'offshoot' AS way, f.id::text AS subject
FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT p.published_at, p.id FROM pipelines p WHERE p.parent_id = f.id AND p.owner_id <> $1 AND {LISTED}
        AND p.published_at >= (SELECT at FROM edge){{p}}
    ORDER BY p.published_at DESC, p.id DESC LIMIT {{limit}}) x
UNION ALL
SELECT x.published_at, x.id, 'run', f.id, NULL, '', 'result', f.id::text
FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT r.published_at, r.id FROM runs r WHERE r.pipeline_id = f.id AND r.visibility = 'published'
        AND r.owner_id <> $1 AND r.published_at >= (SELECT at FROM edge){{r}}
    ORDER BY r.published_at DESC, r.id DESC LIMIT {{limit}}) x
UNION ALL
SELECT x.created_at, x.id, 'version', f.id, x.number, x.note, 'version', f.id::text
FROM unnest($4::uuid[]) f (id) JOIN pipelines p ON p.id = f.id AND p.owner_id <> $1 CROSS JOIN LATERAL (
    SELECT v.created_at, v.id, v.number, v.note FROM versions v WHERE v.pipeline_id = f.id AND v.number > 1
        AND v.created_at >= (SELECT at FROM edge){{v}}
    ORDER BY v.created_at DESC, v.id DESC LIMIT {{limit}}) x
"""  # noqa: S608 - constants only

_MERGED = """
WITH edge AS MATERIALIZED ({edge})
SELECT at, id, min(kind), min(pipeline_id::text)::uuid, min(number), min(note),
    array_agg(way ORDER BY way, subject), array_agg(subject ORDER BY way, subject)
FROM ({found}) found WHERE $3::text[] IS NOT NULL
GROUP BY at, id ORDER BY at DESC, id DESC LIMIT {limit}
"""


async def news(person_id: UUID, after: str | None = None, limit: int = PAGE) -> NewsPage:
    """What is new for a person, newest first, in four queries at most. Raises NotFound for a wrong cursor."""
    followed, found, next_ = await _search(person_id, after, limit)
    shown = await things.read(
        [one.pipeline_id for one in found if one.kind != "run"], [one.id for one in found if one.kind == "run"]
    )
    named = _names(followed)
    page = []
    for one in found:
        thing = shown.get(one.id if one.kind == "run" else one.pipeline_id)
        if thing is not None:
            page.append(News(one.id, one.kind, one.at, thing, _reasons(one, named), one.number, one.note))
    return NewsPage(page, next_, len(followed))


async def feed(person_id: UUID, after: str | None = None, limit: int = PAGE) -> feeds.Page:
    """The same as a feed, without what only this person may see: feed readers do not log in."""
    followed, found, next_ = await _search(person_id, after, limit, everyone=True)
    entries = await feeds.by_ids(
        [one.pipeline_id for one in found if one.kind != "run"], [one.id for one in found if one.kind == "run"]
    )
    named = _names(followed)
    page = []
    for one in found:
        entry = entries.get(one.id if one.kind == "run" else one.pipeline_id)
        if entry is None:
            continue
        entry = feeds.told(entry, one.at, "; ".join(_words(reason) for reason in _reasons(one, named)))
        if one.kind == "version":
            entry = replace(entry, id=one.id, version=one.number, description=one.note, updated=one.at)
        page.append(entry)
    return feeds.Page(page, next_)


async def _search(
    person_id: UUID, after: str | None, limit: int, *, everyone: bool = False
) -> tuple[list[Followed], list[_Found], str | None]:
    """Whom the person follows, one page of what is new, and the cursor of the next.

    With `everyone` only around pipelines that are not private."""
    place = lists.decode(after, "newest") if after else None
    followed = (await follows.mine(person_id, limit=follows.MAX_FOLLOWS)).followed
    people = [one.person_id for one in followed if one.kind == "person"]
    tags = [one.tag for one in followed if one.kind == "tag"]
    pipelines = [
        one.pipeline_id for one in followed if one.name and one.kind == "pipeline" and (one.open or not everyone)
    ]
    parts = [sql for sql, asked in ((_BY_PEOPLE, people), (_BY_TAGS, tags), (_BY_PIPELINES, pipelines)) if asked]
    if not parts:
        return followed, [], None
    args: list[Any] = [person_id, people, tags, pipelines]
    later = {"p": "", "r": "", "v": ""}
    if place is not None:
        args += [place.value, place.id]
        later = {
            name: f" AND ({name}.{'created_at' if name == 'v' else 'published_at'}, {name}.id) < ($5, $6)"
            for name in later
        }
    edge = _EDGE.format(**later, limit=limit + 1)
    union = " UNION ALL ".join(f"({sql.format(**later, limit=limit + 1)})" for sql in parts)
    async with db.transaction():
        # how common a tag is decides the way to it, so each question gets a plan of its own
        await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        rows = await db.fetch(_MERGED.format(edge=edge, found=union, limit=limit + 1), *args)
    return followed, [_Found(*row) for row in rows[:limit]], lists.next_of("newest", rows, limit, place)


def _names(followed: Sequence[Followed]) -> dict[str, Followed]:
    """Those that are followed, by what the search calls them."""
    return {str(one.person_id or one.pipeline_id or one.tag): one for one in followed}


def _reasons(found: _Found, named: dict[str, Followed]) -> list[Reason]:
    reasons = []
    for way, subject in zip(found.ways, found.subjects, strict=True):
        one = named[subject]
        reasons.append(Reason(way, one.name, one.handle, one.pipeline_id))
    return reasons


def _words(reason: Reason) -> str:
    """The reason as plain text, for feeds."""
    name = f"@{reason.handle}" if reason.handle else f"“{reason.name}”"
    whom = "whom" if reason.way == "person" else "which"
    return f"{reason.before} {name}, {whom} you follow"
