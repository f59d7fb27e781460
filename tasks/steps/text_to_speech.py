"""Speak a text with a speech model."""

from domain.steps import TextToSpeech
from tasks import sounds
from tasks.context import Context, Result


def run(step: TextToSpeech, ctx: Context) -> Result:
    """The text as one sound. The receipt tells how long it is, its peaks, by which pages draw it, and the voice."""
    pipe = ctx.model().pipe
    named = pipe.named(step)
    made = pipe.speak(step, ctx)
    return Result(pictures=[made], used={**sounds.shape(made), **({"voice": named} if named else {})})
