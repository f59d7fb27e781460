"""What a model of few words does not know of a prompt."""

from pathlib import Path

import pytest

from deploy.example_recipes import EXAMPLES
from domain import loras, vocabulary
from domain.models import STARTER_PATH, ModelChoice
from domain.pipelines import Details
from domain.steps import ImageToImage, Input, PromptTemplate, Recipe, TextToImage
from web import composer

KNOWN = [("Things", ["boat", "house"]), ("Colors", ["red", "blue"]), ("Small words", ["a", "on", "the"])]
MODELS = {
    kind: [ModelChoice("starter", {}, KNOWN), ModelChoice("large", {})] for kind in ("text_to_image", "image_to_image")
}


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["A red BOAT on the house, 4 5"], {}),
        (["a bleu dragon", "a dragon on a boats"], {"bleu": "blue", "dragon": "", "boats": "boat"}),
        (["красная лодка"], {"красная": "", "лодка": ""}),
        ([""], {}),
        ([" ".join(f"{letter}zz" for letter in "abcdefghij")], {f"{letter}zz": "" for letter in "abcdefgh"}),
    ],
)
def test_unknown_words_are_told_with_the_nearest_known_one(texts: list[str], found: dict[str, str]) -> None:
    assert vocabulary.unknown(texts, KNOWN) == found
    assert vocabulary.unknown(texts, []) == {}


def test_a_template_is_read_with_all_that_it_may_put_in() -> None:
    texts = vocabulary.texts(
        "{big|small} {thing} __colors__ {text} \\{brace\\}",
        {"thing": ["a tree", "a fox"]},
        {"colors": ["red", "mauve"]},
    )
    words = set(vocabulary.unknown(texts, KNOWN))
    assert words == {"big", "small", "brace", "tree", "fox", "mauve"}


def test_words_are_read_from_the_models_folder(tmp_path: Path) -> None:
    assert vocabulary.read(tmp_path) == vocabulary.read(tmp_path / "one.safetensors") == []
    (tmp_path / "words.txt").write_text("Things: Boat  house\n\nNo words:\nwithout a colon\nColors: red\n")
    assert vocabulary.read(tmp_path) == [("Things", ["boat", "house"]), ("Colors", ["red"])]
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe")
    assert vocabulary.read(tmp_path) == []


def test_the_starter_model_says_what_it_knows_and_each_word_is_one_of_its_tokens() -> None:
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(STARTER_PATH / "tokenizer")
    words = [word for _, group in vocabulary.read(STARTER_PATH) for word in group]
    assert len(words) > 60
    assert len(set(words)) == len(words)
    assert [word for word in words if len(tokenizer.tokenize(word)) != 1] == []


def unknown(recipe: Recipe) -> dict[str, list[str]]:
    """By field, what the composer says is not known."""
    laid = composer.compose(composer.form_of(Details("x"), recipe), MODELS)
    controls = [one for row in laid.rows for one in [*row.prompts, *row.more]]
    return {one.key: list(one.unknown.words) for one in controls if one.unknown}


def test_prompts_are_judged_by_the_model_that_reads_them() -> None:
    inputs = [Input(name="thing", default="a fox")]
    drawing = TextToImage(prompt="a red {thing} on __grounds__", negative_prompt="mist")
    found = unknown(Recipe(inputs=inputs, lists={"grounds": ["the moss"]}, steps=[drawing]))
    assert found == {"s1-prompt": ["fox", "moss"], "s1-negative_prompt": ["mist"]}
    assert unknown(Recipe(steps=[TextToImage(prompt="a fox", model="large")])) == {}
    assert unknown(Recipe(steps=[TextToImage(prompt="a boat"), ImageToImage(prompt="a wet boat")])) == {
        "s1-prompt": [],
        "s1-negative_prompt": [],
        "s2-prompt": ["wet"],
        "s2-negative_prompt": [],
    }


@pytest.mark.parametrize(
    ("model", "found"),
    [("starter", {"s1-template": ["fox"], "s2-prompt": ["glow"], "s2-negative_prompt": []}), ("large", {})],
)
def test_a_template_is_judged_by_the_step_that_draws_its_text(model: str, found: dict[str, list[str]]) -> None:
    recipe = Recipe(steps=[PromptTemplate(template="a fox"), TextToImage(prompt="{text}, glow", model=model)])
    assert unknown(recipe) == found


def test_the_examples_use_words_that_the_starter_knows() -> None:
    known = vocabulary.read(STARTER_PATH)
    for example in EXAMPLES:
        inputs = {one.name: [one.default, *one.choices, *example.inputs.values()] for one in example.recipe.inputs}
        for step in example.recipe.steps:
            template = getattr(step, "template", "") or getattr(step, "prompt", "")
            texts = vocabulary.texts(loras.without(template), inputs, example.recipe.lists)
            assert vocabulary.unknown(texts, known) == {}, example.title
