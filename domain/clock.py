"""Moments in a sound as people write them: 90, 1:30 or 1:30.5, in minutes and seconds."""

import re

_CLOCK = re.compile(r"(?:(\d{1,4}):(?=\d{2}(?!\d)))?(\d{1,5}(?:[.,]\d{1,3})?)", re.ASCII)


def read(text: str) -> float:
    """The seconds of `text`. Raises ValueError for what is no moment."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None or (found[1] and float(found[2].replace(",", ".")) >= 60):
        raise ValueError(text)
    return 60 * int(found[1] or 0) + float(found[2].replace(",", "."))


def shown(seconds: float) -> str:
    """90.5 is 1:30.5: to a hundredth of a second, without needless zeros."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6_000)
    whole, part = divmod(rest, 100)
    fraction = f".{part:02}".rstrip("0") if part else ""
    return f"{minutes}:{whole:02}{fraction}"
