"""LoRAs in prompts: how they are asked for, and that they count."""

import pytest

from domain import loras, prepare, steps
from domain.errors import DomainError
from domain.loras import Lora
from domain.prepare import Given, Prepared
from domain.steps import Recipe, TextToImage

KNOWN = {"ink": "a" * 64, "fish.v2": "b" * 64}


def ready(prompt: str, **inputs: str) -> Prepared:
    given = Given(inputs=inputs, lists={}, seed=5)
    return prepare.prepare(TextToImage(prompt=prompt), given, "r", known=KNOWN)


@pytest.mark.parametrize(
    ("prompt", "asked", "read"),
    [
        ("a boat", {}, "a boat"),
        ("a boat <lora:ink:0.8>", {"ink": 0.8}, "a boat"),
        ("<lora:ink> a boat", {"ink": 1.0}, "a boat"),
        ("a <lora:ink:-.5> boat, <LoRA:fish.v2:2>calm", {"ink": -0.5, "fish.v2": 2.0}, "a boat, calm"),
        ("<lora:ink:0.2><lora:ink:0.4>", {"ink": 0.4}, ""),
        ("a (<lora:ink:1>:1.3) boat", {"ink": 1.0}, "a boat"),
        ("(red:1.3) <lora:ink:1>", {"ink": 1.0}, "(red:1.3)"),
    ],
)
def test_a_prompt_asks_for_loras_that_the_model_does_not_read(prompt: str, asked: dict[str, float], read: str) -> None:
    assert loras.named(prompt) == asked
    assert loras.without(prompt) == read
    assert loras.fault(prompt) == ""


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        ("a boat <lora:ink:strong>", "this has <lora:ink:strong>"),
        ("a boat <lora ink>", "A LoRA is written <lora:name:0.8>"),
        ("a boat <lora:ink:0.8", "this has <lora:ink:0.8"),
        (f"a boat <lora:ink:{'1' * 40}>", "A LoRA is written <lora:name:0.8>"),
        ("a boat <lora:ink:3>", "from −2 to 2; this has 3"),
        ("".join(f"<lora:l{number}>" for number in range(9)), "At most 8 LoRAs"),
    ],
)
def test_what_is_written_wrong_is_told(prompt: str, fault: str) -> None:
    assert fault in loras.fault(prompt)
    assert fault in steps.check(Recipe(steps=[TextToImage(prompt=prompt)]))["s1-prompt"]
    with pytest.raises(DomainError):
        ready(prompt)


def test_the_negative_prompt_takes_none() -> None:
    step = TextToImage(prompt="a boat", negative_prompt="fog <lora:ink:1>")
    assert "LoRAs are asked for in the prompt" in steps.check(Recipe(steps=[step]))["s1-negative_prompt"]


def test_what_a_template_fills_in_is_looked_at_when_it_is_filled() -> None:
    prompt = "a boat <lora:{style}:{much}>"
    assert "s1-prompt" not in steps.check(Recipe(steps=[TextToImage(prompt=prompt)]))
    assert ready(prompt, style="ink", much="0.5").loras == [Lora("ink", 0.5, "a" * 64)]
    with pytest.raises(DomainError, match=r"no LoRA called “oil”\. It has: fish\.v2, ink"):
        ready("a boat <lora:{style}>", style="oil")


def test_a_lora_its_file_and_its_weight_count_and_keep_steps_apart() -> None:
    every = [ready(f"a boat{tag}") for tag in ("", "<lora:ink:0.8>", "<lora:ink:0.7>", "<lora:fish.v2:0.8>")]
    assert len({one.input_hash for one in every}) == len({one.batch_key for one in every}) == 4
    given = Given(inputs={}, lists={}, seed=5)
    other = prepare.prepare(TextToImage(prompt="a boat<lora:ink:0.8>"), given, "r", known={"ink": "c" * 64})
    assert other.input_hash != every[1].input_hash
    assert ready("a moth <lora:ink:0.8>").batch_key == every[1].batch_key, "other words may share a call"


def test_a_lora_of_weight_0_is_not_put_on() -> None:
    assert ready("a boat <lora:ink:0>").loras == []
