"""Write down what is said in a sound."""

from domain import transcripts
from domain.errors import DomainError
from domain.sounds import MAX_SECONDS
from domain.steps import SpeechToText
from tasks import sounds
from tasks.context import Context, Result
from tasks.hearing import RATE


def run(step: SpeechToText, ctx: Context) -> Result:
    """The words of the sound that comes in, with times where the layout has them. The receipt tells the language, and
    when each piece was said."""
    heard = sounds.opened(ctx.files()[0], RATE)
    seconds = len(heard.samples) / RATE
    if seconds > MAX_SECONDS:
        raise DomainError(f"The sound is {seconds / 60:.1f} minutes long; at most {MAX_SECONDS // 60} can be heard.")
    said, language = ctx.model().pipe.write_down(step, heard, ctx)
    if not said:
        raise DomainError("The model heard no words in this sound.")
    used = {"language": language, "seconds": round(seconds, 3), "said": said}
    return Result(text=transcripts.LAYOUTS[step.layout](said), used=used)
