"""Scenes that move, from which the motion of the starter is learned: where a thing starts says where it goes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from tasks.starter.scenes import PLACES, SKY, Scene, Thing, sample

FRAMES = 8
"""Frames of a clip: one movement there and back, so that it goes on without a jump."""
_FEWER = 0.6
"""How many scenes of two things are left out: they move least."""
_ROUND = ("circle", "ring")
_DRIFTING = (*SKY, "boat")


def clip(chance: Random) -> list[Scene]:
    """A scene in which something moves, as it is at each of FRAMES moments; its caption is that of the first."""
    while (scene := sample(chance)) == moved(scene, 0.25) or (scene.relation and chance.random() < _FEWER):
        pass
    return [moved(scene, frame / FRAMES) for frame in range(FRAMES)]


def moved(scene: Scene, part: float) -> Scene:
    """The scene when a part of its movement is over, 0 to 1; at both ends it is as it was.

    One thing that stands at a side or in a corner goes to the opposite and back. One that is small grows, one that is
    big shrinks; others turn by 60° and back, but for round ones, which hop. Of two, both go away from each other and
    come back, but for one inside another, which grows. In a landscape what is in the sky drifts and boats sail.
    """
    swing = (1 - math.cos(2 * math.pi * part)) / 2
    things = scene.things
    if any(thing.name in _DRIFTING for thing in things):
        return replace(scene, things=tuple(_drifted(thing, swing) for thing in things))
    if scene.relation == "inside":
        outer, inner = things
        return replace(scene, things=(outer, replace(inner, radius=inner.radius * (1 + 0.6 * swing))))
    if scene.relation:
        return replace(scene, things=_parted(things, swing))
    if len(things) == 1 and things[0].name not in ("mountain", "tree", "house"):
        return replace(scene, things=(_alone(things[0], scene.place, swing),))
    return scene


def _alone(thing: Thing, place: str, swing: float) -> Thing:
    x, y = PLACES.get(place, (0.5, 0.5))
    if (x, y) != (0.5, 0.5):
        return replace(thing, x=thing.x + swing * (1 - 2 * x), y=thing.y + swing * (1 - 2 * y))
    if thing.size in ("small", "big"):
        return replace(thing, radius=thing.radius * (1 + swing if thing.size == "small" else 1 - swing / 2))
    if thing.name in _ROUND:
        return replace(thing, y=thing.y - 0.2 * swing)
    return replace(thing, turn=math.pi / 3 * swing)


def _parted(things: Sequence[Thing], swing: float) -> tuple[Thing, ...]:
    """Both a little farther from each other, on the line through them."""
    first, second = things
    far = math.hypot(second.x - first.x, second.y - first.y)
    x, y = (0.08 * swing * (second.x - first.x) / far, 0.08 * swing * (second.y - first.y) / far)
    return replace(first, x=first.x - x, y=first.y - y), replace(second, x=second.x + x, y=second.y + y)


def _drifted(thing: Thing, swing: float) -> Thing:
    if thing.name not in _DRIFTING:
        return thing
    return replace(thing, x=thing.x + swing * (0.4 if thing.x < 0.5 else -0.4))
