"""Lineage: the tree of a pipeline's ancestors and offshoots, always a bounded part of it.

Private and removed pipelines keep their place in the tree without their names. Offshoots stand in one
order everywhere, the public ones first, then by age, so that a page of them is read by index and the
next begins where it ended. Data made by hand may hold circles: every walk counts its steps, and no
pipeline is drawn twice.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from domain import db, diff, lists
from domain.errors import NotFound

TWIGS = 6
"""Offshoots shown under one pipeline; the rest are counted."""
WIDE = 24
"""Offshoots shown under the pipeline that a lineage page is about, and in each further part."""
NARROW = 3
"""The same further down on a lineage page."""
LEVELS_UP = 2
LEVELS = 4
"""Generations drawn under the topmost: as many as a phone is wide for."""
MOST = 300
"""Pipelines drawn on a lineage page at most."""
COUNTED = 1000
"""Offshoots of one pipeline, and pipelines of a line, that are counted."""
FURTHEST = 200
"""Generations looked through upward for one that may be shown."""

State = Literal["shown", "unrun", "private", "removed"]
Rows = Sequence[Mapping[str, Any]]


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
    """Children that are not drawn."""
    many: bool = False
    """Whether there are more of them than were counted."""
    rest: str = ""
    """The query at `rest_of` that shows the next of them; empty where there is no way to it."""
    rest_of: UUID | None = None


class Lineage(msgspec.Struct, kw_only=True):
    """A part of the tree: its topmost node drawn, how many generations stand above it, and the size of the
    whole line, where `pipelines` stops at `COUNTED` (then `many`)."""

    top: Node
    earlier: int
    above: UUID | None
    """The nearest pipeline above the topmost that the reader may see."""
    first: UUID | None
    """The first of the line, if it stands above the topmost and the reader may see it."""
    generations: int
    pipelines: int
    many: bool
    followed: bool
    """Whether the line has feeds: not from a private pipeline."""


class Part(msgspec.Struct, kw_only=True):
    """Some more offshoots of one pipeline: `of` is that pipeline with them as its children."""

    of: Node


_HIDDEN = "(visibility <> 'public' OR deleted_at IS NOT NULL)"
"""The index's expression, word for word: what stands behind the public offshoots."""

_COLUMNS = f"""p.id, p.parent_id, p.owner_id, p.title, p.visibility, p.deleted_at, p.generation, o.handle, o.name,
    left(p.prompt, 1000) AS prompt,
    p.cover_run_id, p.cover_sha256, p.cover_width, p.cover_height, left(p.cover_text, 200) AS cover_text,
    (p.visibility <> 'public' OR p.deleted_at IS NOT NULL) AS hidden,
    (SELECT count(*) FROM (SELECT FROM pipelines c WHERE c.parent_id = p.id
        ORDER BY {_HIDDEN}, id LIMIT {COUNTED}) c) AS twigs"""  # noqa: S608 - only constants are put in

_SIZE = f"""
SELECT p.visibility <> 'private' AS followed,
    (SELECT count(*) FROM (SELECT FROM pipelines WHERE root_id = coalesce(p.root_id, p.id)
        ORDER BY generation DESC LIMIT {COUNTED}) l) AS offshoots,
    greatest(p.generation, (SELECT generation FROM pipelines WHERE root_id = coalesce(p.root_id, p.id)
        ORDER BY generation DESC LIMIT 1)) AS generations,
    p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2) AS visible,
    (SELECT r.id FROM pipelines r WHERE r.id = p.root_id AND r.deleted_at IS NULL
        AND (r.visibility <> 'private' OR r.owner_id = $2)) AS first
FROM pipelines p WHERE p.id = $1
"""  # noqa: S608 - only constants are put in

_UP = f"""
WITH RECURSIVE up AS (
    SELECT id, parent_id, 0 AS distance FROM pipelines WHERE id = $1
    UNION ALL
    SELECT p.id, p.parent_id, up.distance + 1 FROM pipelines p JOIN up ON p.id = up.parent_id
    WHERE up.distance < {LEVELS_UP}
)
"""  # noqa: S608 - only constants are put in

_SHOWN = f"""
SELECT {_COLUMNS}, shown.place, (SELECT min(distance) FROM up WHERE up.id = p.id) AS distance
FROM (SELECT id, max(place) AS place FROM shown GROUP BY id) shown
CROSS JOIN LATERAL (SELECT * FROM pipelines WHERE id = shown.id LIMIT 1) p
JOIN people o ON o.id = p.owner_id
"""  # noqa: S608 - only constants are put in
"""Of every pipeline in `shown` (id, place): its place among its parent's offshoots, where these were read from
the first on, and its distance if it is on the way up. LIMIT and ORDER BY keep PostgreSQL at the indexes: where
one line is most of the site, it takes every pipeline for an offshoot of the one asked for."""

