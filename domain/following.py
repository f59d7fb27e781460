"""What is new for a person: by the people, under the tags and around the pipelines that they follow.

Each source is read through an index in the list's order, a page's worth for each that is followed, so a
page costs the same however much these have made. What comes by two ways is one entry with two reasons.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain import db, feeds, follows, lists, paging, things
from domain.follows import Followed
from domain.lists import LISTED, PAGE, Place
from domain.things import Thing

Kind = Literal["pipeline", "run", "version", "grid"]
Way = Literal["person", "tag", "offshoot", "version", "result", "grid"]


class Reason(Struct, frozen=True):
    """Why something is here: the way it came, and who or what is followed."""

    way: Way
    name: str
    handle: str = ""
    pipeline_id: UUID | None = None

    @property
    def before(self) -> str:
        """The words before the name."""
        return _WORDS[self.way]


_WORDS: dict[Way, str] = {
    "person": "By",
    "tag": "Tagged",
    "offshoot": "An offshoot of",
    "version": "A new version of",
    "result": "A result of",
    "grid": "A grid of",
}


class News(Struct, frozen=True):
    """One new pipeline, published run, grid or version (`number` and `note` then)."""

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


class _Direction(NamedTuple):
    """How a page is read: on to what is older, or back to what is newer; each from the nearest on."""

    order: str
    beyond: str
    """How a row compares with the place."""
    before_edge: str
    furthest: str
    no_edge: str


_ON = _Direction("DESC", "<", ">=", "min", "-infinity")
_BACK = _Direction("ASC", ">", "<=", "max", "infinity")

_EDGE = f"""
SELECT CASE WHEN count(*) = {{limit}} THEN {{furthest}}(at) ELSE '{{no_edge}}' END AS at FROM (
    SELECT at FROM (
        SELECT x.at FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
            SELECT p.published_at AS at FROM pipelines p WHERE p.owner_id = f.id AND {LISTED}{{p}}
            ORDER BY p.published_at {{order}}, p.id {{order}} LIMIT 1) x
        UNION ALL
        SELECT x.at FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
            SELECT r.published_at AS at FROM runs r
            WHERE r.pipeline_id = f.id AND r.visibility = 'published' AND NOT r.apart AND r.owner_id <> $1{{r}}
            ORDER BY r.published_at {{order}}, r.id {{order}} LIMIT 1) x
    ) nearest ORDER BY at {{order}} LIMIT {{limit}}
) page
"""  # noqa: S608 - constants only
"""A time that a page surely does not reach behind: as many entries as fit are known to be nearer. With it each
of hundreds who are followed costs a look into an index, and not a page."""

_BY_PEOPLE = f"""
SELECT x.published_at AS at, x.id, 'pipeline' AS kind, x.id AS pipeline_id, NULL::int AS number, '' AS note,
    'person' AS way, f.id::text AS subject
FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT p.published_at, p.id FROM pipelines p
    WHERE p.owner_id = f.id AND {LISTED} AND p.published_at {{before_edge}} (SELECT at FROM edge){{p}}
    ORDER BY p.published_at {{order}}, p.id {{order}} LIMIT {{limit}}) x
UNION ALL
SELECT x.published_at, x.id, 'run', x.pipeline_id, NULL, '', 'person', f.id::text
FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT r.published_at, r.id, r.pipeline_id,
        p.owner_id = f.id AND p.published_at IS NOT DISTINCT FROM r.published_at AS first
    FROM runs r JOIN pipelines p ON p.id = r.pipeline_id
    WHERE r.owner_id = f.id AND r.visibility = 'published' AND NOT r.apart
        AND p.visibility = 'public' AND p.deleted_at IS NULL
        AND r.published_at {{before_edge}} (SELECT at FROM edge){{r}}
    ORDER BY r.published_at {{order}}, r.id {{order}} LIMIT {{limit}}) x
