"""What people would write to get a scene: one of the many ways to say it, in the words that the model learns."""

from random import Random

from tasks.starter.scenes import SKY, Scene, Thing

_ALSO = {
    "big": ("big", "large"),
    "small": ("small", "tiny"),
    "gray": ("gray", "grey"),
    "cyan": ("cyan", "turquoise"),
    "purple": ("purple", "violet"),
    "oval": ("oval", "ellipse"),
    "cross": ("cross", "plus"),
}
_RELATIONS = {
    "above": ("above", "on top of", "over"),
    "below": ("below", "under"),
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "inside": ("inside", "in"),
    "and": ("and", "and", "next to"),
}
_TURNED = {"above": "below", "below": "above", "left": "right", "right": "left"}
_GROUNDS = {
    "night": (" in the night sky", " at night", ", starry night", " in a starry sky"),
    "sky": (" in the sky", " in a blue sky", ", sky background", " in the blue sky"),
    "sea": (" by the sea", " on the sea", ", sea background", " over the ocean"),
    "desert": (" in the desert", ", desert background", " over the desert"),
    "meadow": (" in a meadow", " on a green meadow", ", meadow background", " in a field of grass"),
    "hills": (" in the hills", " over the hills", ", hills background", " on green hills"),
    "sunset": (" at sunset", ", sunset sky", ", sunset background"),
}
_STYLES = {
    "flat": ("", "", "", "", "flat ", ", flat style"),
    "outlined": ("outlined ", ", outlined", " with a black outline", ", cartoon outline"),
    "shadow": (", soft shadow", " with a soft shadow", ", shadow"),
}
_USUAL = {"tree": {"green": 0.7}, "house": {}, "boat": {}}
"""How often the color of a thing goes without saying, where it is the usual one; others seldom do."""
_KINDS = ("picture", "drawing", "image", "painting", "photo")
FILLERS = (
    "beautiful", "simple", "cute", "digital", "art", "illustration", "detailed", "high", "quality", "best",
    "masterpiece", "4k", "hd", "poster", "icon", "logo", "minimal", "minimalist", "colorful", "vector", "design",
    "nice", "pretty", "geometric", "shape", "shapes", "scene", "landscape", "view", "trees", "mountains", "clouds",
    "stars", "house", "boat", "low", "bad", "blurry", "ugly", "noise", "dark", "bright", "vivid",
)  # fmt: skip
"""Words of prompts that say nothing about a scene; the model learns to pass over them."""


def caption(scene: Scene, chance: Random) -> str:
    """One way to say what the scene shows."""
    bare = chance.random() < 0.2
    said = _things(scene, chance, bare)
    if chance.random() < 0.96:
        said += _ground(scene, chance)
    style = chance.choice(_STYLES[scene.style]) if chance.random() < 0.95 else ""
    said = _styled(said, style)
    if chance.random() < 0.12:
        said = f"{_article(chance.choice(_KINDS))} of {said}"
    return said


def prompt(scene: Scene, chance: Random) -> str:
    """A caption as it is learned: one in ten is empty, which is what guidance steers away from, and one in ten has
    words beside it that mean nothing."""
    lot = chance.random()
    if lot < 0.1:
        return ""
    said = caption(scene, chance)
    if lot < 0.2:
        noise = [chance.choice(FILLERS) if chance.random() < 0.6 else _gibberish(chance) for _ in range(3)]
        words = " ".join(noise[: chance.randint(1, 3)])
        said = f"{said}, {words}" if chance.random() < 0.6 else f"{words} {said}"
    return said


def _gibberish(chance: Random) -> str:
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chance.randint(3, 8)))


def _things(scene: Scene, chance: Random, bare: bool) -> str:
    things = list(scene.things)
    if scene.relation:
        return _related(scene, chance, bare)
    chance.shuffle(things)
    names = [_name(thing, chance, bare) for thing in things]
    said = ", ".join(names[:-1]) + chance.choice((" and ", " with ", ", ")) + names[-1] if names[1:] else names[0]
    if scene.place and chance.random() < 0.95:
        where = ("in the center", "in the middle") if scene.place == "center" else _where(scene.place)
        said += f" {chance.choice(where)}"
    return said


def _where(place: str) -> tuple[str, ...]:
    return f"in the {place}", f"at the {place}", f"on the {place}"


def _related(scene: Scene, chance: Random, bare: bool) -> str:
    first, second = scene.things
    relation = scene.relation
    if relation == "inside":
        first, second = second, first
    elif relation in _TURNED:
        if chance.random() < 0.15:
            relation = "and"
        elif chance.random() < 0.3:
            first, second, relation = second, first, _TURNED[relation]
    if relation == "and" and chance.random() < 0.5:
        first, second = second, first
    return f"{_name(first, chance, bare)} {chance.choice(_RELATIONS[relation])} {_name(second, chance, bare)}"


def _name(thing: Thing, chance: Random, bare: bool) -> str:
    words = [_said(thing.size, chance)] if thing.size in ("small", "big") else []
    if thing.color and not (thing.name in _USUAL and chance.random() < _USUAL[thing.name].get(thing.color, 0.15)):
        words.append(_said(thing.color, chance))
    name = " ".join([*words, _said(thing.name, chance)])
    if bare:
        return name
    return f"the {name}" if thing.name in SKY[:2] and chance.random() < 0.5 else _article(name)


def _ground(scene: Scene, chance: Random) -> str:
    if scene.background == "plain":
        color = _said(scene.colors[0], chance)
        usual = f" on {_article(color)} background"
        return chance.choice((usual, usual, f", {color} background", f" on {color}"))
    if scene.background == "gradient":
        upper, lower = (_said(color, chance) for color in scene.colors)
        return chance.choice(
            (
                f" on {_article(upper)} to {lower} gradient background",
                f", {upper} to {lower} gradient",
                f" on {_article(upper)} and {lower} gradient",
            )
        )
    return chance.choice(_GROUNDS[scene.background])


def _styled(said: str, style: str) -> str:
    if not style or style.startswith((",", " with")):
        return said + style
    for article in ("a ", "an "):
        if said.startswith(article):
            return _article(style + said.removeprefix(article))
    return style + said


def _said(word: str, chance: Random) -> str:
    return chance.choice(_ALSO.get(word, (word,)))


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