_AROUND = f"""
{_UP}, shown (id, place) AS (
    SELECT id, NULL FROM up
    UNION ALL
    SELECT twig.id, twig.place FROM up CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY {_HIDDEN}, id) AS place FROM pipelines WHERE parent_id = up.id
        ORDER BY {_HIDDEN}, id LIMIT {TWIGS}
    ) twig WHERE up.distance <= 1
)
{_SHOWN}
"""  # noqa: S608 - only constants are put in

_WHOLE = f"""
{_UP}, down (id, place, levels, width) AS (
    SELECT id, NULL::bigint, CASE WHEN distance = 0 THEN {LEVELS} - (SELECT max(distance) FROM up) ELSE {LEVELS_UP} END,
        CASE WHEN distance = 0 THEN {WIDE} ELSE {TWIGS} END FROM up
    UNION ALL
    SELECT twig.id, twig.place, down.levels - 1, CASE down.width WHEN {WIDE} THEN {TWIGS} ELSE {NARROW} END
    FROM down CROSS JOIN LATERAL (
        SELECT id, row_number() OVER (ORDER BY {_HIDDEN}, id) AS place FROM pipelines WHERE parent_id = down.id
        ORDER BY {_HIDDEN}, id LIMIT {WIDE}
    ) twig WHERE down.levels > 0 AND twig.place <= down.width
), shown (id, place) AS (
    SELECT id, NULL FROM up
    UNION ALL
    (SELECT id, place FROM down WHERE place IS NOT NULL ORDER BY levels DESC, place, id LIMIT {MOST})
)
{_SHOWN}
"""  # noqa: S608 - only constants are put in

_REST = f"""
WITH up AS (SELECT $1::uuid AS id, 0 AS distance), shown (id, place) AS (
    SELECT id, NULL FROM up
    UNION ALL
    SELECT id, row_number() OVER (ORDER BY {_HIDDEN}, id) FROM (
        SELECT id, visibility, deleted_at FROM pipelines WHERE parent_id = $1 AND ({_HIDDEN}, id) > ($2, $3)
        ORDER BY {_HIDDEN}, id LIMIT {WIDE}
    ) rest
)
{_SHOWN}
"""  # noqa: S608 - only constants are put in

_LEFT = f"""
SELECT count(*) FROM (SELECT FROM pipelines WHERE parent_id = $1 AND ({_HIDDEN}, id) > ($2, $3)
    ORDER BY {_HIDDEN}, id LIMIT {COUNTED}) c
"""  # noqa: S608 - only constants are put in

_ABOVE = f"""
WITH RECURSIVE up AS (
    SELECT parent_id, 1 AS distance FROM pipelines WHERE id = $1
    UNION ALL
    SELECT p.parent_id, up.distance + 1 FROM pipelines p JOIN up ON p.id = up.parent_id
    WHERE up.distance < {FURTHEST}
)
SELECT p.id FROM up JOIN pipelines p ON p.id = up.parent_id
WHERE p.deleted_at IS NULL AND (p.visibility <> 'private' OR p.owner_id = $2) ORDER BY up.distance LIMIT 1
"""  # noqa: S608 - only constants are put in


async def around(pipeline_id: UUID, viewer_id: UUID | None) -> Lineage:
    """What a pipeline's page shows: two generations up, siblings, children. Two queries, three in a deep line.

    Visibility of the pipeline itself is the caller's to check. Raises NotFound for an unknown id.
    """
    size = await _size(pipeline_id, viewer_id)
    return await _draw(size, await db.fetch(_AROUND, pipeline_id), pipeline_id, viewer_id)


async def whole(pipeline_id: UUID, viewer_id: UUID | None) -> Lineage:
    """The larger tree of the lineage page: at most some 300 pipelines, two generations up and as far down as
    lists stand in lists.

    Two queries, three in a deep line. Raises NotFound, also for a private pipeline."""
    size = await _size(pipeline_id, viewer_id)
    if not size["visible"]:
        raise NotFound("There is no such pipeline, or it is private.")
    return await _draw(size, await db.fetch(_WHOLE, pipeline_id), pipeline_id, viewer_id)


async def rest(pipeline_id: UUID, viewer_id: UUID | None, after: str, *, beside: bool = False) -> Part:
    """The offshoots after a cursor (a `Node.rest`), at most `WIDE`; with `beside` those of the pipeline's parent,
    which may itself be private. Raises NotFound for a cursor that does not exist, and as `whole` does."""
    hidden, last = _place(after)
    row = await db.fetchrow(
        """SELECT id, parent_id FROM pipelines
           WHERE id = $1 AND deleted_at IS NULL AND (visibility <> 'private' OR owner_id = $2)""",
        pipeline_id,
        viewer_id,
    )
    of = row and (row["parent_id"] if beside else row["id"])
    if of is None:
        raise NotFound("There is no such pipeline, or it is private.")
    rows = await db.fetch(_REST, of, hidden, last)
    ends = max((_order(row) for row in rows if row["place"]), default=(hidden, last))
    left = await db.fetchval(_LEFT, of, *ends) if len(rows) > WIDE else 0
    return Part(of=_Tree(rows, None, viewer_id, {of: left}).grow(of))


