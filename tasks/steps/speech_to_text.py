"""Write down what is said in a sound."""

from domain import transcripts
from domain.errors import DomainError
from domain.sounds import MAX_SECONDS
from domain.steps import SpeechToText
from domain.transcripts import Said
from tasks import sounds
from tasks.context import Context, Result
from tasks.hearing import RATE


def run(step: SpeechToText, ctx: Context) -> Result:
    """The words of the sound that comes in, or of a part of it, with times where the layout has them: those of the
    whole. The receipt tells the language, and when each piece was said."""
    begin = step.start or 0
    heard = sounds.opened(ctx.files()[0], RATE, begin, step.end)
    seconds = len(heard.samples) / RATE
    if seconds > MAX_SECONDS:
        raise DomainError(f"The sound is {seconds / 60:.1f} minutes long; at most {MAX_SECONDS // 60} can be heard.")
    said, language = ctx.model().pipe.write_down(step, heard, ctx)
    if not said:
        raise DomainError("The model heard no words in this sound.")
    said = [Said(round(begin + piece.start, 3), round(begin + piece.end, 3), piece.text) for piece in said]
    used = {"language": language, "seconds": round(seconds, 3), "said": said}
    return Result(text=transcripts.LAYOUTS[step.layout](said), used=used)
