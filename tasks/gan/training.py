"""Teaches a generator against a discriminator, step by step, so that it can be stopped and gone on with.

Non-saturating logistic losses (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661) with a penalty on how steeply
the discriminator judges real pictures (R1, Mescheder et al. 2018, https://arxiv.org/abs/1801.04406) every few steps,
as StyleGAN2 does. What is kept of the generator is a mean of its weights over the last pictures.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from tasks.gan import generator
from tasks.gan.augmentation import augmented
from tasks.gan.discriminator import Discriminator
from tasks.gan.pictures import unit
from tasks.learning import Unusable

BETAS = (0.0, 0.99)
PENALTY_EVERY = 16
HALF_LIFE = 10_000
"""Pictures after which what the generator was counts half in the mean; a twentieth of all so far at first."""


class Settings(Struct, frozen=True):
    """What a training was begun with. `rate` is that of learning, `penalty` the weight of R1."""

    classes: list[str]
    side: int = 64
    batch: int = 32
    rate: float = 1e-3
    penalty: float = 0.2
    augment: tuple[str, ...] = ("color", "translation", "cutout")
    seed: int = 1


class Losses(Struct, frozen=True):
    """Of one step. Where the two balance, the discriminator's is below 1.39, which is guessing."""

    discriminator: float
    generator: float


class Training:
    """A generator, its mean, its discriminator and their optimizers, after `steps` steps.

    Chance starts anew in each step from the settings' seed and the step's number, so that a training that was stopped
    goes on exactly as if it had not been, on a CPU with as many threads.
    """

    def __init__(self, settings: Settings, device: torch.device) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.steps = 0
        self.device = device
        made: Any = generator.new(settings.classes, settings.side)
        self.generator = made.to(device)
        self.mean = copy.deepcopy(self.generator).requires_grad_(False)
        self.discriminator = Discriminator(len(settings.classes), settings.side).to(device)
        self._optimizers = {
            name: torch.optim.Adam(part.parameters(), lr=settings.rate, betas=BETAS)
            for name, part in (("generator", self.generator), ("discriminator", self.discriminator))
        }

    @property
    def finite(self) -> bool:
        """Whether everything that was learned is a number."""
        return all(bool(tensor.isfinite().all()) for _, tensor in self._tensors())

    def step(self, pictures: Tensor, classes: Tensor) -> Losses:
        """One step with some of the pictures (count, 3, side, side), in bytes, and their classes (count,)."""
        chance = torch.Generator().manual_seed((self.settings.seed << 32) + self.steps)
        chosen = torch.randint(len(pictures), (self.settings.batch,), generator=chance)
        wanted, real = classes[chosen].to(self.device), unit(pictures[chosen]).to(self.device)
        latents = torch.randn(len(chosen), self.generator.latents, generator=chance).to(self.device)
        drawn = self.generator(latents, functional.one_hot(wanted, len(self.settings.classes)).float())
        losses = Losses(self._discriminate(real, drawn.detach(), wanted, chance), self._generate(drawn, wanted, chance))
        self.steps += 1
        self._average()
        return losses

    def _discriminate(self, real: Tensor, drawn: Tensor, wanted: Tensor, chance: torch.Generator) -> float:
        penal = self.steps % PENALTY_EVERY == 0
        real.requires_grad_(penal)
        judged = self._judged(real, wanted, chance)
        loss = functional.softplus(-judged).mean() + functional.softplus(self._judged(drawn, wanted, chance)).mean()
        whole = loss
        if penal:
            (slope,) = torch.autograd.grad(judged.sum(), real, create_graph=True)
            whole = loss + self.settings.penalty * PENALTY_EVERY / 2 * slope.square().sum((1, 2, 3)).mean()
        self._learn("discriminator", whole)
        return loss.item()

    def _generate(self, drawn: Tensor, wanted: Tensor, chance: torch.Generator) -> float:
        self.discriminator.requires_grad_(False)
        loss = functional.softplus(-self._judged(drawn, wanted, chance)).mean()
        self._learn("generator", loss)
        self.discriminator.requires_grad_(True)
        return loss.item()

    def _judged(self, pictures: Tensor, classes: Tensor, chance: torch.Generator) -> Tensor:
        judged: Tensor = self.discriminator(augmented(pictures, self.settings.augment, chance), classes)
        return judged

    def _learn(self, name: str, loss: Tensor) -> None:
        optimizer = self._optimizers[name]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        seen = self.steps * self.settings.batch
        part = 1 - 0.5 ** (self.settings.batch / min(HALF_LIFE, max(seen / 20, 1e-8)))
        torch._foreach_lerp_(list(self.mean.parameters()), list(self.generator.parameters()), part)

    def save(self, file: Path) -> None:
        """Keep everything that going on needs in one file, all of it or nothing."""
        told = msgspec.json.encode([self.settings, self.steps]).decode()
        beside = file.with_suffix(".part")
        save_file(dict(self._tensors()), beside, metadata={"training": told})
        beside.replace(file)

    @classmethod
    def load(cls, file: Path, device: torch.device) -> "Training":
        """A training as it was saved. Raises Unusable for a file that is none."""
        try:
            with safe_open(file, "pt") as kept:
                told = msgspec.json.decode(kept.metadata()["training"], type=tuple[Settings, int])
                found = cls(told[0], device)
                found.steps = told[1]
                found._take({name: kept.get_tensor(name) for name in kept.keys()})  # noqa: SIM118
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, msgspec.MsgspecError) as error:
            raise Unusable(f"{file} is no training that this version can go on with.") from error
        return found

    def _parts(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "mean": self.mean, "discriminator": self.discriminator}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, part in self._parts().items():
            for inner, tensor in part.state_dict().items():
                yield f"{name}.{inner}", tensor.contiguous()
        for name, optimizer in self._optimizers.items():
            for number, values in optimizer.state_dict()["state"].items():
                for inner, tensor in values.items():
                    yield f"optimizer.{name}.{number}.{inner}", tensor.contiguous()

    def _take(self, kept: dict[str, Tensor]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(_below(name, kept))
        for name, optimizer in self._optimizers.items():
            values: dict[int, dict[str, Any]] = {}
            for inner, tensor in _below(f"optimizer.{name}", kept).items():
                number, _, what = inner.partition(".")
                values.setdefault(int(number), {})[what] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": values})


def _below(name: str, kept: dict[str, Tensor]) -> dict[str, Tensor]:
    return {full.removeprefix(f"{name}."): tensor for full, tensor in kept.items() if full.startswith(f"{name}.")}
