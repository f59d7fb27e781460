"""The commands beside `offshoot run`: migrate, models, examples."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy import examples
from deploy.cli import main
from deploy.example_recipes import EXAMPLES
from domain import db as database
from domain.models import STARTER_PATH
from tests.make import Make

Command = Callable[..., tuple[int, str]]


@pytest_asyncio.fixture(loop_scope="session")
async def nothing_bound() -> None:
    """A command opens a pool of its own, which would put the session's aside without closing it."""
    await database.unbind()


@pytest.fixture
def offshoot(
    nothing_bound: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Run a command on a data folder of its own; its exit status and what it wrote."""
    for name in ("DATABASE_URL", "REDIS_URL", "S3_URL", "SECRET_KEY", "PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        written = capsys.readouterr()
        return int(left.value.code or 0), (written.out + written.err).strip()

    return run


def test_models_are_added_listed_and_removed(offshoot: Command) -> None:
    said = ("--license", "MIT", "--trigger", "inked", "--means", "fuse=1", "--defaults")
    status, told = offshoot("models", "add", "mine", str(STARTER_PATH), *said, "steps=900")
    assert (status, told) == (1, "offshoot: steps: from 1 to 150, without a fraction, not '900'")
    status, told = offshoot("models", "add", "mine", str(STARTER_PATH), *said, "steps=12,scheduler=EulerDiscrete")
    assert (status, told[:6]) == (0, "mine: ")
    assert "It runs with fuse=1." in told
    assert "begin with width=256, height=256, steps=12, guidance=7, scheduler=EulerDiscreteScheduler, frames=8," in told
    listed = offshoot("models", "list")[1]
    assert "mine " in listed
    assert " MIT " in listed
    assert re.search(r"^On the disk of .*: \d\d MB of models, [\d.,]+ GB of [\d,]+ GB free$", listed, re.MULTILINE)
    assert re.search(r" models, \d\d MB$", listed)
    assert offshoot("models", "remove", "mine") == (0, "mine is offered no longer.")
    assert "mine " not in offshoot("models", "list")[1]


def test_an_admin_is_made(offshoot: Command) -> None:
    offshoot("examples")
    assert offshoot("admin", "grant", "@Fern") == (0, "@fern is an admin now.")
    assert offshoot("admin", "revoke", "daryna") == (1, "offshoot: @daryna is no admin.")


def test_only_safetensors_are_converted(offshoot: Command, tmp_path: Path) -> None:
    for ending in (".ckpt", ".bin", ".pt"):
        pickled = tmp_path / f"model{ending}"
        pickled.write_bytes(b"\x80\x04.")
        status, said = offshoot("models", "convert", str(pickled), str(tmp_path / "made"))
        assert (status, f"model{ending} is refused: only .safetensors files are safe to open" in said) == (1, True)
    assert not (tmp_path / "made").exists()


def test_models_are_verified(offshoot: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(STARTER_PATH, tmp_path / "mine")
    offshoot("models", "add", "mine", str(folder))
    assert offshoot("models", "verify", "mine") == (0, "mine: its files are those that were registered")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(
        (folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    )
    status, said = offshoot("models", "verify")
    assert status == 1
    assert "mine: its files are others: revision " in said
    shutil.rmtree(folder)
    status, said = offshoot("models", "verify", "mine")
    assert status == 1
    assert said.startswith("mine: ")
    assert offshoot("models", "verify", "nobody")[0] == 1


def test_a_model_that_does_not_exist_is_one_line(offshoot: Command) -> None:
    status, said = offshoot("models", "remove", "nobody")
    assert status == 1
    assert said.startswith("offshoot: ")
    assert "\n" not in said


def test_migrating_twice(offshoot: Command) -> None:
    words = (0, "The database has the schema of this version.")
    assert offshoot("migrate") == words
    assert offshoot("migrate") == words


def test_examples_are_queued_once(offshoot: Command) -> None:
    assert offshoot("examples") == (0, f"{len(EXAMPLES)} example runs are queued.")
    assert offshoot("examples") == (0, "The gallery is not empty, so nothing was added.")


async def test_examples_are_published_as_they_arrive(db: Any) -> None:
    planted = await examples.plant()
    assert len(planted) == len(EXAMPLES)
    grown = sum(bool(example.parent) for example in EXAMPLES)
    assert await db.fetchval("SELECT count(*) FROM pipelines WHERE parent_id IS NOT NULL") == grown
    assert await db.fetchval("SELECT count(*) FROM runs WHERE visibility = 'published'") == 0
    await db.execute("UPDATE step_runs SET state = 'succeeded', finished_at = now(), started_at = now()")
    await db.execute(
        "UPDATE runs SET state = 'succeeded', finished_at = now(), started_at = now() WHERE id <> $1", planted[0]
    )
    await db.execute(
        "UPDATE runs SET state = 'failed', finished_at = now(), started_at = now() WHERE id = $1", planted[0]
    )
    await examples.publish_as_they_arrive()
    assert await db.fetchval("SELECT count(*) FROM runs WHERE visibility = 'published'") == len(EXAMPLES) - 1


async def test_examples_never_borrow_a_members_name(make: Make, db: Any) -> None:
    fern = await make.person("Fern", email="fern@example.invalid", password="correct horse battery")
    look_alike = await make.person("m0ss", password="correct horse battery")
    await examples.plant()
    theirs = "SELECT count(*) FROM pipelines WHERE owner_id = ANY ($1)"
    assert await db.fetchval(theirs, [fern.id, look_alike.id]) == 0
    made = await db.fetch("SELECT handle FROM people WHERE password_hash = '!' ORDER BY handle")
    assert [row["handle"] for row in made] == ["daryna", "fern-2", "juniper", "moss-2", "salma"]
    await db.execute("TRUNCATE pipelines CASCADE")
    await examples.plant()
    assert await db.fetchval("SELECT count(*) FROM people") == 7, "the accounts of the first time serve again"


async def test_examples_leave_a_used_site_alone(make: Make, db: Any) -> None:
    await make.pipeline()
    assert await examples.plant() == []
    assert await db.fetchval("SELECT count(*) FROM people") == 1


def test_what_search_reads_is_made_anew(offshoot: Command) -> None:
    assert offshoot("index") == (0, "Search reads 0 pipelines anew.")
