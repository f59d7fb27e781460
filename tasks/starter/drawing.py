"""Scenes as pictures, drawn large and made smaller so that edges are smooth."""

import math
from collections.abc import Callable, Sequence
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from tasks.starter.scenes import COLORS, Rgb, Scene, Thing

SIDE = 256
"""Pixels of a picture's side."""
FINER = 2
"""How many times larger it is drawn."""
Point = tuple[float, float]
Outline = list[Point]
_DARK, _LIGHT, _SNOW = (20, 20, 24), (240, 240, 240), (252, 252, 254)


def draw(scene: Scene, side: int = SIDE) -> Image.Image:
    """The scene as an RGB picture of `side` × `side` pixels. The same scene always gives the same picture."""
    canvas = _Canvas(side * FINER, Random(scene.seed), scene.style)
    canvas.background(scene)
    for thing in scene.things:
        canvas.thing(thing)
    return canvas.image.resize((side, side), Image.Resampling.BOX)


def circle(x: float, y: float, radius: float, *, wide: float = 1, high: float = 1, start: float = 0) -> Outline:
    """A closed line of points around a middle, an ellipse where `wide` and `high` differ."""
    turns = [start + 2 * math.pi * place / 64 for place in range(64)]
    return [(x + radius * wide * math.cos(turn), y + radius * high * math.sin(turn)) for turn in turns]


def shape(name: str) -> tuple[Outline, Outline]:
    """Outline and hole of a shape around (0, 0), about 1 in radius; the hole may have no points."""
    return _SHAPES[name](), _HOLES.get(name, [])


def _regular(corners: int, radius: float = 1, turned: float = 0) -> Outline:
    turns = [turned + 2 * math.pi * place / corners for place in range(corners)]
    return [(radius * math.cos(turn), radius * math.sin(turn)) for turn in turns]


def _star() -> Outline:
    outer, inner = _regular(5, 1.08, -math.pi / 2), _regular(5, 0.46, -math.pi / 2 + math.pi / 5)
    return [point for pair in zip(outer, inner, strict=True) for point in pair]


def _heart() -> Outline:
    """The usual parametric heart: x = 16 sin³ t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t."""
    points = []
    for turn in (2 * math.pi * place / 64 for place in range(64)):
        high = 13 * math.cos(turn) - 5 * math.cos(2 * turn) - 2 * math.cos(3 * turn) - math.cos(4 * turn)
        points.append((math.sin(turn) ** 3 * 0.97, -(high + 2.5) / 15.5))
    return points


def _fish() -> Outline:
    """A lens that tapers to the right into a tail of two fins: y = ±0.62 (1 − x²)^0.8."""
    back = [(place / 20, -0.62 * (1 - (place / 20) ** 2) ** 0.8) for place in range(-20, 19)]
    return [*back, (1.4, -0.55), (1.2, 0.0), (1.4, 0.55), *((x, -y) for x, y in reversed(back))]


def _crescent() -> Outline:
    """A circle without another that lies half a radius to its right and meets it in the same two points."""
    tip, apart = math.radians(52), 0.5
    inner = math.hypot(math.cos(tip) - apart, math.sin(tip))
    inner_tip = math.atan2(math.sin(tip), math.cos(tip) - apart)
    outside = [tip + (2 * math.pi - 2 * tip) * place / 47 for place in range(48)]
    inside = [2 * math.pi - inner_tip - (2 * math.pi - 2 * inner_tip) * place / 39 for place in range(40)]
    return [(math.cos(turn), math.sin(turn)) for turn in outside] + [
        (apart + inner * math.cos(turn), inner * math.sin(turn)) for turn in inside
    ]


def _cross(arm: float = 0.33) -> Outline:
    quarter = [(-arm, -1.0), (arm, -1.0), (arm, -arm)]
    points: Outline = []
    for _ in range(4):
        points += quarter
        quarter = [(-y, x) for x, y in quarter]
    return points


_SHAPES: dict[str, Callable[[], Outline]] = {
    "circle": lambda: circle(0, 0, 1),
    "square": lambda: [(-0.87, -0.87), (0.87, -0.87), (0.87, 0.87), (-0.87, 0.87)],
    "triangle": lambda: [(0.0, -1.0), (1.0, 0.8), (-1.0, 0.8)],
    "star": _star,
    "ring": lambda: circle(0, 0, 1),
    "heart": _heart,
    "crescent": _crescent,
    "diamond": lambda: [(0.0, -1.1), (0.8, 0.0), (0.0, 1.1), (-0.8, 0.0)],
    "hexagon": lambda: _regular(6),
    "cross": _cross,
    "oval": lambda: circle(0, 0, 1, wide=1.12, high=0.66),
    "fish": _fish,
}
_HOLES = {"ring": circle(0, 0, 0.56), "fish": circle(-0.6, -0.1, 0.1)}
"""Outlines by name, and what is left out of them. The starter model learns those in SHAPES, LoRAs learn the others."""