WHERE NOT x.first
UNION ALL
SELECT x.published_at, x.id, 'grid', x.pipeline_id, NULL, '', 'person', f.id::text
FROM unnest($2::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT g.published_at, g.id, g.pipeline_id FROM grids g JOIN pipelines p ON p.id = g.pipeline_id
    WHERE g.owner_id = f.id AND g.published_at IS NOT NULL AND p.visibility = 'public' AND p.deleted_at IS NULL
        AND g.published_at {{before_edge}} (SELECT at FROM edge){{g}}
    ORDER BY g.published_at {{order}}, g.id {{order}} LIMIT {{limit}}) x
"""  # noqa: S608 - constants only
"""The run that put its pipeline into the gallery is there as the pipeline: one for one, so the page stays full. A
grid is one entry: its cells are published apart."""

_BY_TAGS = f"""
SELECT x.published_at AS at, x.id, 'pipeline' AS kind, x.id AS pipeline_id, NULL::int AS number, '' AS note,
    'tag' AS way, t.tag AS subject
FROM (
    SELECT p.published_at, p.id, p.tags FROM pipelines p
    WHERE p.tags && $3::text[] AND p.owner_id <> $1 AND {LISTED}
        AND p.published_at {{before_edge}} (SELECT at FROM edge){{p}}
    ORDER BY p.published_at {{order}}, p.id {{order}} LIMIT {{limit}}
) x JOIN LATERAL unnest(x.tags) t (tag) ON t.tag = ANY($3)
"""  # noqa: S608 - constants only

_BY_PIPELINES = f"""
SELECT x.published_at AS at, x.id, 'pipeline' AS kind, x.id AS pipeline_id, NULL::int AS number, '' AS note,
    'offshoot' AS way, f.id::text AS subject
FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT p.published_at, p.id FROM pipelines p WHERE p.parent_id = f.id AND p.owner_id <> $1 AND {LISTED}
        AND p.published_at {{before_edge}} (SELECT at FROM edge){{p}}
    ORDER BY p.published_at {{order}}, p.id {{order}} LIMIT {{limit}}) x
UNION ALL
SELECT x.published_at, x.id, 'run', f.id, NULL, '', 'result', f.id::text
FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT r.published_at, r.id FROM runs r WHERE r.pipeline_id = f.id AND r.visibility = 'published'
        AND NOT r.apart AND r.owner_id <> $1 AND r.published_at {{before_edge}} (SELECT at FROM edge){{r}}
    ORDER BY r.published_at {{order}}, r.id {{order}} LIMIT {{limit}}) x
UNION ALL
SELECT x.published_at, x.id, 'grid', f.id, NULL, '', 'grid', f.id::text
FROM unnest($4::uuid[]) f (id) CROSS JOIN LATERAL (
    SELECT g.published_at, g.id FROM grids g WHERE g.pipeline_id = f.id AND g.published_at IS NOT NULL
        AND g.owner_id <> $1 AND g.published_at {{before_edge}} (SELECT at FROM edge){{g}}
    ORDER BY g.published_at {{order}}, g.id {{order}} LIMIT {{limit}}) x
UNION ALL
SELECT x.created_at, x.id, 'version', f.id, x.number, x.note, 'version', f.id::text
FROM unnest($4::uuid[]) f (id) JOIN pipelines p ON p.id = f.id AND p.owner_id <> $1 CROSS JOIN LATERAL (
    SELECT v.created_at, v.id, v.number, v.note FROM versions v WHERE v.pipeline_id = f.id AND v.number > 1
        AND v.created_at {{before_edge}} (SELECT at FROM edge){{v}}
    ORDER BY v.created_at {{order}}, v.id {{order}} LIMIT {{limit}}) x
"""  # noqa: S608 - constants only

_MERGED = """
WITH edge AS MATERIALIZED ({edge})
SELECT at, id, min(kind), min(pipeline_id::text)::uuid, min(number), min(note),
    array_agg(way ORDER BY way, subject), array_agg(subject ORDER BY way, subject)
