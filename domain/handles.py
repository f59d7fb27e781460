"""Which handles and passwords the site takes. Pure."""

import re
import unicodedata

MIN, MAX = 2, 32
_SHAPE = re.compile(r"[a-z0-9](?:[._-]?[a-z0-9])*", re.ASCII | re.IGNORECASE)

_NAMES = """
about abuse account accounts admin administrator all anonymous anyone api app artifact artifacts atom auth blog bot
bots contact cookies copyright css dashboard delete deleted docs drafts edit everyone example explore favicon feed
feedback feeds gallery group groups guest health help host hosting hostmaster icons images info js json legal license
licenses local localhost login logout mail mailer me metrics mod moderation moderator moderators new news nobody none
noreply null official offshoot offshoots operator owner owners password people pipeline pipelines postmaster press
privacy profile profiles public report robots root rss rules run runs search security self service session sessions
settings setup signin signout signup site sitemap staff static status super superuser support sys sysadmin system tag
tags team terms test tokens undefined unknown upload uploads user users version versions webmaster www you yours
"""
RESERVED = frozenset(_NAMES.split())
"""Names that a page, a rule or an officer of the site could be mistaken for."""

STRONG = ("admin", "moderator", "offshoot", "official", "sysadmin", "support")
"""Also refused at the start or the end of a longer handle."""

_ALIKE = str.maketrans("013456789@$!|", "oleasgtbga" + "sll")
_FOREIGN = dict(zip("аеорсухіјѕһԁոցѵԝкмтвнαεορτυνικηγ", "aeopcyxijshdngvwkmtbhaeoptuvikny", strict=True))
"""Cyrillic, Armenian and Greek letters that look like Latin ones."""


def skeleton(handle: str) -> str:
    """What a handle looks like at a glance: equal skeletons are easily mistaken for each other."""
    text = unicodedata.normalize("NFKC", handle).casefold()
    text = "".join(_FOREIGN.get(letter, letter) for letter in text).translate(_ALIKE)
    text = re.sub(r"[^\w]|_", "", text).replace("i", "l")
    return text.replace("rn", "m").replace("vv", "w")


def look(handle: str) -> str:
    """What remains of a taken handle for whoever reads it fast: 0 is o, 1 and i are l, rn is m, signs are gone.

    The unique index `people_look` says the same in SQL.
    """
    text = handle.lower().translate(_AT_A_GLANCE)
    return text.replace("rn", "m").replace("vv", "w")


_AT_A_GLANCE = str.maketrans("01i", "oll", "._-")
_RESERVED = frozenset(skeleton(name) for name in RESERVED)
_STRONG = tuple(skeleton(name) for name in STRONG)


def fault(handle: str) -> str | None:
    """What is wrong with a new handle, in words for its field; None when it may be taken."""
    if not handle:
        return "Choose a handle, such as marlow"
    if not handle.isascii():
        odd = next(letter for letter in handle if not letter.isascii())
        if odd.casefold() in _FOREIGN:
            return f"“{odd}” only looks like a Latin letter. Use a to z, 0 to 9, and . _ - between them"
        return "Use a to z, 0 to 9, and . _ - between them. Any script is welcome in the name"
    if not MIN <= len(handle) <= MAX:
        return f"From {MIN} to {MAX} characters; this has {len(handle)}"
    if not _SHAPE.fullmatch(handle):
        return "Use a to z, 0 to 9, and single . _ - between them"
    seen = skeleton(handle)
    if seen in _RESERVED or seen.startswith(_STRONG) or seen.endswith(_STRONG):
        return "This handle is kept for the site, or looks like one that is. Choose another"
    return None
