"""What a codec is: the seam between a body's bytes and the arrays of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from app.registry import Registry
from app.types import FloatArray, Reduced

Buffer: TypeAlias = bytes | bytearray | memoryview
Encoding: TypeAlias = Literal["float", "base64"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodySchema:
    """What one route accepts; made once a route, so one is another only if it is the same.

    Args:
        arrays: fields that hold arrays (`hidden_states`, `targets`, …).
        options: the other fields; their plain JSON values are passed on undigested.
        max_rows: most rows of any array, a row being one vector along the last dimension.
        whole: arrays of whole numbers, which binary bodies may give in an integer dtype or as
            booleans.
        ids: arrays of ids, which they may give as int32 or int64.

    Attributes:
        fields: every name that a body may hold.
    """

    arrays: frozenset[str]
    options: frozenset[str]
    max_rows: int
    whole: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    fields: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", self.arrays | self.options)


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded body: arrays float32 and C-contiguous, possibly read-only views of the body."""

    arrays: dict[str, FloatArray]
    options: dict[str, Any] = field(default_factory=dict)


class Codec(Protocol):
    """Reads the bodies of one media type and writes the answer to a reduce."""

    media_type: str

    def decode(self, body: Buffer, schema: BodySchema) -> Body:
        """The body's arrays and options; presence and width are for the caller to judge.

        Raises:
            Malformed: the bytes are not of this media type.
            Unacceptable: they are, and a field, shape, dtype or value cannot be used.
            TooLarge: more rows than `schema.max_rows`.
        """

    def encode(self, reduced: Reduced, *, encoding: Encoding = "float") -> bytes:
        """The answer; `encoding` is how JSON writes numbers, binary formats have one way only."""


CODECS: Registry[Codec] = Registry("media type")
