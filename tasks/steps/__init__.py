"""How each kind of step runs. A new kind is a file here and a line in `RUNNERS`.

Importing this package loads no model library: runners import theirs when they run.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tasks.context import Context, Result
from tasks.steps import (
    gan_image,
    image_to_3d,
    image_to_animation,
    image_to_image,
    inpaint,
    join,
    prompt_template,
    speech_to_text,
    text_to_3d,
    text_to_animation,
    text_to_image,
    text_to_speech,
    text_to_text,
    upscale,
)


class Runner(NamedTuple):
    """A kind's functions: one step at a time, and alike steps as one call where the kind can do that."""

    run: Callable[[Any, Context], Result]
    together: Callable[[Sequence[Any], Context], list[Result]] | None = None


RUNNERS: dict[str, Runner] = {
    "prompt_template": Runner(prompt_template.run),
    "text_to_text": Runner(text_to_text.run),
    "text_to_speech": Runner(text_to_speech.run),
    "speech_to_text": Runner(speech_to_text.run),
    "text_to_image": Runner(text_to_image.run, text_to_image.together),
    "image_to_image": Runner(image_to_image.run, image_to_image.together),
    "inpaint": Runner(inpaint.run),
    "gan_image": Runner(gan_image.run),
    "text_to_animation": Runner(text_to_animation.run),
    "image_to_animation": Runner(image_to_animation.run),
    "text_to_3d": Runner(text_to_3d.run),
    "image_to_3d": Runner(image_to_3d.run),
    "upscale": Runner(upscale.run),
    "join": Runner(join.run),
}
