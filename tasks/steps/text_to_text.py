"""Write a text with a language model, here or at an endpoint."""

from domain.steps import TextToText
from tasks.context import Context, Result


def run(step: TextToText, ctx: Context) -> Result:
    """The model's answer, of at most `max_new_tokens` tokens. The receipt tells how many they were."""
    text, tokens = ctx.model().pipe.write(step, ctx)
    return Result(text=text, used={"tokens": tokens})
