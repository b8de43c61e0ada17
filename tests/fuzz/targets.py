"""What is fuzzed byte by byte: every reader of bytes that strangers, or a disk, may have spoilt.

A target takes any bytes and raises nothing but errors of ours; `tests/fuzz/octets.py` looks for
bytes with which it does not, `tests/fuzz/test_targets.py` holds it against those known so far.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkstemp

import numpy as np

from app.access import read_keys
from app.api.edge import query_options
from app.api.negotiation import by_quality
from app.api.routes.train import parse_if_match
from app.api.streams.framing import Frames, Framing, Lines
from app.codecs import CODECS, BodySchema, parse_object, unpack
from app.codecs.compression import inflate
from app.codecs.embeddings import EmbeddingsCodec
from app.codecs.inference import InferenceCodec
from app.codecs.inference_files import read_files
from app.config import parse_config
from app.service.keys import make_key
from app.service.rows import from_row
from app.types import Batch, JournalRow, Kind, TrainStep

Target = Callable[[bytes], object]

_MAX_ROWS = 4096
_MAX_BYTES = 1 << 16
_STEP = TrainStep(batch=Batch(hidden_states=np.ones((1, 8), np.float32)))
_SCHEMA = BodySchema(
    arrays=frozenset({"hidden_states", "targets", "sample_weights"}),
    options=frozenset({"loss", "version", "normalize"}),
    max_rows=_MAX_ROWS,
)
_KINDS: tuple[Kind, ...] = ("step", "rollback", "serving", "config", "import", "fit")


def targets() -> Mapping[str, Target]:
    """Every target by its name, which is also that of its folder in the corpus."""
    inference = InferenceCodec()
    embeddings = EmbeddingsCodec(frozenset({"dimensions", "input_type"}), max_rows=_MAX_ROWS)
    return {
        "npy": _decoding("application/x-npy"),
        "safetensors": _decoding("application/x-safetensors"),
        "safetensors_file": unpack,
        "json": _decoding("application/json"),
        "strict_json": parse_object,
        "base64": _read_base64,
        "config": lambda octets: parse_config(parse_object(octets)),
        "lines": lambda octets: _cut(Lines(_MAX_BYTES), octets),
        "frames": lambda octets: _cut(Frames(_MAX_BYTES), octets),
        "inference": lambda octets: inference.decode(
            octets[1:], _header_length(octets), input_size=8, max_rows=_MAX_ROWS
        ),
        "inference_files": read_files,
        "embeddings": embeddings.decode,
        "inflate": lambda octets: list(inflate(octets, "gzip", _MAX_BYTES)),
        "journal_row": _read_row,
        "accept": lambda octets: by_quality(octets.decode("latin-1")),
        "query": lambda octets: query_options({"query_string": octets}, frozenset({"loss"})),
        "if_match": lambda octets: parse_if_match(octets.decode("latin-1")),
        "idempotency_key": lambda octets: make_key(octets.decode("latin-1"), "", _STEP),
        "keys_file": _reading_keys(),
    }


def _decoding(media_type: str) -> Target:
    return lambda octets: CODECS[media_type].decode(octets, _SCHEMA)


def _read_base64(octets: bytes) -> object:
    """All bytes but the last are the text; the last one says how many numbers it should be."""
    width = octets[-1] if octets else 0
    array = b'{"shape": [1, %d], "dtype": "float16", "data": "%b"}' % (width, octets[:-1])
    return CODECS["application/json"].decode(b'{"hidden_states": %b}' % array, _SCHEMA)


def _header_length(octets: bytes) -> int | None:
    """The header that says how much of a body is JSON: absent, or any small number."""
    return octets[0] if octets and octets[0] != 0xFF else None


def _cut(framing: Framing, octets: bytes) -> int:
    """Feed in pieces of any size; how many records come out."""
    size = octets[0] % 64 + 1 if octets else 1
    num_records = 0
    for begin in range(0, len(octets), size):
        num_records += sum(1 for _ in framing.feed(octets[begin : begin + size]))
    return num_records + sum(1 for _ in framing.end())


def _read_row(octets: bytes) -> object:
    kind = _KINDS[octets[0] % len(_KINDS)] if octets else "step"
    row = JournalRow(
        seq=1,
        version=2,
        kind=kind,
        at="",
        clock_s=0.0,
        key_hash="",
        fingerprint="",
        payload=octets[1:],
        state_digest="",
        answer=b"",
    )
    return from_row(row)


def _reading_keys() -> Target:
    descriptor, name = mkstemp(suffix=".json")
    os.close(descriptor)
    path = Path(name)

    def read(octets: bytes) -> object:
        path.write_bytes(octets)
        return read_keys(path)

    return read
