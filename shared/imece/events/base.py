"""What every event is: a frozen pydantic model that knows its topic, in a CloudEvents envelope."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NAMESPACE = uuid.UUID("6f1d6a0c-3d6e-5a0e-9a55-1f0f6f3f2b11")
MAX_BYTES = 256 * 1024
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff" + "".join(sorted(BIDI_CONTROLS)) + "]"
)


def _plain(text: str) -> str:
    """Refuse NUL and other controls, lone surrogates and bidi overrides."""
    found = _FORBIDDEN.search(text)
    if found is not None:
        bidi = found[0] in BIDI_CONTROLS
        kind = "bidirectional control" if bidi else "control character"
        raise PydanticCustomError(
            "bidi_character" if bidi else "control_character",
            "contains the {kind} U+{code}; remove it",
            {"kind": kind, "code": f"{ord(found[0]):04X}"},
        )
    return text


def _composed(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text  # most names and lines: nothing to find, nothing to compose
    return unicodedata.normalize("NFC", _plain(text))


Text = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_composed)]
"""Text for people or models, NFC-normalised, without control characters or bidi overrides."""
ShortText = Annotated[str, Field(max_length=2_000), AfterValidator(_composed)]
Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[\w.:@/+-]+$"), AfterValidator(_composed)
]
"""An identifier: letters, digits and ``_ . : @ / + -``."""
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]


class Part(BaseModel):
    """A frozen piece of an event; unknown fields are an error for whoever builds one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Topic:
    """How one topic is laid out; everything generated (topics, AsyncAPI, docs) comes from here."""

    name: str
    key: str
    """The field of the event whose order matters; its value is the record key."""
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int = 6
    retention_days: int = 30
    compacted: bool = False
    public: bool = False
    """Upstream systems write or read it; structured CloudEvents are accepted too."""

    @property
    def major(self) -> int:
        """The major version at the end of the name."""
        return int(self.name.rpartition(".v")[2])


class Event(Part):
    """Base of all events; `topic` says where it lives."""

    topic: ClassVar[Topic]

    @property
    def key(self) -> str:
        """The ordering key: the value of the field that the topic names."""
        return str(getattr(self, self.topic.key))


E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Envelope(Generic[E]):
    """An event with its CloudEvents attributes; `(source, id)` identifies it, also when resent."""

    data: E
    id: str
    source: str
    time: datetime
    traceparent: str | None = None


def new(data: E, source: str, id: str | None = None) -> Envelope[E]:
    """Wrap `data` as a new event of `source`; without `id` a fresh one is made."""
    return Envelope(data, id or str(uuid.uuid4()), source, datetime.now(UTC))


def caused(data: E, source: str, cause: Envelope[Any], part: str = "") -> Envelope[E]:
    """Wrap `data` as the consequence of `cause`: the same cause and `part` give the same id.

    That is what makes redelivery harmless: handling `cause` twice publishes one event twice,
    and readers drop the second by its id.
    """
    id = derived_id(cause.source, cause.id, data.topic.name, part)
    return Envelope(data, id, source, datetime.now(UTC), cause.traceparent)


def derived_id(*parts: object) -> str:
    """Return a uuid5 over `parts`; equal parts give equal ids on every machine."""
    name = "\x1f".join(map(str, parts))
    # As `uuid.uuid5` does, in a third of its time.
    digest = hashlib.sha1(NAMESPACE.bytes + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
