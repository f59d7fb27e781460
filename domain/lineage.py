"""Lineage: the tree of a pipeline's ancestors and offshoots, always a bounded part of it.

Private and removed pipelines keep their place in the tree without their names.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

from domain import db, diff
from domain.errors import NotFound

TWIGS = 6
"""Offshoots shown under one pipeline; the rest are counted."""
LEVELS_UP = 2
LEVELS_DOWN = 4
MOST = 300
"""Pipelines drawn on a lineage page at most."""

State = Literal["shown", "unrun", "private", "removed"]


class Node(msgspec.Struct, kw_only=True):
    """A pipeline in the tree. Private and removed ones carry no words and no picture."""

    id: UUID
    state: State
    title: str = ""
    owner_handle: str = ""
    owner_name: str = ""
    cover_sha256: str | None = None
    cover_width: int | None = None
    cover_height: int | None = None
    cover_text: str = ""
    generation: int = 1
    current: bool = False
    words: int = 0
    """How many words of the prompt differ from the parent's, where both may be seen."""
    children: list["Node"] = []
    more: int = 0
    """Children that are not drawn; 1,000 means at least so many."""


class Lineage(msgspec.Struct, kw_only=True):
    """A part of the tree: its topmost node drawn, how many generations stand above it,
    and the size of the whole line (pipelines counted up to 10,000)."""

    top: Node
    earlier: int
    root_id: UUID
    generations: int
    pipelines: int
    followed: bool
    """Whether the line has feeds: not from a private pipeline."""


_COLUMNS = """p.id, p.parent_id, p.owner_id, p.title, p.visibility, p.deleted_at, p.generation, o.handle, o.name,
    left(p.prompt, 1000) AS prompt,
    p.cover_run_id, p.cover_sha256, p.cover_width, p.cover_height, left(p.cover_text, 200) AS cover_text,
    (SELECT count(*) FROM (SELECT FROM pipelines c WHERE c.parent_id = p.id LIMIT 1000) c) AS twigs"""

_SIZE = """
SELECT coalesce(p.root_id, p.id) AS root_id, p.visibility <> 'private' AS followed, line.pipelines, line.generations
FROM pipelines p CROSS JOIN LATERAL (
    SELECT 1 + count(*) AS pipelines, coalesce(max(l.generation), 1) AS generations FROM (
        SELECT generation FROM pipelines WHERE root_id = coalesce(p.root_id, p.id) LIMIT 10000) l
) line
WHERE p.id = $1
"""

_UP = f"""
WITH RECURSIVE up AS (
    SELECT id, parent_id, 0 AS distance FROM pipelines WHERE id = $1
    UNION ALL
    SELECT p.id, p.parent_id, up.distance + 1 FROM pipelines p JOIN up ON p.id = up.parent_id
    WHERE up.distance < {LEVELS_UP}
)
"""  # noqa: S608 - only constants are put in

_AROUND = f"""
{_UP}, shown AS (
    SELECT id FROM up
    UNION
    SELECT twig.id FROM up CROSS JOIN LATERAL (
        SELECT id FROM (
            SELECT id, visibility = 'public' AND deleted_at IS NULL OR owner_id IS NOT DISTINCT FROM $2 AS visible
            FROM pipelines WHERE parent_id = up.id ORDER BY id LIMIT 200
        ) first ORDER BY visible DESC, id LIMIT {TWIGS + 1}
    ) twig WHERE up.distance <= 1
)
SELECT {_COLUMNS}, p.id IN (SELECT id FROM up) AS trunk
FROM pipelines p JOIN people o ON o.id = p.owner_id WHERE p.id IN (SELECT id FROM shown)
ORDER BY p.generation, p.id
"""  # noqa: S608 - only constants are put in

_WHOLE = f"""
{_UP}, down AS (
    SELECT id, 0 AS depth FROM up WHERE distance = (SELECT max(distance) FROM up)
    UNION ALL
    SELECT p.id, down.depth + 1 FROM pipelines p JOIN down ON p.parent_id = down.id WHERE down.depth < {LEVELS_DOWN}
), shown AS (
    SELECT id FROM up UNION (SELECT id FROM down ORDER BY depth, id LIMIT {MOST})
)
SELECT {_COLUMNS}, p.id IN (SELECT id FROM up) AS trunk
FROM pipelines p JOIN people o ON o.id = p.owner_id WHERE p.id IN (SELECT id FROM shown)
ORDER BY p.generation, p.id
"""  # noqa: S608 - only constants are put in


