"""Teaches the starter to move: `python -m tasks.motion MODEL OUT --minutes 60`.

MODEL is the starter's folder, OUT the folder of its motion; where OUT is there already, it goes on from it. Only the
motion modules learn. Clips are drawn and encoded first and kept in --clips, if that is given, for the next time.
"""

import argparse
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
from diffusers import MotionAdapter, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.motion import training
from tasks.motion.clips import clip
from tasks.starter import autoencoder
from tasks.starter.drawing import SIDE
from tasks.starter.pictures import pictures
from tasks.starter.scenes import Scene

CHUNK = 50
"""Clips that are drawn and encoded at once."""


def main() -> None:
    """Read the command line and train."""
    asked = argparse.ArgumentParser(prog="python -m tasks.motion", description=__doc__)
    asked.add_argument("model", type=Path)
    asked.add_argument("out", type=Path)
    asked.add_argument("--minutes", type=float, default=60)
    asked.add_argument("--count", type=int, default=2000, help="how many clips to learn from")
    asked.add_argument("--clips", type=Path, help="a folder that keeps what was drawn")
    asked.add_argument("--processes", type=int, default=1, help="that draw")
    asked.add_argument("--rate", type=float, default=4e-3, help="the highest rate of learning")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipe = cast("Any", StableDiffusionPipeline).from_pretrained(given.model, dtype=torch.float32)
    adapters = cast("Any", MotionAdapter)
    there = (given.out / "config.json").is_file()
    motion = adapters.from_pretrained(given.out, dtype=torch.float32) if there else training.new()
    chance = Random(7)
    clips = [clip(chance) for _ in range(given.count)]
    latents = encoded(pipe.vae, clips, given, device)

    def keep() -> None:
        half = training.new()
        half.load_state_dict(motion.state_dict())
        half.register_to_config(shared_noise=training.SHARED)
        half.half().save_pretrained(given.out)

    training.train(
        pipe,
        motion,
        [scenes[0] for scenes in clips],
        latents,
        minutes=given.minutes,
        rate=given.rate,
        seed=given.seed,
        device=device,
        say=_say,
        keep=keep,
    )
    keep()


def encoded(vae: Any, clips: list[list[Scene]], given: argparse.Namespace, device: torch.device) -> Tensor:
    """Clips as latents (count, frames, 4, n, n), half precision."""
    parts = []
    for start in range(0, len(clips), CHUNK):
        some = clips[start : start + CHUNK]
        kept = given.clips / f"{SIDE}-{start:06}-{len(some)}.safetensors" if given.clips else None
        if kept and kept.is_file():
            parts.append(load_file(kept)["latents"])
            continue
        drawn = pictures([scene for scenes in some for scene in scenes], given.processes)
        found = autoencoder.encoded(vae, drawn, device)
        parts.append(found.reshape(len(some), -1, *found.shape[1:]))
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            save_file({"latents": parts[-1].contiguous()}, kept)
        _say(f"{start + len(some)} clips drawn and encoded")
    return torch.cat(parts)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
