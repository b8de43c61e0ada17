"""Digests of named arrays: the same bits everywhere give the same word.

The hashed bytes, integers unsigned 64-bit little-endian, `text` meaning length then UTF-8:

    number of arrays
    for each array in the order of its name:
        text name
        text dtype          numpy's little-endian form: `<f4`, `<i8`, `|u1`, `|b1`
        number of dimensions, then each size
        number of bytes, then the values, little-endian, row-major
    only with scalars:
        text of their JSON  sorted keys, no spaces, ASCII, shortest digits

Note [Parts of a state]
    What learning needs is large, and after a step some of it is known: the layer's tensors are the
    ones that serving multiplies with, and their digest is in the answer anyhow. So the state digest
    is a digest of digests, one for each part of the names (`guards`, `layer`, `optimizer`: what
    stands before the first dot), each over the part's arrays under the rest of their names:

        number of parts
        for each part in order: text part, text digest
        text of the JSON of scalars, version and step

Note [Blocks of rows]
    What a model observed (the part `observed`: a reservoir, second moments) is megabytes, of which
    a step changes a few rows. So there an array is digested as blocks of `BLOCK_ROWS` rows, the
    last one of as many or fewer, whose digests can be kept from step to step:

        number of arrays
        for each array in the order of its name:
            text name
            SHA-256 of: text dtype, number of dimensions, each size, number of blocks, and for each
            block the SHA-256 of its values, little-endian, row-major
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from numpy.typing import NDArray

from app.types import Json, NamedArrays, TrainerState

DIGEST_LENGTH = 16
# Stands in the environment of a journal: digests of two forms cannot be held against each other.
STATE_DIGEST_FORM = 4
BLOCK_ROWS = 16
# The parts of a state that are digested as Note [Blocks of rows] says.
BLOCKED_PARTS = frozenset({"observed"})


def digest(arrays: NamedArrays, scalars: Mapping[str, Any] | None = None) -> str:
    """SHA-256, in hex, over the arrays in name order and the scalars, as the module says.

    >>> import numpy as np
    >>> short_digest(digest({"Q_reduced": np.eye(2, dtype=np.float32)}))
    'e186e8d628d419f5'
    """
    hashed = sha256(_integers(len(arrays)))
    for name in sorted(arrays):
        array = arrays[name]
        little = _little(array)
        hashed.update(_text(name) + _text(little.dtype.str))
        hashed.update(_integers(little.ndim, *little.shape, little.nbytes))
        hashed.update(little.data)
    if scalars is not None:
        hashed.update(_json(scalars))
    return hashed.hexdigest()


def state_digest(state: TrainerState) -> str:
    """The digest of everything that learning needs; see Note [Parts of a state]."""
    parts: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
    for name, array in state.arrays.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = array
    digests = {
        part: joined_blocks({name: _in_blocks(array) for name, array in arrays.items()})
        if part in BLOCKED_PARTS
        else digest(arrays)
        for part, arrays in parts.items()
    }
    return joined_digest(digests, state.scalars, version=state.version, step=state.step)


def joined_blocks(arrays: Mapping[str, bytes]) -> str:
    """The digest of a part, from those of its arrays; see Note [Blocks of rows]."""
    hashed = sha256(_integers(len(arrays)))
    for name in sorted(arrays):
        hashed.update(_text(name) + arrays[name])
    return hashed.hexdigest()


def blocked_digest(dtype: str, shape: tuple[int, ...], blocks: Sequence[bytes]) -> bytes:
    """The digest of an array, from those of its blocks; see Note [Blocks of rows].

    Args:
        dtype: numpy's little-endian form.
        shape: of the whole array.
        blocks: of each block what `block_digest` says.
    """
    hashed = sha256(_text(dtype) + _integers(len(shape), *shape, len(blocks)))
    hashed.update(b"".join(blocks))
    return hashed.digest()


def block_digest(rows: NDArray[Any]) -> bytes:
    """The digest of the values of a few rows."""
    return sha256(_little(rows).data).digest()


def joined_digest(parts: Mapping[str, str], scalars: Json, *, version: int, step: int) -> str:
    """The state digest, from those of its parts; see Note [Parts of a state]."""
    hashed = sha256(_integers(len(parts)))
    for part in sorted(parts):
        hashed.update(_text(part) + _text(parts[part]))
    hashed.update(_json({**scalars, "version": version, "step": step}))
    return hashed.hexdigest()


def short_digest(full: str) -> str:
    """The first `DIGEST_LENGTH` digits: what answers are stamped with."""
    return full[:DIGEST_LENGTH]


def _in_blocks(array: NDArray[Any]) -> bytes:
    blocks = [block_digest(array[i : i + BLOCK_ROWS]) for i in range(0, len(array), BLOCK_ROWS)]
    return blocked_digest(_little(array[:0]).dtype.str, array.shape, blocks)


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _json(document: Mapping[str, Any]) -> bytes:
    return _text(json.dumps(document, sort_keys=True, separators=(",", ":")))


def _integers(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _integers(len(encoded)) + encoded
