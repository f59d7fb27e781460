"""Search finds what everybody may see, in any language, and says what it could not read."""

from typing import Any

import pytest

from domain import cards, people, ratings, runs, search, search_documents, search_query
from domain.steps import PromptTemplate, TextToImage
from tests.make import Make

HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def drawn(make: Make, title: str, prompt: str = "a red circle", owner: Any = None, **more: Any) -> Any:
    """A published pipeline that draws a prompt."""
    step = {name: more.pop(name) for name in ("model", "num_inference_steps", "seed") if name in more}
    steps = [TextToImage(prompt=prompt, **step)]
    return await make.pipeline(owner, title=title, steps=steps, published=True, **more)


async def titles(db: Any, text: str, order: str = "match", **more: Any) -> list[str]:
    """What a search finds, as titles in order."""
    found = await search.find(search_query.parse(text), order, exactly=True, **more)
    rows = await db.fetch("SELECT id, title FROM pipelines")
    names = {row["id"]: row["title"] for row in rows}
    return [names[id_] for id_ in found.ids]


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("A small fishing harbor at dusk", "harbors"),
        ("Three boats resting", "boat rest"),
        ("Старая гавань вечером", "старой гавани"),
        ("Синий лес, туман", "синего леса"),
        ("Ёлка у реки", "елка"),
        ("Паперові ліхтарі над водою", "ліхтарі"),
        ("Їжак у тумані під яблунею", "їжак яблунею"),
        ("Пам’ять про м'яту", "пам'ять"),
        ("Café crème à la plage", "cafe creme"),
        ("a cafe by the sea", "café"),
        ("Größe und Maß", "grosse"),
        ("静かな夜の港、灯り", "夜の港"),
        ("一座古老的港口", "港口"),
        ("고요한 항구의 밤", "항구"),
        ("ท่าเรือยามค่ำ", "ท่าเรือ"),
        ("ميناء صغير تحت الثلج", "الثلج"),
        ("हिन्दी बंदरगाह", "बंदरगाह"),
        ("ＦＵＬＬ width", "full"),
        ("lamp/lantern (glowing:1.3), <lora:gouache:0.8>", "lantern glowing gouache"),
        ("sdxl-1.0 at 8k", "sdxl 8k"),
        ("don't look back", "dont"),
        ("to be or not to be", '"to be or not"'),
    ],
)
async def test_words_are_found_in_every_language(make: Make, db: Any, prompt: str, asked: str) -> None:
    await drawn(make, "The one", prompt)
    await drawn(make, "Another", "nothing of that kind")
    assert await titles(db, asked) == ["The one"]


async def test_the_page_shows_lines_with_matches_marked(client: Any, make: Make, db: Any) -> None:
    ada = await make.person("ada")
    await drawn(make, "Lantern <harbor>", "A small harbor at dusk, paper lanterns", ada, tags=["night"])
    answer = await client.get("/search?q=harbors")
    assert answer.status_code == 200, answer.text
    print(answer.text)
    assert "1 result for" in answer.text
    assert "Lantern &lt;<mark>harbor</mark>&gt;" in answer.text
    assert "A small <mark>harbor</mark> at dusk" in answer.text
