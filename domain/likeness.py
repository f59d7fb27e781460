"""Pictures that look almost the same, by perceptual hash.

Publishing a run leaves a row for each of its pictures (`note`); workers fill in the hash when they have time.
"""

import math
from collections.abc import Sequence
from statistics import median
from uuid import UUID

from msgspec import Struct
from PIL import Image

from domain import db
from domain.lists import LISTED

BITS = 8
"""The hash's bits that may differ, of 64."""
SHADES = 16
"""Steps of 255 by which each mean color may differ: the hash itself is blind to color."""
MOST = 4
"""Look-alikes on a page."""
PAGE = 500
"""Runs that `missing` looks through at once."""
_SIDE = 32
_WAVES = [[math.cos((2 * place + 1) * wave * math.pi / (2 * _SIDE)) for place in range(_SIDE)] for wave in range(1, 9)]
_PLAIN = 8
"""The range of grays, in steps of 255, below which a picture has nothing to recognize."""


class Likeness(Struct, frozen=True):
    """A picture's perceptual hash, 64 bits, and its mean color as 0xRRGGBB."""

    phash: int
    tint: int


def of(image: Image.Image) -> Likeness | None:
    """The picture's likeness, the same at any size; None for one that is all of one shade.

    The hash is pHash: 32 × 32 grays, their discrete cosine transform, and of its 8 × 8 lowest waves that are
    not constant in either direction those above the median (Zauner, Implementation and Benchmarking of
    Perceptual Image Hash Functions, 2010, section 3.2).
    """
    small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    gray = small.convert("L")
    low, high = gray.getextrema()
    if high - low < _PLAIN:  # type: ignore[operator]  # a gray picture has one pair
        return None
    shades = gray.tobytes()
    rows = [shades[start : start + _SIDE] for start in range(0, _SIDE * _SIDE, _SIDE)]
    across = [[_along(row, wave) for row in rows] for wave in _WAVES]
    waves = [_along(column, wave) for wave in _WAVES for column in across]
    middle = median(waves)
    phash = sum(1 << place for place, wave in enumerate(waves) if wave > middle)
    red, green, blue = small.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))  # type: ignore[misc]
    return Likeness(phash, int(red) << 16 | int(green) << 8 | int(blue))


def _along(values: Sequence[float], wave: Sequence[float]) -> float:
    return sum(value * part for value, part in zip(values, wave, strict=True))


class Due(Struct, frozen=True):
    """A picture without a likeness, and the smallest file that shows it."""

    sha256: str
    shown: str


class Lookalike(Struct, frozen=True):
    """A published result that looks almost the same."""

    pipeline_id: UUID
    run_id: UUID
    output: int
    title: str
    handle: str
    name: str

    @property
    def by(self) -> str:
        return self.name or self.handle


_LAST = "NOT EXISTS (SELECT FROM step_runs later WHERE later.run_id = s.run_id AND later.ordinal > s.ordinal)"

_ADD = f"""
INSERT INTO likenesses (sha256)
SELECT DISTINCT a.sha256 FROM %s r JOIN step_runs s ON s.run_id = r.id JOIN outputs o ON o.step_run_id = s.id
JOIN artifacts a ON a.sha256 = o.sha256
WHERE r.visibility = 'published' AND a.media_type IN ('image/png', 'image/jpeg') AND {_LAST}
ORDER BY a.sha256 ON CONFLICT (sha256) DO NOTHING
"""  # noqa: S608 - constants only

_NOTE = _ADD % "(SELECT * FROM runs WHERE id = $1)"

_FORGET = """
DELETE FROM likenesses WHERE sha256 IN (
    SELECT o.sha256 FROM step_runs s JOIN outputs o ON o.step_run_id = s.id WHERE s.run_id = $1
    EXCEPT
    SELECT o.sha256 FROM outputs mine JOIN step_runs m ON m.id = mine.step_run_id AND m.run_id = $1
    JOIN outputs o ON o.sha256 = mine.sha256 JOIN step_runs s ON s.id = o.step_run_id
    JOIN runs r ON r.id = s.run_id AND r.visibility = 'published'
)
"""

