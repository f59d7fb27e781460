"""Write a text with a language model of transformers."""

from domain.steps import TextToText
from tasks import language
from tasks.context import Context, Result


def run(step: TextToText, ctx: Context) -> Result:
    """The model's answer, of at most `max_new_tokens` tokens. The receipt tells how many they were."""
    text, tokens = language.write(ctx.model(), step, ctx)
    return Result(text=text, used={"tokens": tokens})
