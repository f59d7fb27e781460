"""How often the starter model draws what it is asked for: prompts that it never saw, judged by what can be measured.

The ground is the color of the picture's edge; things are what differs from it, each by its color, its place and its
shape, which a small classifier tells that learned from clean drawings.
"""

import itertools
import math
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional

from domain.models import STARTER_DEFAULTS, STARTER_PATH
from tasks.gan.pictures import image
from tasks.starter.captions import caption
from tasks.starter.drawing import draw
from tasks.starter.pictures import unit
from tasks.starter.scenes import BACKGROUNDS, COLORS, SHAPES, Scene, Thing, sample

PROMPTS = 256
MOST_SECONDS, MOST_BYTES = 2.0, 30_000_000
"""What a picture with the usual 20 steps may take on two cores, and the weights in the repository altogether."""
UNSEEN = 9_000_000
"""Seeds of scenes that no training draws from."""
LATER = ("sky", "hills")
"""Grounds that were learned after all others."""
LEARNED = (
    (77, 0.75, tuple(name for name in BACKGROUNDS[1:] if name not in LATER), 20_000),
    (78, 0.65, tuple(name for name in BACKGROUNDS[1:] if name not in LATER), 20_000),
    (79, 0.3, LATER, 12_000),
)
"""Seeds, part of plain grounds, other grounds and number of the scenes that the weights in the repository learned from:
one thing on a plain ground can be drawn again by another seed."""
BATCH = 16
SIDE = 64
"""Pixels of a side at which things are told from the ground."""
APART = 48
"""How far a color is from the ground's, at least, to be a thing's (0 to 441)."""
LEAST = 20
"""Pixels of a thing, of `SIDE` × `SIDE`."""
MASK = 32
EACH = 120
"""Clean drawings of each shape that the classifier learns from, and as many again to judge it by."""
BENT = 0.1
"""The spread, in halves of a picture's side, of how far outlines are bent at most. One that has seen none but clean
outlines takes small squares whose sides waver for circles, which nobody who looks at them does."""
SHEET = (6, 4)
"""Columns and rows of the sheet of scenes."""
CELL, GAP, WORDS, FONT, LINE = 256, 12, 60, 14, 38
"""Pixels of a picture's side, between pictures and of the words below; size of letters, and letters of a line."""
_NAMES = list(COLORS)
_PALETTE = np.array(list(COLORS.values()), float)


class Found:
    """A thing as it was found in a picture: color, middle (0 to 1) and outline."""

    def __init__(self, pixels: Any, mask: Any) -> None:
        rows, columns = np.nonzero(mask)
        self.color = _nearest(np.median(pixels[mask], 0))
        self.x, self.y = columns.mean() / SIDE, rows.mean() / SIDE
        self.size = int(mask.sum())
        cut = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        height, width = cut.shape
        square = np.zeros((max(height, width),) * 2, np.uint8)
        top, left = (len(square) - height) // 2, (len(square) - width) // 2
        square[top : top + height, left : left + width] = cut * 255
        self.mask = torch.from_numpy(np.asarray(Image.fromarray(square).resize((MASK, MASK)), np.float32) / 255)


def _nearest(color: Any) -> str:
    return _NAMES[int(((_PALETTE - color) ** 2).sum(1).argmin())]


def look(picture: Image.Image) -> tuple[str, list[Found]]:
    """The color of the ground, and the things on it, the largest first."""
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), float)
    edge = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, 0)
    left = np.sqrt(((pixels - ground) ** 2).sum(2)) > APART
    things = []
    while left.any():
        part = _filled(left, tuple(np.argwhere(left)[0]))
        left &= ~part
        if part.sum() >= LEAST:
            things.append(Found(pixels, part))
    return _nearest(ground), sorted(things, key=lambda thing: -thing.size)


def _filled(mask: Any, start: Any) -> Any:
    """What hangs together with the pixel `start`."""
    part, edge = np.zeros_like(mask), [start]
    part[start] = True
    while edge:
        y, x = edge.pop()
        for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if min(near) >= 0 and max(near) < SIDE and mask[near] and not part[near]:
                part[near] = True
                edge.append(near)
    return part