_MISSING = f"""
WITH page AS MATERIALIZED (
    SELECT id, visibility FROM runs WHERE id > $1 ORDER BY id LIMIT {PAGE}
), added AS ({_ADD % "page"})
SELECT id FROM page ORDER BY id DESC LIMIT 1
"""  # noqa: S608 - constants only

_DUE = """
SELECT l.sha256, coalesce((SELECT r.sha256 FROM renditions r WHERE r.source = l.sha256 ORDER BY r.width LIMIT 1),
    l.sha256) AS shown
FROM (SELECT sha256 FROM likenesses WHERE due LIMIT $1) l
"""

_FILL = "UPDATE likenesses SET due = false, phash = $2::bigint::bit(64), tint = $3 WHERE sha256 = $1"

_CLOSE = " AND ".join(f"abs((n.tint >> {byte} & 255) - (m.tint >> {byte} & 255)) <= {SHADES}" for byte in (16, 8, 0))

_AROUND = f"""
WITH mine AS MATERIALIZED (SELECT phash, tint FROM likenesses WHERE sha256 = $1 AND phash IS NOT NULL),
near AS MATERIALIZED (
    SELECT l.sha256, l.tint, l.phash <~> (SELECT phash FROM mine) AS distance FROM likenesses l
    WHERE EXISTS (SELECT FROM mine) ORDER BY l.phash <~> (SELECT phash FROM mine) LIMIT 40
), found AS (
    SELECT DISTINCT ON (p.id) n.distance, p.id, r.id AS run_id, p.title, w.handle, w.name, r.published_at,
        (SELECT count(*)::int FROM outputs b WHERE b.step_run_id = s.id AND b.position <= o.position) AS output
    FROM near n CROSS JOIN mine m
    CROSS JOIN LATERAL (SELECT step_run_id, position FROM outputs WHERE sha256 = n.sha256 LIMIT 100) o
    JOIN step_runs s ON s.id = o.step_run_id JOIN runs r ON r.id = s.run_id
    JOIN pipelines p ON p.id = r.pipeline_id JOIN people w ON w.id = r.owner_id
    WHERE n.distance <= {BITS} AND {_CLOSE} AND p.id <> $2 AND r.visibility = 'published' AND {LISTED} AND {_LAST}
    ORDER BY p.id, n.distance, r.published_at, o.position
)
SELECT id, run_id, output, title, handle, name FROM found ORDER BY distance, published_at, id LIMIT {MOST}
"""  # noqa: S608 - constants only


async def note(run_id: UUID) -> None:
    """Say that a run was published. Call it in the same transaction."""
    await db.execute(_NOTE, run_id)


async def forget(run_id: UUID) -> None:
    """Say that a run is private again; pictures that another published run made too stay."""
    await db.execute(_FORGET, run_id)


async def missing(after: UUID) -> UUID | None:
    """Note every published run among the 500 after an id. Returns the last one's, None at the end."""
    last: UUID | None = await db.fetchval(_MISSING, after)
    return last


async def due(limit: int) -> list[Due]:
    """Published pictures without a likeness."""
    return [Due(**row) for row in await db.fetch(_DUE, limit)]


async def fill(sha256: str, found: Likeness | None) -> None:
    """Keep a picture's likeness; None for one that has none, which is then not asked for again."""
    phash = None if found is None else found.phash - (found.phash >> 63 << 64)
    await db.execute(_FILL, sha256, phash, None if found is None else found.tint)


async def around(sha256: str, pipeline_id: UUID) -> list[Lookalike]:
    """Published results of other listed pipelines that look almost the same, one of each, the nearest first.

    One query. None while the picture has no likeness, which only published ones get.
    """
    return [Lookalike(*row) for row in await db.fetch(_AROUND, sha256, pipeline_id)]
