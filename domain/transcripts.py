"""What was said in a sound, piece by piece: as plain words, and as subtitles with their times. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Said(NamedTuple):
    """A piece of what was said: from when to when, in seconds, and the words."""

    start: float
    end: float
    text: str


def told(receipt: Mapping[str, Any]) -> list[Said]:
    """The pieces that the receipt of a step has; none for a step that heard nothing, or before receipts had them."""
    return [Said(*piece) for piece in receipt.get("parameters", {}).get("said", ())]


def plain(said: Sequence[Said]) -> str:
    """The words alone."""
    return " ".join(piece.text for piece in said)


def srt(said: Sequence[Said]) -> str:
    """SubRip: numbered pieces, a comma before the milliseconds."""
    return "\n\n".join(
        f"{number}\n{_time(piece.start, ',')} --> {_time(piece.end, ',')}\n{_cue(piece.text)}"
        for number, piece in enumerate(said, 1)
    )


def vtt(said: Sequence[Said]) -> str:
    """WebVTT: a heading, and a point before the milliseconds."""
    pieces = (f"{_time(piece.start, '.')} --> {_time(piece.end, '.')}\n{_escaped(piece.text)}" for piece in said)
    return "\n\n".join(["WEBVTT", *pieces])


LAYOUTS: dict[str, Callable[[Sequence[Said]], str]] = {"text": plain, "srt": srt, "vtt": vtt}


def _cue(text: str) -> str:
    """On one line, without what would begin the next piece."""
    return " ".join(text.split()).replace("-->", "->")


def _escaped(text: str) -> str:
    """WebVTT reads `<` as markup and `&` as the name of a character."""
    return _cue(text).replace("&", "&amp;").replace("<", "&lt;")


def _time(seconds: float, point: str) -> str:
    """1.5 is 00:00:01,500."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}{point}{whole % 1000:03}"
