"""Scenes for the starter model: which things stand where, in which colors, on which background, in which style.

Lengths are parts of the picture's side, 0 to 1, from the upper left corner.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random

Rgb = tuple[int, int, int]

COLORS: dict[str, Rgb] = {
    "red": (222, 52, 48),
    "orange": (245, 140, 40),
    "yellow": (250, 212, 60),
    "green": (58, 168, 84),
    "blue": (48, 98, 214),
    "purple": (136, 70, 190),
    "pink": (245, 140, 180),
    "white": (248, 248, 246),
    "black": (28, 28, 34),
    "gray": (140, 144, 150),
    "brown": (134, 86, 52),
    "cyan": (70, 200, 215),
}
SHAPES = (
    "circle", "square", "triangle", "star", "ring", "heart", "crescent", "diamond", "hexagon", "cross", "oval",
)  # fmt: skip
SKY = ("sun", "moon", "cloud")
GROUND = ("mountain", "tree", "house", "boat")
LANDSCAPES: dict[str, Rgb] = {
    "night": (30, 28, 78),
    "sky": (150, 200, 244),
    "sea": (90, 160, 220),
    "desert": (240, 195, 125),
    "meadow": (130, 200, 140),
    "hills": (150, 190, 175),
    "sunset": (170, 100, 105),
}
"""Their mean color, by which things are chosen that stand out."""
BACKGROUNDS = ("plain", "gradient", *LANDSCAPES)
STYLES = ("flat", "outlined", "shadow")
RELATIONS = ("above", "below", "left", "right", "inside", "and")
PLACES = {
    "left": (0.28, 0.5),
    "right": (0.72, 0.5),
    "top": (0.5, 0.28),
    "bottom": (0.5, 0.72),
    "top left": (0.3, 0.3),
    "top right": (0.7, 0.3),
    "bottom left": (0.3, 0.7),
    "bottom right": (0.7, 0.7),
    "center": (0.5, 0.5),
}
_WAYS = {"above": (0, -1), "below": (0, 1), "left": (-1, 0), "right": (1, 0)}
_RADII = {"small": (0.094, 0.133), "medium": (0.172, 0.227), "big": (0.281, 0.352)}
_RADII_OF_TWO = {"small": (0.086, 0.109), "medium": (0.141, 0.172), "big": (0.203, 0.227)}
_HOLDS_ANOTHER = ("circle", "square", "hexagon", "ring", "heart", "diamond")
_STANDS_OUT = 120
"""How far apart two colors are at least, summed over their channels."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing. `size` is "" where the scene does not say it; `color` is "" for what has one of its own; `turn` in
    radians, clockwise."""

    name: str
    x: float
    y: float
    radius: float
    color: str = ""
    size: str = ""
    turn: float = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows. `colors` are those of a plain or gradient background; `relation` and `place` are "" where
    there is nothing to say; `seed` decides the small differences between two drawings of the same."""

    background: str
    things: tuple[Thing, ...]
    colors: tuple[str, ...] = ()
    style: str = "flat"
    relation: str = ""
    place: str = ""
    horizon: float = 0.6
    seed: int = 0


def sample(chance: Random, *, simple: float = 0.55, others: Sequence[str] = BACKGROUNDS[1:]) -> Scene:
    """A scene by chance; `simple` is the part of plain backgrounds, which teach shapes fastest, beside `others`."""
    background = "plain" if chance.random() < simple else chance.choice(others)
    count = {"plain": 1, "gradient": 2}.get(background, 0)
    scene = Scene(
        background=background,
        things=(),
        colors=tuple(chance.sample(list(COLORS), count)),
        style=chance.choices(STYLES, (13, 4, 3))[0],
        horizon=chance.uniform(0.55, 0.66),
        seed=chance.getrandbits(31),
    )
    if background in LANDSCAPES and chance.random() < 0.55:
        return replace(scene, things=_landscape(scene, chance))
    return _two(scene, chance) if chance.random() < 0.6 else _one(scene, chance)


def _one(scene: Scene, chance: Random) -> Scene:
    size = chance.choices(list(_RADII), (1, 3, 1))[0]
    place = chance.choice(list(PLACES)) if size != "big" and chance.random() < 0.55 else ""
    x, y = PLACES.get(place, (0.5, 0.5))
    thing = Thing(
        name=chance.choice(SHAPES),
        x=x + chance.uniform(-0.027, 0.027),
        y=y + chance.uniform(-0.027, 0.027),
        radius=chance.uniform(*_RADII[size]),
        color=color_for(scene, chance),
        size=size,
    )
    return replace(scene, things=(thing,), place=place)


def _two(scene: Scene, chance: Random) -> Scene:
    relation = chance.choices(RELATIONS, (2, 2, 2, 2, 1, 2))[0]
    return _inside(scene, chance) if relation == "inside" else _beside(scene, relation, chance)


def _inside(scene: Scene, chance: Random) -> Scene:
    """A small thing in the middle of a large one; of a ring it has to stand out against the background."""
    outer = chance.choice(_HOLDS_ANOTHER)
    around = color_for(scene, chance)
    within = color_for(scene, chance, behind=mean_color(scene) if outer == "ring" else COLORS[around], ban=(around,))
    large = Thing(outer, 0.5, 0.5, chance.uniform(0.3, 0.35), around)
    small = Thing(chance.choice(SHAPES), 0.5, 0.5, chance.uniform(0.094, 0.117), within)
    return replace(scene, things=(large, small), relation="inside")


