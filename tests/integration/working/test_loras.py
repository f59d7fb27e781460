"""LoRAs, from their training through the registry and the queue into a picture."""

import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from domain import models, steps, weights
from domain.errors import DomainError, Invalid
from domain.means import Means
from domain.models import STARTER_PATH
from domain.people import Person
from domain.steps import AnyStep, ImageToImage, Inpaint, TextToImage
from domain.storage import Storage, key_of
from tasks.context import Context, Picture
from tasks.loading import Models
from tasks.lora.__main__ import main as command
from tasks.messages import Job, LoraRef, Member, ModelRef
from tasks.steps import RUNNERS
from tests import adapters, checkpoints
from tests import worker as w
from tests.make import Make
from tests.searching import drawn as drawn_by
from tests.searching import titles

LogIn = Callable[[httpx.AsyncClient, Person], Awaitable[httpx.AsyncClient]]
DRAW = TextToImage(prompt="a red circle", width=64, height=64, num_inference_steps=2, seed=5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two LoRAs that change much, one whose tensors fit no model, one that is cut off."""
    folder = tmp_path_factory.mktemp("loras")
    tensors = adapters.trained()
    other = {name: torch.zeros(tensor.shape[0] + 1, *tensor.shape[1:]) for name, tensor in tensors.items()}
    found = {
        "ink": adapters.write(folder / "ink.safetensors", adapters.strong(tensors, 1), "inked"),
        "oil": adapters.write(folder / "oil.safetensors", adapters.strong(tensors, 2)),
        "other": adapters.write(folder / "other.safetensors", other),
    }
    whole = found["oil"].read_bytes()
    found["cut"] = folder / "cut.safetensors"
    found["cut"].write_bytes(whole[: len(whole) // 2])
    return found


@pytest.fixture(scope="module")
def starter() -> ModelRef:
    return ModelRef("starter", str(STARTER_PATH), weights.revision(STARTER_PATH))


@pytest.fixture(scope="module")
def loaded() -> Models:
    return Models("cpu")


# on a model


@pytest.fixture
def drawn(loaded: Models, starter: ModelRef, files: dict[str, Path]) -> Callable[..., Any]:
    """Runs a step on the starter with these LoRAs: the first picture that comes out, as an array."""

    def ran(step: AnyStep, *pictures: bytes, model: ModelRef = starter, **asked: float) -> Any:
        refs = [LoraRef(name, str(files[name]), weights.revision(files[name]), much) for name, much in asked.items()]
        member = Member(step=msgspec.to_builtins(step), pictures=list(pictures))
        job = Job(id="tried", members=[member], model=model, loras=refs)
        context = Context(job, loaded, lambda said: None, lambda member: True)
        (first, *_) = RUNNERS[steps.kind_of(step)].run(step, context).pictures
        assert isinstance(first, Picture)
        return np.asarray(first.image).astype(int)

    return ran


def test_loras_change_the_picture_by_their_weight_and_leave_the_model_as_it_was(drawn: Callable[..., Any]) -> None:
    plain = drawn(DRAW)
    whole, half, both = drawn(DRAW, ink=1.0), drawn(DRAW, ink=0.5), drawn(DRAW, ink=1.0, oil=1.0)
    far = [np.abs(one - plain).mean() for one in (half, whole)]
    assert 0 < far[0] < far[1]
    assert not np.array_equal(whole, both)
    assert np.array_equal(drawn(DRAW), plain)
    assert np.array_equal(drawn(DRAW, ink=1.0), whole)
    assert not np.array_equal(drawn(DRAW, oil=1.0), whole)
    tagged = msgspec.structs.replace(DRAW, prompt="a red circle <lora:ink:1>")
    assert np.array_equal(drawn(tagged, ink=1.0), whole), "the model does not read how a LoRA is asked for"


def test_they_redraw_and_repaint_too(drawn: Callable[..., Any]) -> None:
    red, mask = (_png(Image.new("RGB", (64, 64), color)) for color in ("red", "white"))
    redraw = ImageToImage(prompt="a blue star", num_inference_steps=2, strength=1.0, seed=5)
    repaint = Inpaint(prompt="a blue star", num_inference_steps=2, seed=5, feather=0)
    assert not np.array_equal(drawn(redraw, red), drawn(redraw, red, ink=1.0))
    assert not np.array_equal(drawn(repaint, red, mask), drawn(repaint, red, mask, ink=1.0))


@pytest.mark.parametrize(
    ("lora", "means", "words"),
    [
        ("other", Means(), "The LoRA “other” does not fit the model “starter”"),
        ("cut", Means(), "The LoRA “cut” cannot be opened"),
        ("ink", Means(fuse=True), "The model “starter” runs with fuse and takes no LoRAs so."),
    ],
)
def test_what_does_not_fit_is_told_and_leaves_the_model_as_it_was(
    drawn: Callable[..., Any], starter: ModelRef, lora: str, means: Means, words: str
) -> None:
    model = msgspec.structs.replace(starter, means=means)
    plain = drawn(DRAW, model=model)
    with pytest.raises(DomainError) as told:
        drawn(DRAW, model=model, **{lora: 1.0})
    assert words in told.value.message
    assert np.array_equal(drawn(DRAW, model=model), plain)


def test_a_lora_that_could_not_be_taken_off_is_never_drawn_with_in_silence(
    drawn: Callable[..., Any], loaded: Models, starter: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = drawn(DRAW)
    drawn(DRAW, ink=1.0)
    with monkeypatch.context() as broken:
        broken.delattr("diffusers.loaders.lora_base.LoraBaseMixin.unload_lora_weights")
        for _ in range(2):
            with pytest.raises(AttributeError):
                drawn(DRAW)
    assert np.array_equal(drawn(DRAW), plain)


def test_a_file_that_changed_is_not_opened(loaded: Models, starter: ModelRef, files: dict[str, Path]) -> None:
    lora = LoraRef("ink", str(files["ink"]), "0" * 64, 1.0)
    job = Job(id="tried", members=[Member(step=msgspec.to_builtins(DRAW))], model=starter, loras=[lora])
    with pytest.raises(DomainError, match="“ink” changed since it was registered"):
        Context(job, loaded, lambda said: None, lambda member: True).model()


# through the queue


@pytest.mark.usefixtures("site")
async def test_a_prompt_draws_with_a_lora_and_the_receipt_tells(
    make: Make, db: Any, files: dict[str, Path], storage: Storage, client: httpx.AsyncClient, log_in: LogIn
) -> None:
    await models.register_all({"ink": files["ink"]})
    ada = await make.person("ada")
    lora = await models.require("ink", models.LORA)
    draw = msgspec.structs.replace(DRAW, prompt="a red circle <lora:ink:{much}>")
    pipeline = await make.pipeline(ada, steps=[draw], inputs=[steps.Input(name="much", default="0.8")])
    state, (row,) = await w.ended(run_id := await w.accept(pipeline))
    assert (state, row["error_message"]) == ("succeeded", None)
    told = [{"name": "ink", "weight": 0.8, "revision": lora.revision}]
    assert row["resolved"]["loras"] == row["receipt"]["parameters"]["loras"] == told
    (made,) = await w.pictures(row["id"])
    with Image.open(io.BytesIO(await storage.get(key_of(made["sha256"])))) as picture:
        given = json.loads(picture.info["offshoot"])["parameters"]
        assert (given["loras"], given["prompt"]) == (told, "a red circle <lora:ink:0.8>")
        assert f'Lora hashes: "ink: {lora.revision[:12]}"' in picture.info["parameters"]

    _, (known,) = await w.ended(await w.accept(pipeline, afresh=False))
    assert known["state"] == "reused"
    _, (less,) = await w.ended(await w.accept(pipeline, inputs={"much": "0.2"}, afresh=False))
    assert (less["state"], (await w.pictures(less["id"]))[0]["sha256"] != made["sha256"]) == ("succeeded", True)
    state, (row,) = await w.ended(await w.accept(pipeline, inputs={"much": "9"}))
    assert (state, row["attempt"]) == ("failed", 1)
    assert "A LoRA's weight is from −2 to 2" in row["error_message"]

    page = (await (await log_in(client, ada)).get(f"/runs/{run_id}")).text
    assert re.search(r"<dt>LoRAs</dt><dd>[^<]*ink 0\.8", page)


@pytest.mark.usefixtures("site")
async def test_the_shipped_loras_are_worn_alone_and_together(make: Make, db: Any, storage: Storage) -> None:
    await models.register_all({})
    prompts = ["", "<lora:fish:0.8>", "<lora:cyanotype:0.5>", "<lora:fish:0.8> <lora:cyanotype:0.5>"]
    asked = [msgspec.structs.replace(DRAW, prompt=f"a blue fish {tags}") for tags in prompts]
    state, rows = await w.ended(await w.accept(await make.pipeline(steps=asked)))
    assert (state, {row["error_message"] for row in rows}) == ("succeeded", {None})
    drawn = set()
    for row in rows:
        (made,) = await w.pictures(row["id"])
        with Image.open(io.BytesIO(await storage.get(key_of(made["sha256"])))) as picture:
            drawn.add(picture.tobytes())
    assert len(drawn) == len(asked)
    told = {
        name: {"name": name, "weight": weight, "revision": weights.revision(models.SHIPPED[name].path)}
        for name, weight in (("cyanotype", 0.5), ("fish", 0.8))
    }
    worn = [row["receipt"]["parameters"].get("loras", []) for row in rows]
    assert worn == [[], [told["fish"]], [told["cyanotype"]], [told["cyanotype"], told["fish"]]]


@pytest.mark.usefixtures("site")
async def test_a_step_draws_with_another_vae_and_the_file_tells(
    make: Make, db: Any, storage: Storage, tmp_path: Path
) -> None:
    await models.register_all({"tiny": checkpoints.tiny(tmp_path / "tiny")})
    tiny = await models.require("tiny", models.VAE)
    ada = await make.person("ada")
    pipeline = await make.pipeline(ada, steps=[msgspec.structs.replace(DRAW, vae="tiny"), DRAW])
    state, rows = await w.ended(await w.accept(pipeline))
    assert (state, [row["error_message"] for row in rows]) == ("succeeded", [None, None])
    made = [(await w.pictures(row["id"]))[0]["sha256"] for row in rows]
    assert made[0] != made[1]
    assert rows[0]["resolved"]["vae_revision"] == tiny.revision
    with Image.open(io.BytesIO(await storage.get(key_of(made[0])))) as picture:
        given = json.loads(picture.info["offshoot"])["parameters"]
        assert (given["vae"], given["vae_revision"]) == ("tiny", tiny.revision)
        assert f"VAE hash: {tiny.revision[:10]}, VAE: tiny" in picture.info["parameters"]
    with Image.open(io.BytesIO(await storage.get(key_of(made[1])))) as picture:
        assert "VAE" not in picture.info["parameters"]
        assert "vae" not in json.loads(picture.info["offshoot"])["parameters"]

    _, rows = await w.ended(await w.accept(pipeline, afresh=False))
    assert [row["state"] for row in rows] == ["reused", "reused"]
    await models.remove("tiny")
    state, (row, _) = await w.ended(await w.accept(pipeline))
    assert (state, row["attempt"], row["error_message"]) == ("failed", 1, "This site has no decoder called “tiny”.")


# the registry


async def test_a_lora_is_known_by_its_file(db: Any, files: dict[str, Path], client: httpx.AsyncClient) -> None:
    found = await models.register("ink", files["ink"], "CC0-1.0")
    assert (found.family, found.kinds, found.defaults) == ("LoRA", ["lora"], {})
    assert found.words == [("Trigger words", ["inked"])]
    assert await models.names("text_to_image") == []
    with pytest.raises(Invalid, match="none can be chosen for a LoRA"):
        await models.register("ink", files["ink"], means=Means(dtype="fp16"))
    with pytest.raises(Invalid, match="cannot do this kind"):
        await models.require("ink", "text_to_image")
    page = (await client.get("/models")).text
    assert "&lt;lora:ink:0.8&gt;" in page
    assert "inked" in page
    assert "and no others" not in page

    own = files["ink"].with_name("own.safetensors")
    own.write_bytes(files["ink"].read_bytes())
    before = (await models.register_all({"own": own}))[-1]
    adapters.write(own, adapters.strong(adapters.opened(own), 7), "inked")
    after = (await models.register_all({"own": own}))[-1]
    assert (before.bytes, before.revision != after.revision) == (after.bytes, True), "trained further, of the same size"


# the composer and the search


@pytest.mark.usefixtures("db")
async def test_the_composer_offers_loras_and_names_those_that_are_not_there(
    client: httpx.AsyncClient, make: Make, files: dict[str, Path], log_in: LogIn
) -> None:
    await models.register_all({"ink": files["ink"], "oil": files["oil"]})
    await log_in(client, await make.person("ada"))
    sent = {"title": "A boat", "license": "CC0-1.0", "visibility": "public", "s1-kind": "text_to_image"}
    sent |= {"s1-model": "starter", "s1-prompt": "an inked red boat <lora:ink:0.5> <lora:gone>", "i1-name": "how"}
    sent |= {"i1-kind": "choice", "i1-choices": "oil\nink", "i1-default": "oil"}
    refused = await client.post("/pipelines", data=sent | {"do": "save"})
    assert refused.status_code == 422
    assert "This site has no LoRA called “gone”. It has:" in refused.text
    assert "&lt;lora:oil:0.8&gt;" in refused.text
    assert "called by “<bdi>inked</bdi>”" in refused.text
    assert "does not know" not in refused.text, "neither how LoRAs are asked for nor what calls one"

    filled = sent | {"s1-prompt": "an inked red boat <lora:{how}:0.5>", "title": "", "do": "save"}
    refused = await client.post("/pipelines", data=filled)
    assert refused.status_code == 422
    assert "does not know" not in refused.text
    kept = await client.post("/pipelines", data=sent | {"s1-prompt": "a boat <lora:ink:0.5>", "do": "save"})
    assert kept.status_code == 303


async def test_what_a_lora_was_used_for_is_found(make: Make, db: Any) -> None:
    await drawn_by(make, "Drawn in ink", "a boat <lora:Ink.v2:0.5>")
    await drawn_by(make, "Plain", "a boat")
    await drawn_by(make, "Soft", "a boat", vae="Soft.v1")
    assert await titles(db, "model:ink.v2") == ["Drawn in ink"]
    assert await titles(db, "model:soft.v1") == ["Soft"]
    assert sorted(await titles(db, "model:starter")) == ["Drawn in ink", "Plain", "Soft"]


# the training


def test_a_folder_of_pictures_becomes_a_lora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapters.picture(tmp_path / "a.png", "red", "a red circle")
    adapters.picture(tmp_path / "b.png", "blue")
    out = tmp_path / "out" / "mine.safetensors"
    given = ["train", str(STARTER_PATH), str(tmp_path), str(out), "--steps", "2", "--batch", "2", "--side", "64"]
    with pytest.raises(SystemExit, match=r"b\.png has no caption"):
        command(given)
    command([*given, "--caption", "a fish", "--trigger", "fish", "--rank", "2"])
    assert "2 pictures of 64 × 64, such as “a red circle”" in capsys.readouterr().out
    assert (weights.family(out), weights.trigger_of(out)) == ("LoRA", ["fish"])
    with pytest.raises(SystemExit, match="no LoRA of rank 4"):
        command([*given, "--caption", "a fish", "--rank", "4"])
    with pytest.raises(SystemExit, match=r"must end in \.safetensors"):
        command(["train", str(STARTER_PATH), str(tmp_path), str(tmp_path / "mine.pt")])


def test_training_goes_on_from_what_is_known(files: dict[str, Path]) -> None:
    known = adapters.opened(files["ink"])
    further = adapters.trained(1, known=known, rate=0)
    assert all(torch.equal(tensor, known[name]) for name, tensor in further.items())


@pytest.mark.parametrize("head", [b"[" * 100_000, b'{"__metadata__": {"modelspec.trigger_phrase": "a\\ud800b"}}'])
def test_an_odd_file_is_no_lora_and_no_trouble(tmp_path: Path, head: bytes) -> None:
    odd = tmp_path / "odd.safetensors"
    odd.write_bytes(len(head).to_bytes(8, "little") + head)
    assert not weights.is_lora(odd)
    assert weights.trigger_of(odd) in ([], ["ab"])


def test_the_folders_that_the_shipped_ones_learned_from_can_be_drawn(tmp_path: Path) -> None:
    for what in ("cyanotype", "fish"):
        command(["draw", str(tmp_path / what), what, "--count", "2"])
        assert len(list((tmp_path / what).glob("*.png"))) == 2
    assert "fish" in (tmp_path / "fish" / "00000.txt").read_text()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
