"""Every list of a person's world with nothing in it, past its end, at a wrong address, and with words of any length
and direction."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from domain import bookmarks, collections, follows, lists
from domain.collections import Details
from tests.make import Make

LISTS = (
    "/",
    "/?order=trending",
    "/?order=best",
    "/?order=offshoots",
    "/?order=grown",
    "/tags/sea",
    "/following",
    "/notifications",
    "/runs",
    "/grids",
    "/@ada",
    "/@ada?tab=runs",
    "/@ada?tab=offshoots",
    "/@ada?tab=collections",
    "/@ada?tab=bookmarks",
)
BY_ID = ("/notifications", "/runs", "/@ada?tab=runs", "/@ada?tab=collections")
"""Lists whose cursor is the id of the last one."""
LONG = "שלום" * 60 + "‏"
"""Right to left, and without a space to break a line at."""


@pytest.fixture
async def ada(client: httpx.AsyncClient, make: Make, log_in: Any) -> Any:
    found = await make.person("ada")
    await log_in(client, found)
    return found


def order_of(path: str) -> str:
    return path.partition("order=")[2] or "newest"


@pytest.mark.parametrize("path", LISTS)
async def test_an_empty_list_says_so_and_leads_on(client: httpx.AsyncClient, ada: Any, path: str) -> None:
    page = await client.get(path)
    assert page.status_code == 200
    void = page.text.partition('<div class="void">')[2].partition("</div>")[0]
    assert 'class="btn primary" href="/' in void
    assert 'id="list"' not in page.text


@pytest.mark.parametrize("path", LISTS)
async def test_past_its_end_a_list_leads_back_and_a_wrong_place_is_not_found(
    client: httpx.AsyncClient, make: Make, db: Any, ada: Any, path: str
) -> None:
    await full(make, db, ada)
    past: Any = UUID(int=0)
    if path not in BY_ID:
        value = datetime(2020, 1, 1, tzinfo=UTC) if order_of(path) == "newest" else -1
        past = lists.encode(order_of(path), value, uuid4(), 24)
    at = f"{path}{'&' if '?' in path else '?'}after="
    page = await client.get(f"{at}{past}")
    assert page.status_code == 200
    assert "That was all" in page.text
    assert f'class="btn primary" href="{path}"' in page.text
    for wrong in ("sideways", "A" * 400, "%00", "-1"):
        assert (await client.get(f"{at}{wrong}")).status_code in (400, 404), wrong


class Directed(HTMLParser):
    """The text of a page's inside that stands in no element with a direction of its own."""

    ALONE = frozenset({"br", "hr", "img", "input", "link", "meta", "path", "circle", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[bool] = []
        self.bare = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.ALONE:
            self.open.append(tag in ("bdi", "option", "title", "script") or dict(attrs).get("dir") == "auto")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.ALONE:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self.open):
            self.bare += data


async def full(make: Make, db: Any, ada: Any) -> None:
    """One of each in Ada's lists, all of it with long words from right to left."""
    bo = await make.person("bo", name=LONG[:60])
    await db.execute("UPDATE people SET name = $1 WHERE handle = 'ada'", LONG[:60])
    hers = await make.listed(ada, title=LONG, tags=["sea"])
    grown = await make.pipeline(bo, parent=hers, title=LONG, tags=["sea"], published=True)
    made = await collections.create(ada.id, Details(LONG[:120], LONG, "public"))
    await collections.add(made, ada.id, grown.id, note=LONG)
    await bookmarks.add(grown.id, ada.id)
    await follows.follow_person(ada.id, bo.id)
    await follows.follow_pipeline(ada.id, hers.id)
    await make.version(hers, note=LONG)
    await make.comment(hers, bo, LONG)
    await make.grid([await make.run(grown, ada, state="succeeded")])
    await make.grid([await make.run(grown, bo, state="succeeded", published=True)], published=True)
    await make.run(grown, ada, state="failed")
    await db.execute("UPDATE pipelines SET prompt = $1, cover_text = $1, description = $1", LONG)
    await db.execute(
        "UPDATE grids SET axes = jsonb_set(axes, '{0,title}', to_jsonb($1::text))",
        LONG,
    )


@pytest.mark.parametrize("path", LISTS)
async def test_words_of_any_direction_turn_nothing_round(
    client: httpx.AsyncClient, make: Make, db: Any, ada: Any, path: str
) -> None:
    await full(make, db, ada)
    page = await client.get(path)
    assert page.status_code == 200
    assert LONG[:60] in page.text
    inside = Directed()
    inside.feed(page.text.partition("<main")[2].partition(">")[2].partition("</main>")[0])
    assert "שלום" not in inside.bare, inside.bare[: inside.bare.index("שלום") + 40][-200:]