class _Canvas:
    """A picture that is being drawn, in parts of its side."""

    def __init__(self, side: int, chance: Random, style: str) -> None:
        self.image = Image.new("RGB", (side, side))
        self._side = side
        self._chance = chance
        self._style = style

    def background(self, scene: Scene) -> None:
        """The ground of the scene."""
        match scene.background:
            case "plain":
                self.image.paste(self._near(COLORS[scene.colors[0]]), (0, 0, self._side, self._side))
            case "gradient":
                upper, lower = (self._near(COLORS[name]) for name in scene.colors)
                self._gradient(upper, lower)
            case "night":
                self._gradient(self._near((12, 16, 52), 6), self._near((44, 40, 100), 8))
                for _ in range(self._chance.randint(18, 30)):
                    x, y = self._chance.uniform(0.016, 0.984), self._chance.uniform(0.016, 0.984)
                    self._paint(circle(x, y, self._chance.uniform(0.004, 0.0086)), (255, 250, 220))
            case "sky":
                self._gradient(self._near((84, 158, 240)), self._near((204, 232, 252)))
                for place in range(3):
                    self._wisp(0.16 + place * 0.33)
            case "sea":
                self._gradient(self._near((130, 200, 246)), self._near((205, 236, 252)), 0, scene.horizon)
                self._gradient(self._near((28, 116, 196)), self._near((14, 66, 140)), scene.horizon)
                for place in range(4):
                    self._wave(scene.horizon + 0.055 + place * (1 - scene.horizon) / 4.2)
            case "desert":
                self._gradient(self._near((250, 196, 120)), self._near((254, 232, 186)))
                self._hills(scene.horizon, ((228, 176, 102), (208, 148, 78)), 0.133, 0.043)
            case "meadow":
                self._gradient(self._near((128, 202, 250)), self._near((214, 240, 253)))
                self._hills(scene.horizon, ((122, 196, 92), (84, 164, 70)), 0.117, 0.035)
            case "hills":
                self._gradient(self._near((164, 214, 246)), self._near((244, 240, 214)))
                far = ((158, 192, 190), (112, 172, 128), (72, 140, 78))
                self._hills(scene.horizon - 0.12, far, 0.15, 0.065)
            case "sunset":
                self._gradient(self._near((88, 52, 130)), self._near((250, 150, 84)), 0, scene.horizon)
                self._gradient(self._near((120, 60, 110)), self._near((54, 30, 80)), scene.horizon)

    def thing(self, thing: Thing) -> None:
        """One thing of the scene."""
        if thing.name in _SHAPES:
            outline, hole = (_at(thing, points) for points in shape(thing.name))
            self._paint(outline, self._near(COLORS[thing.color]), hole, style=self._style)
        else:
            getattr(self, f"_{thing.name}")(thing)

    def _sun(self, thing: Thing) -> None:
        self._shines(circle(thing.x, thing.y, thing.radius), self._near((255, 214, 70)))

    def _moon(self, thing: Thing) -> None:
        self._shines(_at(thing, _turned(_crescent(), -0.4)), self._near((250, 244, 205)))

    def _cloud(self, thing: Thing) -> None:
        for x, y, radius in ((-0.75, 0.12, 0.5), (0, -0.15, 0.66), (0.75, 0.12, 0.5)):
            self._paint(_at(thing, circle(x, y, radius)), _SNOW)
        self._paint(_at(thing, [(-0.9, 0.15), (0.9, 0.15), (0.85, 0.62), (-0.85, 0.62)]), _SNOW)

    def _mountain(self, thing: Thing) -> None:
        self._paint(_at(thing, [(-1.25, 0), (0, -1.5), (1.25, 0)]), self._near((112, 118, 140)), style=self._line)
        ridge = [(-0.36, -1.07), (0, -1.5), (0.36, -1.07), (0.16, -0.96), (0, -1.1), (-0.16, -0.96)]
        self._paint(_at(thing, ridge), _SNOW)

    def _tree(self, thing: Thing) -> None:
        self._paint(_at(thing, _box(0, 0.13, -0.8, 0)), self._near((116, 76, 46)), style=self._line)
        crown = circle(0, -1.25, 0.68, high=1.05)
        self._paint(_at(thing, crown), self._near(COLORS[thing.color]), style=self._line)

    def _house(self, thing: Thing) -> None:
        self._paint(_at(thing, _box(0, 0.7, -0.9, 0)), self._near(COLORS[thing.color]), style=self._line)
        roof = (70, 72, 92) if thing.color in ("red", "brown", "orange") else (150, 66, 52)
        self._paint(_at(thing, [(-0.92, -0.88), (0, -1.55), (0.92, -0.88)]), self._near(roof), style=self._line)
        self._paint(_at(thing, _box(0, 0.16, -0.5, 0)), (92, 60, 42))
        for x in (-0.44, 0.44):
            self._paint(_at(thing, _box(x, 0.13, -0.68, -0.4)), (250, 236, 150))

    def _boat(self, thing: Thing) -> None:
        self._paint(_at(thing, _box(0, 0.05, -1.5, 0)), (110, 74, 46))
        sail = [(0.1, -1.45), (0.85, -0.25), (0.1, -0.25)]
        self._paint(_at(thing, sail), self._near(COLORS[thing.color]), style=self._line)
        hull = [(-0.9, -0.05), (0.9, -0.05), (0.55, 0.42), (-0.55, 0.42)]
        self._paint(_at(thing, hull), self._near((128, 78, 48)), style=self._line)

    @property
    def _line(self) -> str:
        """The style of a thing of many parts: outlined or flat."""
        return self._style if self._style == "outlined" else "flat"

    def _shines(self, outline: Outline, color: Rgb) -> None:
        if self._line == "flat":
            light = self._blurred(self._mask(outline), 0.035)
            self.image.paste(_mixed(color, (255, 255, 255), 0.45), (0, 0), light)
        self._paint(outline, color, style=self._line)

    def _paint(self, outline: Outline, color: Rgb, hole: Outline | None = None, *, style: str = "flat") -> None:
        """A filled outline; one in the style "outlined" gets a line around it, one in "shadow" a soft shadow below."""
        if style == "shadow":
            lower = [[(x + 0.02, y + 0.02) for x, y in points] for points in (outline, hole or [])]
            shadow = self._blurred(self._mask(*lower), 0.012).point([round(value * 0.42) for value in range(256)])
            self.image.paste((0, 0, 0), (0, 0), shadow)
        if hole:
            self.image.paste(color, (0, 0), self._mask(outline, hole))
        else:
            ImageDraw.Draw(self.image).polygon(self._pixels(outline), fill=color)
        if style == "outlined":
            ink = _DARK if sum(color) > 150 else _LIGHT
            for points in (outline, hole):
                if points:
                    self._stroke([*points, *points[:2]], ink, 0.0176)

    def _mask(self, outline: Outline, hole: Outline | None = None) -> Image.Image:
        mask = Image.new("L", self.image.size)
        pen = ImageDraw.Draw(mask)
        pen.polygon(self._pixels(outline), fill=255)
        if hole:
            pen.polygon(self._pixels(hole), fill=0)
        return mask

    def _blurred(self, mask: Image.Image, radius: float) -> Image.Image:
        """The mask blurred, at a quarter of its size: nobody sees the difference."""
        small = mask.reduce(4).filter(ImageFilter.GaussianBlur(radius * self._side / 4))
        return small.resize(mask.size, Image.Resampling.BILINEAR)

    def _stroke(self, points: Outline, color: Rgb, width: float) -> None:
        ImageDraw.Draw(self.image).line(self._pixels(points), color, round(width * self._side), joint="curve")

    def _gradient(self, upper: Rgb, lower: Rgb, start: float = 0, end: float = 1) -> None:
        first, last = round(start * self._side), round(end * self._side)
        rows = Image.new("RGB", (1, last - first))
        rows.putdata([_mixed(upper, lower, row / (last - first)) for row in range(last - first)])
        self.image.paste(rows.resize((self._side, last - first)), (0, first))

    def _wave(self, height: float) -> None:
        start = self._chance.uniform(0, 6)
        points = [(x / 64, height + 0.01 * math.sin(x / 2.75 + start)) for x in range(-1, 66)]
        self._stroke(points, (110, 180, 230), 0.0086)

    def _wisp(self, height: float) -> None:
        """A long thin cloud, through which one sees the sky."""
        x, half = self._chance.uniform(0, 1), self._chance.uniform(0.1, 0.2)
        y = height + self._chance.uniform(-0.06, 0.06)
        seen = self._blurred(self._mask(circle(x, y, half, high=0.16)), 0.012)
        self.image.paste(_SNOW, (0, 0), seen.point([round(value * 0.5) for value in range(256)]))

    def _hills(self, horizon: float, colors: Sequence[Rgb], apart: float, rise: float) -> None:
        """Ranges of hills, each in front of the one before."""
        for place, color in enumerate(colors):
            start, length = self._chance.uniform(0, 6), 0.18 + 0.047 * place
            crest = [
                (x / 64, horizon + place * apart + rise * math.sin(x / 64 / length + start)) for x in range(-1, 66)
            ]
            self._paint([*crest, (1.1, 1.1), (-0.1, 1.1)], self._near(color))

    def _near(self, color: Rgb, by: float = 9) -> Rgb:
        """A color about like this one."""
        red, green, blue = (min(255, max(0, round(value + self._chance.uniform(-by, by)))) for value in color)
        return red, green, blue

    def _pixels(self, points: Outline) -> Outline:
        return [(x * self._side, y * self._side) for x, y in points]


def _at(thing: Thing, points: Outline) -> Outline:
    """Points around (0, 0) and about 1 far from it, where the thing stands."""
    turned = _turned(points, thing.turn) if thing.turn else points
    return [(thing.x + x * thing.radius, thing.y + y * thing.radius) for x, y in turned]


def _turned(points: Outline, angle: float) -> Outline:
    """Points turned around (0, 0), in radians, clockwise as pictures have it."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(x * cosine - y * sine, x * sine + y * cosine) for x, y in points]


def _box(middle: float, half: float, top: float, bottom: float) -> Outline:
    return [(middle - half, bottom), (middle - half, top), (middle + half, top), (middle + half, bottom)]


def _mixed(one: Rgb, other: Rgb, part: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue
