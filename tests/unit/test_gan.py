"""Training a generator on a folder of pictures: what it leaves, and that it goes on as if it had never stopped."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from tasks.gan import __main__ as command
from tasks.gan import augmentation, drawing, page, pictures, shapes
from tasks.gan.discriminator import Discriminator
from tasks.gan.training import Losses, Settings, Training
from tasks.learning import Unusable


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model is slower in several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three pictures, one of them no square."""
    made = tmp_path_factory.mktemp("pictures")
    for name, color in (("fox", "orange"), ("owl", "gray")):
        (made / name).mkdir()
        for number in range(3):
            Image.new("RGB", (40 + 10 * number, 40), color).save(made / name / f"{number}.png")
    return made


def train(folder: Path, out: Path, *more: str) -> None:
    command.main(["train", str(folder), str(out), "--every", "2", *more])


SMALL = ("--side", "32", "--batch", "4")
REFRESH = '<meta http-equiv="refresh"'


def test_it_leaves_losses_samples_and_a_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder, tmp_path / "out", *SMALL, "--steps", "4")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "6 pictures of 2 classes (fox, owl), from step 0"
    assert [line.split(",")[0] for line in said[1:]] == ["2 steps", "4 steps"]
    header, *lines = (tmp_path / "out" / "losses.csv").read_text().splitlines()
    assert header == "step,discriminator,generator"
    assert [line.split(",")[0] for line in lines] == ["2", "4"]
    assert all(float(value) > 0 for line in lines for value in line.split(",")[1:])
    with Image.open(tmp_path / "out" / "samples" / "000004.png") as grid:
        assert grid.size == (8 * 32, 2 * 32)
    made = drawing.open_folder(tmp_path / "out" / "model", torch.float32)
    assert (made.classes, made.generator.side) == (["fox", "owl"], 32)


@pytest.mark.parametrize("augment", ["none", "color,translation,cutout"])
def test_a_training_that_was_stopped_goes_on_exactly(folder: Path, tmp_path: Path, augment: str) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    train(folder, once, *SMALL, "--augment", augment, "--steps", "6")
    train(folder, twice, *SMALL, "--augment", augment, "--steps", "2")
    train(folder, twice, "--steps", "6")
    for name in (
        "training.safetensors",
        "losses.csv",
        "samples/000006.png",
        "model/diffusion_pytorch_model.safetensors",
    ):
        assert (once / name).read_bytes() == (twice / name).read_bytes(), name
    lines = (once / "losses.csv").read_text().splitlines()[1:]
    assert all(math.isfinite(float(value)) for line in lines for value in line.split(","))
    assert Training.load(once / "training.safetensors", torch.device("cpu")).finite


def no_losses(training: Training) -> Losses:
    return Losses(1.0, math.nan)


def no_weights(training: Training) -> Losses:
    with torch.no_grad():
        training.generator.start[0, 0] = math.inf
    return Losses(1.0, 1.0)


@pytest.mark.parametrize("broken", [no_losses, no_weights])
def test_what_ran_away_does_not_replace_what_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Training], Losses]
) -> None:
    out = tmp_path / "out"
    train(folder, out, *SMALL, "--steps", "2")
    kept = files_in(out)

    def step(self: Training, *seen: torch.Tensor) -> Losses:
        self.steps += 1
        return broken(self)

    monkeypatch.setattr(Training, "step", step)
    assert "no numbers any more at step 4" in refused("train", str(folder), str(out), "--every", "2")
    assert files_in(out) == kept
    assert "It went wrong: The losses are no numbers any more at step 4" in (out / "index.html").read_text()


def files_in(folder: Path) -> dict[Path, bytes]:
    """All but the page, which tells how it ended."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "index.html"}


def test_pictures_that_are_all_alike_are_learned_from() -> None:
    model, seen = Discriminator(2, 32), torch.ones(4, 3, 32, 32, requires_grad=True)
    judged = model(seen, torch.tensor([0, 1, 0, 1]))
    (slope,) = torch.autograd.grad(judged.sum(), seen, create_graph=True)
    torch.autograd.backward(slope.square().sum())
    slopes = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert slopes
    assert all(one.isfinite().all() for one in slopes)


def test_the_penalty_changes_what_the_discriminator_learns_and_not_the_loss_that_is_told() -> None:
    seen, classes = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    found: list[tuple[float, dict[str, Any]]] = []
    for penalty in (0.0, 10.0):
        training = Training(Settings(["fox", "owl"], 32, 4, penalty=penalty, augment=()), torch.device("cpu"))
        found.append((training.step(seen, classes).discriminator, training.discriminator.state_dict()))
    (loss, without), (same, held) = found
    assert loss == same
    assert not torch.equal(without["steps.0.weight"], held["steps.0.weight"])


def test_a_model_that_is_open_stays_whole_while_training_goes_on(folder: Path, tmp_path: Path) -> None:
    train(folder, tmp_path / "out", *SMALL, "--steps", "2")
    with (tmp_path / "out" / "model" / "diffusion_pytorch_model.safetensors").open("rb") as file:
        before = file.read()
        train(folder, tmp_path / "out", "--steps", "4")
        file.seek(0)
        assert file.read() == before
    assert sorted(one.name for one in (tmp_path / "out" / "model").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert not (tmp_path / "out" / "model.part").exists()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_with_everything_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    step, shown = Training.step, tmp_path / "out" / "index.html"
    while_it_ran: list[str] = []

    def interrupted(self: Training, *seen: torch.Tensor) -> Losses:
        if self.steps in (0, 2):
            while_it_ran.append(shown.read_text())
        if self.steps == 2:
            os.kill(os.getpid(), sign)
        return step(self, *seen)

    before = signal.getsignal(sign)
    monkeypatch.setattr(Training, "step", interrupted)
    train(folder, tmp_path / "out", *SMALL)
    assert signal.getsignal(sign) == before
    assert Training.load(tmp_path / "out" / "training.safetensors", torch.device("cpu")).steps == 3
    assert (tmp_path / "out" / "losses.csv").read_text().splitlines()[-1].startswith("3,")
    assert ["<h1>Training</h1>" in page and REFRESH in page for page in while_it_ran] == [True, True]
    assert ["samples/000002.png" in page for page in while_it_ran] == [False, True]
    after = shown.read_text()
    assert "<h1>Stopped</h1>" in after
    assert "samples/000003.png" in after
    assert REFRESH not in after


def test_lines_of_steps_that_were_lost_are_written_anew(folder: Path, tmp_path: Path) -> None:
    train(folder, tmp_path / "out", *SMALL, "--steps", "2")
    with (tmp_path / "out" / "losses.csv").open("a") as file:
        file.write("4,0.1000,0.1000\n\nstep\n2,0.10")
    train(folder, tmp_path / "out", "--steps", "4")
    lines = (tmp_path / "out" / "losses.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4"]
    assert not lines[-1].endswith("0.1000,0.1000")


def drawn(html: str) -> list[list[tuple[float, float]]]:
    """The points of the curves in a page, whose drawing is sound XML."""
    svg = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    words = [element.text for element in svg.iter("text")]
    assert {"Steps", "Loss", "0"} <= {*words}, "both axes say what they are"
    curves = [element.attrib["points"].split() for element in svg.iter("polyline")]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in curve)] for curve in curves]


def test_the_page_draws_curves_of_losses_within_its_axes() -> None:
    lines = [page.Line(step, 1 + math.sin(step), 3.0) for step in range(1, 10_001)]
    discriminator, generator = drawn(page.written(lines, ["fox"], 1.5, running=True))
    for curve in (discriminator, generator):
        assert 100 < len(curve) <= page.MOST
        assert all(page.LEFT <= x <= page.WIDTH - page.RIGHT for x, _ in curve)
        assert all(page.TOP <= y <= page.HEIGHT - page.BOTTOM for _, y in curve)
    assert curve_is_flat(generator)
    assert not curve_is_flat(discriminator)
    assert max(y for _, y in generator) < min(y for _, y in discriminator), "what is more is higher up"


def curve_is_flat(curve: list[tuple[float, float]]) -> bool:
    return len({y for _, y in curve}) == 1


def test_the_page_says_in_words_what_it_draws() -> None:
    html = page.written([page.Line(7, 0.5, 1.5), page.Line(1_400, 0.25, 2.5)], ["<fox>", "owl"], 2, running=False)
    assert "The generator’s went from 1.50 to 2.50, between 1.50 and 2.50." in html
    assert "<strong>1,400 steps</strong>" in html
    assert "&lt;fox&gt;, owl" in html
    assert "<td>0.2500</td>" in html
    assert "<script" not in html


@pytest.mark.parametrize("count", [1, 2])
def test_the_page_draws_the_first_lines_too(count: int) -> None:
    assert [len(curve) for curve in drawn(page.written([page.Line(1, 1.2, 0.7)] * count, ["fox"], 0, True))] == [2, 2]
    assert "Nothing is kept yet" in page.written([], ["fox"], 0, True)


@pytest.mark.parametrize(
    ("most", "found"), [(1.46, [0, 0.5, 1]), (7, [0, 2, 4, 6]), (100, [0, 50, 100]), (6_000, [0, 2_000, 4_000, 6_000])]
)
def test_axes_have_round_numbers(most: float, found: list[float]) -> None:
    assert page.ticks(most) == found


def refused(*arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        command.main(list(arguments))
    return str(ended.value.code)


def test_what_cannot_be_learned_from_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    out, empty = str(tmp_path / "out"), tmp_path / "empty"
    (empty / "inner").mkdir(parents=True)
    assert "has no pictures (.bmp, .gif" in refused("train", str(empty), out)
    assert "is no folder" in refused("train", str(tmp_path / "nowhere"), out)
    (empty / "broken.png").write_bytes(b"no picture")
    assert "broken.png cannot be opened as a picture" in refused("train", str(empty), out)
    Image.new("RGB", (9, 9)).save(empty / "inner" / "one.png")
    assert "both pictures and folders with pictures" in refused("train", str(empty), out)
    assert not (tmp_path / "out").exists()


def test_what_systems_leave_beside_pictures_is_passed_over(folder: Path, tmp_path: Path) -> None:
    for name in ("fox/._0.png", "fox/.hidden.png", "__MACOSX/0.png", ".thumbnails/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    Image.new("RGB", (32, 32)).save(tmp_path / "fox" / "0.png")
    names, seen, _ = pictures.read(tmp_path, 32)
    assert (names, len(seen)) == (["fox"], 1)


@pytest.mark.parametrize("name", [b"fo\xff", b"o" * 201, b"fox\n", b" fox"])
def test_a_folder_whose_name_is_none_for_a_class_is_refused(tmp_path: Path, name: bytes) -> None:
    inner = tmp_path / os.fsdecode(name)
    inner.mkdir()
    Image.new("RGB", (32, 32)).save(inner / "0.png")
    with pytest.raises(Unusable, match="names no classes: the name of a class"):
        pictures.read(tmp_path, 32)


def test_it_goes_on_with_what_it_was_begun_with_alone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(folder, out, *SMALL, "--steps", "1")
    assert "was begun with another side" in refused("train", str(folder), str(out), "--side", "64")
    assert "has learned fox, owl, not fox" in refused("train", str(folder / "fox"), str(out))
    (out / "training.safetensors").write_bytes(b"nothing")
    assert "is no training that this version can go on with" in refused("train", str(folder), str(out))


def test_pictures_in_the_folder_itself_are_one_class(folder: Path) -> None:
    names, seen, classes = pictures.read(folder / "fox", 32)
    assert (names, seen.shape, classes.tolist()) == (["fox"], (3, 3, 32, 32), [0, 0, 0])


def test_augmentation_changes_each_picture_and_lets_gradients_through() -> None:
    seen = torch.rand(4, 3, 32, 32, requires_grad=True)
    for name in augmentation.WAYS:
        changed = augmentation.augmented(seen, (name,), torch.Generator().manual_seed(1))
        assert changed.shape == seen.shape
        assert not any(torch.equal(*pair) for pair in zip(changed, seen, strict=True)), name
        (slope,) = torch.autograd.grad(changed.sum(), seen)
        assert slope.abs().sum() > 0


def test_shapes_are_drawn_to_try_it_with(tmp_path: Path) -> None:
    command.main(["draw", str(tmp_path), "--count", "2", "--side", "32"])
    names, seen, _ = pictures.read(tmp_path, 32)
    assert (names, len(seen)) == (sorted(shapes.CLASSES), 2 * len(shapes.CLASSES))


def test_a_walk_passes_through_each_and_comes_back() -> None:
    latents, shares = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)), torch.eye(3)
    found, mixed = drawing.walk(latents, shares, 12)
    assert torch.allclose(found[[0, 4, 8]], latents, atol=1e-4)
    assert torch.equal(mixed[[0, 4, 8]], shares)
    assert mixed[2].tolist() == [0.5, 0.5, 0]
    lengths = found.norm(dim=1)
    assert lengths.min() > 0.9 * latents.norm(dim=1).min()
    steps = (found.roll(-1, 0) - found).norm(dim=1)
    assert steps.max() < 2 * steps.min()


@pytest.mark.parametrize("count", range(2, 9))
def test_a_walk_meets_each_however_many_frames_it_has(count: int) -> None:
    latents = torch.randn(count, 64, generator=torch.Generator().manual_seed(1))
    found, _ = drawing.walk(latents, torch.eye(count), 11)
    assert len(found) == 11
    assert all(torch.isclose(found, one, atol=1e-4).all(1).any() for one in latents)
