"""Everything that can go wrong for a reason a person can understand.

The domain raises these; `web/errors.py` alone knows HTTP.
"""

from collections.abc import Mapping


class ConfigError(Exception):
    """A setting is missing or malformed. The message names it and says what to do."""


class DomainError(Exception):
    """An expected failure. `message` is shown to the person as it stands."""

    status = 400
    title = "That did not work"

    def __init__(self, message: str = "") -> None:
        self.message = message or self.title
        super().__init__(self.message)


class NotFound(DomainError):
    """It does not exist, or this person may not know that it does."""

    status = 404
    title = "Nothing grows here"


class Withdrawn(DomainError):
    """It did exist at this address, and never will again."""

    status = 410
    title = "This address was withdrawn"


class NeedsLogin(DomainError):
    """The page exists, but only for somebody who is logged in."""

    status = 401
    title = "Log in first"


class Refused(DomainError):
    """The person may see the thing, but may not do this to it."""

    status = 403
    title = "Not allowed"


class Conflict(DomainError):
    """The request contradicts what has happened meanwhile."""

    status = 409
    title = "Something changed meanwhile"


class TooLarge(DomainError):
    """More bytes, pixels or rows than the site takes."""

    status = 413
    title = "Too large"


class TooMany(DomainError):
    """More at once than one person may have, or than the site can do."""

    status = 429
    title = "That is enough for now"


class Invalid(DomainError):
    """Input that must be mended. `fields` maps a form field's name to the words beside it."""

    status = 422
    title = "Something needs mending"

    def __init__(self, fields: Mapping[str, str], message: str = "") -> None:
        self.fields = dict(fields)
        super().__init__(message or "; ".join(self.fields.values()))


class Unavailable(DomainError):
    """A part of the site cannot be reached just now; trying again later helps."""

    status = 503
    title = "Back in a moment"


class Full(DomainError):
    """There is no room for what should be kept; trying again does not help."""

    status = 507
    title = "The file store is full"