def _scenes(count: int, things: int, relation: bool) -> list[Scene]:
    """Unseen scenes on plain grounds, flat, with so many things: two in a relation, one in the middle."""
    found: list[Scene] = []
    chance = Random(UNSEEN + things)
    while len(found) < count:
        scene = sample(chance, simple=1)
        usual = scene.relation in ("above", "below", "left", "right") if relation else not scene.place
        if len(scene.things) == things and usual and _said(scene) not in _learned():
            found.append(replace(scene, style="flat"))
    return found


def _said(scene: Scene) -> Any:
    """What words can tell of a scene but for its style."""
    things = tuple((thing.name, thing.color, thing.size) for thing in scene.things)
    return scene.background, scene.colors, scene.relation, things


@cache
def _learned() -> frozenset[Any]:
    return frozenset(
        _said(sample(chance, simple=plain, others=others))
        for chance, plain, others, count in ((Random(seed), *rest) for seed, *rest in LEARNED)
        for _ in range(count)
    )


def _clean(seed: int) -> tuple[Tensor, Tensor]:
    """Outlines of clean drawings (count, 1, MASK, MASK), and which shape each is."""
    chance = Random(seed)
    masks, labels = [], []
    for label, shape in itertools.product(range(len(SHAPES)), range(EACH)):
        thing = Thing(SHAPES[label], 0.5, 0.5, chance.uniform(0.1, 0.35), "red")
        drawn = draw(Scene("plain", (thing,), ("white",), seed=shape), 128)
        masks.append(look(drawn)[1][0].mask)
        labels.append(label)
    return torch.stack(masks)[:, None], torch.tensor(labels)


def _bent(masks: Tensor) -> Tensor:
    """Outlines (count, 1, MASK, MASK) drawn by an unsteady hand: each bent smoothly in its own way, corners rounded."""
    count = len(masks)
    bends = torch.randn(count, 2, 6, 6) * torch.rand(count, 1, 1, 1) * BENT
    bends = functional.interpolate(bends, (MASK, MASK), mode="bicubic").movedim(1, -1)
    still = functional.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(masks.shape), align_corners=False)
    bent = functional.grid_sample(masks, still + bends, align_corners=False)
    around = int(torch.randint(3, ()))
    soft = functional.avg_pool2d(bent, 2 * around + 1, 1, around)
    return ((soft - 0.5) * 4 + 0.5).clamp(0, 1)


