"""Write down what is said in a sound."""

from collections.abc import Sequence

from domain.errors import DomainError
from domain.sounds import MAX_SECONDS
from domain.steps import SpeechToText
from tasks import sounds
from tasks.context import Context, Result
from tasks.hearing import RATE, Said


def run(step: SpeechToText, ctx: Context) -> Result:
    """The words of the sound that comes in, with times where the layout has them. The receipt tells the language."""
    heard = sounds.opened(ctx.files()[0], RATE)
    seconds = len(heard.samples) / RATE
    if seconds > MAX_SECONDS:
        raise DomainError(f"The sound is {seconds / 60:.1f} minutes long; at most {MAX_SECONDS // 60} can be heard.")
    said, language = ctx.model().pipe.write_down(step, heard, ctx)
    if not said:
        raise DomainError("The model heard no words in this sound.")
    return Result(text=_LAYOUTS[step.layout](said), used={"language": language, "seconds": round(seconds, 3)})


def _plain(said: Sequence[Said]) -> str:
    return " ".join(piece.text for piece in said)


def _srt(said: Sequence[Said]) -> str:
    """SubRip: numbered pieces, a comma before the milliseconds."""
    return "\n\n".join(
        f"{number}\n{_time(piece.start, ',')} --> {_time(piece.end, ',')}\n{_cue(piece.text)}"
        for number, piece in enumerate(said, 1)
    )


def _vtt(said: Sequence[Said]) -> str:
    """WebVTT: a heading, and a point before the milliseconds."""
    pieces = (f"{_time(piece.start, '.')} --> {_time(piece.end, '.')}\n{_escaped(piece.text)}" for piece in said)
    return "\n\n".join(["WEBVTT", *pieces])


def _cue(text: str) -> str:
    """On one line, without what would begin the next piece."""
    return " ".join(text.split()).replace("-->", "->")


def _escaped(text: str) -> str:
    """WebVTT reads `<` as markup and `&` as the name of a character."""
    return _cue(text).replace("&", "&amp;").replace("<", "&lt;")


_LAYOUTS = {"text": _plain, "srt": _srt, "vtt": _vtt}


def _time(seconds: float, point: str) -> str:
    """1.5 is 00:00:01,500."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{point}{whole % 1000:03}"
