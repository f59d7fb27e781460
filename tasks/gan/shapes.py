"""Pictures to learn from that the starter's own generator draws: one large shape each, a folder for each kind of it."""

from dataclasses import replace
from pathlib import Path
from random import Random

from tasks.starter import scenes
from tasks.starter.drawing import draw

CLASSES = ("circle", "crescent", "diamond", "heart", "ring", "square", "star", "triangle")


def write(folder: Path, count: int, side: int, seed: int) -> None:
    """`count` pictures of each class, `side` × `side` pixels."""
    chance = Random(seed)
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            draw(scene(name, chance), side).save(folder / name / f"{number:05}.png")


def scene(name: str, chance: Random) -> scenes.Scene:
    """A shape in the middle of a plain or a gradient background, in a color that stands out."""
    background = chance.choice(("plain", "gradient"))
    colors = tuple(chance.sample(list(scenes.COLORS), 1 if background == "plain" else 2))
    bare = scenes.Scene(background=background, things=(), colors=colors, seed=chance.getrandbits(31))
    x, y = (0.5 + chance.uniform(-0.06, 0.06) for _ in range(2))
    thing = scenes.Thing(name, x, y, chance.uniform(0.24, 0.36), scenes.color_for(bare, chance))
    return replace(bare, things=(thing,))
