"""The page of the models: what each can do, and the best that was made with it."""

from typing import Any

from domain import models
from tests.make import Make
from tests.searching import drawn


async def test_without_models_it_says_how_they_come(db: Any, client: Any) -> None:
    text = (await client.get("/models")).text
    assert "No models yet" in text
    assert "offshoot models add" in text


async def test_a_model_tells_what_it_can_and_shows_the_best(db: Any, client: Any, make: Make) -> None:
    await models.register_all({})
    empty = await client.get("/models")
    assert empty.status_code == 200
    for words in (
        "Draw, Redraw, Repaint a part",
        "Apache-2.0",
        "StableDiffusionPipeline",
        "Knows ",
        "turquoise",
        "Has 8 classes",
    ):
        assert words in empty.text
    assert "Nobody has published anything made with it yet." in empty.text
    for n in range(6):
        await drawn(make, f"Boat {n}", "a boat")
    text = (await client.get("/models")).text
    assert text.count('<article class="card') == 4
    assert "All 6 pipelines with" in text
    assert 'href="/search?model=starter&amp;order=rating"' in text
    assert (await client.get("/search?model=starter&order=rating")).status_code == 200


async def test_pipelines_of_a_longer_name_are_not_shown(db: Any, client: Any, make: Make) -> None:
    for name in ("Dream", "dreamer"):
        await models.register(name, models.STARTER_PATH)
    for n in range(2):
        await drawn(make, f"Boat {n}", "a boat", model="dreamer")
    text = (await client.get("/models")).text
    assert "Nobody has published anything made with it yet." in text
    assert "All 2 pipelines with <bdi>dreamer</bdi>" in text
    await drawn(make, "House", "a house", model="Dream")
    assert "All 1 pipeline with <bdi>Dream</bdi>" in (await client.get("/models")).text


async def test_a_name_in_any_script_stays_itself(db: Any, client: Any) -> None:
    await models.register("דגם-1", models.STARTER_PATH)
    text = (await client.get("/models")).text
    assert "<bdi>דגם-1</bdi>" in text
    assert "/search?model=%D7%93" in text or "Nobody has published" in text
