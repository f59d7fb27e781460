"""Admins look after the registry: add, edit, verify and remove models; everything is said beside its field."""

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain import models, people, readings, weights
from domain.errors import Conflict, NotFound
from domain.people import Person
from tests.make import Make
from web.readings import LEFT, Readings

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
WRONG = {"name": "a b", "path": "models/sdxl", "license": "x" * 101, "trigger": "inked", "defaults": "steps=0",
         "means": "dtype=fp8"}  # fmt: skip


@pytest.fixture
async def admin(client: httpx.AsyncClient, make: Make, log_in: LogIn) -> httpx.AsyncClient:
    """The browser of an admin."""
    return await log_in(client, await make.person("host", role="admin"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the starter model that a test may spoil."""
    return Path(shutil.copytree(models.STARTER_PATH, tmp_path / "mine"))


async def listed(admin: httpx.AsyncClient) -> str:
    """The list once nothing is read any more."""
    while True:
        text = (await admin.get("/admin/models")).text
        if "<progress" not in text:
            return text
        assert 'hx-trigger="every 2s"' in text
        assert 'http-equiv="refresh"' in text
        await asyncio.sleep(0.05)


async def test_a_model_is_added_by_its_path(admin: httpx.AsyncClient, folder: Path) -> None:
    form = {"name": "mine", "path": str(folder), "license": "MIT", "trigger": "inked", "defaults": "steps=30",
            "means": "fuse=1"}  # fmt: skip
    answer = await admin.post("/admin/models", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/models")
    text = await listed(admin)
    found = await models.read("mine")
    assert found.revision == weights.revision(folder)
    assert (found.license, found.trigger, found.means.fuse) == ("MIT", ["inked"], True)
    assert found.defaults["num_inference_steps"] == 30
    assert f"<dt>At</dt><dd>{folder}</dd>" in text
    assert "1 model, " in text
    assert re.search(r"<dt>Free</dt><dd>[\d.]+ .B of [\d.]+ .B</dd>", text)
    again = await admin.post("/admin/models", data=form)
    assert again.status_code == 422
    assert "Another model has this name." in again.text


async def test_what_is_wrong_is_said_beside_its_field_and_stays(admin: httpx.AsyncClient, folder: Path) -> None:
    answer = await admin.post("/admin/models", data=WRONG)
    assert answer.status_code == 422
    for words in ("1 to 80 letters", "The whole path on ", "At most 100 letters", "dtype must be"):
        assert words in answer.text, words
    for name, value in WRONG.items():
        assert value in answer.text, name
    gone = (await admin.post("/admin/models", data=WRONG | {"path": "/nowhere"})).text
    assert "/nowhere is neither a diffusers folder" in gone
    assert "dtype must be" in gone
    right = WRONG | {"name": "mine", "path": str(folder), "license": "", "means": ""}
    answer = await admin.post("/admin/models", data=right)
    assert (answer.status_code, "steps: from 1 to 150" in answer.text) == (422, True)
    (folder / "unet" / "more.ckpt").write_bytes(b"\x80\x04.")
    answer = await admin.post("/admin/models", data=right)
    assert "more.ckpt is refused: only .safetensors files are safe to open" in answer.text
    assert await models.everything() == []
    assert await readings.latest() == {}


async def test_what_is_said_of_a_model_is_edited(admin: httpx.AsyncClient, folder: Path) -> None:
    await models.register("mine", folder)
    text = (await admin.get("/models/mine/edit")).text
    assert "width=256, height=256, steps=30, guidance=7, scheduler=DDIMScheduler" in text
    answer = await admin.post("/models/mine/edit", data={"license": "MIT", "trigger": "inked", "defaults": "steps=0"})
    assert answer.status_code == 422
    assert "steps: from 1 to 150" in answer.text
    assert "inked" in answer.text
    assert (await models.read("mine")).license == ""
    answer = await admin.post("/models/mine/edit", data={"license": "MIT", "trigger": "inked", "defaults": "steps=9"})
    assert answer.headers["location"] == "/models/mine"
    found = await models.read("mine")
    begun = {"num_inference_steps": 9, "most_frames": 8}
    assert (found.license, found.trigger, found.defaults) == ("MIT", ["inked"], begun)
    (offered,) = [one for one in (await models.offered())["text_to_animation"] if one.name == "mine"]
    assert offered.defaults == begun


async def test_files_are_hashed_again_beside_the_pages(admin: httpx.AsyncClient, folder: Path) -> None:
    await models.register("mine", folder)
    answer = await admin.post("/models/mine/verification")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/models")
    assert "its files are those that were registered" in await listed(admin)
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    await admin.post("/models/mine/verification")
    text = await listed(admin)
    assert "its files are others: revision " in text
    assert "no, or otherwise than registered" in text
    shutil.rmtree(folder)
    await admin.post("/models/mine/verification")
    assert "is neither a diffusers folder" in await listed(admin)


async def test_a_model_is_removed_once_somebody_is_sure(admin: httpx.AsyncClient, folder: Path) -> None:
    await models.register("mine", folder)
    await models.register_all({})
    assert "offered again" not in (await admin.get("/models/mine/removal")).text
    assert "offered again" in (await admin.get("/models/starter/removal")).text
    assert (await admin.post("/models/mine/removal")).status_code == 303
    with pytest.raises(NotFound):
        await models.read("mine")
    assert weights.family(folder), "nothing on the disk is deleted"
    assert (await admin.post("/models/mine/removal")).status_code == 404


async def test_one_reading_at_a_time_and_none_is_left_alive(db: Any) -> None:
    """A process that is gone says nothing any more; one that stops says so."""
    began = await readings.begin("mine", "here", 10, adds=False)
    with pytest.raises(Conflict, match="are being read already"):
        await readings.begin("mine", "there", 10, adds=False)
    await db.execute("UPDATE model_readings SET seen_at = now() - make_interval(secs => 31)")
    assert (await readings.latest())["mine"].left
    await readings.begin("mine", "there", 10, adds=False)
    await readings.end("mine", began, 10)
    assert (await readings.latest())["mine"].alive, "the one that is gone ends nothing of another's"

    mine = Readings()

    async def work(say: weights.Say) -> str:
        say(5)
        await asyncio.sleep(0.2)
        say(5)
        return "it went on"

    await mine.start("slow", 10, work, adds=False)
    await asyncio.sleep(0.05)
    await mine.close()
    slow = (await readings.latest())["slow"]
    assert (slow.fault, slow.percent, slow.alive) == (LEFT, 50, False)


async def test_only_admins_find_it(client: httpx.AsyncClient, make: Make, log_in: LogIn, db: Any) -> None:
    await models.register_all({})
    ada = await make.person("ada")
    await log_in(client, ada)
    assert "/admin/models" not in (await client.get("/models")).text
    assert (await client.get("/admin/models")).status_code == 404
    assert await people.grant_admin("@Ada") == "ada"
    assert "/admin/models" in (await client.get("/models")).text
    assert "/models/starter/edit" in (await client.get("/models/starter")).text
    assert await people.revoke_admin("ada") == "ada"
    assert (await client.get("/admin/models")).status_code == 404
    with pytest.raises(Conflict, match="@ada is no admin"):
        await people.revoke_admin("ada")
    with pytest.raises(NotFound):
        await people.grant_admin("nobody")
