"""JSON Feed 1.1 (https://jsonfeed.org/version/1.1) as pydantic reads it: nothing of the writer's is used here.

Every rule of the text that a program can check: what is required, each type, no nulls, no unknown
names but extensions. Raises `pydantic.ValidationError`.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, HttpUrl, StringConstraints, TypeAdapter, model_validator

_url = TypeAdapter(HttpUrl)


def _absolute(text: str) -> str:
    _url.validate_python(text)
    return text


Text = Annotated[str, StringConstraints(min_length=1)]
Url = Annotated[str, AfterValidator(_absolute)]
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")]
"""RFC 3339."""


class _Object(BaseModel):
    """Extensions begin with an underscore and a letter, and are objects; no other name may be added."""

    model_config = ConfigDict(extra="allow", strict=True)

    @model_validator(mode="after")
    def _extended(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            assert re.fullmatch(r"_[A-Za-z][^.]*", name), f"unknown name {name!r}"
            assert isinstance(value, dict), f"the extension {name!r} is no object"
        return self


class Author(_Object):
    """At least one of the three."""

    name: Text = ""
    url: Url = ""
    avatar: Url = ""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        assert self.name or self.url or self.avatar, "an author without name, url and avatar"
        return self


class Attachment(_Object):
    """A file of an item."""

    url: Url
    mime_type: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-z0-9.+-]+$")]
    title: Text = ""
    size_in_bytes: int = 0
    duration_in_seconds: float = 0


class Item(_Object):
    """One entry: with HTML or with plain text, or with both."""

    id: Text
    url: Url = ""
    external_url: Url = ""
    title: Text = ""
    content_html: str = ""
    content_text: str = ""
    summary: Text = ""
    image: Url = ""
    banner_image: Url = ""
    date_published: Time = ""
    date_modified: Time = ""
    authors: list[Author] = []
    tags: list[Text] = []
    language: Text = ""
    attachments: list[Attachment] = []

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        assert {"content_html", "content_text"} & self.model_fields_set, "an item without content"
        return self


class Hub(_Object):
    """Where to subscribe."""

    type: Text
    url: Url


class Feed(_Object):
    """The whole file."""

    version: Literal["https://jsonfeed.org/version/1.1"]
    title: Text
    home_page_url: Url = ""
    feed_url: Url = ""
    description: Text = ""
    user_comment: Text = ""
    next_url: Url = ""
    icon: Url = ""
    favicon: Url = ""
    authors: list[Author] = []
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] = ""
    expired: bool = False
    hubs: list[Hub] = []
    items: list[Item]

    @model_validator(mode="after")
    def _leads_on(self) -> Self:
        assert not self.next_url or self.next_url != self.feed_url, "next_url leads to the feed itself"
        ids = [item.id for item in self.items]
        assert len(ids) == len(set(ids)), "an id twice"
        return self


def check(content: bytes) -> dict[str, Any]:
    """The feed as plain values, once it is known to be valid."""
    return Feed.model_validate_json(content).model_dump(exclude_unset=True)
