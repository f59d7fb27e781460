"""What the worker and its engine say to each other: MessagePack over a pipe, never pickle."""

from typing import Any

import msgspec
from msgspec import Struct

from domain.means import PLAIN, Means
from domain.receipts import Agreed
from domain.weights import REMOTE


class ModelRef(Struct, frozen=True):
    """A registered model: where its files lie, the hash they must have, and how to run it."""

    name: str
    path: str
    revision: str
    means: Means = PLAIN
    family: str = ""

    @property
    def remote(self) -> bool:
        """Whether it runs elsewhere, behind an address."""
        return self.path.startswith(REMOTE)


class LoraRef(Struct, frozen=True):
    """A registered LoRA: where its file lies, the hash it must have, and how much of its change is made."""

    name: str
    path: str
    revision: str
    weight: float


class Member(Struct, frozen=True, kw_only=True):
    """One run's step within a job: the step with its parameters filled in, and the bytes of what comes in."""

    step: dict[str, Any]
    pictures: list[bytes] = []
    picture_hashes: list[str] = []
    consent: Agreed | None = None


class Job(Struct, frozen=True, kw_only=True, tag="job"):
    """One call of a model, for one step or for alike steps of several runs."""

    id: str
    members: list[Member]
    model: ModelRef | None
    loras: list[LoraRef] = []
    vae: ModelRef | None = None


class Warm(Struct, frozen=True, tag="warm"):
    """Load this model, so that the first step need not wait."""

    model: ModelRef


class Stop(Struct, frozen=True, tag="stop"):
    """Stop a member of the running job; the job itself ends once all of its members are stopped."""

    id: str
    member: int


class EncoderRef(Struct, frozen=True):
    """A sentence model: where its files lie, and the hash they must have."""

    name: str
    path: str
    revision: str

    @property
    def id(self) -> str:
        """Its name in the database: vectors of different encoders say nothing to each other."""
        return f"{self.name}@{self.revision[:16]}"


class Embed(Struct, frozen=True, tag="embed"):
    """Turn texts into vectors. Waits behind a running job, and leaves off for one that comes."""

    encoder: EncoderRef
    texts: list[str]


class Embedded(Struct, frozen=True, tag="embedded"):
    """Vectors of the first texts, or why there are none: `error`, `lasting` where trying again would not help."""

    vectors: list[list[float]] = []
    error: str = ""
    lasting: bool = False


class Loading(Struct, frozen=True, tag="loading"):
    """A model is being loaded: its files are checked, opened, moved, or it draws to warm up."""

    doing: str


class Progress(Struct, frozen=True, tag="progress"):
    """Passes done, of how many."""

    done: int
    total: int


class Preview(Struct, frozen=True, tag="preview"):
    """How a member's result looks after `done` passes: a small WebP, or the text so far."""

    member: int
    done: int
    data: bytes
    media_type: str = "image/webp"


class Saving(Struct, frozen=True, tag="saving"):
    """The model is done; files are being written."""


class Rendition(Struct, frozen=True):
    """A WebP under the name of a nominal width, with its real size in pixels."""

    name: int
    width: int
    height: int
    data: bytes


class Form(Struct, frozen=True):
    """The same in another format, or seen otherwise, under a name such as `stl`."""

    name: str
    media_type: str
    data: bytes


class File(Struct, frozen=True):
    """What the step made, with still pictures of it, and its other forms."""

    data: bytes
    media_type: str
    width: int | None
    height: int | None
    seed: int | None
    renditions: list[Rendition]
    forms: list[Form] = []


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """A member's result, the receipt that its files carry, and seconds spent."""

    member: int
    text: str | None
    files: list[File]
    receipt: dict[str, Any]
    load: float
    run: float
    encode: float


class Ended(Struct, frozen=True, tag="ended"):
    """The job is over: every member that was not stopped has its result."""


class Failed(Struct, frozen=True, tag="failed"):
    """The job ended without a result. `code` is `refused` (words for the person), `unlike` (the same, of files that
    are not this `revision` of a model or LoRA), `stopped`, `away` (words for the log; worth trying again),
    `memory` or `broken` (`message` is then a traceback for the log)."""

    code: str
    message: str
    revision: str = ""


ToEngine = Job | Warm | Stop | Embed
FromEngine = Loading | Progress | Preview | Saving | Done | Ended | Failed | Embedded

encode = msgspec.msgpack.Encoder().encode
decode_to_engine: msgspec.msgpack.Decoder[ToEngine] = msgspec.msgpack.Decoder(ToEngine)
decode_from_engine: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)