async def _size(pipeline_id: UUID, viewer_id: UUID | None) -> db.Record:
    size = await db.fetchrow(_SIZE, pipeline_id, viewer_id)
    if size is None:
        raise NotFound("There is no such pipeline, or it is private.")
    return size


async def _draw(size: db.Record, rows: Rows, pipeline_id: UUID, viewer_id: UUID | None) -> Lineage:
    topmost = max((row for row in rows if row["distance"] is not None), key=lambda row: row["distance"])
    top = _Tree(rows, pipeline_id, viewer_id).grow(topmost["id"])
    deep = topmost["parent_id"] is not None
    return Lineage(
        top=top,
        earlier=max(top.generation - 1, 0),
        above=await db.fetchval(_ABOVE, topmost["id"], viewer_id) if deep else None,
        first=size["first"] if deep else None,
        generations=size["generations"] or 1,
        pipelines=min(1 + size["offshoots"], COUNTED),
        many=size["offshoots"] >= COUNTED,
        followed=size["followed"],
    )


START = (False, UUID(int=0))
"""Before the first offshoot of any pipeline."""


class Place(NamedTuple):
    """Behind one offshoot of a pipeline: whether it is hidden, and its id."""

    hidden: bool
    id: UUID


_cursor = msgspec.json.Decoder(tuple[bool, UUID])


def _place(after: str) -> Place:
    return Place(*lists.unpack(after, _cursor))


class _Tree:
    """Rows of one reading, to be hung on one another. `left` says how many offshoots of a pipeline follow
    those read, where that is known."""

    def __init__(
        self, rows: Rows, current: UUID | None, viewer_id: UUID | None, left: Mapping[UUID, int] | None = None
    ) -> None:
        self._rows = {row["id"]: row for row in rows}
        self._nodes = {row["id"]: _node(row, current, viewer_id) for row in rows}
        self._left = left or {}
        self._work = diff.Work()
        self._below: dict[UUID, list[Mapping[str, Any]]] = {}
        for row in sorted(rows, key=_order):
            if row["parent_id"] is not None:
                self._below.setdefault(row["parent_id"], []).append(row)

    def grow(self, top: UUID) -> Node:
        """The node with everything under it that was read, level by level; nothing twice."""
        seen, wave = {top}, deque([top])
        while wave:
            parent = wave.popleft()
            drawn = [row for row in self._drawn(parent) if row["id"] not in seen]
            seen.update(row["id"] for row in drawn)
            wave.extend(row["id"] for row in drawn)
            self._hang(self._rows[parent], drawn)
        return self._nodes[top]

    def _drawn(self, parent: UUID) -> Rows:
        """Its first offshoots in order. One on the way to the current pipeline is never left out for its place."""
        rows = self._below.get(parent, [])
        first = [row for row in rows if row["place"] is not None]
        further = [row for row in rows if row["place"] is None]
        return first[: -len(further)] + further if further and len(first) >= TWIGS else first + further

    def _hang(self, parent: Mapping[str, Any], drawn: Rows) -> None:
        node = self._nodes[parent["id"]]
        node.children = [self._nodes[row["id"]] for row in drawn]
        for row, child in zip(drawn, node.children, strict=True):
            if node.title and child.title:
                child.words = _words_changed(parent["prompt"], row["prompt"], self._work)
        known = self._left.get(parent["id"])
        node.more = parent["twigs"] - len(drawn) if known is None else known
        node.many = (parent["twigs"] if known is None else known) == COUNTED
        if node.more > 0:
            self._lead(node, drawn)

    def _lead(self, node: Node, drawn: Rows) -> None:
        """Where the next offshoots are: at the pipeline itself, or beside one of them if it has no address."""
        last = max((_order(row) for row in drawn if row["place"] is not None), default=None)
        node.rest_of = next((one.id for one in (node, *node.children) if one.state in ("shown", "unrun")), None)
        if node.rest_of == node.id:
            node.rest = f"after={lists.pack(last)}" if last else ""
        elif node.rest_of is not None:
            node.rest = f"beside=1&after={lists.pack(last or START)}"


def _order(row: Mapping[str, Any]) -> tuple[bool, UUID]:
    return row["hidden"], row["id"]


def _words_changed(before: str, after: str, work: diff.Work) -> int:
    """How many words of a prompt were put in or, if more, taken out."""
    tokens = diff.words(before, after, work)
    return max(diff.count_words(tokens, "added"), diff.count_words(tokens, "removed"))


def _node(row: Mapping[str, Any], current_id: UUID | None, viewer_id: UUID | None) -> Node:
    current = row["id"] == current_id
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


def _named(row: Mapping[str, Any], viewer_id: UUID | None) -> bool:
    """Public ones and one's own by name; unlisted ones only on the way up from an offshoot."""
    own = viewer_id is not None and row["owner_id"] == viewer_id
    trunk = row["distance"] is not None
    return bool(own or row["visibility"] == "public" or (row["visibility"] == "unlisted" and trunk))
