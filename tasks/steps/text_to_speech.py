"""Speak a text with a speech model."""

from domain.steps import TextToSpeech
from tasks import sounds
from tasks.context import Context, Result


def run(step: TextToSpeech, ctx: Context) -> Result:
    """The text as one sound. The receipt tells how long it is, and its peaks, by which pages draw it."""
    made = ctx.model().pipe.speak(step, ctx)
    return Result(pictures=[made], used=sounds.shape(made))
