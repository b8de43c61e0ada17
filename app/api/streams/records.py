"""From the bytes of one record to a train step and its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from app.api.edge import is_long_to_decode
from app.api.negotiation import JSON
from app.api.routes.train import OPTIONS, step_of, step_schema
from app.codecs import CODECS, REQUEST_LIMITS, Buffer
from app.codecs.tensors import read_header
from app.errors import Malformed
from app.settings import Settings
from app.types import TrainStep

SAFETENSORS = "application/x-safetensors"
_KEY = "key"


@dataclass(frozen=True, slots=True)
class Record:
    """One train step of a stream, and the key under which it is applied at most once."""

    step: TrainStep
    key: str | None


class RecordReader(Protocol):
    """Reads the records of one form."""

    def __call__(self, body: Buffer) -> Record:
        """The record.

        Raises:
            Malformed, Unacceptable, TooLarge: as the body of a train step is refused.
        """


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it came, and who can read it."""

    body: Buffer
    reader: RecordReader

    @property
    def is_long(self) -> bool:
        """Whether reading it takes so long that it is done beside the event loop."""
        return is_long_to_decode(self.body, is_json=isinstance(self.reader, JsonReader))

    def read(self) -> Record:
        """The step and its key; see `RecordReader`."""
        return self.reader(self.body)


class JsonReader:
    """The JSON body of a train step, with the field `key` beside the others.

    Args:
        limits: of the server.
        ids: names the arrays that the model takes as ids.
    """

    def __init__(self, limits: Settings, ids: frozenset[str] = frozenset()) -> None:
        self._schema = step_schema(limits.max_rows, OPTIONS | {_KEY}, ids=ids)

    def __call__(self, body: Buffer) -> Record:
        """The record."""
        decoded = CODECS[JSON].decode(body, self._schema)
        key = decoded.options.get(_KEY)
        if _KEY in decoded.options and not isinstance(key, str):
            raise Malformed(
                "bad_idempotency_key", "expected key to be a string; leave it out for none"
            )
        return Record(step_of(decoded, {}), key)


class SafetensorsReader:
    """The safetensors body of a train step; its metadata may name a `key`.

    Args:
        limits: of the server.
        query: options of every record, as a binary body has them.
        ids: names the arrays that the model takes as ids.
    """

    def __init__(
        self, limits: Settings, query: Mapping[str, str], ids: frozenset[str] = frozenset()
    ) -> None:
        self._schema = step_schema(limits.max_rows, ids=ids)
        self._query = query

    def __call__(self, body: Buffer) -> Record:
        """The record."""
        decoded = CODECS[SAFETENSORS].decode(body, self._schema)
        _, metadata = read_header(body, limits=REQUEST_LIMITS)
        return Record(step_of(decoded, self._query), metadata.get(_KEY))