FROM ({found}) found WHERE $3::text[] IS NOT NULL
GROUP BY at, id ORDER BY at {order}, id {order} LIMIT {limit}
"""


async def news(person_id: UUID, after: str | None = None, limit: int = PAGE) -> NewsPage:
    """What is new for a person, newest first, in five queries at most. Raises NotFound for a wrong cursor."""
    place = lists.decode(after, "newest") if after else None
    followed = await _followed(person_id)
    rows = await _read(person_id, followed, limit)(place, False)
    found = [_Found(*row) for row in rows[:limit]]
    shown = await things.read(*_ids(found))
    named = _names(followed)
    page = []
    for one in found:
        thing = shown.get(_shown_as(one))
        if thing is not None:
            page.append(News(one.id, one.kind, one.at, thing, _reasons(one, named), one.number, one.note))
    return NewsPage(page, lists.next_of("newest", rows, limit, place), len(followed))


async def feed(person_id: UUID, after: str | None = None, limit: int = PAGE) -> feeds.Page:
    """The same as a feed, without what only this person may see: feed readers do not log in."""
    followed = [one for one in await _followed(person_id) if one.kind != "pipeline" or one.open]
    rows, next_, previous = await paging.paged(_read(person_id, followed, limit), after, limit)
    found = [_Found(*row) for row in rows]
    entries = await feeds.by_ids(*_ids(found))
    named = _names(followed)
    page = []
    for one in found:
        entry = entries.get(_shown_as(one))
        if entry is None:
            continue
        entry = feeds.told(entry, one.at, "; ".join(_words(reason) for reason in _reasons(one, named)))
        if one.kind == "version":
            entry = replace(entry, id=one.id, version=one.number, description=one.note, updated=one.at)
        page.append(entry)
    return feeds.Page(page, next_, previous)


async def _followed(person_id: UUID) -> list[Followed]:
    return (await follows.mine(person_id, limit=follows.MAX_FOLLOWS)).followed


def _shown_as(one: _Found) -> UUID:
    """The id of what stands for it: a version is shown as its pipeline."""
    return one.id if one.kind in ("run", "grid") else one.pipeline_id


def _ids(found: Sequence[_Found]) -> tuple[list[UUID], list[UUID], list[UUID]]:
    """The pipelines, runs and grids that are to be read."""
    return (
        [one.pipeline_id for one in found if one.kind in ("pipeline", "version")],
        [one.id for one in found if one.kind == "run"],
        [one.id for one in found if one.kind == "grid"],
    )


def _read(person_id: UUID, followed: Sequence[Followed], limit: int) -> paging.Read:
    """Reads what is new from those who are followed, by time."""
    people = [one.person_id for one in followed if one.kind == "person"]
    tags = [one.tag for one in followed if one.kind == "tag"]
    pipelines = [one.pipeline_id for one in followed if one.name and one.kind == "pipeline"]
    parts = [sql for sql, asked in ((_BY_PEOPLE, people), (_BY_TAGS, tags), (_BY_PIPELINES, pipelines)) if asked]

    async def read(place: Place | None, backward: bool) -> paging.Rows:
        if not parts:
            return []
        way = _BACK if backward else _ON
        words = {**way._asdict(), **_later(way, place), "limit": limit + 1}
        union = " UNION ALL ".join(f"({sql.format(**words)})" for sql in parts)
        args = [person_id, people, tags, pipelines, *((place.value, place.id) if place else ())]
        async with db.transaction():
            # how common a tag is decides the way to it, so each question gets a plan of its own
            await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            return await db.fetch(_MERGED.format(edge=_EDGE.format(**words), found=union, **words), *args)

    return read


def _later(way: _Direction, place: Place | None) -> dict[str, str]:
    """The condition that leads on from a place, for each table."""
    at = {"p": "published_at", "r": "published_at", "g": "published_at", "v": "created_at"}
    return {
        name: f" AND ({name}.{time}, {name}.id) {way.beyond} ($5, $6)" if place else "" for name, time in at.items()
    }


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
