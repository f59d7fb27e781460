"""What the examples are. Every prompt is one that the starter model can draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.steps import (
    AnyStep,
    GanImage,
    ImageToImage,
    Input,
    Join,
    PromptTemplate,
    Recipe,
    TextToAnimation,
    TextToImage,
    Upscale,
)

ABOUT = "An example account that came with this site. Offshoots of its pipelines are welcome."

PEOPLE = (
    ("fern", "Fern", ABOUT),
    ("juniper", "Juniper Hale", ABOUT),
    ("daryna", "Дарина", ABOUT),
    ("salma", "سلمى", ABOUT),
    ("moss", "Moss", ABOUT),
)
"""Handle, name and about text. Nobody can log in as them."""

COLORS = ["red", "orange", "yellow", "green", "blue", "purple", "pink"]
GROUNDS = ["white", "black", "cyan", "gray", "yellow"]
ROUND = ["circle", "ring", "crescent", "oval"]
SEA = "The sea and the sun"


@dataclass(frozen=True)
class Example:
    """One pipeline, its run's seed and inputs, and the title of the one it grew from."""

    owner: str
    title: str
    recipe: Recipe
    description: str = ""
    tags: Sequence[str] = ()
    license: str = "CC-BY-4.0"
    seed: int = 1
    inputs: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    note: str = ""


def _draw(prompt: str, **parameters: object) -> TextToImage:
    return TextToImage(prompt=prompt, **parameters)  # type: ignore[arg-type]


def _steps(*steps: AnyStep) -> Recipe:
    return Recipe(steps=list(steps))


EXAMPLES: tuple[Example, ...] = (
    Example(
        "fern",
        SEA,
        _steps(_draw("the sun and a white boat on the sea")),
        "One step, one sentence. A good place to start from: change the hour, the weather or the boat.",
        ("sea", "landscape"),
        seed=7,
    ),
    Example(
        "juniper",
        "Red on yellow",
        _steps(_draw("a big red circle on a yellow background", num_inference_steps=25)),
        "The model knows round things best.",
        ("shapes", "simple"),
        "CC0-1.0",
        seed=3,
    ),
    Example(
        "daryna",
        "Місяць над горою",
        _steps(_draw("the moon and a mountain at night", negative_prompt="bright")),
        "Тиха ніч. Спробуйте інше зерно: щоразу інша гора.",
        ("ніч", "landscape"),
        "CC-BY-SA-4.0",
        seed=21,
    ),
    Example(
        "fern",
        "The sea at sunset",
        _steps(_draw("the sun and a white boat at sunset")),
        "The same boat, six hours later.",
        ("sea", "landscape", "sunset"),
        seed=7,
        parent=SEA,
        note="sunset instead of sea",
    ),
    Example(
        "juniper",
        "Any round thing",
        Recipe(
            lists={"colors": COLORS, "grounds": GROUNDS, "shapes": ROUND},
            steps=[
                PromptTemplate(template="a {big|small|} __colors__ __shapes__ on a __grounds__ background"),
                _draw("{text}", num_images_per_prompt=4),
            ],
        ),
        "Lists choose the color, the shape and the ground by the seed. Four pictures a run.",
        ("shapes", "lists"),
        "CC0-1.0",
        seed=12,
    ),
    Example(
        "salma",
        "A week at sea",
        _steps(_draw("the sun and a white boat on the sea", num_images_per_prompt=7), Join(layout="gif", frame_ms=700)),
        "Seven seeds of one sentence, a day each.",
        ("sea", "landscape", "animation"),
        seed=7,
        parent=SEA,
        note="seven pictures, joined to a GIF",
    ),
    Example(
        "moss",
        "The sea in ink",
        _steps(
            _draw("the sun and a white boat on the sea"),
            ImageToImage(prompt="the sun and a white boat on the sea, with a black outline", strength=0.8),
        ),
        "Draws the parent's picture again and goes over it with a black pen.",
        ("sea", "outline"),
        seed=7,
        parent=SEA,
        note="a second step",
    ),
    Example(
        "salma",
        "هلال في سماء الليل",
        _steps(_draw("a yellow crescent in the night sky", guidance_scale=3.5)),
        "هلال أصفر وحيد بين النجوم.",
        ("night", "shapes"),
        seed=5,
    ),
    Example(
        "moss",
        "What is in the meadow?",
        Recipe(
            inputs=[
                Input(name="sky", kind="choice", default="the sun", choices=["the sun", "a cloud", "the moon"]),
                Input(name="thing", default="a red house"),
            ],
            steps=[_draw("{sky} and {thing} in a meadow")],
        ),
        "Choose the sky and say what stands in the grass: a tree, a house, a mountain.",
        ("landscape", "inputs"),
        "MIT",
        seed=17,
        inputs={"thing": "a green tree"},
    ),
    Example(
        "daryna",
        "The sea without the sun",
        _steps(_draw("a purple boat on the sea", negative_prompt="the sun"), Upscale(factor=2)),
        "The sun is gone, the boat has another color, and the picture is twice as large.",
        ("sea", "landscape"),
        seed=30,
        parent=SEA,
        note="no sun, and larger",
    ),
    Example(
        "salma",
        "Ring on a gradient",
        _steps(
            _draw("a white ring on a purple to pink gradient background", num_inference_steps=30),
            Upscale(factor=4, sharpen=0.3),
        ),
        "Small and exact first, then four times larger with a little sharpening.",
        ("shapes", "large"),
        "CC-BY-NC-4.0",
        seed=2,
    ),
    Example(
        "moss",
        "From shape to shape",
        _steps(GanImage(num_images=8, layout="walk", frames=96, format="webp")),
        "Eight seeds, each a shape of its own, and the way to the next. A generator needs a moment for all of it.",
        ("shapes", "animation"),
        "CC0-1.0",
        seed=16,
    ),
    Example(
        "salma",
        "A boat goes by",
        _steps(TextToAnimation(prompt="the sun and a white boat on the sea")),
        "The sentence of the parent, with motion: the starter knows that boats sail and the sun drifts.",
        ("sea", "landscape", "animation"),
        seed=1,
        parent=SEA,
        note="an animation instead of a picture",
    ),
    Example(
        "fern",
        "A mountain in blue",
        _steps(_draw("a mountain and the sun <lora:cyanotype:1>")),
        "A LoRA changes how the model draws: this one knows light and dark, and nothing but blues.",
        ("landscape", "lora"),
        "CC0-1.0",
        seed=8,
    ),
    Example(
        "juniper",
        "Inked",
        Recipe(
            lists={"colors": ["pink", "cyan", "yellow", "orange"]},
            steps=[
                PromptTemplate(template="a big __colors__ {circle|ring} on a white background", title="Pick a shape"),
                _draw("{text}", title="Draw it"),
                ImageToImage(prompt="{text}, with a black outline", strength=0.8, title="Ink it"),
                Upscale(factor=2, title="Enlarge"),
            ],
        ),
        "Four steps: words, a drawing, a second pass with a black outline, and a larger picture.",
        ("shapes", "outline", "lists"),
        "CC-BY-SA-4.0",
        seed=44,
    ),
    Example(
        "fern",
        "A cloud over the desert",
        _steps(
            _draw("a cloud and a mountain in the desert", scheduler="EulerDiscreteScheduler", num_images_per_prompt=2)
        ),
        "Two seeds side by side, drawn with another scheduler.",
        ("desert", "landscape"),
        "CC-BY-ND-4.0",
        seed=9,
    ),
)
