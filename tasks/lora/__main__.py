"""Teaches a model a style or a subject: `python -m tasks.lora train MODEL FOLDER OUT.safetensors --minutes 30`.

MODEL is a folder of a Stable Diffusion 1 or 2 model. FOLDER has pictures, each with its caption in a text file of the
same name, or --caption says it for all. Where OUT is there already, it goes on from it. OUT is registered with
`offshoot models add NAME OUT` and asked for in a prompt with <lora:NAME:0.8>. `python -m tasks.lora draw FOLDER fish`
draws pictures to try it with.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tasks.learning import Unusable, count, positive, seed
from tasks.loading import quiet
from tasks.lora import pictures, training


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and train or draw."""
    asked = argparse.ArgumentParser(prog="python -m tasks.lora", description=__doc__)
    ways = asked.add_subparsers(required=True)
    train_ = ways.add_parser("train", help="train a LoRA")
    train_.set_defaults(do=train)
    train_.add_argument("model", type=Path)
    train_.add_argument("folder", type=Path)
    train_.add_argument("out", type=Path)
    train_.add_argument("--minutes", type=positive, default=30, help="stop after so long")
    train_.add_argument("--steps", type=count, default=0, help="or after so many steps")
    train_.add_argument("--caption", default="", help="what pictures show that have no caption of their own")
    train_.add_argument("--trigger", default="", help="the words that call it, kept in the file")
    train_.add_argument("--side", type=count, default=0, help="pixels of a side; the model's own")
    train_.add_argument("--rank", type=count, default=8, help="how much it can learn, and how large it is")
    train_.add_argument("--batch", type=count, default=16)
    train_.add_argument("--rate", type=positive, default=1e-3)
    train_.add_argument("--seed", type=seed, default=1)
    draw = ways.add_parser("draw", help="draw pictures of a style or a subject to learn from")
    draw.set_defaults(do=lambda given: pictures.draw_folder(given.folder, given.what, given.count, given.seed))
    draw.add_argument("folder", type=Path)
    draw.add_argument("what", choices=sorted(pictures.DRAWN))
    draw.add_argument("--count", type=count, default=500)
    draw.add_argument("--seed", type=seed, default=1)
    given = asked.parse_args(arguments)
    try:
        given.do(given)
    except Unusable as error:
        sys.exit(str(error))


def train(given: argparse.Namespace) -> None:
    """Train and write the file. Raises Unusable."""
    from diffusers import DiffusionPipeline

    if given.out.suffix != ".safetensors":
        raise Unusable(f"{given.out} must end in .safetensors.")
    quiet()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipe = DiffusionPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        str(given.model), dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    if type(pipe).__name__ != "StableDiffusionPipeline":
        raise Unusable(f"{given.model} is a {type(pipe).__name__}; only a StableDiffusionPipeline can be taught here.")
    side = given.side or pipe.unet.config.sample_size * pipe.vae_scale_factor
    if side % pipe.vae_scale_factor:
        raise Unusable(f"{given.model} takes sides that are multiples of {pipe.vae_scale_factor} pixels, not {side}.")
    seen, captions = pictures.read(given.folder, side, given.caption)
    print(f"{len(seen)} pictures of {side} × {side}, such as “{captions[0]}”", flush=True)
    known = training.load(given.out, given.rank) if given.out.is_file() else None
    tensors = training.train(
        pipe,
        training.encoded(pipe, seen, device),
        captions,
        rank=given.rank,
        minutes=given.minutes,
        steps=given.steps,
        rate=given.rate,
        batch=given.batch,
        seed=given.seed,
        device=device,
        known=known,
        say=lambda words: print(words, flush=True),
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    training.save(given.out, tensors, given.out.stem, given.trigger)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
