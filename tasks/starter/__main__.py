"""Trains the starter model: `python -m tasks.starter autoencoder FOLDER --minutes 30`, then `denoiser` the same way.

`decoder` is the autoencoder's way back alone, for a denoiser that is to stay as it is.

FOLDER holds a model in diffusers' layout, such as `tasks/weights/starter`, and gets the weights that were learned. The
denoiser starts from what it knows, if the latents are those it learned.
"""

import argparse
import os
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from torch import Tensor

from tasks.starter import autoencoder, denoiser
from tasks.starter.pictures import pictures
from tasks.starter.scenes import sample

RATES = {"autoencoder": 1.2e-3, "decoder": 1.2e-3, "denoiser": 3e-3}
"""The highest rate of learning of each part; that of a denoiser is for one that knows words and shapes, and its inner
levels get half of it."""
ANEW = 6e-3
"""The same for one that knows nothing."""
AT_HALF = 0.3
"""The part of the time that a new denoiser begins with latents of half the size: they teach it words and shapes some
times faster."""
OUTERMOST = 0.12
"""The part of the time in which its outermost level then learns alone; after that all of it goes on."""
AT_EDGES = 0.75
"""The part of what it then sees that is at times when edges are drawn, for they are what still wavers."""
CHUNK = 2_000
"""Scenes that are drawn and encoded at once."""


def main() -> None:
    """Read the command line and train."""
    asked = argparse.ArgumentParser(prog="python -m tasks.starter", description=__doc__)
    asked.add_argument("part", choices=["autoencoder", "decoder", "denoiser"])
    asked.add_argument("folder", type=Path)
    asked.add_argument("--minutes", type=float, default=30)
    asked.add_argument("--scenes", type=int, default=20_000, help="how many are drawn to learn from")
    asked.add_argument("--plain", type=float, default=0.55, help="the part of them on plain grounds")
    asked.add_argument("--rate", type=float, help="the highest rate of learning")
    asked.add_argument(
        "--anew", action="store_true", help="a new denoiser, which begins at half the size; words are kept"
    )
    asked.add_argument("--compile", action="store_true", help="the denoiser, for training of an hour and more")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    given.rate = given.rate or RATES[given.part]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teach = _denoiser if given.part == "denoiser" else _autoencoder
    teach(given, device, os.cpu_count() or 1)


def _autoencoder(given: argparse.Namespace, device: torch.device, processes: int) -> None:
    folder = given.folder / "vae"
    vae: Any = autoencoder.new()
    if folder.is_dir():
        vae = cast("Any", AutoencoderTiny).from_pretrained(folder, torch_dtype=torch.float32)
    chance = Random(given.seed)
    drawn = pictures([sample(chance) for _ in range(given.scenes)], processes)
    unseen = pictures([sample(Random(seed)) for seed in range(10**6, 10**6 + 64)], processes)
    kept = given.part == "decoder"
    autoencoder.train(vae, drawn, minutes=given.minutes, rate=given.rate, keep_latents=kept, device=device, say=_say)
    _say(f"{autoencoder.likeness(vae, unseen, device):.2f} dB on pictures it has not seen")
    vae.half().save_pretrained(folder)


def _denoiser(given: argparse.Namespace, device: torch.device, processes: int) -> None:
    pipe = cast("Any", StableDiffusionPipeline).from_pretrained(given.folder, torch_dtype=torch.float32)
    chance = Random(given.seed)
    scenes = [sample(chance, simple=given.plain) for _ in range(given.scenes)]
    latents = []
    for start in range(0, len(scenes), CHUNK):
        drawn = pictures(scenes[start : start + CHUNK], processes)
        latents.append(autoencoder.encoded(pipe.vae, drawn, device))
        _say(f"{start + len(drawn)} scenes drawn and encoded")

    def keep() -> None:
        for part, name in ((pipe.unet, "unet"), (pipe.text_encoder, "text_encoder")):
            half = type(part).from_config(part.config) if name == "unet" else type(part)(part.config)
            half.load_state_dict(part.state_dict())
            half.half().save_pretrained(given.folder / name)

    def teach(unet: Any, latents: Tensor, part: float, rate: float, **how: Any) -> None:
        minutes = given.minutes * part
        denoiser.train(pipe, scenes, latents, unet, minutes=minutes, rate=rate, device=device, say=_say, **how)

    whole, part = torch.cat(latents), 1.0
    if given.anew:
        pipe.register_modules(unet=denoiser.new())
        core = denoiser.Core(pipe.unet)
        if given.compile:
            core.compile()
        teach(core, denoiser.halved(whole), AT_HALF, ANEW, batch=128, spread=0.5, coarse=0)
        core.settle()
        part -= AT_HALF + OUTERMOST
    pipe.text_encoder.requires_grad_(False)  # its words are learned by now
    if given.anew:
        with denoiser.held(pipe.unet, outermost_alone=True):
            teach(pipe.unet, whole, OUTERMOST, ANEW)
    if given.compile:
        pipe.unet.compile()
    with denoiser.held(pipe.unet):
        teach(pipe.unet, whole, part, given.rate, slow=denoiser.inner(pipe.unet), edges=AT_EDGES, keep=keep)
    keep()


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