async def around(pipeline_id: UUID, viewer_id: UUID | None) -> Lineage:
    """What a pipeline's page shows: two generations up, siblings, children. Two queries.

    Visibility of the pipeline itself is the caller's to check. Raises NotFound for an unknown id.
    """
    return await _read(_AROUND, pipeline_id, viewer_id, TWIGS)


async def whole(pipeline_id: UUID, viewer_id: UUID | None) -> Lineage:
    """The larger tree of the lineage page: at most 300 pipelines, two generations up and all
    below those down to the second under this one. Raises NotFound, also for a private pipeline."""
    visible = await db.fetchval(
        """SELECT EXISTS (SELECT FROM pipelines
           WHERE id = $1 AND deleted_at IS NULL AND (visibility <> 'private' OR owner_id = $2))""",
        pipeline_id,
        viewer_id,
    )
    if not visible:
        raise NotFound("There is no such pipeline, or it is private.")
    return await _read(_WHOLE, pipeline_id, viewer_id, MOST)


async def _read(sql: str, pipeline_id: UUID, viewer_id: UUID | None, width: int) -> Lineage:
    size = await db.fetchrow(_SIZE, pipeline_id)
    if size is None:
        raise NotFound("There is no such pipeline, or it is private.")
    args = (pipeline_id, viewer_id) if "$2" in sql else (pipeline_id,)
    top = _tree(await db.fetch(sql, *args), pipeline_id, viewer_id, width)
    return Lineage(
        top=top,
        earlier=top.generation - 1,
        root_id=size["root_id"],
        generations=size["generations"],
        pipelines=size["pipelines"],
        followed=size["followed"],
    )


def _tree(rows: Sequence[db.Record], pipeline_id: UUID, viewer_id: UUID | None, width: int) -> Node:
    """Hang the rows (parents first) on one another; the trunk is never cut off, private twigs first."""
    nodes = {row["id"]: _node(row, pipeline_id, viewer_id) for row in rows}

    def rank(twig: db.Record) -> tuple[bool, bool, UUID]:
        return not twig["trunk"], nodes[twig["id"]].state in ("private", "removed"), twig["id"]

    work = diff.Work()
    below: dict[UUID, list[db.Record]] = {}
    for row in rows:
        if row["parent_id"] in nodes:
            below.setdefault(row["parent_id"], []).append(row)
    for row in rows:
        found = sorted(below.get(row["id"], []), key=rank)[:width]
        found.sort(key=lambda twig: twig["id"])
        node = nodes[row["id"]]
        node.children = [nodes[twig["id"]] for twig in found]
        for twig in found:
            if node.title and nodes[twig["id"]].title:
                nodes[twig["id"]].words = _words_changed(row["prompt"], twig["prompt"], work)
        node.more = row["twigs"] - len(found)
    return nodes[rows[0]["id"]]


def _words_changed(before: str, after: str, work: diff.Work) -> int:
    """How many words of a prompt were put in or, if more, taken out."""
    tokens = diff.words(before, after, work)
    return max(diff.count_words(tokens, "added"), diff.count_words(tokens, "removed"))


def _node(row: db.Record, pipeline_id: UUID, viewer_id: UUID | None) -> Node:
    current = row["id"] == pipeline_id
    if row["deleted_at"] is not None:
        return Node(id=row["id"], state="removed", generation=row["generation"], current=current)
    if not (current or _named(row, viewer_id)):
        return Node(id=row["id"], state="private", generation=row["generation"])
    return Node(
        id=row["id"],
        state="unrun" if row["cover_run_id"] is None else "shown",
        title=row["title"],
        owner_handle=row["handle"],
        owner_name=row["name"],
        cover_sha256=row["cover_sha256"],
        cover_width=row["cover_width"],
        cover_height=row["cover_height"],
        cover_text=row["cover_text"],
        generation=row["generation"],
        current=current,
    )


def _named(row: db.Record, viewer_id: UUID | None) -> bool:
    """Public ones and one's own by name; unlisted ones only on the way up from an offshoot."""
    own = viewer_id is not None and row["owner_id"] == viewer_id
    return bool(own or row["visibility"] == "public" or (row["visibility"] == "unlisted" and row["trunk"]))