def classifier() -> tuple[nn.Module, float, float]:
    """Tells shapes by their outlines; in how many of the clean drawings that it did not see it is right, and in how
    many of these when they are bent."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 64), nn.ReLU(), nn.Linear(64, len(SHAPES))),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    masks, labels = _clean(1)
    for _ in range(600):
        chosen = torch.randint(len(masks), (128,))
        loss = functional.cross_entropy(network(_bent(masks[chosen])), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen, wanted = _clean(2)
    with torch.no_grad():
        clean, bent = (float((network(m).argmax(1) == wanted).float().mean()) for m in (unseen, _bent(unseen)))
    return network.eval(), clean, bent


@torch.no_grad()
def _shapes(network: nn.Module, things: Sequence[Found]) -> list[str]:
    told = network(torch.stack([thing.mask for thing in things])[:, None]).argmax(1) if things else []
    return [SHAPES[int(label)] for label in told]


def _stands(scene: Scene, first: Found, second: Found) -> bool:
    """Whether the first is on the side of the second that the scene says, more than it is on another."""
    across, down = first.x - second.x, first.y - second.y
    way = {"left": -across, "right": across, "above": -down, "below": down}[scene.relation]
    return way > 0 and way >= max(abs(across), abs(down)) - 1e-9


def measure(folder: Path, prompts: int = PROMPTS) -> dict[str, Any]:
    """Of the things asked for, how many are there in their color, and how many in their shape; and of the pictures, how
    many have their ground, and how many of two things their relation. Also how many shapes are told of clean drawings,
    of the same with bent outlines, and of clean ones after the autoencoder took them apart and put them together: no
    denoiser can do better.

    Leaves a sheet of scenes of any kind in the folder, `starter.png`.
    """
    network, clean, bent = classifier()
    pipe: Any = StableDiffusionPipeline.from_pretrained(STARTER_PATH, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    scenes = [*_scenes(prompts // 2, 1, False), *_scenes(prompts - prompts // 2, 2, True)]
    right, rebuilt = _nothing(), _nothing()
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        for scene, picture in zip(part, _drawn(pipe, part, start), strict=True):
            _judge(scene, picture, network, right)
            _judge(scene, _rebuilt(pipe.vae, draw(scene)), network, rebuilt)
    rates = {f"starter: {name} right": {"ratio": sum(told) / len(told)} for name, told in right.items()}
    _sheet(pipe).save(folder / "starter.png", optimize=True)
    most = sum(rebuilt["shape"]) / len(rebuilt["shape"])
    return {
        "starter: shapes of clean drawings told": {"ratio": clean},
        "starter: the same of drawings with bent outlines": {"ratio": bent},
        "starter: of clean ones behind the autoencoder": {"ratio": most},
        "starter: time of a picture, of what it may take": {"ratio": _seconds(pipe) / MOST_SECONDS},
        "starter: bytes of all weights here, of what they may take": {"ratio": _bytes() / MOST_BYTES},
        **rates,
    }


def _seconds(pipe: Any) -> float:
    """Seconds that one picture takes, the first left aside."""
    taken = []
    for seed in range(4):
        start = time.perf_counter()
        _pictures(pipe, ["a red circle above a blue square on a white background"], seed)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def _bytes() -> int:
    return sum(path.stat().st_size for path in STARTER_PATH.parent.rglob("*") if path.is_file())


def _nothing() -> dict[str, list[bool]]:
    return {"ground": [], "color": [], "shape": [], "relation": []}


@torch.no_grad()
def _rebuilt(vae: Any, picture: Image.Image) -> Image.Image:
    """The picture as it comes back from the autoencoder."""
    seen = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    again = vae.decode(vae.encode(unit(seen, vae.device)).latents).sample
    return image(again[0])


def _sheet(pipe: Any) -> Image.Image:
    """Unseen scenes of any kind in rows, each above the words that it was asked for with."""
    chance = Random(UNSEEN)
    scenes = [sample(chance) for _ in range(math.prod(SHEET))]
    words = [caption(scene, Random(place)) for place, scene in enumerate(scenes)]
    columns, rows = SHEET
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (CELL + WORDS + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for place, (told, picture) in enumerate(zip(words, _pictures(pipe, words, UNSEEN), strict=True)):
        x, y = GAP + place % columns * (CELL + GAP), GAP + place // columns * (CELL + WORDS + GAP)
        sheet.paste(picture, (x, y))
        pen.multiline_text((x, y + CELL + 4), textwrap.fill(told, LINE), "black", font)
    return sheet


def _drawn(pipe: Any, scenes: Sequence[Scene], seed: int) -> list[Image.Image]:
    chance = Random(seed)
    return _pictures(pipe, [caption(scene, chance) for scene in scenes], seed)


def _pictures(pipe: Any, prompts: Sequence[str], seed: int) -> list[Image.Image]:
    return list(
        pipe(
            list(prompts),
            generator=[torch.Generator().manual_seed(seed + place) for place in range(len(prompts))],
            **{name: value for name, value in STARTER_DEFAULTS.items() if name != "scheduler"},
        ).images
    )


def _judge(scene: Scene, picture: Image.Image, network: nn.Module, right: dict[str, list[bool]]) -> None:
    """Add what is right in a picture: things are taken for those asked for in whichever order suits them best."""
    ground, things = look(picture)
    things = things[: len(scene.things)]
    shapes = _shapes(network, things)
    right["ground"].append(ground == scene.colors[0])
    found = list(zip(things, shapes, strict=True)) + [None] * (len(scene.things) - len(things))

    def score(order: Sequence[Any]) -> list[tuple[bool, bool]]:
        return [
            (got is not None and got[0].color == asked.color, got is not None and got[1] == asked.name)
            for got, asked in zip(order, scene.things, strict=True)
        ]

    best = max(itertools.permutations(found), key=lambda order: sum(map(sum, score(order))))
    right["color"] += [color for color, _ in score(best)]
    right["shape"] += [shape for _, shape in score(best)]
    if scene.relation:
        right["relation"].append(None not in best and bool(_stands(scene, best[0][0], best[1][0])))
