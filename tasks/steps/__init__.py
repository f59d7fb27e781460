"""How each kind of step runs. A new kind is a file here and a line in `RUNNERS`.

Importing this package loads no model library: runners import theirs when they run.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.context import Context, Result
from tasks.steps import image_to_image, prompt_template, text_to_image, upscale


class Runner(NamedTuple):
    """A kind's function, and the version of its code: raise it when equal inputs give other results."""

    run: Callable[[Any, Context], Result]
    code: int


RUNNERS: dict[str, Runner] = {
    "prompt_template": Runner(prompt_template.run, code=1),
    "text_to_image": Runner(text_to_image.run, code=1),
    "image_to_image": Runner(image_to_image.run, code=1),
    "upscale": Runner(upscale.run, code=1),
}