def _beside(scene: Scene, relation: str, chance: Random) -> Scene:
    """Two things on one line through the middle, apart from each other."""
    across, down = _WAYS.get(relation) or chance.choice(list(_WAYS.values()))
    first, second = (chance.choices(list(_RADII_OF_TWO), (1, 4, 1))[0] for _ in range(2))
    radii = [chance.uniform(*_RADII_OF_TWO[size]) for size in (first, second)]
    apart = min(sum(radii) / 2 + chance.uniform(0.031, 0.063), 0.234)
    shift, slip = (radii[0] - radii[1]) / 2, chance.uniform(-0.04, 0.04)
    color = color_for(scene, chance)
    other = color_for(scene, chance, ban=(color,) if chance.random() < 0.85 else ())
    things = tuple(
        Thing(
            name=chance.choice(SHAPES),
            x=0.5 + way * across * (apart - way * shift) + abs(down) * way * slip,
            y=0.5 + way * down * (apart - way * shift) + abs(across) * way * slip,
            radius=radius,
            color=paint,
            size=size,
        )
        for way, radius, paint, size in zip((1, -1), radii, (color, other), (first, second), strict=True)
    )
    return replace(scene, things=things, relation=relation)


_SKIES = {"night": ("moon", "moon", "cloud"), "sunset": ("sun", "cloud")}
_BY_DAY = ("sun", "sun", "cloud", "moon")
_GROUNDS = {
    "sea": ("boat",),
    "sunset": ("mountain", "boat"),
    "meadow": ("mountain", "tree", "house"),
    "hills": ("tree", "house"),
    "desert": ("mountain", "tree", "house"),
    "night": ("mountain", "tree", "house"),
}
_LEAVES = ("green", "orange", "pink", "red", "yellow")
_WALLS = ("white", "red", "yellow", "orange", "pink", "purple", "blue", "brown")


def _landscape(scene: Scene, chance: Random) -> tuple[Thing, ...]:
    """Something in the sky, most often, and one or two things on the ground, the farthest first."""
    if scene.background == "sky":
        return _aloft(chance)
    choices = list(_GROUNDS[scene.background])
    if scene.background == "sea" and chance.random() < 0.4:
        choices.append("mountain")
    names = sorted(chance.sample(choices, min(chance.choice((1, 1, 2)), len(choices))), key=GROUND.index)
    spots = [0.27, 0.73] if len(names) > 1 else [chance.uniform(0.39, 0.61)]
    chance.shuffle(spots)
    things = []
    if chance.random() < 0.65:
        sky = chance.choice(_SKIES.get(scene.background, _BY_DAY))
        things.append(Thing(sky, chance.uniform(0.2, 0.8), chance.uniform(0.15, 0.26), chance.uniform(0.08, 0.11)))
    for name, x in zip(names, spots, strict=True):
        x += chance.uniform(-0.04, 0.04)
        if name == "mountain":
            things.append(Thing(name, x, scene.horizon + 0.023, chance.uniform(0.195, 0.258)))
        elif name == "boat":
            y = scene.horizon + chance.uniform(0.086, 0.156)
            things.append(Thing(name, x, y, chance.uniform(0.156, 0.195), chance.choice(_WALLS)))
        else:
            green = name == "tree" and chance.random() < 0.5
            color = "green" if green else chance.choice(_LEAVES if name == "tree" else _WALLS)
            things.append(Thing(name, x, chance.uniform(0.8, 0.867), chance.uniform(0.164, 0.211), color))
    return tuple(things)


def _aloft(chance: Random) -> tuple[Thing, ...]:
    """One or two different things that belong in the sky, beside each other."""
    names = list(dict.fromkeys(chance.choices(_BY_DAY, k=2)))
    spots = [0.28, 0.72] if len(names) > 1 else [chance.uniform(0.3, 0.7)]
    chance.shuffle(spots)
    return tuple(
        Thing(name, x + chance.uniform(-0.05, 0.05), chance.uniform(0.25, 0.6), chance.uniform(0.1, 0.18))
        for name, x in zip(names, spots, strict=True)
    )


def mean_color(scene: Scene) -> Rgb:
    """About the color of the background."""
    if scene.background in LANDSCAPES:
        return LANDSCAPES[scene.background]
    channels = zip(*(COLORS[name] for name in scene.colors), strict=True)
    red, green, blue = (sum(channel) // len(scene.colors) for channel in channels)
    return red, green, blue


def color_for(scene: Scene, chance: Random, *, behind: Rgb | None = None, ban: Collection[str] = ()) -> str:
    """A color that stands out against what is behind it, the scene's background if nothing is said."""
    against = behind or mean_color(scene)
    banned = {*ban, *(scene.colors if scene.background == "gradient" else ())}
    found = [name for name, rgb in COLORS.items() if name not in banned and _apart(rgb, against) > _STANDS_OUT]
    return chance.choice(found)


def _apart(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
